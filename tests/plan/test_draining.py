"""What a plan says of workers that would take nothing new: what runs there, what their pools keep, who is stranded."""

from dataclasses import replace

import pytest

from reconciler.model.desired import DesiredState
from reconciler.model.live import (
    LiveState,
    Occupant,
    Override,
    SeenWorker,
    TaskId,
    TaskState,
    WorkerHealth,
    WorkerStatus,
)
from reconciler.model.space import SpaceSpec
from reconciler.model.spec import Address
from reconciler.model.text import Removals
from reconciler.plan.changes import Plan
from reconciler.plan.planner import Options, plan
from reconciler.schedule.fleet import Obstacle, fleet_of
from reconciler.schedule.requests import Needs
from tests.plan.living import live_of
from tests.scenarios.declaring import declare

SHOP = """\
apiVersion: reconciler/v1
kind: Environment
metadata: {name: production}
spec: {}
---
apiVersion: reconciler/v1
kind: WorkerPool
metadata: {name: omaha}
spec: {}
---
apiVersion: reconciler/v1
kind: Project
metadata: {name: shop}
spec:
  process:
    - {name: Build, script: {syntax: sh, body: make}}
    - {name: Ship, script: {syntax: sh, body: ship}, location: {runOn: workerPool, pool: omaha}}
---
apiVersion: reconciler/v1
kind: Deployment
metadata: {name: shop-production}
spec: {project: shop, environment: production, release: "1"}
"""
WORKER = """\
---
apiVersion: reconciler/v1
kind: Worker
metadata: {name: %s}
spec: {pools: [omaha], endpoint: {polling: {subscription: "poll://%s-1234", thumbprints: ["SHA256:%sA"]}}%s}
"""
WITHOUT = "it would leave {} without a worker that can take it; if that is meant, apply with --max-removals 1, or approve it at the server"
STRANDED = WITHOUT.format('"Ship" of Deployment/shop-production (task 1) in the pool omaha')
ORDER = Override("w1", "ada@desk", "disk swap", 0.0, 3_600.0)
LIVE = "Worker/w1 is draining {} (live override, which a plan leaves as it is)"


def space(**workers: str) -> DesiredState:
    """Declare the shop with these workers, each with more fields."""
    found = (WORKER % (name, name, (name * 42)[:42], f", {more}" if more else "") for name, more in workers.items())
    return declare({"shop.yaml": SHOP + "".join(found)})


def seen(desired: DesiredState, *healthy: str, state: TaskState = TaskState.SUCCEEDED) -> LiveState:
    """Return what is live a minute and a half after the start of a task, with these workers connected."""
    live = live_of(desired)
    agent = SeenWorker(0.0, "10.0.0.7", "0.1", "boot", "store", 1, {})
    return replace(
        live,
        at=1_000.0,
        last_tasks={slot: replace(task, state=state) for slot, task in live.last_tasks.items()},
        workers={name: WorkerStatus(name, WorkerHealth.HEALTHY, 0.0, "", agent) for name in healthy},
    )


def forecast(planned: Plan) -> list[str]:
    return [fact.text for fact in planned.facts if fact.text.startswith("Worker/")]


def refusals(planned: Plan) -> list[str]:
    return [change.refusal for change in planned.changes if change.refusal]


def test_what_runs_there_and_what_its_pool_keeps_are_told() -> None:
    live = seen(space(w1="slots: 4", w2="slots: 2", w3="slots: 1, state: disabled"), "w1", "w2", "w3")
    running = [
        Occupant(f"t{number}", TaskId(1), "shop-production", at, "ship") for number, at in enumerate((100.0, 990.0))
    ]
    live = replace(live, occupants={"w1": tuple(running)})
    planned = plan(space(w1="slots: 4, state: draining", w2="slots: 2", w3="slots: 1, state: disabled"), live)
    assert forecast(planned) == [
        (
            "Worker/w1 would drain: 2 attempts run there (shop-production since 15 min, shop-production since 10 s); "
            "the pool omaha keeps 1 of 2 workers that take work and 2 of 6 slots"
        )
    ]
    assert not planned.refused


