"""What tasks and steps ask for: the claims and leases that follow from their declarations."""

import json

import pytest

from reconciler.model.infrastructure import ExecutionLocationSpec
from reconciler.model.live import Slot
from reconciler.model.work import Step
from reconciler.schedule.asking import attempt_request, resumption, step_request, turn_request
from reconciler.schedule.placement import PoolChoice
from reconciler.schedule.requests import Claim, Request

SLOT = Slot("shop", "production")


def asked(location: dict[str, object] | None = None, **fields: object) -> Request:
    described = {"name": "Ship it", "script": {"syntax": "sh", "body": "true"}} | fields
    step = Step.model_validate_json(json.dumps(described))
    found = ExecutionLocationSpec.model_validate_json(json.dumps(location or {}))
    return step_request(step, found, PoolChoice("omaha", "it is named"), SLOT, priority=3, mutex="shop-db")


@pytest.mark.parametrize(
    ("location", "packages", "key"),
    [
        ({}, [], "omaha/package/"),
        ({}, ["a", "b"], "omaha/package/a"),
        ({}, ["a", "c"], "omaha/package/a"),
        ({}, ["b", "a"], "omaha/package/b"),
        ({"container": {"image": "worker-tools:6"}}, [], "omaha/package/worker-tools"),
        ({"container": {"image": "worker-tools:7"}}, [], "omaha/package/worker-tools"),
        ({"container": {"image": "worker-tools"}}, [], "omaha/package/worker-tools"),
        ({"container": {"image": "hub:5000/worker-tools"}}, [], "omaha/package/hub:5000/worker-tools"),
        ({"container": {"image": "hub:5000/tools:6@sha256:ab"}}, [], "omaha/package/hub:5000/tools"),
        ({"container": {"image": "worker-tools:6"}}, ["a"], "omaha/package/a"),
        ({"affinity": "task"}, ["a"], "omaha/task"),
        ({"affinity": "none"}, ["a"], "omaha/step/ship-it"),
    ],
)
def test_a_step_leases_by_its_first_package_its_task_or_alone(
    location: dict[str, object], packages: list[str], key: str
) -> None:
    uses = [{"id": name, "feed": "files", "version": "1"} for name in packages]
    assert asked(location, packages=uses).lease_key == key


def test_a_step_claims_its_pool_and_its_mutex() -> None:
    assert asked().claims == (Claim("pool/omaha"),)
    assert asked(mutex={"name": "x"}).claims == (Claim("mutex/shop-db", alone=True), Claim("pool/omaha"))
    pool = asked(mutex={"name": "x", "scope": "pool"})
    assert pool.claims == (Claim("mutex/shop-db of omaha", alone=True), Claim("pool/omaha"))
    machine = asked(mutex={"name": "x", "scope": "machine"})
    assert (machine.claims, machine.machine_claims) == ((Claim("pool/omaha"),), ("mutex/shop-db",))


def test_an_attempt_is_named_after_its_task_step_and_number() -> None:
    found = attempt_request(asked(isolation="exclusive"), 7, "ship-it", 2, 5.0)
    assert (found.id, found.task, found.since, found.exclusive, found.priority) == ("task/7/ship-it#2", 7, 5.0, True, 3)
    assert found.step == "task/7/ship-it"


def test_a_task_asks_for_a_place_and_its_tag_and_goes_on_with_a_place_alone() -> None:
    turn = turn_request(7, SLOT, None, priority=1, since=5.0)
    assert turn.claims == (Claim("tag/shop/production/", alone=True), Claim("tasks"))
    assert turn_request(7, SLOT, "db", priority=1, since=5.0).claims[0] == Claim("tag/db", alone=True)
    again = resumption(turn, 9.0)
    assert (again.id, again.claims, again.top_since) == ("task/7/resumed", (Claim("tasks"),), 9.0)
