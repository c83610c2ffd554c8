"""Where a step goes, and in words why not elsewhere."""

import json
from dataclasses import replace

import pytest

from reconciler.model.infrastructure import Container, ExecutionLocationSpec
from reconciler.model.live import LiveObject, SeenWorker, WorkerHealth, WorkerStatus
from reconciler.model.space import SpaceSpec
from reconciler.model.spec import Address, Position
from reconciler.model.work import PackageUse, Step
from reconciler.schedule.fleet import BUILTIN, Fleet, Member, Pool, fleet_of
from reconciler.schedule.placement import (
    Nowhere,
    Placed,
    PoolChoice,
    can_take,
    candidates,
    choose_pool,
    location_of,
    not_yet,
    place,
)
from reconciler.schedule.requests import Needs
from reconciler.schedule.selection import leaves_out

CHOICE = PoolChoice("omaha", "its location names the pool omaha")


def step(**fields: object) -> Step:
    return Step.model_validate({"name": "Ship", "script": {"syntax": "bash", "body": "ship"}} | fields)


def fleet(*members: Member, **pools: Pool) -> Fleet:
    found = {name: Pool(name) for member in members for name in member.pools} | pools
    filled = {
        name: Pool(
            pool.name,
            pool.default,
            pool.dynamic,
            pool.workers_min,
            pool.allowed_environments,
            tuple(member.name for member in members if name in member.pools),
        )
        for name, pool in found.items()
    }
    default = next((pool.name for pool in filled.values() if pool.default), "default")
    return Fleet(
        {"default": Pool("default", default=default == "default")} | filled, {m.name: m for m in members}, default
    )


def worker(name: str = "w1", **facts: object) -> Member:
    return Member(name, ("omaha",), "listening", **facts)


@pytest.mark.parametrize(
    ("found", "reason", "final"),
    [
        (fleet(), "the pool omaha does not exist", True),
        (fleet(omaha=Pool("omaha")), "the pool omaha has no workers", True),
        (fleet(omaha=Pool("omaha", allowed_environments=("production",))),
         "the pool omaha does not allow the environment staging", True),
        (fleet(omaha=Pool("omaha", allowed_environments=())),
         "the pool omaha does not allow the environment staging", True),
        (fleet(omaha=Pool("omaha", dynamic=True)),
         "the pool omaha is dynamic, and dynamic workers are not made yet", True),
        (fleet(omaha=Pool("omaha", default=True, dynamic=True)),
         "the pool omaha is dynamic, and dynamic workers are not made yet", True),
        (fleet(worker()), "no worker of the pool omaha can take it: w1 was never reached", False),
        (fleet(Member("w1", ("omaha",), "polling")),
         "no worker of the pool omaha can take it: w1 has never connected", False),
        (fleet(Member("w1", ("omaha",), "ssh")),
         "no worker of the pool omaha can take it: w1 is reached by SSH, and such workers are not carried out yet", False),
        (fleet(worker(status=WorkerStatus("w1", WorkerHealth.UNAVAILABLE, 0.0, "10.0.0.5:10933: no answer within 15 s"))),
         "no worker of the pool omaha can take it: w1 is unavailable: 10.0.0.5:10933: no answer within 15 s", False),
        (fleet(worker(state="disabled"), worker("w2")),
         "no worker of the pool omaha can take it: w1 is disabled (and 1 more)", False),
        (fleet(worker(state="draining"), omaha=Pool("omaha", default=True)),
         "no worker of the pool omaha can take it: w1 is draining", False),
    ],
)  # fmt: skip
def test_nobody_can_take_it_because(found: Fleet, reason: str, final: bool) -> None:
    nowhere = place(step(), CHOICE, found, "staging")
    assert isinstance(nowhere, Nowhere)
    assert (nowhere.reason, nowhere.final) == (reason, final)


def test_every_obstacle_is_kept() -> None:
    found = fleet(worker(labels={"zone": "eu"}), worker("w2", state="disabled", labels={"zone": "us"}), worker("w3"))
    nowhere = place(step(selector={"zone": "us"}), CHOICE, found, "staging")
    assert isinstance(nowhere, Nowhere)
    assert nowhere.obstacles == (
        ("w1", "does not bear the label zone=us"),
        ("w2", "is disabled"),
        ("w3", "does not bear the label zone=us"),
    )


