"""A worker that falls silent: its attempts go on there, are given up in time, and end late without effect."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from reconciler.execute.dispatch import Dispatcher
from reconciler.execute.endings import NO_LOG, silent, unknown, unproven
from reconciler.execute.grounds import Grounds
from reconciler.execute.link import WorkerLink
from reconciler.execute.logs import LogStore
from reconciler.execute.polling import PollingCarrier
from reconciler.execute.silence import deadline, lost
from reconciler.model.live import AttemptState, LiveObject, StepState, TaskId, TaskState, WorkerHealth
from reconciler.model.spec import Address, Position
from reconciler.protocol.messages import Hello
from reconciler.protocol.session import Connected
from reconciler.protocol.tickets import CutOff, Exited, Final, Running, TicketId, TicketReport
from reconciler.schedule.progress import ABANDONED_AFTER
from reconciler.server.engine.unreached import unreached
from reconciler.store import claims, objects, tasks, worker_status
from reconciler.store.database import Transaction
from reconciler.store.keys import sealer
from reconciler.store.writer import Store
from tests.execute.test_dispatch import STEP, Moves, Scene, queue

HELLO = Hello((1,), "store", "boot", 1, 0)
POLICY = '{"connection":{"lostAfter":"1s"},"default":true}'
WORKER = '{"endpoint":{"polling":{"subscription":"poll://%s","thumbprints":["SHA256:x"]}},"pools":["default"]}'
TWICE = STEP | {"retry": {"attempts": 2, "backoff": "1s", "onWorkerLost": True}}


def live(kind: str, name: str, spec: str) -> LiveObject:
    return LiveObject(Address(kind, name), spec, "{}", "digest", Position("space.yaml", 1), "revision")


class Place(Scene):
    """A dispatcher with two polling workers whose agents are the test."""

    async def connect(self, worker: str, *reports: TicketReport, promises: Iterable[str] = ()) -> None:
        link = self.dispatcher._grounds.links[worker]
        link.silent_since = None
        hello = replace(HELLO, capabilities=dict.fromkeys(promises, ""))
        session = Connected(hello, 1, {report.ticket: report for report in reports})
        await self.dispatcher.connected(worker, session, "10.0.0.5")

    async def fall_silent(self, worker: str) -> None:
        self.dispatcher._grounds.links[worker].silent_since = time.time()
        await self.dispatcher.disconnected(worker, "nothing was heard from the agent for 15 s")

    async def start(self, number: int = 1) -> TicketId:
        """Wait for an attempt and let it run."""
        await self._until(lambda: len(self._attempts()) >= number)
        attempt = self._attempts()[number - 1]
        ticket = TicketId(attempt.ticket)
        await self._until(lambda: self.dispatcher.owns(attempt.worker, ticket))
        await self.dispatcher.reported(attempt.worker, TicketReport(ticket, Running()))
        return ticket


@asynccontextmanager
async def two_workers(folder: Path, step: dict[str, object]) -> AsyncIterator[Place]:
    with Store.open(str(folder), folder) as store:
        found = [
            live("MachinePolicy", "hasty", POLICY),
            *(live("Worker", name, WORKER % name) for name in ("w1", "w2")),
        ]
        store.write_now(lambda tx: objects.put_many(tx, found))
        queue(store, step)
        key = store.write_now(lambda tx: sealer(tx, folder / "key", given=False))
        moves = Moves()
        grounds = Grounds(store, LogStore(folder / "logs"), folder / "blobs", folder, key, moves)
        dispatcher = Dispatcher(grounds)
        for name in ("w1", "w2"):
            grounds.links[name] = WorkerLink(name, PollingCarrier(), grounds.logs, folder / "blobs", dispatcher)
        running = asyncio.create_task(dispatcher.run())
        try:
            yield Place(store, dispatcher, moves)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def test_an_attempt_on_a_silent_worker_is_lost_after_the_policys_time(tmp_path: Path) -> None:
    async with two_workers(tmp_path, STEP) as place:
        await place.connect("w1")
        ticket = await place.start()
        await place.fall_silent("w1")
        await place.task_in(TaskState.FAILED)
        assert place.step().state is StepState.LOST
        assert place.step().reason == (
            "the worker w1 was silent for 1 s; whether the script runs or has done its work is unknown until it is back"
        )
        assert place.latest().state is AttemptState.LOST
        await place.connect("w1", TicketReport(ticket, Running()))
        await place.dispatcher.finished("w1", Final(ticket, Exited(0), 0, NO_LOG))
        assert place.latest().state is AttemptState.ENDED
        assert "Exited" in place.latest().ending
        assert place.step().state is StepState.LOST


async def test_time_never_gives_up_a_step_that_holds_what_it_has(tmp_path: Path) -> None:
    async with two_workers(tmp_path, STEP | {"onDisconnect": "hold"}) as place:
        await place.connect("w1")
        ticket = await place.start()
        await place.fall_silent("w1")
        run, attempt = place.dispatcher._runs[TaskId(1)], place.latest()
        assert deadline(attempt, run._steps, place.dispatcher._grounds) is None
        assert not list(lost([attempt], run._steps, place.dispatcher._grounds, time.time() + 10_000))
        await place.connect("w1", TicketReport(ticket, Running()))
        await place.dispatcher.finished("w1", Final(ticket, Exited(0), 0, NO_LOG))
        await place.task_in(TaskState.SUCCEEDED)


async def test_what_its_worker_has_stopped_by_itself_is_lost_and_repeated_only_where_the_step_says_so(
    tmp_path: Path,
) -> None:
    async with two_workers(tmp_path, TWICE | {"onDisconnect": "stop"}) as place:
        await place.connect("w1", promises=("onDisconnect.stop",))
        ticket = await place.start()
        spec = place.dispatcher._grounds.links["w1"]._desires[ticket].spec
        assert spec is not None
        assert spec.silence_max == 1.0
        await place.dispatcher.finished("w1", Final(ticket, CutOff(), 0, NO_LOG))
        second = await place.start(2)
        await place.dispatcher.finished("w1", Final(second, CutOff(), 0, NO_LOG))
        await place.task_in(TaskState.FAILED)
        assert place.step().state is StepState.LOST
        assert place.step().reason == (
            "stopped by its worker, which had lost the server; nothing of it is left running"
        )


async def test_a_worker_that_is_cut_off_while_it_greets_is_lost_again(tmp_path: Path) -> None:
    async with two_workers(tmp_path, STEP) as place:
        await place.fall_silent("w1")
        greeting = asyncio.create_task(place.connect("w1"))
        while not greeting.done() and place.store.read_now(lambda tx: health(tx, "w1")) is not WorkerHealth.HEALTHY:  # noqa: ASYNC110 - another thread writes it
            await asyncio.sleep(0)  # until what it greeted with is written, and not yet taken in
        greeting.cancel()
        await asyncio.gather(greeting, return_exceptions=True)
        await place.fall_silent("w1")
        assert place.store.read_now(lambda tx: health(tx, "w1")) is WorkerHealth.UNAVAILABLE


def health(tx: Transaction, worker: str) -> WorkerHealth:
    found = worker_status.status(tx, worker)
    assert found is not None
    return found.health


async def test_a_worker_that_is_back_in_time_loses_nothing(tmp_path: Path) -> None:
    async with two_workers(tmp_path, STEP) as place:
        await place.connect("w1")
        ticket = await place.start()
        await place.fall_silent("w1")
        await place.connect("w1", TicketReport(ticket, Running()))
        await place.dispatcher.finished("w1", Final(ticket, Exited(0), 0, NO_LOG))
        await place.task_in(TaskState.SUCCEEDED)


async def test_a_lost_attempt_is_repeated_elsewhere_only_where_the_step_says_so(tmp_path: Path) -> None:
    async with two_workers(tmp_path, TWICE) as place:
        await place.connect("w1")
        first = await place.start()
        await place.fall_silent("w1")
        await place.connect("w2")
        second = await place.start(2)
        assert place.latest().worker == "w2"
        await place.connect("w1", TicketReport(first, Running()))
        await place.dispatcher.finished("w1", Final(first, Exited(3), 0, NO_LOG))
        assert place.step().state is StepState.RUNNING
        await place.dispatcher.finished("w2", Final(second, Exited(0), 0, NO_LOG))
        await place.task_in(TaskState.SUCCEEDED)
        assert [attempt.state for attempt in place._attempts()] == [AttemptState.ENDED, AttemptState.ENDED]


async def test_a_worker_that_is_still_away_when_the_rest_is_done_is_named(tmp_path: Path) -> None:
    def named(*ran: int) -> list[str]:
        return place.store.read_now(lambda tx: list(unreached(tx, [TaskId(number) for number in ran], ())))

    async with two_workers(tmp_path, TWICE) as place:
        await place.connect("w1")
        first = await place.start()
        await place.fall_silent("w1")
        await place.connect("w2")
        await place.dispatcher.finished("w2", Final(await place.start(2), Exited(0), 0, NO_LOG))
        await place.task_in(TaskState.SUCCEEDED)
        assert "\n".join(named(1)) == (
            "w1 is unavailable: nothing was heard from the agent for 15 s; "
            'how "Work" of task 1 ended there is not known'
        )
        assert named(2) == []
        await place.connect("w1", TicketReport(first, Running()))
        assert named(1) == []


async def test_a_step_waits_for_a_worker_and_runs_when_one_connects(tmp_path: Path) -> None:
    async with two_workers(tmp_path, STEP) as place:
        await place._until(lambda: place.task().state is TaskState.RUNNING and place.step().state is StepState.WAITING)
        assert place.step().reason == ("no worker of the pool default can take it: w1 has never connected (and 1 more)")
        await place.connect("w2")
        ticket = await place.start()
        assert place.latest().worker == "w2"
        await place.dispatcher.finished("w2", Final(ticket, Exited(0), 0, NO_LOG))
        await place.task_in(TaskState.SUCCEEDED)


async def test_what_a_worker_says_of_another_ones_attempt_has_no_effect(tmp_path: Path) -> None:
    async with two_workers(tmp_path, STEP) as place:
        await place.connect("w1")
        ticket = await place.start()
        assert not place.dispatcher.owns("w2", ticket)
        await place.connect("w2", TicketReport(ticket, Running()))
        assert not place.dispatcher.owns("w2", ticket)
        assert place.step().state is StepState.RUNNING


async def test_a_lost_attempt_that_its_worker_no_longer_has_is_over(tmp_path: Path) -> None:
    async with two_workers(tmp_path, STEP) as place:
        await place.connect("w1")
        await place.start()
        await place.fall_silent("w1")
        await place.task_in(TaskState.FAILED)
        await place.connect("w1")
        assert place.latest().state is AttemptState.ENDED
        assert "no longer knows the attempt" in place.latest().ending


async def test_nothing_is_granted_on_a_worker_that_has_just_left_git(tmp_path: Path) -> None:
    async with two_workers(tmp_path, STEP) as place:
        await place._until(lambda: place.task().state is TaskState.RUNNING and place.step().state is StepState.WAITING)
        place.store.write_now(lambda tx: objects.remove(tx, Address("Worker", "w1")))
        await place.connect("w1")
        await place._until(lambda: "w2 has never connected" in place.step().reason)
        assert place._attempts() == []
        await place.connect("w2")
        assert (await place.start()).startswith("1-1-1-")
        assert place.latest().worker == "w2"


async def test_an_attempt_whose_task_was_abandoned_is_still_its_workers_to_end(tmp_path: Path) -> None:
    async with two_workers(tmp_path, STEP) as place:
        await place.connect("w1")
        ticket = await place.start()
        run = place.dispatcher._runs[TaskId(1)]
        place.decide("cancel")
        await place.task_in(TaskState.CANCELLING)
        run._cancelled_at = time.time() - ABANDONED_AFTER
        place.dispatcher.wake()
        await place.task_in(TaskState.ABANDONED)
        await place._until(lambda: not place.dispatcher._runs)
        assert place.store.read_now(claims.held) == {}  # it shared what it held
        assert place.dispatcher.owns("w1", ticket)
        await place.dispatcher.finished("w1", Final(ticket, Exited(0), 0, NO_LOG))
        assert place.latest().state is AttemptState.ENDED
        assert not place.dispatcher.owns("w1", ticket)


async def test_an_end_that_comes_while_the_loss_is_recorded_is_recorded_too(tmp_path: Path) -> None:
    async with two_workers(tmp_path, STEP) as place:
        await place.connect("w1")
        ticket = await place.start()
        run = place.dispatcher._runs[TaskId(1)]
        run._ended(silent(ticket, "the worker w1 was silent for 1 s"), given_up=True)
        await place.dispatcher.finished("w1", Final(ticket, Exited(0), 0, NO_LOG))
        assert place.latest().state is AttemptState.ENDED
        assert "Exited" in place.latest().ending
        await place.task_in(TaskState.FAILED)
        assert place.step().state is StepState.LOST


async def test_an_attempt_that_is_granted_at_this_very_moment_is_left_alone(tmp_path: Path) -> None:
    """Its row is committed, and its run has not taken that in yet."""
    async with two_workers(tmp_path, STEP) as place:
        await place.connect("w1")
        await place.start()
        run = place.dispatcher._runs.pop(TaskId(1))
        place.store.write_now(lambda tx: tx.execute("UPDATE attempts SET state = 'granted'"))
        await place.connect("w1")
        assert place.latest().state is AttemptState.GRANTED
        assert not any(desire.cancel_grace for desire in place.dispatcher._grounds.links["w1"]._desires.values())
        place.dispatcher._runs[TaskId(1)] = run


async def test_a_cancelled_task_whose_attempt_was_given_up_is_abandoned(tmp_path: Path) -> None:
    async with two_workers(tmp_path, STEP) as place:
        await place.connect("w1")
        ticket = await place.start()
        await place.fall_silent("w1")
        place.decide("cancel")
        await place.task_in(TaskState.ABANDONED)
        assert place.task().reason == "cancelled, and 1 attempt was lost: whether it has stopped is unknown"
        assert place.step().state is StepState.LOST
        await place.connect("w1", TicketReport(ticket, Running()))
        await place.dispatcher.finished("w1", Final(ticket, Exited(0), 0, NO_LOG))
        assert place.task().state is TaskState.ABANDONED


async def test_an_end_whose_session_ends_while_it_is_recorded_frees_what_was_held(tmp_path: Path) -> None:
    async with two_workers(tmp_path, STEP | {"mutex": {"name": "db"}}) as place:
        await place.connect("w1")
        ticket = await place.start()
        await place.fall_silent("w1")
        await place.task_in(TaskState.FAILED)
        await place._until(lambda: not place.dispatcher._runs)
        assert list(place.dispatcher._grounds.leasing.holders) == [ticket]
        telling = asyncio.create_task(place.dispatcher.finished("w1", Final(ticket, Exited(0), 0, NO_LOG)))
        await asyncio.sleep(0)  # until it waits for the write
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)
        assert telling.cancelled()
        place.store.write_now(lambda tx: None)  # after all that was to be written before
        assert place.latest().state is AttemptState.ENDED
        assert list(place.dispatcher._grounds.leasing.holders) == []


async def test_nothing_runs_alone_beside_what_was_given_up_and_may_still_run(tmp_path: Path) -> None:
    async with two_workers(tmp_path, STEP) as place:
        await place.connect("w1")
        ticket = await place.start()
        await place.fall_silent("w1")
        await place.task_in(TaskState.FAILED)
        queue(place.store, STEP | {"isolation": "exclusive"})
        place.dispatcher.wake()
        await place.connect("w1", TicketReport(ticket, Running()))

        def step_of_the_second() -> str:
            return place.store.read_now(lambda tx: [run.reason for run in tasks.steps(tx, TaskId(2))] or [""])[0]

        obstacle = "w1 may still run what was given up, and it would run alone"
        await place._until(lambda: step_of_the_second() == f"no worker of the pool default has room for it: {obstacle}")
        await place.dispatcher.finished("w1", Final(ticket, Exited(0), 0, NO_LOG))
        await place._until(lambda: place.dispatcher._runs[TaskId(2)].live)


def test_how_many_attempts_gave_no_proof_is_said_in_whole_words() -> None:
    assert unproven(1) == "cancelled, and 1 attempt gave no proof of having stopped for 2 minutes"
    assert unproven(2) == "cancelled, and 2 attempts gave no proof of having stopped for 2 minutes"
    assert unknown(2) == "cancelled, and 2 attempts were lost: whether they have stopped is unknown"
