"""The model of apply that scenarios and properties use is what the real apply does to a real store."""

import asyncio
import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings

from reconciler.apply.carry_out import APPLY_LEASE, Authority, carry_out
from reconciler.model.desired import DesiredState
from reconciler.model.live import Binding, LiveState, Task, TaskState
from reconciler.model.text import Removals
from reconciler.plan.changes import Plan
from reconciler.plan.planner import Options, plan
from reconciler.store import leases, objects, tasks
from reconciler.store.writer import Store
from tests.plan.spaces import desired_states
from tests.scenarios.applying import applied, settled

FREE = Options(removals_max=Removals("100%"))


@given(desired_states(), desired_states())
@settings(max_examples=10, deadline=None)
def test_the_model_and_the_real_apply_leave_the_same_state(before: DesiredState, after: DesiredState) -> None:
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(compare([before, after, before], Path(name)))


async def compare(commits: list[DesiredState], place: Path) -> None:
    with Store.open(str(place), place) as store:
        for desired in commits:
            live = await store.read(objects.live_state)
            found = plan(desired, live, FREE)
            await really_applied(found, desired, live, store, place)
            expected = applied(found, desired, live)
            assert shown(await store.read(objects.live_state)) == shown(expected)
            for task in await store.read(tasks.unfinished):
                await store.write(lambda tx, task=task: tasks.set_state(tx, task.id, TaskState.SUCCEEDED, "", 1.0))
            assert shown(await store.read(objects.live_state)) == shown(settled(expected, {}))


async def really_applied(found: Plan, desired: DesiredState, live: LiveState, store: Store, place: Path) -> None:
    token = await store.write(lambda tx: leases.acquire(tx, APPLY_LEASE, "a test", 60.0, 0.0, takeover=True))
    assert isinstance(token, int)
    await carry_out(
        found,
        desired,
        live.objects,
        store,
        Authority("a test", token, Binding(desired.name, "", "")),
        root=place,
        read=lambda file: b"",
        blobs=place / "blobs",
        progress=lambda item, outcome: None,
    )


def shown(live: LiveState) -> LiveState:
    """Return the state without times and pins, which a model has none of."""
    return replace(live, last_tasks={slot: plain(task) for slot, task in live.last_tasks.items()})


def plain(task: Task) -> Task:
    return replace(task, pin="", queued_at=0.0, started_at=None, finished_at=None)
