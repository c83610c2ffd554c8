"""The apply lease: who holds it, and for whose attempts it is kept."""

from pathlib import Path

import pytest

from reconciler.apply.carry_out import APPLY_LEASE
from reconciler.schedule.fleet import BUILTIN
from reconciler.server.engine import open_engine
from reconciler.server.place import place_of
from reconciler.server.reconciling import apply_lease
from reconciler.store import leases
from tests.server.test_roster import live_attempt


@pytest.mark.parametrize(("worker", "is_kept"), [(BUILTIN, True), ("w1", False)])
async def test_the_lease_is_kept_for_steps_whose_supervisors_answer_here_alone(
    tmp_path: Path, worker: str, is_kept: bool
) -> None:
    async with open_engine(place_of(str(tmp_path), None, None)) as engine:
        live_attempt(engine.store, worker)
        async with apply_lease(engine):
            pass
        assert bool(engine.store.read_now(lambda tx: leases.last_holder(tx, APPLY_LEASE))) is is_kept