@pytest.mark.parametrize(
    ("becomes", "words"),
    [
        ({"w2": ""}, "would drain and leave"),
        ({"w1": "state: disabled", "w2": ""}, "would take nothing new"),
        ({"w1": "state: draining", "w2": ""}, "would drain"),
    ],
)
def test_each_way_to_end_has_its_words(becomes: dict[str, str], words: str) -> None:
    live = seen(space(w1="", w2=""), "w1", "w2")
    assert forecast(plan(space(**becomes), live, Options(removals_max=Removals("1")))) == [
        f"Worker/w1 {words}: nothing runs there; the pool omaha keeps 1 of 2 workers that take work"
    ]


def test_of_a_worker_that_nobody_ever_met_nothing_is_told() -> None:
    assert forecast(plan(space(w1="state: draining", w2=""), seen(space(w1="", w2="")))) == []


def test_the_digest_knows_nothing_of_it() -> None:
    before, becomes = space(w1="", w2=""), space(w1="state: draining", w2="")
    quiet, busy = seen(before), seen(before, "w1", "w2")
    assert plan(becomes, quiet).digest == plan(becomes, busy).digest
    assert plan(becomes, quiet).facts != plan(becomes, busy).facts


@pytest.mark.parametrize("state", [TaskState.QUEUED, TaskState.RUNNING, TaskState.AWAITING_INTERVENTION])
@pytest.mark.parametrize("becomes", [{"w1": "state: draining", "w2": ""}, {"w1": "state: disabled", "w2": ""}])
def test_nobody_takes_the_last_able_worker_from_a_task_that_has_not_ended(
    state: TaskState, becomes: dict[str, str]
) -> None:
    live = seen(space(w1="", w2=""), "w1", state=state)
    assert refusals(plan(space(**becomes), live)) == [STRANDED]
    assert plan(space(**becomes), live).refused


def test_only_what_a_task_has_still_to_run_counts() -> None:
    becomes, live = space(w1="state: draining", w2=""), seen(space(w1="", w2=""), "w1", state=TaskState.RUNNING)
    assert refusals(plan(becomes, replace(live, settled={TaskId(1): frozenset({"build"})}))) == [STRANDED]
    assert refusals(plan(becomes, replace(live, settled={TaskId(2): frozenset({"ship"})}))) == [STRANDED]
    assert not plan(becomes, replace(live, settled={TaskId(1): frozenset({"build", "ship"})})).refused


def test_that_is_lifted_as_a_removal_is() -> None:
    live = seen(space(w1="", w2=""), "w1", state=TaskState.RUNNING)
    removed = space(w2="")
    assert refusals(plan(removed, live)) == [STRANDED]
    assert not plan(removed, live, Options(removals_max=Removals("1"))).refused


def test_a_task_that_has_ended_or_another_worker_that_can_take_it_stands_against_nothing() -> None:
    becomes = space(w1="state: draining", w2="")
    assert not plan(becomes, seen(space(w1="", w2=""), "w1")).refused
    assert not plan(becomes, seen(space(w1="", w2=""), "w1", "w2", state=TaskState.RUNNING)).refused


def test_what_nobody_could_take_before_is_not_stranded() -> None:
    assert not plan(space(w1="state: draining"), seen(space(w1=""), state=TaskState.RUNNING)).refused


def test_a_machine_that_is_replaced_by_another_one_is_told() -> None:
    live = seen(space(w1="", w2=""), "w1", "w2")
    other = space(w1="", w2="", w3="")
    third = other.objects[Address("Worker", "w3")]
    other.objects[Address("Worker", "w1")] = replace(third, address=Address("Worker", "w1"))
    (told,) = forecast(plan(other, live))
    assert told.startswith("Worker/w1 would be another machine: nothing runs there; the pool omaha keeps ")


def test_a_live_override_is_told_and_counts_as_a_worker_that_takes_no_work() -> None:
    desired = space(w1="", w2="")
    live = replace(seen(desired, "w1", "w2", state=TaskState.RUNNING), overrides={"w1": ORDER})
    planned = plan(desired, live)
    assert planned.empty
    assert forecast(planned) == [LIVE.format("by order of ada@desk until 1970-01-01T01:00:00Z: disk swap")]
    assert refusals(plan(space(w1="", w2="state: draining"), live)) == [STRANDED]


def test_a_step_is_told_what_keeps_it_from_a_drained_worker() -> None:
    fleet = fleet_of(space(w1="").objects, SpaceSpec(), seen(space(w1=""), "w1").workers, {"w1": ORDER})
    assert list(fleet.workers["w1"].obstacles(Needs("omaha"))) == [
        Obstacle(f"is draining {ORDER.words}", "its live override were ended")
    ]
