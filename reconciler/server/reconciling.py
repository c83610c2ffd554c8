"""Carry a plan out for an engine: under the apply lease, with its heartbeat, in somebody's name."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from getpass import getuser

from reconciler.apply.carry_out import APPLY_LEASE, Applied, Authority, Progress, carry_out
from reconciler.declare.load import Loaded
from reconciler.model.errors import Conflict
from reconciler.schedule.fleet import BUILTIN
from reconciler.server.engine import Engine
from reconciler.server.planning import Planned, binding_of
from reconciler.store import attempts, leases
from reconciler.store.database import Transaction
from reconciler.store.dialects import is_address

LEASE_TTL = 15.0
"""Seconds that the apply lease outlives its last heartbeat."""

HEARTBEAT = 5.0
"""Seconds between heartbeats: three fit into the lease."""


async def carry_out_planned(
    engine: Engine, loaded: Loaded, planned: Planned, token: int, *, adopt: bool, progress: Progress
) -> Applied:
    """Write the changes of a plan and queue its runs; raises as `carry_out` does."""
    return await carry_out(
        planned.plan,
        planned.desired,
        engine.store,
        Authority(f"{getuser()}@{socket.gethostname()}", token, binding_of(loaded), adopt=adopt),
        root=engine.place.root,
        read=loaded.tree.read,
        blobs=engine.place.files.blobs,
        progress=progress,
    )


@asynccontextmanager
async def apply_lease(engine: Engine) -> AsyncIterator[int]:
    """Hold the apply lease with a heartbeat; who has the lock of the files knows that a former holder there is dead.

    While attempts live on the built-in worker of one holder it is not given back, and no other one may take it: their
    supervisors answer to an engine on the same files alone.
    """
    holder = f"{getuser()}@{socket.gethostname()}, files in {engine.place.files.root},"

    def acquire(tx: Transaction) -> int | leases.HeldBy:
        former = leases.last_holder(tx, APPLY_LEASE)
        ours = former in {"", holder} or not is_address(engine.place.data)
        taken = leases.acquire(tx, APPLY_LEASE, holder, LEASE_TTL, time.time(), takeover=ours)
        if not ours and not isinstance(taken, leases.HeldBy) and attempts.unfinished_on(tx, BUILTIN):
            raise Conflict(f"{former} left steps running there", "go on from there with: reconcile apply")
        return taken

    token = await engine.store.write(acquire)
    if isinstance(token, leases.HeldBy):
        raise Conflict(f"{token.holder} is applying", "wait until it has finished, then run it again")
    beating = asyncio.create_task(_beat(engine, token))
    try:
        yield token
    finally:
        beating.cancel()
        with suppress(asyncio.CancelledError):
            await beating
        await engine.store.write(
            lambda tx: not attempts.unfinished_on(tx, BUILTIN) and leases.release(tx, APPLY_LEASE, token)
        )


async def _beat(engine: Engine, token: int) -> None:
    while True:
        await asyncio.sleep(HEARTBEAT)
        await engine.store.write(lambda tx: leases.renew(tx, APPLY_LEASE, token, LEASE_TTL, time.time()))
