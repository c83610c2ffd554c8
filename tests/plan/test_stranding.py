"""What takes the last worker from a step that a task has still to begin is refused, and what does not is not."""

import json
from dataclasses import replace

import pytest

from reconciler.model.desired import DesiredState
from reconciler.model.live import LiveState, Occupant, SeenWorker, TaskId, TaskState, WorkerHealth, WorkerStatus
from reconciler.model.spec import Address
from reconciler.model.text import Removals
from reconciler.plan.planner import Options, plan
from reconciler.schedule.fleet import BUILTIN
from tests.plan.living import live_of
from tests.plan.spaces import Document, document
from tests.scenarios.declaring import declare

BUILD: Document = {"name": "Build", "script": {"syntax": "sh", "body": "make"}}
OMAHA = {"runOn": "workerPool", "pool": "omaha"}
SHIP: Document = {"name": "Ship", "script": {"syntax": "sh", "body": "ship"}, "location": OMAHA}
WISH: Document = {"project": "shop", "environment": "production", "release": "1"}
PRODUCTION = document("Deployment", "shop-production", WISH)
FOR_ZETA = document("Deployment", "shop-production", WISH | {"tenants": ["zeta"]})
TENANTS = (
    document("TagSet", "size", {"tags": [{"name": "large"}, {"name": "small"}]}),
    document("Tenant", "zeta", {"tags": ["size/small"], "projects": {"shop": ["production"]}}),
)
ISOLATED = document("Space", "acme", {"apply": "isolated"})
HELM = {"helm": "3.1"}
REFUSED = (
    'it would leave "Ship" of Deployment/shop-production (task 1) in the pool omaha without a worker that can take it; '
    "if that is meant, apply with --max-removals 1, or approve it at the server"
)
BUILD_REFUSED = (
    'it would leave "Build" of Deployment/shop-production (task 1) in the pool default without a worker that can take it; '
    "if that is meant, apply with --max-removals 1, or approve it at the server"
)


def pool(name: str, spec: Document | None = None, **metadata: str) -> Document:
    return document("WorkerPool", name, spec or {}, **metadata)


def worker(name: str, *pools: str, key: str = "", labels: dict[str, str] | None = None, **spec: object) -> Document:
    """Declare a worker, of omaha unless it is said; with the `key` of another name it is that one's machine."""
    own = key or name
    polling = {"subscription": f"poll://{own}-1234", "thumbprints": [f"SHA256:{own.ljust(42, 'a')}A"]}
    renamed = {"renamedFrom": key} if key else {}
    spec = {"pools": list(pools or ("omaha",)), "endpoint": {"polling": polling}} | spec
    return document("Worker", name, spec, labels=labels or {}, **renamed)


def space(
    *documents: Document, step: Document = SHIP, variables: tuple[Document, ...] = (), gone: tuple[str, ...] = ()
) -> DesiredState:
    """Declare a shop of this step, with these documents in place of those of the same names, or beside them."""
    usual = (
        *(document("Environment", name, {}) for name in ("lab", "production")),
        *(pool("omaha"), pool("berlin"), PRODUCTION),
        document("Project", "shop", {"process": [step], "variables": list(variables)}),
    )
    every = {each["metadata"]["name"]: each for each in (*usual, *documents)}
    files: dict[str, str] = {}
    for each in (each for name, each in every.items() if name not in gone):
        name = "reconcile.yaml" if each["kind"] == "Space" else "all.yaml"
        files[name] = f"{files.get(name, '')}---\n{json.dumps(each)}\n"
    return declare(files)


def at_work(
    desired: DesiredState, *healthy: str, state: TaskState = TaskState.RUNNING, has: dict[str, str] | None = None
) -> LiveState:
    """Return what is live while the shop's task has not ended and these workers are connected, all with the same."""
    live, agent = live_of(desired), SeenWorker(0.0, "10.0.0.7", "0.1", "boot", "store", 1, has or {})
    return replace(
        live,
        at=1_000.0,
        last_tasks={slot: replace(task, state=state) for slot, task in live.last_tasks.items()},
        workers={name: WorkerStatus(name, WorkerHealth.HEALTHY, 0.0, "", agent) for name in healthy},
    )


