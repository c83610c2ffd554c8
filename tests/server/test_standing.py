"""`why` and `status` say the place of what waits: of tasks in the queue, and of steps before their workers."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.model.live import Slot, StepRun, StepState, TaskId, TaskState
from reconciler.model.pinned import Pinned
from reconciler.model.work import DeploymentSpec, ProjectSpec
from reconciler.schedule.requests import Claim
from reconciler.server.answers.overview import overview
from reconciler.server.answers.reasons import reasons
from reconciler.server.answers.standing import standing
from reconciler.store import claims, objects, tasks
from reconciler.store.database import Transaction
from reconciler.store.writer import Store
from tests.server.parties import live

BUSY = "no worker of the pool omaha has room for it: w1 runs 1 of 1 attempts"
SHIP = {
    "name": "Ship",
    "script": {"syntax": "sh", "body": "ship"},
    "location": {"runOn": "workerPool", "pool": "omaha"},
}
MIGRATE = SHIP | {"name": "Migrate", "mutex": {"name": "db"}}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(str(tmp_path), tmp_path) as opened:
        opened.write_now(lambda tx: objects.put(tx, live("WorkerPool", "omaha")))
        yield opened


def queue(store: Store, project: str, *process: dict[str, object]) -> TaskId:
    pinned = Pinned(
        space="test",
        deployment_name=project,
        deployment=DeploymentSpec.parse(json.dumps({"project": project, "release": "1", "environment": "production"})),
        project=ProjectSpec.parse(json.dumps({"process": process or (SHIP,)})),
    )

    def work(tx: Transaction) -> TaskId:
        slot, at = Slot(project, "production"), 10.0 + len(tasks.unfinished(tx))
        pin = tasks.pin(tx, pinned.canonical())
        return tasks.queue(tx, deployment=project, slot=slot, release="1", digest="d", pin=pin, revision="r", at=at).id

    return store.write_now(work)


def begin(store: Store, number: TaskId, *steps: str, reason: str = BUSY) -> None:
    """Let a task run of which each step waits."""

    def work(tx: Transaction) -> None:
        tasks.set_state(tx, number, TaskState.RUNNING, "", 20.0 + number)
        tasks.put_steps(tx, [StepRun(number, index, step.lower(), step) for index, step in enumerate(steps)])
        for index, _ in enumerate(steps):
            tasks.set_step(tx, number, index, StepState.WAITING, reason=reason, at=30.0 + number)

    store.write_now(work)


def why(store: Store, number: TaskId) -> list[str]:
    return store.read_now(lambda tx: list(reasons(tx, f"task/{number}")))


def test_queued_tasks_are_told_their_places_in_the_rounds_of_their_projects(store: Store) -> None:
    begin(store, queue(store, "shop"), "Ship")
    second, third = queue(store, "desk"), queue(store, "till")
    store.write_now(lambda tx: tasks.set_state(tx, third, TaskState.QUEUED, "one task runs already", 12.0))
    of_second, of_third = "1st of 2 that wait for their turn", "2nd of 2 that wait for their turn, after task 2"
    assert why(store, second) == [f"task 2 runs release 1 of desk in production and is queued: {of_second}"]
    assert why(store, third)[0].endswith(f" till in production and is queued: one task runs already; {of_third}")
    shown = store.read_now(lambda tx: overview(tx, engine_runs=True))
    assert {row.task.id: row.task.reason for row in shown.slots if row.task is not None} == {
        1: "",
        second: of_second,
        third: f"one task runs already; {of_third}",
    }


def test_steps_are_told_their_places_before_a_pool_and_before_a_lock_that_is_held(store: Store) -> None:
    numbers = [queue(store, project, MIGRATE, SHIP) for project in ("shop", "till", "desk")]
    for number in numbers:
        begin(store, number, "Migrate", "Ship")
    store.write_now(lambda tx: claims.claim(tx, "somebody", [Claim("mutex/db", alone=True)], {}))
    found = store.read_now(standing).steps
    assert [found[number, 0] for number in numbers] == [
        "1st of 3 that wait for the mutex db",
        "2nd of 3 that wait for the mutex db, after migrate of task 1",
        "3rd of 3 that wait for the mutex db, after migrate of task 1, migrate of task 2",
    ]
    assert [found[number, 1] for number in numbers] == [
        "1st of 3 that wait for the pool omaha",
        "2nd of 3 that wait for the pool omaha, after ship of task 1",
        "3rd of 3 that wait for the pool omaha, after ship of task 1, ship of task 2",
    ]
    assert f'  step 2 "Ship" is waiting: {BUSY}; {found[numbers[1], 1]}' in why(store, numbers[1])
    shown = store.read_now(lambda tx: overview(tx, engine_runs=True))
    (row,) = (row for row in shown.slots if row.slot.project == "till")
    assert row.steps[1].reason == f"{BUSY}; {found[numbers[1], 1]}"


@pytest.mark.parametrize(
    "reason",
    [
        "it waits for the value of PW from the source vault, key db",
        "attempt 1 of 3: the value of PW cannot be had from the source vault, key db: it is empty; the next one in 15 s",
    ],
)
def test_a_step_that_has_not_asked_for_a_worker_is_in_no_line(store: Store, reason: str) -> None:
    numbers = [queue(store, project) for project in ("shop", "till", "desk")]
    for number in numbers:
        begin(store, number, "Ship", reason=reason if number == numbers[0] else BUSY)
    assert store.read_now(standing).steps == {
        (numbers[1], 0): "1st of 2 that wait for the pool omaha",
        (numbers[2], 0): "2nd of 2 that wait for the pool omaha, after ship of task 2",
    }


def test_a_mutex_whose_name_is_a_template_is_known_to_its_task_alone(store: Store) -> None:
    hidden = SHIP | {"mutex": {"name": "${{ environment.name }}"}}
    first, second = (queue(store, project, hidden, SHIP) for project in ("shop", "till"))
    begin(store, first, "Ship", "Then")
    begin(store, second, "Ship", "Then")
    assert {index for _, index in store.read_now(standing).steps} == {1}


def test_one_task_alone_has_no_place(store: Store) -> None:
    number = queue(store, "shop")
    assert why(store, number) == ["task 1 runs release 1 of shop in production and is queued"]
