"""Who was renamed while it works: known by its thumbprint, and as what it was last found under its former name."""

import json
from dataclasses import replace

from reconciler.model.live import LiveObject, Occupant, SeenWorker, TaskId, WorkerHealth, WorkerStatus
from reconciler.model.space import SpaceSpec
from reconciler.model.spec import Address, Position
from reconciler.schedule.fleet import Former, fleet_of
from reconciler.schedule.formers import formers_of

FIRST, SECOND, THIRD = ("SHA256:" + letter * 42 + "A" for letter in "abc")
SHIP = Occupant("t1", TaskId(3), "shop", 0.0, "ship")


def spec(*thumbprints: str, kind: str = "polling") -> str:
    return json.dumps({"endpoint": {kind: {"thumbprints": thumbprints}}, "pools": ["p"]}, separators=(",", ":"))


def declared(**specs: str) -> dict[Address, LiveObject]:
    found = (
        LiveObject(Address("Worker", name), text, "{}", "", Position("w.yaml", 1), "") for name, text in specs.items()
    )
    return {one.address: one for one in found}


def test_two_names_are_one_machine_where_they_share_a_thumbprint() -> None:
    objects = declared(heir=spec(SECOND, FIRST, kind="listening"), other=spec(THIRD))
    assert formers_of(objects, {"w1": spec(FIRST)}, {"w1": (SHIP,)}) == {"heir": Former("w1", "ship of task 3")}


def test_what_runs_there_beside_the_first_is_counted() -> None:
    here = (SHIP, replace(SHIP, ticket="t2"), replace(SHIP, ticket="t3"))
    found = formers_of(declared(heir=spec(FIRST)), {"w1": spec(FIRST)}, {"w1": here})
    assert found["heir"].runs == "ship of task 3 (and 2 more)"


def test_one_that_has_its_own_name_or_on_which_nothing_lives_is_no_former_one() -> None:
    assert formers_of(declared(w1=spec(FIRST)), {"w1": spec(FIRST)}, {"w1": (SHIP,)}) == {}
    assert formers_of(declared(heir=spec(FIRST)), {"w1": spec(FIRST)}, {}) == {}
    assert formers_of(declared(heir=spec(FIRST)), {"w1": json.dumps({"endpoint": {"ssh": {}}})}, {"w1": (SHIP,)}) == {}


def test_it_is_as_it_was_last_found_under_its_former_name() -> None:
    agent = SeenWorker(0.0, "10.0.0.7", "0.1", "boot", "store", 1, {"helm": "3"})
    seen = {
        "w1": WorkerStatus("w1", WorkerHealth.HEALTHY, 0.0, "", agent),
        "heir": WorkerStatus("heir", WorkerHealth.UNAVAILABLE, 0.0, "no answer"),
    }
    former = Former("w1", "ship of task 3")
    found = fleet_of(declared(heir=spec(FIRST)), SpaceSpec(), seen, formers={"heir": former}).workers["heir"]
    assert (found.status, found.former) == (seen["w1"], former)
    assert found.busy(0) == "still runs ship of task 3 under its former name w1"
