"""The dispatcher on a real store, told by hand what a worker reports: the answers that real workers seldom give."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from reconciler.execute.carriers import BuiltinCarrier
from reconciler.execute.dispatch import Dispatcher
from reconciler.execute.endings import NO_LOG
from reconciler.execute.grounds import NOT_ALLOWED, BuiltinRules, Grounds, LiveFleet
from reconciler.execute.link import WorkerLink
from reconciler.execute.logs import LogStore
from reconciler.execute.records import begin_task
from reconciler.execute.turns import turn_of
from reconciler.execute.watching import Sighting
from reconciler.model.live import Attempt, AttemptState, Slot, StepRun, StepState, Task, TaskId, TaskState
from reconciler.model.pinned import Pinned
from reconciler.model.work import DeploymentSpec, ProjectSpec
from reconciler.protocol.messages import Hello
from reconciler.protocol.session import Connected
from reconciler.protocol.tickets import Cancelled, Declined, Exited, Final, NotStarted, Running, TicketId, TicketReport
from reconciler.schedule.fleet import BUILTIN
from reconciler.server.orders.decisions import Decision, carry_out_decision
from reconciler.store import attempts, audit, tasks, worker_status
from reconciler.store.keys import sealer
from reconciler.store.writer import Store

PATIENCE = 10.0  # seconds; a test that waits longer has failed
STEP = {"name": "Work", "script": {"syntax": "bash", "body": "echo work"}}
RETRIED = STEP | {"retry": {"attempts": 2, "backoff": "1s"}}


class Moves:
    """A watcher that wakes the test whenever a task or a step has moved."""

    reads_output = False

    def __init__(self) -> None:
        self.next = asyncio.Event()

    def see(self, sighting: Sighting) -> None:
        self.next.set()


@dataclass(frozen=True, slots=True)
class Scene:
    """A dispatcher whose worker is the test."""

    store: Store
    dispatcher: Dispatcher
    moves: Moves

    async def attempt(self, number: int = 1) -> Attempt:
        """Wait for an attempt of the first task, until it was offered: before that no worker reports it."""
        await self._until(lambda: len(self._attempts()) >= number and self._offered(self._attempts()[number - 1]))
        return self._attempts()[number - 1]

    def _offered(self, attempt: Attempt) -> bool:
        ended = attempt.state is AttemptState.ENDED
        return ended or self.dispatcher.owns(BUILTIN, TicketId(attempt.ticket))

    async def task_in(self, *states: TaskState) -> Task:
        await self._until(lambda: self.task().state in states)
        return self.task()

    async def report(self, attempt: Attempt, state: Running | Declined) -> None:
        await self.dispatcher.reported(BUILTIN, TicketReport(TicketId(attempt.ticket), state))

    async def greet(self, epoch: int, **capabilities: str) -> None:
        """Greet as a machine with these programs."""
        hello = Hello((1,), "store", "boot", 1, 0, capabilities)
        await self.dispatcher.connected(BUILTIN, Connected(hello, epoch, {}), "here")

    async def step_waits(self, reason: str) -> None:
        """Wait until the first step waits for this reason."""
        await self._until(lambda: self._states() == [(StepState.WAITING, reason)])

    def _states(self) -> list[tuple[StepState, str]]:
        steps = self.store.read_now(lambda tx: tasks.steps(tx, TaskId(1)))
        return [(step.state, step.reason) for step in steps]

    async def finish(self, attempt: Attempt, ending: Exited | NotStarted) -> None:
        await self.dispatcher.finished(BUILTIN, Final(TicketId(attempt.ticket), ending, 0, NO_LOG))

    def decide(self, verb: str) -> None:
        """Write a person's decision and let it be heard, as the control socket does."""
        self.store.write_now(lambda tx: carry_out_decision(tx, Decision(verb, "1", "ada")))
        self.dispatcher.wake()

    def task(self) -> Task:
        return self.store.read_now(lambda tx: tasks.task(tx, TaskId(1)))

    def step(self) -> StepRun:
        return self.store.read_now(lambda tx: tasks.steps(tx, TaskId(1)))[0]

    def latest(self) -> Attempt:
        return self._attempts()[-1]

    def _attempts(self) -> list[Attempt]:
        return self.store.read_now(lambda tx: attempts.attempts(tx, TaskId(1)))

    async def _until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not holds():
                await self.moves.next.wait()
                self.moves.next.clear()


def queue(store: Store, *process: dict[str, object]) -> None:
    """Queue a task of these steps."""
    pinned = Pinned(
        space="test",
        deployment_name="shop",
        deployment=DeploymentSpec.parse('{"project": "shop", "release": "1", "environment": "production"}'),
        project=ProjectSpec.parse(json.dumps({"process": process})),
    )
    store.write_now(
        lambda tx: tasks.queue(
            tx,
            deployment="shop",
            slot=Slot("shop", "production"),
            release="1",
            digest="d",
            pin=tasks.pin(tx, pinned.canonical()),
            revision="r",
            at=time.time(),
        )
    )


