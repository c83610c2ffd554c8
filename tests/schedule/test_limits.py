"""Limits of steps and workers: which of both hold, and what an agent must have promised to be given a step."""

import json

import pytest

from reconciler.model.live import LiveObject, SeenWorker, WorkerHealth, WorkerStatus
from reconciler.model.space import SpaceSpec
from reconciler.model.spec import Address, Position
from reconciler.model.work import Step
from reconciler.protocol.tickets import Limits
from reconciler.schedule.fleet import Member, fleet_of
from reconciler.schedule.limits import limits_of, smaller
from reconciler.schedule.placement import needs_of

LIMITED = {"memory": "512MiB", "cpus": 1.5, "processes": 200}


def step(**fields: object) -> Step:
    return Step.model_validate({"name": "Ship", "script": {"syntax": "bash", "body": "ship"}} | fields)


def member(**spec: object) -> Member:
    text = json.dumps({"pools": ["omaha"], "endpoint": {"polling": {}}, **spec})
    live = LiveObject(Address("Worker", "w1"), text, "{}", "", Position("space.yaml", 1), "r1")
    return fleet_of({live.address: live}, SpaceSpec()).workers["w1"]


def promising(*promises: str, **spec: object) -> Member:
    seen = SeenWorker(0.0, "", "", "", "", 1, dict.fromkeys(promises, ""))
    status = WorkerStatus("w1", WorkerHealth.HEALTHY, 0.0, seen=seen)
    live = member(**spec)
    return Member(live.name, live.pools, live.endpoint, limits=live.limits, status=status)


def test_limits_are_read_from_a_step_and_from_a_worker_alike() -> None:
    wanted = Limits(512 << 20, 1.5, 200)
    assert limits_of(step(limits=LIMITED).limits) == wanted
    assert member(limits=LIMITED).limits == wanted
    assert limits_of(step().limits) == member().limits == Limits()


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        (Limits(), Limits(), None),
        (Limits(memory=10), Limits(), Limits(memory=10)),
        (Limits(memory=10, cpus=2.0), Limits(memory=20, cpus=1.5), Limits(memory=10, cpus=1.5)),
        (Limits(), Limits(processes=5), Limits(processes=5)),
    ],
)
def test_of_step_and_worker_the_smaller_limit_holds(one: Limits, other: Limits, both: Limits | None) -> None:
    assert smaller(one, other) == smaller(other, one) == both


@pytest.mark.parametrize(
    ("fields", "found", "obstacle"),
    [
        ({}, promising(), None),
        ({"limits": LIMITED}, promising("limit.memory", "limit.cpus", "limit.processes"), None),
        (
            {"limits": LIMITED},
            promising("limit.cpus", "limit.processes"),
            "has no limit memory: `reconcile agent show` says why there",
        ),
        ({}, promising(limits={"cpus": 1.5}), "has no limit cpus: `reconcile agent show` says why there"),
        ({}, promising("limit.cpus", limits={"cpus": 1.5}), None),
        ({"onDisconnect": "stop"}, promising("onDisconnect.stop"), None),
        (
            {"onDisconnect": "stop"},
            promising(),
            "has an agent that does not stop scripts by itself: update it there",
        ),
        ({"onDisconnect": "hold"}, promising(), None),
    ],
)
def test_a_worker_takes_nothing_that_its_agent_has_not_promised(
    fields: dict[str, object], found: Member, obstacle: str | None
) -> None:
    assert found.unfit(needs_of(step(**fields), "omaha", "staging", ())) == obstacle


def test_what_is_at_its_default_is_not_written_down() -> None:
    assert "limits" not in step().canonical()
    assert step(limits={}).canonical() == step().canonical()
    assert '"limits":{"cpus":1.5,"memory":"512MiB","processes":200}' in step(limits=LIMITED).canonical()
