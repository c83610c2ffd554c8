"""Carry a plan out for an engine: under the apply lease, with its heartbeat, in somebody's name."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from reconciler.apply.carry_out import APPLY_LEASE, Applied, Authority, Progress, carry_out
from reconciler.declare.load import Loaded
from reconciler.model.errors import Conflict
from reconciler.model.live import ActorKind, Binding
from reconciler.server.engine.engine import Engine
from reconciler.server.engine.settling import living_elsewhere
from reconciler.server.orders.account import account
from reconciler.server.planning.planning import Planned, binding_of
from reconciler.server.state import origins
from reconciler.store import leases
from reconciler.store.database import Transaction

LEASE_TTL = 15.0
"""Seconds that the apply lease outlives its last heartbeat."""

HEARTBEAT = 5.0
"""Seconds between heartbeats: three fit into the lease."""


async def carry_out_planned(
    engine: Engine,
    loaded: Loaded,
    planned: Planned,
    token: int,
    *,
    adopt: bool,
    progress: Progress,
    actor: str = "",
    binding: Binding | None = None,
) -> Applied:
    """Write the changes of a plan and queue its runs; raises as `carry_out` does.

    Without an `actor` it is whoever runs this program; without a `binding` the state is bound to the repository.
    """
    return await carry_out(
        planned.plan,
        planned.desired,
        planned.live.objects,
        engine.store,
        Authority(
            *(actor or account(), token, binding or binding_of(loaded)),
            adopt=adopt,
            kind=ActorKind.CONTROLLER if actor else ActorKind.PERSON,
            origin=origins.of_server() if actor else origins.of_command(),
        ),
        root=engine.place.root,
        read=loaded.tree.read,
        blobs=engine.place.files.blobs,
        progress=progress,
    )


@asynccontextmanager
async def apply_lease(engine: Engine) -> AsyncIterator[int]:
    """Hold the apply lease with a heartbeat; who leads knows that a former holder writes no more.

    Raises Conflict where attempts live on the built-in worker of another node: their supervisors answer to an engine
    on the same files alone.
    """
    holder = account()

    def acquire(tx: Transaction) -> int | leases.HeldBy:
        former, left = living_elsewhere(tx, engine.lead.node)
        if left:
            raise Conflict(
                f"the node {former.name} left steps running on its built-in worker", "go on there with: reconcile apply"
            )
        return leases.acquire(tx, APPLY_LEASE, holder, LEASE_TTL, time.time(), takeover=True)

    token = await engine.store.write(acquire)
    assert not isinstance(token, leases.HeldBy), "it is taken over"
    beating = asyncio.create_task(_beat(engine, token))
    try:
        yield token
    finally:
        beating.cancel()
        try:
            await asyncio.wait({beating})  # not its result: who cancels us meanwhile is heard
        finally:
            await engine.store.write(lambda tx: leases.release(tx, APPLY_LEASE, token))


async def _beat(engine: Engine, token: int) -> None:
    while True:
        await asyncio.sleep(HEARTBEAT)
        await engine.store.write(lambda tx: leases.renew(tx, APPLY_LEASE, token, LEASE_TTL, time.time()))