@asynccontextmanager
async def dispatching(
    folder: Path, *process: dict[str, object], awaits_greeting: bool = False, rules: BuiltinRules | None = None
) -> AsyncIterator[Scene]:
    """Dispatch a task of these steps, or what is in the state already, to a worker whose agent is never started.

    Its greeting is awaited where that says what it has.
    """
    with Store.open(str(folder), folder) as store:
        if process:
            queue(store, *process)
        key = store.write_now(lambda tx: sealer(tx, folder / "key", given=False))
        moves = Moves()
        grounds = Grounds(
            store, LogStore(folder / "logs"), folder / "blobs", folder, key, moves, fleet=LiveFleet(rules)
        )
        if awaits_greeting:
            grounds.fleet.await_builtin()
        dispatcher = Dispatcher(grounds)
        carrier = BuiltinCarrier(folder / "agent")
        grounds.links[BUILTIN] = WorkerLink(BUILTIN, carrier, grounds.logs, folder / "blobs", dispatcher)
        await dispatcher.resume()
        running = asyncio.create_task(dispatcher.run())
        try:
            yield Scene(store, dispatcher, moves)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def test_the_built_in_worker_takes_what_it_has_the_programs_for_once_it_has_told_them(tmp_path: Path) -> None:
    needy = STEP | {"requires": {"terraform": ">=1.5"}}
    async with dispatching(tmp_path, needy, awaits_greeting=True) as scene:
        nobody = "no worker of the pool default can take it: built-in "
        await scene.step_waits(nobody + "has not told yet what it has")
        await scene.greet(1, terraform="1.2")
        await scene.step_waits(nobody + "has terraform 1.2, and >=1.5 is required")
        await scene.greet(2, terraform="1.11.4")
        await scene.finish(await scene.attempt(), Exited(0))
        await scene.task_in(TaskState.SUCCEEDED)
        assert not scene.store.read_now(lambda tx: audit.events(tx, subject="Worker/built-in"))


async def test_a_built_in_worker_that_did_not_look_what_it_has_is_tried(tmp_path: Path) -> None:
    async with dispatching(tmp_path, STEP | {"requires": {"terraform": ">=1.5"}}) as scene:
        await scene.greet(1)
        await scene.finish(await scene.attempt(), Exited(0))
        await scene.task_in(TaskState.SUCCEEDED)
        assert scene.store.read_now(worker_status.statuses) == {}


async def test_a_worker_that_refuses_an_attempt_fails_its_step_at_once(tmp_path: Path) -> None:
    async with dispatching(tmp_path, STEP) as scene:
        await scene.report(await scene.attempt(), Declined("the worker cannot store it: No space left on device"))
        task = await scene.task_in(TaskState.FAILED)
        assert "the worker refused it: the worker cannot store it: No space left on device" in task.reason
        assert (await scene.attempt()).state is AttemptState.ENDED


async def test_an_attempt_that_was_refused_when_it_was_first_offered_is_tried_again(tmp_path: Path) -> None:
    async with dispatching(tmp_path, RETRIED) as scene:
        await scene.report(await scene.attempt(), Declined("no space"))
        await scene.finish(await scene.attempt(2), Exited(0))
        await scene.task_in(TaskState.SUCCEEDED)


async def test_an_attempt_that_is_refused_when_another_engine_had_offered_it_is_lost(tmp_path: Path) -> None:
    """After a restore of the state an attempt may look unsent that had run, ended and been forgotten."""
    async with dispatching(tmp_path, RETRIED) as scene:
        await scene.attempt()
    async with dispatching(tmp_path) as scene:
        await scene.report(await scene.attempt(), Declined("it was forgotten here"))
        await scene.task_in(TaskState.FAILED)
        assert scene.step().state is StepState.LOST
        assert "it was forgotten here" in scene.step().reason


async def test_what_may_no_longer_run_on_the_servers_own_machine_is_not_offered_again(tmp_path: Path) -> None:
    async with dispatching(tmp_path, STEP) as scene:
        await scene.attempt()
    async with dispatching(tmp_path, rules=BuiltinRules(as_server=False, accounts=())) as scene:
        await scene.finish(await scene.attempt(), Cancelled())
        await scene.task_in(TaskState.FAILED)
        assert scene.step().reason == NOT_ALLOWED


async def test_a_refusal_of_an_attempt_that_runs_says_nothing(tmp_path: Path) -> None:
    async with dispatching(tmp_path, STEP) as scene:
        attempt = await scene.attempt()
        await scene.report(attempt, Running())
        await scene.report(attempt, Declined("this worker does not know it"))
        assert scene.step().state is StepState.RUNNING
        await scene.finish(attempt, Exited(0))
        await scene.task_in(TaskState.SUCCEEDED)


async def test_an_end_is_recorded_once_however_often_it_is_told(tmp_path: Path) -> None:
    async with dispatching(tmp_path, STEP, STEP | {"name": "Next"}) as scene:
        attempt = await scene.attempt()
        await scene.finish(attempt, Exited(0))
        await scene.finish(attempt, Exited(1))
        await scene.finish(await scene.attempt(2), Exited(0))
        await scene.finish(attempt, Exited(1))
        await scene.task_in(TaskState.SUCCEEDED)
        assert '"code":0' in (await scene.attempt()).ending


