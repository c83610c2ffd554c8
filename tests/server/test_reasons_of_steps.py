"""Where a step would run, as `why` says it: the same worker as `explain`, with the same that lives on it; how tasks are."""

import json
from pathlib import Path

from reconciler.model.desired import DesiredState
from reconciler.model.live import Slot, TaskState
from reconciler.model.space import SpaceSpec
from reconciler.model.spec import Address
from reconciler.model.work import ProjectSpec
from reconciler.plan.explanation import Load, Prospect, explain
from reconciler.server.answers.reasons import reasons
from reconciler.server.answers.steps import loads_in
from reconciler.store import objects
from reconciler.store.writer import Store
from tests.execute.test_leasing import declare, engine, queue, state, step, worker

BECAUSE = "it names no pool, so the default pool default is used"


def declare_project(store: Store) -> None:
    declare(store, "WorkerPool", "default", default=True)
    declare(
        store, "Project", "shop", **json.loads(ProjectSpec.parse(json.dumps({"process": [step("Work")]})).canonical())
    )


def why(store: Store, address: str = "Project/shop/Work") -> list[str]:
    return store.read_now(lambda tx: list(reasons(tx, address)))[1:]


def explained(store: Store) -> list[Prospect]:
    """Return the workers as `explain` orders them, those first that can take the step."""
    live = store.read_now(objects.live_state)
    desired = DesiredState("s", SpaceSpec(), live.objects)  # type: ignore[arg-type]  # as they were declared
    process = ProjectSpec.parse(live.objects[Address("Project", "shop")].spec).process
    loads = store.read_now(lambda tx: loads_in(tx, live))
    return list(explain(process[0], Slot("shop", "production"), desired, live.workers, loads).workers)


async def test_why_and_explain_name_the_same_worker_with_the_same_that_lives_on_it(tmp_path: Path) -> None:
    async with state(tmp_path) as store:
        declare_project(store)
        worker(store, "w1", slots=2)
        worker(store, "w2", slots=2)
        queue(store, "a", step("one"), step("two"))
        async with engine(store, tmp_path) as stage:
            await stage.until_run("1:one")
            assert [(found.name, found.load) for found in explained(store)] == [
                ("w2", Load(0, 0, 0)),
                ("w1", Load(1, 1, 1)),
            ]
            assert why(store) == [
                f"it would run on w2: {BECAUSE}; w2, with 0 leases and 0 attempts, is the first of 2 that can take it"
            ]
            worker(store, "w2", state="disabled")
            assert explained(store)[0].name == "w1"
            assert why(store) == [
                f"it would run on w1: {BECAUSE}; w1, with 1 lease and 1 attempt, is alone able to take it"
            ]


async def test_why_and_explain_agree_that_no_worker_has_room(tmp_path: Path) -> None:
    async with state(tmp_path) as store:
        declare_project(store)
        worker(store, "w1", slots=1)
        queue(store, "a", step("one"))
        async with engine(store, tmp_path) as stage:
            await stage.until_run("1:one")
            assert [found.obstacle for found in explained(store)] == ["runs 1 of 1 attempts"]
            assert why(store) == ["it cannot run: no worker of the pool default can take it: w1 runs 1 of 1 attempts"]


async def test_why_says_of_a_task_and_its_steps_how_they_have_ended(tmp_path: Path) -> None:
    async with state(tmp_path) as store:
        worker(store, "w1")
        queue(store, "a", step("one"), step("two"))
        async with engine(store, tmp_path) as stage:
            await stage.until_run("1:one")
            await stage.end("1:one")
            await stage.until_run("1:two")
            found = store.read_now(lambda tx: list(reasons(tx, "task/1")))
            assert found[0] == "task 1 runs release 1 of a in production and is running"
            assert found[1].startswith('  step 1 "one" has succeeded')
            await stage.end("1:two", 3)
            await stage.until(lambda: stage.state(1) is TaskState.FAILED)
            found = store.read_now(lambda tx: list(reasons(tx, "task/1")))
            assert found[0] == 'task 1 runs release 1 of a in production and has failed: "two" failed: exit code 3'
            assert '  step 2 "two" has failed: exit code 3' in found
