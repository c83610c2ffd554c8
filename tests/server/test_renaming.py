"""A worker that is renamed while it works: who waits for it under its new name waits until it is met there."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from reconciler.execute.counts import Counts
from reconciler.execute.dispatch import Dispatcher
from reconciler.execute.grounds import Grounds
from reconciler.execute.logs import LogStore
from reconciler.model.live import LiveObject, StepState, TaskId, TaskState
from reconciler.model.spec import Address, Position
from reconciler.protocol.messages import Hello
from reconciler.protocol.session import Connected
from reconciler.protocol.tickets import Running, TicketId, TicketReport
from reconciler.schedule.progress import NOBODY_FOR
from reconciler.server.answers.reasons import reasons
from reconciler.server.configuration import EMBEDDED
from reconciler.server.engine.roster import Roster
from reconciler.server.trust.authority import Authority
from reconciler.store import leaving, objects
from reconciler.store.keys import sealer
from reconciler.store.writer import Store
from tests.execute.test_dispatch import Moves
from tests.execute.test_leasing import Stage, declare, queue, state, step

FIRST, SECOND = ("SHA256:" + letter * 42 + "A" for letter in "ab")
EAST = {"location": {"runOn": "workerPool", "pool": "east"}}
WEST = {"location": {"runOn": "workerPool", "pool": "west"}}
BUSY = "no worker of the pool east has room for it: heir still runs ship of task 1 under its former name w1"


def polling(name: str, thumbprint: str, pool: str) -> LiveObject:
    endpoint = {"polling": {"subscription": f"poll://{thumbprint[-4:]}", "thumbprints": [thumbprint]}}
    spec = json.dumps({"endpoint": endpoint, "policy": "patient", "pools": [pool]}, separators=(",", ":"))
    return LiveObject(Address("Worker", name), spec, "{}", name, Position("space.yaml", 1), "revision")


@dataclass
class Office(Stage):
    """An engine with its roster, whose agents are the test."""

    roster: Roster

    async def look(self) -> None:
        """Bring the links in step, as the roster does by itself now and then."""
        await self.roster.look(start=False)

    async def greet(self, worker: str, *running: str) -> None:
        """Let an agent connect under a name, which tells that these tickets run."""
        found = {TicketId(ticket): TicketReport(TicketId(ticket), Running()) for ticket in running}
        await self.dispatcher.connected(worker, Connected(Hello((1,), "store", "boot", 1, 0), 1, found), "10.0.0.5")

    async def rename(self) -> None:
        """Rename the worker, as an apply does."""
        heir = polling("heir", FIRST, "east")

        def work(tx):
            assert leaving.keep(tx, "w1", polling("w1", FIRST, "east").spec)
            assert objects.rename(tx, Address("Worker", "w1"), heir.address)
            objects.put(tx, heir)
            objects.next_serial(tx)

        self.store.write_now(work)
        self.dispatcher.wake()
        await self.look()

    def let_time_pass(self, *numbers: int) -> None:
        """Let nobody have been there for tasks' steps for as long as that is borne."""
        for number in numbers:
            places = self.dispatcher._runs[TaskId(number)]._places
            places._nobody_since = {index: since - NOBODY_FOR for index, since in places._nobody_since.items()}
        self.dispatcher.wake()

    def why(self, address: str) -> list[str]:
        return list(self.store.read_now(lambda tx: list(reasons(tx, address))))


@asynccontextmanager
async def office(store: Store, folder: Path) -> AsyncIterator[Office]:
    """Run an engine on a state."""
    key, moves = store.write_now(lambda tx: sealer(tx, folder / "key", given=False)), Moves()
    grounds = Grounds(store, LogStore(folder / "logs"), folder / "blobs", folder, key, moves)
    dispatcher = Dispatcher(grounds)
    authority = await Authority.open(store, key, time.time())
    roster = Roster(grounds, dispatcher, authority, EMBEDDED, Counts())
    await roster.look(start=False)
    await dispatcher.resume()
    running = asyncio.create_task(dispatcher.run())
    try:
        yield Office(store, dispatcher, moves, roster)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@asynccontextmanager