async def test_an_end_whose_session_is_cut_while_nobody_conducts_its_task_is_taken_all_the_same(tmp_path: Path) -> None:
    async with dispatching(tmp_path, STEP, STEP | {"name": "Next"}) as scene:
        attempt = await scene.attempt()
        await scene.report(attempt, Running())
    async with dispatching(tmp_path) as scene:
        cut = asyncio.create_task(scene.finish(attempt, Exited(0)))
        await asyncio.sleep(0)  # it has asked for the write
        cut.cancel()
        async with asyncio.timeout(PATIENCE):
            await scene.finish(attempt, Exited(0))  # as the next session tells it again
        await scene.finish(await scene.attempt(2), Exited(0))
        await scene.task_in(TaskState.SUCCEEDED)


async def test_a_task_cancelled_before_its_attempt_was_heard_of_is_cancelled_not_failed(tmp_path: Path) -> None:
    async with dispatching(tmp_path, STEP) as scene:
        attempt = await scene.attempt()
        scene.decide("cancel")
        await scene.task_in(TaskState.CANCELLING)
        await scene.finish(attempt, NotStarted("it was cancelled before it started"))
        await scene.task_in(TaskState.CANCELLED)
        assert scene.step().state is StepState.CANCELLED


async def test_a_cancel_that_was_written_while_no_engine_lived_hands_nothing_out(tmp_path: Path) -> None:
    async with dispatching(tmp_path, STEP) as scene:
        await scene.attempt()
    with Store.open(str(tmp_path), tmp_path) as store:
        store.write_now(lambda tx: carry_out_decision(tx, Decision("cancel", "1", "ada")))
    async with dispatching(tmp_path) as scene:
        await scene.task_in(TaskState.CANCELLING)
        await scene.finish(await scene.attempt(), NotStarted("it was withdrawn before it started"))
        await scene.task_in(TaskState.CANCELLED)
        assert scene.step().reason == "cancelled before it started"


async def test_the_end_of_an_attempt_whose_task_was_given_up_is_recorded_all_the_same(tmp_path: Path) -> None:
    async with dispatching(tmp_path, STEP) as scene:
        attempt = await scene.attempt()
        scene.store.write_now(lambda tx: tasks.set_state(tx, TaskId(1), TaskState.ABANDONED, "no proof", time.time()))
    async with dispatching(tmp_path) as scene:
        await scene.finish(attempt, Exited(0))
        assert (await scene.attempt()).state is AttemptState.ENDED
        assert scene.task().state is TaskState.ABANDONED


async def test_a_task_that_was_cancelled_in_the_queue_has_no_steps(tmp_path: Path) -> None:
    """The wish to cancel may come between the look at the queue and the start."""
    with Store.open(str(tmp_path), tmp_path) as store:
        queue(store, STEP)
        queued = store.read_now(lambda tx: tasks.task(tx, TaskId(1)))
        store.write_now(lambda tx: carry_out_decision(tx, Decision("cancel", "1", "ada")))
        run = StepRun(queued.id, 0, "work", "Work")
        begun = store.write_now(begin_task(queued, [run], turn_of(queued, {})))
        assert begun.state is TaskState.CANCELLED
        assert store.read_now(lambda tx: tasks.steps(tx, TaskId(1))) == []


async def test_the_end_of_a_step_and_the_grant_of_the_next_are_one_commit(tmp_path: Path) -> None:
    async with dispatching(tmp_path, STEP, STEP | {"name": "Next"}) as scene:
        await scene.finish(await scene.attempt(), Exited(0))
        first, second = scene.store.read_now(lambda tx: attempts.attempts(tx, TaskId(1)))
        assert (first.state, second.state) == (AttemptState.ENDED, AttemptState.GRANTED)


async def test_the_end_of_the_last_step_and_the_end_of_the_task_are_one_commit(tmp_path: Path) -> None:
    async with dispatching(tmp_path, STEP) as scene:
        await scene.finish(await scene.attempt(), Exited(0))
        assert scene.task().state is TaskState.SUCCEEDED


async def test_a_start_is_recorded_with_the_end_or_soon_without_one(tmp_path: Path) -> None:
    async with dispatching(tmp_path, STEP, STEP | {"name": "Next"}) as scene:
        first = await scene.attempt()
        await scene.report(first, Running())
        await scene.finish(first, Exited(0))
        second = await scene.attempt(2)
        await scene.report(second, Running())
        async with asyncio.timeout(PATIENCE):
            while scene.latest().state is not AttemptState.RUNNING:  # noqa: ASYNC110 - a start wakes nobody
                await asyncio.sleep(0.005)
        assert all(
            item.started_at is not None for item in scene.store.read_now(lambda tx: attempts.attempts(tx, TaskId(1)))
        )