def test_everything_that_is_in_the_way_of_one_worker_is_known() -> None:
    machine = Member("w1", ("omaha",), "ssh", state="draining")
    assert [*machine.obstacles(Needs(selector=(("zone", "eu"), ("os", "linux"))))] == [
        ("does not bear the label zone=eu", "it bore the label zone=eu"),
        ("does not bear the label os=linux", "it bore the label os=linux"),
        ("is draining", "its state were enabled"),
        ("is reached by SSH, and such workers are not carried out yet", "it had an agent"),
    ]


def test_an_empty_static_default_pool_means_the_built_in_worker() -> None:
    assert place(step(), CHOICE, fleet(omaha=Pool("omaha", default=True)), "staging") == Placed(
        "built-in", "its location names the pool omaha; it has no workers, so the built-in worker runs it"
    )


def test_the_built_in_worker_bears_no_label_and_is_tried_where_nothing_is_known_of_it() -> None:
    empty = fleet(omaha=Pool("omaha", default=True))
    assert place(step(selector={"zone": "us"}), CHOICE, empty, "staging") == Nowhere(
        "the pool omaha has no workers, and the built-in worker does not bear the label zone=us",
        obstacles=(("built-in", "does not bear the label zone=us"),),
    )
    terraform = step(requires={"terraform": ">=1.5"})
    assert isinstance(place(terraform, CHOICE, empty, "staging"), Placed)
    known = replace(empty, builtin_status=seen(terraform="1.2"))
    assert place(terraform, CHOICE, known, "staging") == Nowhere(
        "the pool omaha has no workers, and the built-in worker has terraform 1.2, and >=1.5 is required",
        obstacles=(("built-in", "has terraform 1.2, and >=1.5 is required"),),
    )


def test_what_a_step_and_its_location_require_holds_together() -> None:
    location = ExecutionLocationSpec(run_on="workerPool", pool="omaha", requires={"bash": ">=4", "helm": "*"})
    choice = choose_pool(location, fleet(), {}.get)
    assert isinstance(choice, PoolChoice)
    found = fleet(
        worker("w1", status=seen(bash="5.2")),
        worker("w2", status=seen(bash="4.4", helm="3.9")),
        worker("w3", capabilities={"helm": "3.11"}, status=seen(bash="5.2", helm="2.17")),
    )
    assert place(step(requires={"bash": ">=5"}), choice, found, "staging") == Placed(
        "w3", "its location names the pool omaha; w3 alone can take it"
    )
    nowhere = place(step(requires={"bash": ">=6"}), choice, found, "staging")
    assert isinstance(nowhere, Nowhere)
    assert nowhere.obstacles == (
        ("w1", "has bash 5.2, and >=6 is required"),
        ("w2", "has bash 4.4, and >=6 is required"),
        ("w3", "has bash 5.2, and >=6 is required"),
    )


def test_where_nobody_asks_for_an_environment_none_is_refused() -> None:
    found = fleet(healthy("w1"), omaha=Pool("omaha", allowed_environments=("production",)))
    assert isinstance(place(step(), CHOICE, found, ""), Placed)


def test_a_disabled_built_in_worker_is_a_clear_failure() -> None:
    disabled = Fleet({"omaha": Pool("omaha", default=True)}, {}, "omaha", builtin_enabled=False)
    assert place(step(), CHOICE, disabled, "staging") == Nowhere(
        "the default pool omaha has no workers and the space disables the built-in worker", final=True
    )


def healthy(name: str, **facts: object) -> Member:
    return worker(name, status=WorkerStatus(name, WorkerHealth.HEALTHY, 0.0), **facts)


def test_the_only_worker_without_an_obstacle_takes_it() -> None:
    assert place(step(), CHOICE, fleet(worker(), healthy("w2")), "staging") == Placed(
        "w2", "its location names the pool omaha; w2 alone can take it"
    )


def test_of_several_the_least_busy_takes_it_of_equals_the_first_by_name() -> None:
    found = fleet(healthy("w1"), healthy("w2"), healthy("w3"))
    assert place(step(), CHOICE, found, "staging", {"w1": 1}) == Placed(
        "w2", "its location names the pool omaha; w2 runs 0 attempts, the fewest of 3 that can take it"
    )


