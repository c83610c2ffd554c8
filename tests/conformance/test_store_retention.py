"""On every dialect, retention removes what is old and needed by nobody, and a kill anywhere leaves what a later pass ends."""

import os
import random
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from reconciler.model.live import Event, LiveState, Slot, TaskId, TaskState
from reconciler.server.state.retention import Pass
from reconciler.server.state.retention_settings import KEEPING, RetentionTable
from reconciler.store import attempts, audit, objects, pinned_files, results, retention, tasks
from reconciler.store.blobs import is_kept
from reconciler.store.chain import Whole
from reconciler.store.database import T, Work
from reconciler.store.directory import DataDirectory
from reconciler.store.writer import Store
from tests.conformance.conftest import Place
from tests.server.histories import NOW, SLOT, History, digest, numbers

OTHER = Slot("shop", "test")
DEFAULTS = RetentionTable.model_construct()


class SimulatedCrash(Exception):
    """The process ends here."""


@pytest.fixture
def history(store: Store, place: Place) -> History:
    return History(store, DataDirectory(place.files))


def aged(files: DataDirectory) -> None:
    """Let every file be older than what is left alone for its youth."""
    for path in (*files.logs.iterdir(), *files.blobs.glob("??/*")):
        os.utime(path, (1.0, 1.0))


async def passed(history: History, settings: RetentionTable = DEFAULTS, now: float = NOW) -> Counter[str]:
    removed: Counter[str] = Counter()
    aged(history.files)
    await Pass(history.store, history.files, settings, removed).run(now)
    return +removed


async def test_old_tasks_go_with_all_that_is_theirs(history: History) -> None:
    for days in (200, 150, 120, 100, 95):
        history.task(days)
    removed = await passed(history)
    assert numbers(history.store.read_now(tasks.tasks)) == [5, 4, 3], "the newest three of a slot stay"
    assert history.kept() == {"tasks": {"3", "4", "5"}, "logs": set(), "blobs": {
        "echo shop in live 120", "echo shop in live 100", "echo shop in live 95"
    }}  # fmt: skip
    assert removed == {"tasks": 2, "pins": 2, "logs": 3, "artifacts": 3, "blobs": 7}
    assert await passed(history) == {}


async def test_the_last_success_of_a_slot_stays_however_old_it_is(history: History) -> None:
    history.task(400)
    history.task(300)
    for days in (200, 199, 198, 197):
        history.task(days, TaskState.FAILED)
    await passed(history)
    assert sorted(numbers(history.store.read_now(tasks.tasks))) == [2, 4, 5, 6]


async def test_what_has_not_ended_keeps_everything(history: History) -> None:
    for state in (TaskState.RUNNING, TaskState.QUEUED):
        for slot in (SLOT, OTHER):
            history.task(500, state, slot)
    lost = history.task(499)
    ticket = history.store.read_now(lambda tx: attempts.attempts(tx, lost.id))[0].ticket
    history.store.write_now(lambda tx: tx.execute("UPDATE attempts SET finished_at = NULL WHERE ticket = ?", ticket))
    for _ in range(5):
        history.task(498)
    before = history.kept()
    await passed(history, RetentionTable(tasks="90d", logs="1h", artifacts="1h"), NOW)
    after = history.kept()
    assert {"1", "2", "3", "4", str(lost.id)} <= after["tasks"]
    assert after["logs"] == {"1", "2", str(lost.id)}
    assert {text for text in before["blobs"] if text.startswith("echo")} == {
        text for text in after["blobs"] if text.startswith("echo")
    }


async def test_logs_and_artifacts_go_before_their_tasks_and_it_is_known(history: History) -> None:
    history.task(40)
    history.task(20)
    assert await passed(history) == {"logs": 1, "artifacts": 1, "blobs": 1}
    assert history.kept()["logs"] == {"2"}
    old, young = (history.store.read_now(lambda tx, n=number: attempts.attempts(tx, n))[0] for number in (1, 2))
    assert (old.log_is_removed, young.log_is_removed) == (True, False)
    assert history.store.read_now(lambda tx: results.artifacts(tx, TaskId(1))) == []
    assert len(history.store.read_now(lambda tx: results.artifacts(tx, TaskId(2)))) == 1


async def test_nothing_goes_where_it_is_kept_for_ever(history: History) -> None:
    for days in range(10, 1000, 100):
        history.task(days)
    assert await passed(history, KEEPING) == {}


async def test_files_that_nobody_names_go_when_they_are_old_enough(history: History) -> None:
    history.task(1)
    orphan, fresh = (history.log(f"{name}-1-1-ffff") for name in (77, 78))
    orphan.write_text("left")
    blob = history.files.blobs / "ab" / ("ab" * 32)
    blob.parent.mkdir(exist_ok=True)
    blob.write_text("left")
    partial = blob.with_name(f"{blob.name}.t1.partial")
    partial.write_text("on its way")
    aged(history.files)
    fresh.write_text("new")
    await Pass(history.store, history.files, DEFAULTS).run(NOW)
    assert not orphan.exists()
    assert not blob.exists()
    assert fresh.exists()
    assert partial.exists()
    assert history.kept()["logs"] == {"1", "78"}


