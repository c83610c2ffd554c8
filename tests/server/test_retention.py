"""Retention in an engine and on the command line: it runs by itself where it is configured, and what it took is told."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from reconciler.execute.watching import Unwatched
from reconciler.model.errors import UsageMistake
from reconciler.server.configuration import EMBEDDED, Configuration, read_configuration
from reconciler.server.engine.engine import open_engine
from reconciler.server.state import retention
from reconciler.server.state.place import Place
from reconciler.server.state.retention import Pass
from reconciler.server.state.retention_settings import KEEPING, RetentionTable
from reconciler.store.directory import DataDirectory
from tests.cli.said import applied
from tests.server.following import until
from tests.server.histories import DAY, History

CUT = RetentionTable.model_construct()


def test_the_log_of_an_old_task_is_told_to_be_removed_and_nothing_else_changes(tmp_path: Path) -> None:
    place = applied(tmp_path)
    shown = place.run("plan").out
    assert "done" in place.run("logs", "1").out
    files = DataDirectory(place.data)
    for path in files.logs.iterdir():
        os.utime(path, (1.0, 1.0))
    with place.store() as store:
        asyncio.run(Pass(store, files, CUT).run(time.time() + 100 * DAY))
        ticket = store.read_now(lambda tx: tx.all("SELECT ticket FROM attempts"))[0][0]
    assert list(files.logs.iterdir()) == []
    done = place.run("logs", "1").expect(0)
    assert done.err == f"{ticket}: its log was removed, for it is older than logs are kept\n"
    assert done.out == "==> Work on built-in\n<== Work succeeded\n"
    assert place.run("plan").out == shown


async def test_an_engine_looks_by_itself_and_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "FIRST_AFTER", 0.0)
    files = DataDirectory(tmp_path)
    place = Place(tmp_path, str(tmp_path), files)
    async with open_engine(place) as engine:
        history = History(engine.store, files)
        for _ in range(5):
            await asyncio.to_thread(history.task, 20_000)  # days before a moment in the far future: long ago
        async with engine.running(Unwatched(), Configuration()) as running:
            await until(lambda: running.counts.removed["artifacts"] == 3)
    assert running.counts.removed["tasks"] == 2


def test_commands_without_a_configuration_keep_everything_and_servers_do_not() -> None:
    assert EMBEDDED.retention == KEEPING
    assert Configuration().retention == CUT
    assert CUT.cut(CUT.logs, 40 * DAY) == 10 * DAY
    assert CUT.cut("forever", 40 * DAY) is None


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('logs = "59m"', "59m is less than an hour"),
        ('logs = "long"', 'a duration is expected, such as "500ms", "15s", "1h30m" or "7d"'),
        ("tasks_per_slot = 0", "Input should be greater than or equal to 1"),
        ('commits = "1d"', "retention.commits: there is no such key"),
    ],
)
def test_a_span_that_makes_no_sense_is_told(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "server.toml").write_text(f"[retention]\n{line}\n")
    with pytest.raises(UsageMistake) as caught:
        read_configuration(tmp_path / "server.toml")
    assert said in caught.value.message