def refusals(desired: DesiredState, live: LiveState, options: Options | None = None) -> dict[str, str]:
    """Return what is refused, and why."""
    planned = plan(desired, live, options or Options())
    return {str(change.address): change.refusal for change in planned.changes if change.refusal}


NORTHERN = SHIP | {"selector": {"zone": "north"}}
NEEDY = SHIP | {"requires": {"helm": ">=3"}}


@pytest.mark.parametrize(
    ("step", "is_now", "becomes"),
    [
        (SHIP, worker("w1"), worker("w1", "berlin")),
        (NORTHERN, worker("w1", labels={"zone": "north"}), worker("w1")),
        (NORTHERN, worker("w1", labels={"zone": "north"}), worker("w1", labels={"zone": "south"})),
        (NEEDY, worker("w1", capabilities=HELM), worker("w1")),
        (NEEDY, worker("w1", capabilities=HELM), worker("w1", capabilities={"helm": "2.9"})),
        (SHIP, worker("w1"), worker("w1", isolation="sandbox")),
        (SHIP, worker("w1"), worker("w1", state="disabled")),
        (SHIP, worker("w1"), worker("w9") | {"metadata": {"name": "w1"}}),
    ],
    ids=["pool", "label", "value", "capability", "version", "isolation", "state", "machine"],
)
def test_a_worker_does_not_change_so_that_nobody_can_take_a_step(
    step: Document, is_now: Document, becomes: Document
) -> None:
    live, after = at_work(space(is_now, worker("w2"), step=step), "w1"), space(becomes, worker("w2"), step=step)
    assert refusals(after, live) == {"Worker/w1": REFUSED}
    assert plan(after, live).refused
    assert not plan(after, live, Options(removals_max=Removals("1"))).refused


def test_a_worker_that_is_moved_and_renamed_at_once_is_taken_from_its_pool_all_the_same() -> None:
    live = at_work(space(worker("w1")), "w1")
    assert refusals(space(worker("heir", "berlin", key="w1")), live) == {"Worker/heir": REFUSED}


@pytest.mark.parametrize("shut", [{"allowedEnvironments": ["lab"]}, {"dynamic": {"provider": {"cloud": {}}}}])
def test_a_pool_does_not_shut_a_step_out(shut: Document) -> None:
    live = at_work(space(worker("w1")), "w1")
    assert refusals(space(worker("w1"), pool("omaha", shut)), live) == {"WorkerPool/omaha": REFUSED}


def test_a_pool_does_not_leave_while_a_task_knows_it() -> None:
    live = at_work(space(worker("w1")), "w1")
    elsewhere = SHIP | {"location": OMAHA | {"pool": "berlin"}}
    left = space(worker("w1", "berlin"), step=elsewhere, gone=("omaha",))
    assert refusals(left, live) == {"Worker/w1": REFUSED, "WorkerPool/omaha": REFUSED}


def test_a_pool_does_not_lose_the_name_by_which_a_task_knows_it() -> None:
    live = at_work(space(worker("w1")), "w1")
    elsewhere = SHIP | {"location": OMAHA | {"pool": "nebraska"}}
    renamed = space(worker("w1", "nebraska"), pool("nebraska", renamedFrom="omaha"), step=elsewhere, gone=("omaha",))
    assert refusals(renamed, live) == {"Worker/w1": REFUSED, "WorkerPool/nebraska": REFUSED}


def test_a_space_does_not_disable_the_machine_that_is_to_run_a_step() -> None:
    live = at_work(space(document("Space", "acme", {}), step=BUILD))
    disabled = space(document("Space", "acme", {"builtinWorker": {"enabled": False}}), step=BUILD)
    assert refusals(disabled, live) == {"Space/acme": BUILD_REFUSED}


def test_the_default_pool_does_not_move_to_where_nobody_can_take_a_step() -> None:
    workers = worker("w1"), worker("w2", "berlin", state="disabled")
    live = at_work(space(pool("omaha", {"default": True}), *workers, step=BUILD), "w1", "w2")
    moved = space(pool("berlin", {"default": True}), *workers, step=BUILD)
    words = BUILD_REFUSED.replace("pool default", "pool omaha")
    assert refusals(moved, live) == {"WorkerPool/berlin": words, "WorkerPool/omaha": words}


