"""What `logs` shows of levels, attempts and steps side by side, and when following ends."""

import json
from pathlib import Path

import pytest

from reconciler.cli.logs import _Printer
from reconciler.cli.progress import marked
from reconciler.execute.logs import LogStore
from reconciler.model.live import Attempt, AttemptState, Slot, StepRun, StepState, Task, TaskId, TaskState
from reconciler.protocol.journal import Kind, Level, Record, encoded
from reconciler.protocol.tickets import TicketId
from reconciler.server.answers.log_walk import Facts, Walk, reading
from reconciler.server.state.looking import engine_runs
from reconciler.store.directory import DataDirectory, EngineLock
from tests.cli.workplace import MANUAL, PROJECT, Workplace

LEVELS = "log_level warning; echo careful; echo; log_level error; echo wrong; log_level info; printf rest"
TWICE = """\
      retry: {attempts: 2, backoff: 0s}
"""


@pytest.fixture
def failing(tmp_path: Path) -> Workplace:
    """Make a repository whose step was tried twice and failed."""
    place = Workplace(tmp_path / "space")
    place.declare_shop()
    place.write("project.yaml", PROJECT % ("shop", "echo trying; exit 3") + TWICE)
    place.apply(expect=6)
    return place


def test_each_attempt_shows_how_it_ended(failing: Workplace) -> None:
    assert failing.run("logs", "1").expect(0).out == (
        "==> Work on built-in\ntrying\n<== Work, attempt 1 failed: exit code 3\n"
        "==> Work on built-in, attempt 2\ntrying\n<== Work failed: exit code 3\n"
    )


def test_records_tell_how_an_attempt_ended_that_was_not_the_last(failing: Workplace) -> None:
    shown = [json.loads(line) for line in failing.run("logs", "1", "--json").expect(0).out.splitlines()]
    assert [record["type"] for record in shown] == ["version", "output", "attempt", "output", "step"]
    assert shown[2] == {
        "type": "attempt", "step": 1, "name": "Work", "attempt": 1, "worker": "built-in", "state": "failed",
        "reason": "exit code 3",
    }  # fmt: skip


def test_a_level_is_a_word_before_the_line(place: Workplace) -> None:
    place.declare_shop(LEVELS)
    told = place.apply().err
    lines = ["warning: careful", "warning: ", "error: wrong", "rest"]
    assert [line.partition("│ ")[2] for line in told.splitlines() if "│" in line] == lines
    shown = "\n".join(["==> Work on built-in", *lines, "<== Work succeeded\n"])
    assert place.run("logs", "1").expect(0).out == shown


def test_a_line_that_came_in_pieces_has_its_word_once() -> None:
    first = marked("a", Level.ERROR, fresh=True)
    assert first + marked("b\nc\n", Level.ERROR, fresh=False) == "error: ab\nerror: c\n"
    assert marked("", Level.ERROR, fresh=True) == ""


def test_steps_side_by_side_take_turns_under_their_headings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs = LogStore(tmp_path)
    names = ("North", "South")
    runs = [StepRun(TaskId(1), index, name.lower(), name, StepState.RUNNING) for index, name in enumerate(names)]
    tries = [
        Attempt(name, TaskId(1), index, 1, "built-in", 1, AttemptState.RUNNING, "{}")
        for index, name in enumerate(names)
    ]
    task = Task(TaskId(1), "d", Slot("p", "e"), "1", "", "", "", TaskState.RUNNING)
    walk, printer = Walk(reading(logs)), _Printer(as_json=False)

    def show() -> None:
        for entry in walk.look(Facts(task, tuple(runs), tuple(tries))):
            printer.show(entry)

    for text in (b"one\n", b"two\n"):
        for name in names:
            ticket = TicketId(name)
            logs.append(ticket, logs.received(ticket), encoded(Record(Kind.STDOUT, Level.INFO, 0, text)))
        show()
    show()
    turns = "==> North on built-in\n{0}\n==> South on built-in\n{0}\n"
    assert capsys.readouterr().out == turns.format("one") + turns.format("two")


def test_following_a_task_that_waits_ends_where_no_engine_runs(tmp_path: Path) -> None:
    place = Workplace(tmp_path / "space")
    place.declare_shop()
    place.write("project.yaml", PROJECT % ("shop", "echo ready") + MANUAL)
    place.apply(expect=7)
    shown = place.run("logs", "1", "--follow").expect(0)
    assert shown.out == "==> Work on built-in\nready\n<== Work succeeded\n"
    assert shown.err == ("No engine is running; task 1 (awaitingIntervention) goes on with the next: reconcile apply\n")
    assert place.run("logs", "1").expect(0).err == ""


def test_an_engine_is_known_by_its_lock_and_not_disturbed(tmp_path: Path) -> None:
    files = DataDirectory(tmp_path)
    assert not engine_runs(files)
    with EngineLock.take(files):
        assert engine_runs(files)
    assert not engine_runs(files)
    files.lock.write_text("1 a-host-that-lost-power\n")
    assert not engine_runs(files)
    EngineLock.take(files).release()
