"""Where a step would run, in words: the pool, the workers in their order, what keeps each of them, what it claims."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from reconciler.model.desired import DesiredState
from reconciler.model.live import LiveState, SeenWorker, Slot, WorkerHealth, WorkerStatus
from reconciler.model.spec import Address
from reconciler.model.work import ProjectSpec
from reconciler.plan.explanation import Explanation, Load, explain
from reconciler.plan.planner import Options, plan
from reconciler.plan.stored import STEP_FIELDS
from reconciler.plan.whereabouts import Whereabouts
from reconciler.schedule.placement import Nowhere, PoolChoice, place
from reconciler.schedule.variables import VariableContext
from tests.scenarios.declaring import declare

HEAD = "apiVersion: reconciler/v1\nkind: {}\nmetadata: {{name: {}}}\nspec: {}\n"
WORKER = """\
apiVersion: reconciler/v1
kind: Worker
metadata: {name: %s, labels: {%s}}
spec:
  pools: [omaha]
  endpoint: {polling: {subscription: "poll://%s-x", thumbprints: ["SHA256:%sA"]}}
"""
STEP = """\
apiVersion: reconciler/v1
kind: Project
metadata: {name: shop}
spec:
  process:
    - name: Ship
"""
ENVIRONMENTS = HEAD.format("Environment", "staging", "{}") + "---\n" + HEAD.format("Environment", "live", "{}")
SLOT = Slot("shop", "staging")
TASK = (
    "  one of 10 steps of its task that run at a time (maxParallelSteps)",
    "  the concurrency tag shop/staging/, which its task holds alone",
)


def worker(name: str, labels: str = "", **more: str) -> str:
    lines = "".join(f"  {field}: {value}\n" for field, value in more.items())
    return WORKER % (name, labels, name, (name * 42)[:42]) + lines


def space(step: str, *workers: str, pool: str = "{}", more: str = "", settings: str = "{}") -> DesiredState:
    lines = "".join(f"      {line}\n" for line in f"{step}\nscript: {{syntax: bash, body: ship}}".strip().splitlines())
    return declare(
        {
            "reconcile.yaml": HEAD.format("Space", "acme", settings),
            "all.yaml": "---\n".join([HEAD.format("WorkerPool", "omaha", pool), ENVIRONMENTS, *workers]),
            "shop.yaml": STEP + lines + more,
        }
    )


def seen(*names: str, health: WorkerHealth = WorkerHealth.HEALTHY, **capabilities: str) -> dict[str, WorkerStatus]:
    told = {name.replace("_", "."): value for name, value in capabilities.items()}
    agent = SeenWorker(0.0, "10.0.0.7", "0.1", "boot", "store", 1, told)
    reason = "" if health is WorkerHealth.HEALTHY else "no answer within 15 s"
    return {name: WorkerStatus(name, health, 0.0, reason, agent) for name in names}


def explained(
    desired: DesiredState,
    statuses: dict[str, WorkerStatus] | None = None,
    loads: dict[str, Load] | None = None,
    slot: Slot = SLOT,
) -> Explanation:
    step = ProjectSpec.parse(desired.objects[Address("Project", "shop")].spec).process[0]
    return explain(step, slot, desired, statuses or {}, loads or {})


IN_OMAHA = "location: {runOn: workerPool, pool: omaha}"


def test_all_of_it_word_for_word() -> None:
    desired = space(
        "location: {runOn: workerPool, pool: omaha, requires: {terraform: '>=1.5'}}\n"
        "selector: {zone: eu}\nrequires: {bash: '*'}\nmutex: {name: ship}\nisolation: exclusive\n"
        "guidedFailure: true\nlimits: {memory: 512MiB, cpus: 2}",
        worker("w1", "zone: eu", slots="2", limits="{cpus: 1.5, processes: 64}", isolation="user", runAs="deploy"),
        worker("w2", "zone: eu"),
        worker("w3", "zone: eu", state="disabled"),
        worker("w4", "zone: us", capabilities="{terraform: 1.2}"),
        worker("w5", "zone: eu"),
        worker("w6", "zone: eu", slots="1"),
        pool="{maxConcurrentAttempts: 3}",
    )
    able = {"terraform": "1.9", "bash": "5.2", "limit_memory": "", "limit_cpus": "", "limit_processes": ""}
    statuses = seen("w1", "w2", "w3", "w6", **able, isolation_user="deploy,ci")
    statuses |= seen("w4", **able) | seen("w5", terraform="1.9", limit_memory="", limit_cpus="")
    loads = {"w1": Load(1, 1, 4), "w2": Load(2, 3, 5), "w6": Load(1, 0, 3)}
    assert [*explained(desired, statuses, loads).sentences()] == [
        '"Ship" of shop in staging is declared at shop.yaml:1',
        "its pool is omaha: its location names the pool omaha",
        "the built-in worker does not come in: omaha is not the default pool, which is default",
        "2 workers can take it, chosen in this order",
        (
            "  1. w1, with 1 lease and 1 attempt: isolation user under the account deploy, 512 MiB of memory at most, "
            "1.5 processors at most, 64 processes at most"
        ),
        "  2. w2, with 3 leases and 2 attempts: isolation none, 512 MiB of memory at most, 2 processors at most",
        "4 workers cannot take it",
        "  w3 is disabled",
        "  w4 does not bear the label zone=eu; has terraform 1.2, and >=1.5 is required",
        "  w5 has no bash",
        "  w6 runs 1 of 1 attempts",
        "before a try of it runs, it claims at once",
        "  one of 1 to 2 slots of its worker, if it has some",
        "  one of 3 attempts that run in the pool omaha at a time",
        "  its worker alone: no other script beside it (isolation: exclusive)",
        "  the mutex ship alone",
        *TASK,
        *(
            f"of this, {words}"
            for field, words in STEP_FIELDS.items()
            if field in {"mutex", "isolation", "guidedFailure"}
        ),
        "it would run on w3 too if its state were enabled",
        "it would run on w5 too if it had bash",
        "it would run on w6 too if one of its attempts ended",
    ]


def test_the_built_in_worker_comes_in_where_the_default_pool_is_empty() -> None:
    assert [*explained(space("limits: {processes: 8}")).sentences()] == [
        '"Ship" of shop in staging is declared at shop.yaml:1',
        "its pool is default: it names no pool, so the default pool default is used",
        "the built-in worker comes in: the default pool default is static and has no workers",
        "1 worker can take it",
        "  1. built-in, with 0 leases and 0 attempts: isolation none, 8 processes at most",
        "before a try of it runs, it claims at once",
        "  its worker beside other scripts (isolation: shared)",
        *TASK,
    ]


@pytest.mark.parametrize(
    ("pool", "settings", "workers", "sentence"),
    [
        ("{default: true, dynamic: {provider: {podman: {image: debian}}}}", "{}", (),
         "the built-in worker does not come in: the default pool omaha is dynamic"),
        ("{default: true}", "{}", (worker("w1", state="draining"),),
         "the built-in worker does not come in: the default pool omaha has 1 registered worker, in whatever state"),
        ("{default: true}", "{builtinWorker: {enabled: false}}", (),
         "the built-in worker does not come in: the space disables the built-in worker"),
    ],
)  # fmt: skip
def test_why_the_built_in_worker_does_not_come_in(
    pool: str, settings: str, workers: tuple[str, ...], sentence: str
) -> None:
    assert explained(space("", *workers, pool=pool, settings=settings)).builtin == sentence


@pytest.mark.parametrize(
    ("step", "pool", "sentence"),
    [
        (IN_OMAHA, "{}", "nothing can run it: the pool omaha has no workers"),
        (IN_OMAHA, "{allowedEnvironments: [live]}",
         "nothing can run it: the pool omaha does not allow the environment staging"),
        (f"{IN_OMAHA[:-1]}, container: {{image: debian}}}}", "{}",
         "it cannot run: execution containers are not carried out yet"),
    ],
)  # fmt: skip
def test_why_it_runs_on_no_worker_at_all(step: str, pool: str, sentence: str) -> None:
    found = explained(space(step, pool=pool))
    assert (found.nowhere, found.workers, found.claims, found.changes) == (sentence, (), (), ())


def test_a_pool_variable_without_a_value_is_said() -> None:
    variables = (
        "  variables: [{name: Where, type: workerPool, values: [{value: omaha, scope: {environments: [live]}}]}]\n"
    )
    desired = space("location: {runOn: workerPool, poolVariable: Where}", more=variables)
    assert explained(desired).nowhere == "nothing can run it: the worker-pool variable Where has no value here"
    assert explained(desired, slot=Slot("shop", "live")).because == "the worker-pool variable Where says omaha here"


def test_a_question_to_a_person_runs_nowhere() -> None:
    files = {"all.yaml": ENVIRONMENTS, "shop.yaml": STEP + "      manual: {instructions: Look}\n"}
    assert explained(declare(files)).nowhere == "it asks a person and runs on no worker"


def test_a_step_that_no_task_runs_there_is_explained_all_the_same() -> None:
    found = explained(space("environments: {only: [live]}"))
    assert list(found.sentences())[1] == "no task of shop in staging runs it: it runs only in live"
    assert found.workers[0].able


@pytest.mark.parametrize(
    ("step", "facts", "statuses", "change"),
    [
        ("selector: {zone: eu}", {}, seen("w1"), "it bore the label zone=eu"),
        ("", {}, {}, "its agent were connected"),
        ("", {}, seen("w1", health=WorkerHealth.UNAVAILABLE), "its agent were connected"),
        ("", {"isolation": "sandbox"}, seen("w1"), "its agent had the isolation sandbox"),
        ("", {"runAs": "deploy"}, seen("w1", isolation_user="ci"), "its agent allowed the account deploy"),
        ("limits: {cpus: 1}", {}, seen("w1"), "its agent had the limit cpus"),
        ("onDisconnect: stop", {}, seen("w1"), "its agent stopped scripts by itself"),
        ("requires: {helm: '>=3'}", {}, seen("w1", helm="2.17"), "it had helm >=3"),
        ("requires: {helm: '*'}", {}, seen("w1"), "it had helm"),
        ("requires: {helm: '>=3'}", {"capabilities": "{helm: '3.9'}"}, {}, "its agent were connected"),
    ],
)
def test_what_would_have_to_be_so(
    step: str, facts: dict[str, str], statuses: dict[str, WorkerStatus], change: str
) -> None:
    found = explained(space(f"{IN_OMAHA}\n{step}", worker("w1", **facts)), statuses)
    assert found.changes == (f"it would run on w1 if {change}",)


def test_who_lacks_two_things_is_not_near() -> None:
    desired = space(f"{IN_OMAHA}\nrequires: {{helm: '>=3', bash: '*'}}", worker("w1", state="disabled"), worker("w2"))
    found = explained(desired, seen("w1", bash="5.2") | seen("w2"))
    assert [prospect.obstacle for prospect in found.workers] == ["is disabled; has no helm", "has no bash; has no helm"]
    assert found.changes == ()


def test_what_an_agent_that_was_never_met_has_is_open() -> None:
    step = f"{IN_OMAHA}\nrequires: {{helm: '*'}}\nlimits: {{cpus: 1}}"
    found = explained(space(step, worker("w1"), worker("w2", capabilities="{helm: '3.9'}")))
    assert [prospect.obstacle for prospect in found.workers] == ["has never connected", "has never connected"]


def test_what_the_servers_own_machine_has_counts_once_it_was_seen() -> None:
    desired = space("requires: {terraform: '>=1.5'}")
    assert explained(desired).workers[0].able
    assert explained(desired, seen("built-in", terraform="1.2")).workers[0].obstacle == (
        "has terraform 1.2, and >=1.5 is required"
    )


def test_a_step_that_is_spread_goes_where_fewest_of_it_run() -> None:
    desired = space(f"{IN_OMAHA}\nspread: zone", worker("w1"), worker("w2"))
    assert list(explained(desired, seen("w1", "w2")).sentences())[6] == (
        "before them goes where the fewest of the step run by zone"
    )


def test_a_plan_judges_by_what_was_last_seen() -> None:
    step = "location: {runOn: workerPool, pool: omaha, requires: {terraform: '>=1.5'}}\nrequires: {bash: '*'}"
    wish = HEAD.format("Deployment", "shop-staging", "{project: shop, release: '1', environment: staging}")
    desired = space(step, worker("w1"), worker("w2"), more="---\n" + wish)

    def warnings(statuses: dict[str, WorkerStatus]) -> tuple[str, ...]:
        found = plan(desired, LiveState({}, {}, workers=statuses), Options())
        (run,) = found.runs
        assert run.warnings == ()  # what moves by itself is no part of the changes
        return tuple(fact.text for fact in found.facts)

    waits = 'Deployment/shop-staging: the step "Ship" will wait, and fail if that stays so: no worker of the pool omaha can take it: '
    assert warnings({}) == (f"{waits}w1 has never connected (and 1 more)",)
    assert warnings(seen("w1", terraform="1.2") | seen("w2", terraform="1.9")) == (
        f"{waits}w1 has no bash (and 1 more)",
    )
    assert warnings(seen("w1", terraform="1.9", bash="5.2")) == ()


def test_round_robin_looks_at_the_last_lease_alone() -> None:
    loads = {"w1": Load(0, 1, 9), "w2": Load(0, 5, 2), "w3": Load(0, 2, 5)}
    workers = worker("w1"), worker("w2"), worker("w3")
    statuses = seen("w1", "w2", "w3")
    by_leases = explained(space(IN_OMAHA, *workers), statuses, loads)
    in_turn = explained(space(IN_OMAHA, *workers, pool="{selection: roundRobin}"), statuses, loads)
    assert [prospect.name for prospect in by_leases.workers] == ["w1", "w3", "w2"]
    assert [prospect.name for prospect in in_turn.workers] == ["w2", "w3", "w1"]


@pytest.mark.parametrize(
    ("scope", "claim"),
    [("machine", "the mutex ship alone on its worker"), ("pool", "the mutex ship of omaha alone")],
)
def test_how_far_a_mutex_reaches(scope: str, claim: str) -> None:
    found = explained(space(f"{IN_OMAHA}\nmutex: {{name: ship, scope: {scope}}}", worker("w1")))
    assert claim in found.claims


def test_a_slot_of_workers_that_are_alike_is_counted_once() -> None:
    found = explained(space(IN_OMAHA, worker("w1", slots="4"), worker("w2", slots="4")))
    assert found.claims[0] == "one of 4 slots of its worker"


def test_a_concurrency_tag_is_claimed_by_the_task() -> None:
    found = explained(space("", more="  concurrencyTag: shop-db\n  maxParallelSteps: 2\n"))
    assert found.claims[-2:] == (
        "one of 2 steps of its task that run at a time (maxParallelSteps)",
        "the concurrency tag shop-db, which its task holds alone",
    )


WORKERS = st.lists(
    st.tuples(
        st.sampled_from(["zone: eu", "zone: us"]),
        st.sampled_from(["enabled", "disabled"]),
        st.sampled_from([{}, seen("w"), seen("w", bash="5.2"), seen("w", health=WorkerHealth.UNAVAILABLE)]),
    ),
    max_size=4,
)


SELECTOR = "selector: {zone: eu}"


@given(WORKERS, st.sampled_from(["", SELECTOR, "requires: {bash: '>=5'}"]), st.booleans())
def test_an_explanation_says_what_plan_says(
    machines: list[tuple[str, str, dict[str, WorkerStatus]]], step: str, default: bool
) -> None:
    assume(step != SELECTOR or not machines or any(labels == "zone: eu" for labels, _, _ in machines))
    workers = [worker(f"w{number}", labels, state=state) for number, (labels, state, _) in enumerate(machines)]
    statuses = {f"w{number}": found["w"] for number, (_, _, found) in enumerate(machines) if found}
    wanted = "" if default else IN_OMAHA
    desired = space(f"{wanted}\n{step}", *workers, pool=f"{{default: {str(default).lower()}}}")
    found = explained(desired, statuses)
    project = ProjectSpec.parse(desired.objects[Address("Project", "shop")].spec)
    whereabouts = Whereabouts.of(desired.objects, desired.space, statuses)
    choice = whereabouts.choice(project.process[0], project, VariableContext("staging", process="shop"))
    assert isinstance(choice, PoolChoice)
    placed = place(project.process[0], choice, whereabouts.fleet, "staging")
    able = [prospect.name for prospect in found.workers if prospect.able]
    if isinstance(placed, Nowhere):
        assert able == []
        assert sorted((name, obstacle) for name, obstacle in placed.obstacles) == sorted(
            (prospect.name, prospect.obstacles[0].what) for prospect in found.workers
        )
    else:
        assert able[0] == placed.worker