def test_the_first_worker_of_the_default_pool_can_do_what_the_server_can_unless_nobody_has_met_it() -> None:
    step = BUILD | {"requires": {"helm": "*"}}
    server = WorkerStatus(BUILTIN, WorkerHealth.HEALTHY, 0.0, "", SeenWorker(0.0, "", "", "", "", 1, HELM))
    live = at_work(space(worker("w1", "berlin"), step=step), "w1")
    live = replace(live, workers=live.workers | {BUILTIN: server})
    joined = space(worker("w1", "berlin", "default"), step=step)
    assert refusals(joined, live) == {"Worker/w1": BUILD_REFUSED}
    assert refusals(space(worker("w1", "berlin"), worker("w2", "default"), step=step), live) == {}


def test_only_those_changes_are_refused_that_take_somebody_away_who_can_take_the_step() -> None:
    live = at_work(space(worker("w1"), worker("w2"), worker("w3", "berlin")), "w1", "w3")
    drained = [
        worker(name, pool, state="draining") for name, pool in (("w1", "omaha"), ("w2", "omaha"), ("w3", "berlin"))
    ]
    described = pool("omaha", {"description": "by the river"})
    assert refusals(space(*drained, described), live) == {"Worker/w1": REFUSED}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((worker("w1"), worker("w2")), (worker("w1", "berlin"), worker("w2"))),
        ((worker("w1"),), (worker("w1", "omaha", "berlin", slots=1),)),
        ((worker("w1"),), (worker("heir", key="w1"),)),
        ((worker("w1"), worker("w2")), (worker("w1", state="draining"), worker("heir", key="w2"))),
    ],
    ids=["another", "more", "rename", "renamed"],
)
def test_where_somebody_can_take_the_step_nothing_is_refused(
    before: tuple[Document, ...], after: tuple[Document, ...]
) -> None:
    live = at_work(space(*before), "w1", "w2")
    assert plan(space(*after), live).changes
    assert refusals(space(*after), live) == {}


def test_what_the_agent_has_found_need_not_be_declared() -> None:
    live = at_work(space(worker("w1", capabilities=HELM), step=NEEDY), "w1", has={"helm": "3.2"})
    assert refusals(space(worker("w1"), step=NEEDY), live) == {}


def test_who_still_works_under_a_former_name_can_take_the_step() -> None:
    live = at_work(space(worker("heir", key="w1"), worker("w2")), "w1", "w2")
    left = space(worker("w1")).objects[Address("Worker", "w1")].spec
    live = replace(live, leaving={"w1": left}, occupants={"w1": (Occupant("t7", TaskId(7), "shop", 0.0, "ship"),)})
    drained = worker("w2", state="draining")
    assert refusals(space(worker("heir", key="w1"), drained), live) == {}
    both = space(worker("heir", key="w1", state="draining"), drained)
    assert refusals(both, live) == {"Worker/heir": REFUSED, "Worker/w2": REFUSED}
    next_one = document("Deployment", "shop-production", WISH | {"release": "2"})
    planned = plan(space(worker("heir", key="w1"), worker("w2", state="draining"), next_one), live)
    assert planned.runs
    assert not [fact.text for fact in planned.facts if "will wait" in fact.text]


@pytest.mark.parametrize(
    ("fields", "deployment"),
    [
        ({"environments": {"only": ["lab"]}}, PRODUCTION),
        ({"environments": {"except": ["production"]}}, PRODUCTION),
        ({"tenantTags": ["size/large"]}, FOR_ZETA),
        ({"disabled": True}, PRODUCTION),
        ({}, document("Deployment", "shop-production", WISH | {"skipSteps": ["ship"]})),
    ],
    ids=["only", "except", "tenant", "disabled", "skipped"],
)
def test_a_step_that_the_task_leaves_out_asks_for_no_worker(fields: Document, deployment: Document) -> None:
    before, after = (
        space(worker("w1", name), *TENANTS, deployment, step=SHIP | fields) for name in ("omaha", "berlin")
    )
    live = at_work(before, "w1")
    assert plan(after, live).changes
    assert refusals(after, live) == {}