async def renamed(store: Store, folder: Path) -> AsyncIterator[Office]:
    """Run an engine whose worker w1 was renamed to heir while it runs the step of the first task."""
    for pool in ("east", "west"):
        declare(store, "WorkerPool", pool)
    declare(store, "MachinePolicy", "patient", connection={"lostAfter": "1h"})
    for one in (polling("w1", FIRST, "east"), polling("w2", SECOND, "west")):
        store.write_now(lambda tx, one=one: objects.put(tx, one))
    queue(store, "shop", step("ship", **EAST))
    async with office(store, folder) as found:
        await found.greet("w1")
        await found.until_run("1:ship")
        await found.rename()
        yield found


async def test_who_waits_for_the_new_name_waits_as_for_a_busy_worker_until_it_is_met(tmp_path: Path) -> None:
    async with state(tmp_path) as store, renamed(store, tmp_path) as place:
        place.add("till", step("next", **EAST))
        place.add("web", step("next", **WEST))
        await place.until_waits(2, "next", BUSY)
        await place.until_waits(3, "next", "no worker of the pool west can take it: w2 has never connected")
        assert f'  step 1 "next" is waiting: {BUSY}' in place.why("task/2")
        assert (
            "its machine still runs ship of task 1 under its former name w1, and is met as heir afterwards"
            in place.why("Worker/heir")
        )
        place.let_time_pass(2, 3)
        await place.until(lambda: place.state(3) is TaskState.FAILED)
        assert place.step(2, "next").reason == BUSY
        await place.end("1:ship")
        await place.look()
        await place.until_waits(2, "next", "no worker of the pool east can take it: heir has never connected")
        await place.greet("heir")
        assert await place.until_run("2:next") == {"2:next": "heir"}


async def test_a_machine_that_is_not_reached_is_waited_for_no_longer_than_others(tmp_path: Path) -> None:
    async with state(tmp_path) as store, renamed(store, tmp_path) as place:
        place.add("till", step("next", **EAST))
        await place.until_waits(2, "next", BUSY)
        await place.dispatcher.disconnected("w1", "silent for 15 s")
        lost = "no worker of the pool east can take it: heir is unavailable: silent for 15 s"
        await place.until_waits(2, "next", lost)
        await place.greet("w1", place.live()["1:ship"].ticket)
        await place.until_waits(2, "next", BUSY)
        await place.dispatcher.disconnected("w1", "silent for 15 s")
        await place.until_waits(2, "next", lost)
        place.let_time_pass(2)
        await place.until(lambda: place.step(2, "next").state is StepState.FAILED)
        assert place.step(2, "next").reason == f"nobody could run it for 120 s: {lost}"


async def test_the_next_engine_knows_who_was_renamed(tmp_path: Path) -> None:
    async with state(tmp_path) as store:
        async with renamed(store, tmp_path) as first:
            first.add("till", step("next", **EAST))
            await first.until_waits(2, "next", BUSY)
        async with office(store, tmp_path) as place:
            await place.greet("w1", place.live()["1:ship"].ticket)
            place.let_time_pass(2)
            await place.until_waits(2, "next", BUSY)
            await place.end("1:ship")
            await place.look()
            await place.greet("heir")
            assert await place.until_run("2:next") == {"2:next": "heir"}


async def test_what_runs_under_the_former_name_is_lost_as_late_as_the_policy_says(tmp_path: Path) -> None:
    async with state(tmp_path) as store, renamed(store, tmp_path) as place:
        place.add("till", step("next", **EAST))
        await place.until_waits(2, "next", BUSY)
        assert place.dispatcher._grounds.fleet.lost_after("w1") == 3_600.0