async def test_a_blob_that_was_asked_for_just_now_stays(history: History) -> None:
    blob = history.files.blobs / "ab" / ("ab" * 32)
    blob.parent.mkdir(exist_ok=True)
    blob.write_text("left")
    aged(history.files)
    assert is_kept(blob)
    await Pass(history.store, history.files, DEFAULTS).run(NOW)
    assert blob.exists()


async def test_a_pin_that_a_new_task_has_taken_up_stays(history: History) -> None:
    """A task is queued between the look and the removal."""
    old = history.task(200, script="echo same")
    for days in (199, 198, 197):
        history.task(days, script="echo others")
    store = history.store

    class Late(Crashing):
        """Queues a task with the same pin when it is about to be removed."""

        async def write(self, work: Work[T]) -> T:
            if getattr(work, "args", (None,))[0] is retention.remove_pins:
                history.task(0, script="echo same")
            return await store.write(work)

    aged(history.files)
    await Pass(Late(store, Crashes(10**9)), history.files, DEFAULTS).run(NOW)
    newest = store.read_now(tasks.tasks)[0]
    assert newest.pin == old.pin
    assert digest(b"echo same") in store.read_now(lambda tx: tasks.pinned(tx, newest.pin))
    assert "echo same" in history.kept()["blobs"]


async def test_script_files_in_the_database_go_with_the_pins_that_name_them(history: History) -> None:
    for days in (200, 199, 198, 197):
        history.task(days, script=f"echo {days}")
        content = f"echo {days}".encode()
        history.store.write_now(lambda tx, c=content: pinned_files.keep(tx, digest(c), c))
    removed = await passed(history)
    assert removed["scripts"] == 1
    digests = [digest(f"echo {days}".encode()) for days in (200, 199, 198, 197)]
    kept = [history.store.read_now(partial(pinned_files.content, digest=each)) is not None for each in digests]
    assert kept == [False, True, True, True]


async def test_the_audit_is_pruned_once_a_day_at_most_and_still_holds(history: History) -> None:
    for days in (500, 450, 402, 400.5, 10):
        event = Event(NOW - days * 86_400.0, "ann", "apply", "space")
        history.store.write_now(lambda tx, event=event: audit.record(tx, event))
    assert (await passed(history))["events"] == 4
    assert await passed(history) == {}
    assert isinstance(history.store.read_now(audit.verify), Whole)
    assert [event.action for event in history.store.read_now(audit.events)] == ["apply", "prune"]


def past(history: History, chance: random.Random) -> None:
    """Write a random past of two slots."""
    for days in sorted((chance.uniform(0, 200) for _ in range(14)), reverse=True):
        history.task(
            days,
            chance.choice([TaskState.SUCCEEDED, TaskState.FAILED, TaskState.RUNNING]),
            chance.choice([SLOT, OTHER]),
        )


def judged_by(store: Store) -> LiveState:
    return store.read_now(objects.live_state)


@pytest.mark.parametrize("seed", range(3))
async def test_a_kill_between_any_two_steps_is_ended_by_the_next_pass_and_no_plan_changes(
    history: History, seed: int
) -> None:
    past(history, random.Random(seed))
    before = judged_by(history.store)
    steps = 0
    while True:
        crashes = Crashes(steps)
        aged(history.files)
        try:
            await Pass(
                Crashing(history.store, crashes), history.files, DEFAULTS, unlink=crashes.around(Path.unlink)
            ).run(NOW)
            break
        except SimulatedCrash:
            steps += 1
            named = {f"{each.task}" for each in unfinished(history.store)}
            assert named <= history.kept()["logs"]
            assert judged_by(history.store) == before
    assert steps >= 3, "there was something to remove"
    assert judged_by(history.store) == before
    assert await passed(history) == {}
    newest = history.store.read_now(lambda tx: tasks.tasks(tx, 1000))
    pinned = {task.pin for task in newest}
    assert history.store.read_now(lambda tx: {row[0] for row in tx.all("SELECT digest FROM pins")}) == pinned


def unfinished(store: Store) -> list[attempts.Held]:
    return store.read_now(attempts.held)


class Crashes:
    """Ends the process before its n-th step that changes something, and after it in turn."""

    def __init__(self, steps: int) -> None:
        self._left, self._after = steps // 2, steps % 2 == 1

    def around(self, step: Callable[[Path], None]) -> Callable[[Path], None]:
        def work(path: Path) -> None:
            self.before()
            step(path)
            self.after()

        return work

    def before(self) -> None:
        self._left -= 1
        if self._left == -1 and not self._after:
            raise SimulatedCrash

    def after(self) -> None:
        if self._left == -1 and self._after:
            raise SimulatedCrash


class Crashing(Store):
    """A store whose process may end around a write."""

    def __init__(self, store: Store, crashes: Crashes) -> None:
        self._store, self._crashes = store, crashes

    async def write(self, work: Work[T]) -> T:
        self._crashes.before()
        done = await self._store.write(work)
        self._crashes.after()
        return done

    async def read(self, work: Work[T]) -> T:
        return await self._store.read(work)