def test_the_pool_of_a_step_is_that_of_its_tenant() -> None:
    values = [{"value": "omaha", "scope": {"tenantTags": ["size/small"]}}, {"value": "berlin"}]
    variables = ({"name": "Where", "type": "workerPool", "values": values},)
    step = SHIP | {"location": {"runOn": "workerPool", "poolVariable": "Where"}}
    before, after = (
        space(worker("w1", name), worker("w2", "berlin"), *TENANTS, FOR_ZETA, step=step, variables=variables)
        for name in ("omaha", "berlin")
    )
    words = REFUSED.replace("shop-production (", "shop-production for zeta (")
    assert refusals(after, at_work(before, "w1", "w2")) == {"Worker/w1": words}


def test_a_step_that_runs_or_has_ended_asks_for_no_worker() -> None:
    live, moved = at_work(space(worker("w1")), "w1"), space(worker("w1", "berlin"))
    assert refusals(moved, replace(live, settled={TaskId(1): frozenset({"ship"})})) == {}
    assert refusals(moved, replace(live, settled={TaskId(2): frozenset({"ship"})})) == {"Worker/w1": REFUSED}


def test_a_task_that_is_cancelled_begins_no_further_step() -> None:
    moved = space(worker("w1", "berlin"))
    assert refusals(moved, at_work(space(worker("w1")), "w1", state=TaskState.CANCELLING)) == {}
    live = at_work(space(worker("w1")), "w1")
    told = {slot: replace(task, cancel_by="ada") for slot, task in live.last_tasks.items()}
    assert refusals(moved, replace(live, last_tasks=told)) == {}


def test_a_queued_task_leaves_with_its_deployment_and_one_that_runs_does_not() -> None:
    before, after = space(worker("w1")), space(worker("w1", "berlin"), gone=("shop-production",))
    assert refusals(after, at_work(before, "w1", state=TaskState.QUEUED)) == {}
    assert refusals(after, at_work(before, "w1")) == {"Worker/w1": REFUSED}


def test_a_task_that_runs_though_another_one_of_its_slot_was_queued_counts() -> None:
    live = at_work(space(worker("w1")), "w1", state=TaskState.SUCCEEDED)
    last = {slot: replace(task, id=TaskId(2)) for slot, task in live.last_tasks.items()}
    running = tuple(replace(task, state=TaskState.RUNNING) for task in live.last_tasks.values())
    live = replace(live, last_tasks=last, overtaken=running)
    assert refusals(space(worker("w1", "berlin")), live) == {"Worker/w1": REFUSED}


def test_what_a_plan_leaves_out_takes_no_worker_away() -> None:
    live = at_work(space(worker("w1"), worker("w2")), "w1", "w2")
    both = space(worker("w1", "berlin"), worker("w2", "berlin"))
    assert refusals(both, live) == {"Worker/w1": REFUSED, "Worker/w2": REFUSED}
    assert refusals(both, live, Options(targets=(Address("Worker", "w1"),))) == {}


@pytest.mark.parametrize(("settings", "refused"), [((ISOLATED,), {"Worker/w2"}), ((), {"Worker/w1", "Worker/w2"})])
def test_where_the_refused_is_left_out_it_takes_no_worker_away(
    settings: tuple[Document, ...], refused: set[str]
) -> None:
    kept = worker("w2")
    kept["metadata"]["protect"] = True
    live = at_work(space(worker("w1"), kept, worker("w3"), *settings), "w1", "w2")
    assert refusals(space(worker("w1", "berlin"), worker("w3"), *settings), live).keys() == refused


def test_what_is_to_be_allowed_is_enough_for_what_else_the_plan_removes() -> None:
    pools = [pool(f"pool-{number}") for number in range(8)]
    live, fewer = at_work(space(worker("w1"), *pools), "w1"), space(worker("w1", "berlin"), *pools[:6])
    assert refusals(fewer, live) == {"Worker/w1": REFUSED.replace("--max-removals 1", "--max-removals 2")}
    assert refusals(fewer, live, Options(removals_max=Removals("2"))) == {}
