"""Room on a worker: who had to wait for it is placed as soon as an attempt there has ended."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from reconciler.execute.dispatch import Dispatcher
from reconciler.execute.endings import NO_LOG
from reconciler.execute.grounds import Grounds
from reconciler.execute.link import WorkerLink
from reconciler.execute.logs import LogStore
from reconciler.execute.polling import PollingCarrier
from reconciler.model.live import LiveObject, StepState, TaskId, TaskState
from reconciler.model.spec import Address, Position
from reconciler.protocol.messages import Hello
from reconciler.protocol.session import Connected
from reconciler.protocol.tickets import Exited, Final, TicketId
from reconciler.store import objects, tasks
from reconciler.store.keys import sealer
from reconciler.store.writer import Store
from tests.execute.test_dispatch import STEP, Moves, Scene, queue

NEXT = STEP | {"name": "Next"}
BESIDE = NEXT | {"start": "withPrevious"}
WORKER = LiveObject(
    Address("Worker", "w1"),
    '{"endpoint":{"polling":{"subscription":"poll://w1","thumbprints":["SHA256:x"]}},"pools":["default"],"slots":1}',
    *("{}", "digest", Position("space.yaml", 1), "revision"),
)


class Place(Scene):
    """A dispatcher with one worker that takes one attempt at a time; its agent is the test."""

    async def begun(self, number: int) -> TicketId:
        """Wait for an attempt until it is offered."""
        await self._until(lambda: len(self._attempts()) >= number)
        ticket = TicketId(self._attempts()[number - 1].ticket)
        await self._until(lambda: self.dispatcher.owns("w1", ticket))
        return ticket

    async def end(self, ticket: TicketId) -> None:
        await self.dispatcher.finished("w1", Final(ticket, Exited(0), 0, NO_LOG))

    async def until_a_step_waits(self) -> None:
        def states() -> list[StepState]:
            return [run.state for run in self.store.read_now(lambda tx: tasks.steps(tx, TaskId(1)))]

        await self._until(lambda: StepState.WAITING in states())


@asynccontextmanager
async def one_slot(folder: Path, *process: dict[str, object]) -> AsyncIterator[Place]:
    with Store.open(str(folder), folder) as store:
        store.write_now(lambda tx: objects.put(tx, WORKER))
        queue(store, *process)
        key = store.write_now(lambda tx: sealer(tx, folder / "key", given=False))
        moves = Moves()
        grounds = Grounds(store, LogStore(folder / "logs"), folder / "blobs", folder, key, moves)
        dispatcher = Dispatcher(grounds)
        link = WorkerLink("w1", PollingCarrier(), grounds.logs, folder / "blobs", dispatcher)
        link.silent_since = None
        grounds.links["w1"] = link
        running = asyncio.create_task(dispatcher.run())
        try:
            await dispatcher.connected("w1", Connected(Hello((1,), "store", "boot", 1, 0), 1, {}), "10.0.0.5")
            yield Place(store, dispatcher, moves)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def test_the_next_step_takes_the_slot_of_the_one_before(tmp_path: Path) -> None:
    async with one_slot(tmp_path, STEP, NEXT) as place:
        await place.end(await place.begun(1))
        await place.end(await place.begun(2))
        await place.task_in(TaskState.SUCCEEDED)


async def test_a_step_that_found_no_room_takes_the_slot_that_becomes_free(tmp_path: Path) -> None:
    async with one_slot(tmp_path, STEP, BESIDE) as place:
        first = await place.begun(1)
        await place.until_a_step_waits()
        await place.end(first)
        await place.end(await place.begun(2))
        await place.task_in(TaskState.SUCCEEDED)
