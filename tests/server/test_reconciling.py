"""The apply lease is its engine's alone, and is not given where the built-in worker of another node has attempts."""

import asyncio
from pathlib import Path

import pytest

from reconciler.apply.carry_out import APPLY_LEASE
from reconciler.model.errors import Conflict
from reconciler.schedule.fleet import BUILTIN
from reconciler.server.engine.engine import Engine, open_engine
from reconciler.server.engine.reconciling import apply_lease
from reconciler.server.state.place import place_of
from reconciler.store import leadership, leases
from reconciler.store.leadership import Node
from tests.server.test_roster import live_attempt

PATIENCE = 10.0  # seconds; a test that waits longer has failed
OTHER = Node("omaha", "files of omaha")


async def held(engine: Engine) -> bool:
    async with apply_lease(engine):
        return bool(engine.store.read_now(lambda tx: leases.last_holder(tx, APPLY_LEASE)))


async def test_the_lease_is_taken_over_from_a_dead_holder_and_given_back(tmp_path: Path) -> None:
    async with open_engine(place_of(str(tmp_path), None, None)) as engine:
        live_attempt(engine.store, BUILTIN)
        engine.store.write_now(lambda tx: leases.acquire(tx, APPLY_LEASE, "ada@elsewhere", 60.0, 0.0))
        assert await held(engine)
        assert not engine.store.read_now(lambda tx: leases.last_holder(tx, APPLY_LEASE))


async def test_who_is_cancelled_while_giving_the_lease_back_ends_and_has_given_it_back(tmp_path: Path) -> None:
    async with open_engine(place_of(str(tmp_path), None, None)) as engine:
        inside, leave = asyncio.Event(), asyncio.Event()

        async def apply_for_ever() -> None:
            while True:
                async with apply_lease(engine):
                    inside.set()
                    await leave.wait()

        applying = asyncio.create_task(apply_for_ever())
        await inside.wait()
        leave.set()
        await asyncio.sleep(0)  # it waits for the heartbeat to end
        applying.cancel()
        await asyncio.wait({applying}, timeout=PATIENCE)
        assert applying.cancelled()
        assert not engine.store.read_now(lambda tx: leases.last_holder(tx, APPLY_LEASE))


@pytest.mark.parametrize(("worker", "is_refused"), [(BUILTIN, True), ("w1", False)])
async def test_attempts_on_the_built_in_worker_of_another_node_are_left_to_it(
    tmp_path: Path, worker: str, is_refused: bool
) -> None:
    async with open_engine(place_of(str(tmp_path), None, None)) as engine:
        live_attempt(engine.store, worker)
        engine.store.write_now(lambda tx: leadership.set_built_in(tx, OTHER))
        if not is_refused:
            assert await held(engine)
            return
        with pytest.raises(Conflict) as refused:
            await held(engine)
        assert refused.value.message == "the node omaha left steps running on its built-in worker"
        assert refused.value.hint == "go on there with: reconcile apply"