def test_a_worker_takes_no_more_than_its_slots() -> None:
    nowhere = place(step(), CHOICE, fleet(healthy("w1", slots=2)), "staging", {"w1": 2})
    assert nowhere == Nowhere(
        "no worker of the pool omaha can take it: w1 runs 2 of 2 attempts",
        obstacles=(("w1", "runs 2 of 2 attempts"),),
    )


def seen(**capabilities: str) -> WorkerStatus:
    found = {name.replace("_", "."): value for name, value in capabilities.items()}
    return WorkerStatus("w1", WorkerHealth.HEALTHY, 0.0, seen=SeenWorker(0.0, "", "", "", "", 1, found))


@pytest.mark.parametrize(
    ("member", "obstacle"),
    [
        (
            worker(isolation="sandbox", status=seen(isolation_none="", isolation_user="deploy")),
            "has no isolation sandbox: `reconcile agent show` says why there",
        ),
        (
            worker(isolation="user", status=WorkerStatus("w1", WorkerHealth.HEALTHY, 0.0)),
            "has no isolation user: `reconcile agent show` says why there",
        ),
        (
            worker(isolation="user", run_as="root", status=seen(isolation_user="deploy,web")),
            "does not run steps under root: its agent allows deploy, web",
        ),
        (
            worker(isolation="sandbox", run_as="web", status=seen(isolation_sandbox="")),
            "does not run steps under web: its agent allows no account",
        ),
        (worker(isolation="sandbox", status=seen(isolation_sandbox="")), None),
        (worker(isolation="user", run_as="web", status=seen(isolation_user="deploy,web")), None),
    ],
)
def test_a_worker_takes_nothing_while_its_agent_has_not_the_declared_isolation(
    member: Member, obstacle: str | None
) -> None:
    assert member.unfit(Needs("omaha")) == obstacle


def test_the_declared_isolation_goes_with_the_placement() -> None:
    member = worker(isolation="user", run_as="web", status=seen(isolation_user="web"))
    placed = place(step(), CHOICE, fleet(member), "staging")
    assert isinstance(placed, Placed)
    assert (placed.isolation, placed.run_as) == ("user", "web")


def test_the_built_in_worker_runs_under_the_account_of_the_servers_configuration() -> None:
    found = replace(fleet(omaha=Pool("omaha", default=True)), builtin_account="deploy")
    placed = place(step(), CHOICE, found, "staging")
    assert isinstance(placed, Placed)
    assert (placed.worker, placed.isolation, placed.run_as) == ("built-in", "user", "deploy")


@pytest.mark.parametrize(
    ("spec", "isolation", "run_as"),
    [
        ({}, "none", ""),
        ({"isolation": "sandbox"}, "sandbox", ""),
        ({"runAs": "web"}, "user", "web"),
        ({"isolation": "sandbox", "runAs": "web"}, "sandbox", "web"),
    ],
)
def test_an_account_of_its_own_asks_for_the_isolation_that_gives_it(
    spec: dict[str, str], isolation: str, run_as: str
) -> None:
    text = json.dumps({"pools": ["omaha"], "endpoint": {"polling": {}}, **spec})
    live = LiveObject(Address("Worker", "w1"), text, "{}", "", Position("space.yaml", 1), "r1")
    found = fleet_of({live.address: live}, SpaceSpec()).workers["w1"]
    assert (found.isolation, found.run_as) == (isolation, run_as)


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        (ExecutionLocationSpec(), PoolChoice("default", "it names no pool, so the default pool default is used")),
        (ExecutionLocationSpec(run_on="workerPool"),
         PoolChoice("default", "it names no pool, so the default pool default is used")),
        (ExecutionLocationSpec(run_on="workerPool", pool="omaha"), CHOICE),
        (ExecutionLocationSpec(run_on="workerPool", pool_variable="Pool"),
         PoolChoice("berlin", "the worker-pool variable Pool says berlin here")),
        (ExecutionLocationSpec(run_on="workerPool", pool_variable="Other"),
         Nowhere("the worker-pool variable Other has no value here", final=True)),
    ],
)  # fmt: skip
def test_a_pool_is_chosen_and_says_by_which_rule(
    location: ExecutionLocationSpec, expected: PoolChoice | Nowhere
) -> None:
    assert choose_pool(location, fleet(), {"Pool": "berlin"}.get) == expected


