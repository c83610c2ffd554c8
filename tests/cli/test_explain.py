"""`reconcile explain`: where a step would run, before anything runs."""

import json
import re

from reconciler.model.live import SeenWorker, TaskId
from reconciler.store import worker_leases, worker_status
from reconciler.store.database import Transaction
from tests.cli.workplace import POOL, Workplace, worker

SEEN = SeenWorker(1_700_000_000.0, "10.0.0.7", "0.1", "boot", "store", 1, {"terraform": "1.9"})
SHIP = """\
    - name: Ship it
      location: {runOn: workerPool, pool: omaha}
      requires: {terraform: ">=1.5"}
      script: {syntax: sh, body: ship}
"""
NEEDY = """\
    - name: Needy
      requires: {bash: ">=2"}
      script: {syntax: bash, body: "true"}
"""


def declared(place: Workplace) -> Workplace:
    place.declare_shop()
    place.write("project.yaml", (place.root / "project.yaml").read_text() + SHIP)
    place.write("workers.yaml", "---\n".join([POOL % "omaha", worker("omaha-1", "omaha"), worker("omaha-2", "omaha")]))
    place.commit()
    return place


def test_a_space_that_was_never_applied_is_explained_and_nothing_is_written(place: Workplace) -> None:
    shown = declared(place).run("explain", "Ship it", "--environment", "test").expect(0)
    assert shown.out.splitlines() == [
        '"Ship it" of shop in test is declared at project.yaml:1',
        "its pool is omaha: its location names the pool omaha",
        "the built-in worker does not come in: omaha is not the default pool, which is default",
        "2 workers cannot take it",
        "  omaha-1 has never connected",
        "  omaha-2 has never connected",
        "before a try of it runs, it claims at once",
        "  its worker beside other scripts (isolation: shared)",
        "  one of 10 steps of its task that run at a time (maxParallelSteps)",
        "  the concurrency tag shop/test/, which its task holds alone",
        "it would run on omaha-1 if its agent were connected",
        "it would run on omaha-2 if its agent were connected",
    ]
    assert not place.data.exists()


def test_the_built_in_worker_has_what_it_found_when_something_was_first_required(place: Workplace) -> None:
    place.declare_shop()
    place.apply()
    with place.store() as store:
        assert store.read_now(worker_status.statuses) == {}
    place.write("project.yaml", (place.root / "project.yaml").read_text() + NEEDY)
    place.release("2")
    shown = place.run("explain", "Needy", "--environment", "test").expect(0)
    assert "1 worker can take it\n" in shown.out
    place.apply()
    place.write("project.yaml", (place.root / "project.yaml").read_text().replace(">=2", ">=900"))
    shown = place.run("explain", "Needy", "--environment", "test").expect(0)
    assert re.search(r"^  built-in has bash [5-9][.\d]*, and >=900 is required$", shown.out, re.MULTILINE)
    assert place.run("status").expect(0).out.count("built-in  at rest") == 1


def test_workers_stand_as_they_were_last_seen_and_leased(place: Workplace) -> None:
    place.declare_shop()
    place.commit()
    place.apply()
    declared(place).apply()

    def work(tx: Transaction) -> None:
        worker_status.see(tx, "omaha-1", SEEN)
        worker_status.see(tx, "omaha-2", SEEN)
        worker_leases.lease(tx, [(TaskId(1), "omaha", "omaha-1")])

    with place.store() as store:
        store.write_now(work)
    for address in ("ship-it", "shop/ship-it", "shop/Ship it", "Project/shop/ship-it"):
        shown = place.run("explain", address, "--environment", "test").expect(0).out.splitlines()
        assert shown[3:6] == [
            "2 workers can take it, chosen in this order",
            "  1. omaha-2, with 0 leases and 0 attempts: isolation none",
            "  2. omaha-1, with 1 lease and 0 attempts: isolation none",
        ]


def test_the_same_as_json(place: Workplace) -> None:
    shown = declared(place).run("explain", "Ship it", "--project", "shop", "--environment", "test", "--format", "json")
    version, found = map(json.loads, shown.expect(0).out.splitlines())
    assert version == {"type": "version", "format_version": "1.0"}
    prospect = {
        "able": False,
        "obstacle": "has never connected",
        "leases": 0,
        "attempts": 0,
        "isolation": "none",
        "run_as": "",
        "limits": {"memory": None, "cpus": None, "processes": None},
    }
    claims = [
        "its worker beside other scripts (isolation: shared)",
        "one of 10 steps of its task that run at a time (maxParallelSteps)",
        "the concurrency tag shop/test/, which its task holds alone",
    ]
    changes = [f"it would run on {name} if its agent were connected" for name in ("omaha-1", "omaha-2")]
    assert found == {
        "type": "explanation",
        "step": "Ship it",
        "project": "shop",
        "environment": "test",
        "tenant": None,
        "pool": "omaha",
        "because": "its location names the pool omaha",
        "workers": [{"name": "omaha-1", **prospect}, {"name": "omaha-2", **prospect}],
        "claims": claims,
        "changes": changes,
        "sentences": [
            '"Ship it" of shop in test is declared at project.yaml:1',
            "its pool is omaha: its location names the pool omaha",
            "the built-in worker does not come in: omaha is not the default pool, which is default",
            "2 workers cannot take it",
            "omaha-1 has never connected",
            "omaha-2 has never connected",
            "before a try of it runs, it claims at once",
            *claims,
            *changes,
        ],
    }


def test_a_state_of_another_repository_is_no_ground(place: Workplace) -> None:
    declared(place).run("apply", "--auto-approve", "--new-state", "--exclude", "Deployment/shop-test").expect(0)
    other = Workplace(place.root.parent / "other")
    declared(other)
    refused = other.run("explain", "Ship it", "--environment", "test", "--data", place.data).expect(3)
    assert refused.err.startswith("Error: this state belongs to another repository: it was applied from ")