def test_a_location_is_named_or_inline_or_the_server() -> None:
    named = ExecutionLocationSpec(run_on="workerPool", pool="omaha")
    assert location_of(step(location="there"), {"there": named}) is named
    assert location_of(step(location={"runOn": "workerPool", "pool": "omaha"}), {}) == named
    assert location_of(step(), {}) == ExecutionLocationSpec()


@pytest.mark.parametrize(
    ("fields", "location", "expected"),
    [
        ({}, ExecutionLocationSpec(), None),
        ({}, ExecutionLocationSpec(run_on="targets", target_tags=("web",)),
         "steps on deployment targets are not carried out yet"),
        ({}, ExecutionLocationSpec(on_behalf_of=("web",)), "steps on behalf of targets are not carried out yet"),
        ({}, ExecutionLocationSpec(container=Container(image="debian")), "execution containers are not carried out yet"),
        ({"packages": (PackageUse(id="a", feed="f"),)}, ExecutionLocationSpec(), "packages are not acquired yet"),
    ],
)  # fmt: skip
def test_what_is_not_carried_out_yet_is_said(
    fields: dict[str, object], location: ExecutionLocationSpec, expected: str | None
) -> None:
    assert not_yet(step().model_copy(update=fields), location) == expected


def test_rolling_groups_are_not_carried_out_yet() -> None:
    group = Step.model_validate({"name": "Roll", "group": {"targetTags": ["web"], "steps": []}})
    assert not_yet(group, ExecutionLocationSpec()) == "rolling groups are not carried out yet"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"disabled": True}, "is disabled"),
        ({"environments": {"only": ["production", "lab"]}}, "runs only in production, lab"),
        ({"environments": {"only": ["staging"]}}, None),
        ({"environments": {"except": ["staging"]}}, "does not run in staging"),
        ({"environments": {"only": ["staging"], "except": ["staging"]}}, "does not run in staging"),
        ({"tenantTags": ["tier/gold", "tier/silver"]}, "runs only for tenants with tier/gold or tier/silver"),
        ({"tenantTags": ["tier/bronze"]}, None),
        ({"id": "skip-me"}, "is skipped by the deployment"),
        ({"id": "skip-me", "required": True}, None),
        ({"id": "skip-me", "required": True, "disabled": True}, "is disabled"),
    ],
)  # fmt: skip
def test_a_step_is_left_out_because_it(fields: dict[str, object], expected: str | None) -> None:
    found = Step.model_validate_json(
        '{"name": "Ship", "script": {"syntax": "bash", "body": "ship"}' + more(fields) + "}"
    )
    assert leaves_out(found, "staging", ("tier/bronze",), ("skip-me",)) == expected


def more(fields: dict[str, object]) -> str:
    import json

    return "".join(f', "{key}": {json.dumps(value)}' for key, value in fields.items())


@pytest.mark.parametrize("pool", ["a", "b", "default", "dynamic", "none"])
@pytest.mark.parametrize("environment", ["", "production", "test"])
@pytest.mark.parametrize("enabled", [True, False])
def test_one_machine_can_take_what_it_is_a_fit_candidate_for(pool: str, environment: str, *, enabled: bool) -> None:
    members = [
        Member("w1", ("a",), "polling", expected=True),
        Member("w2", ("a", "b"), "polling", state="disabled", expected=True),
        Member("w3", ("b",), "polling", expected=True),
    ]
    fleet = Fleet(
        {
            "a": Pool("a", workers=("w1", "w2"), allowed_environments=("production",)),
            "b": Pool("b", workers=("w2", "w3")),
            "default": Pool("default"),
            "dynamic": Pool("dynamic", dynamic=True),
        },
        {member.name: member for member in members},
        "default",
        builtin_enabled=enabled,
    )
    for needs in (Needs(pool, environment=environment), Needs(machine="w2"), Needs(machine="w3"), Needs(machine="w9")):
        found = candidates(needs, fleet)
        fit = set() if isinstance(found, Nowhere) else {each.name for each in found if each.unfit(needs) is None}
        assert {name for name in ("w1", "w2", "w3", "w9", BUILTIN) if can_take(name, needs, fleet)} == fit
