"""Every dialect holds G3 and G7: a resource is never overdrawn or shared with who has it alone, and no claim leaks."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from reconciler.model.live import TaskState
from reconciler.schedule.requests import Claim
from reconciler.store import claims, tasks, worker_leases
from reconciler.store.claims import OccupiedError
from reconciler.store.worker_leases import WorkerLease
from reconciler.store.writer import Store
from tests.conformance.conftest import Place
from tests.conformance.process import queued

NAMES = ("mutex/db", "pool/omaha", "worker/w1")
CAPACITIES = {"pool/omaha": 3, "worker/w1": 2}


def take(store: Store, holder: str, *wanted: Claim) -> dict[str, int]:
    return store.write_now(lambda tx: claims.claim(tx, holder, wanted, CAPACITIES))


def test_claims_are_taken_all_or_nothing_under_tokens_that_rise(store: Store) -> None:
    first = take(store, "t1", Claim("worker/w1"), Claim("mutex/db", alone=True))
    assert first == {"mutex/db": 1, "worker/w1": 1}
    with pytest.raises(OccupiedError) as refused:
        take(store, "t2", Claim("worker/w1"), Claim("mutex/db", alone=True))
    assert str(refused.value) == "mutex/db is held by t1"
    assert store.read_now(claims.held) == {"t1": [Claim("mutex/db", alone=True), Claim("worker/w1")]}
    assert take(store, "t2", Claim("worker/w1")) == {"worker/w1": 2}
    with pytest.raises(OccupiedError) as refused:
        take(store, "t3", Claim("worker/w1"))
    assert str(refused.value) == "worker/w1 is in use, 2 of 2"
    with pytest.raises(OccupiedError) as refused:
        take(store, "t3", Claim("worker/w1", alone=True))
    assert str(refused.value) == "worker/w1 is in use, 2 of 2"
    store.write_now(lambda tx: claims.release(tx, "t1"))
    store.write_now(lambda tx: claims.release(tx, "t1"))
    assert take(store, "t4", Claim("mutex/db", alone=True)) == {"mutex/db": 2}
    assert store.read_now(lambda tx: claims.token(tx, "t4", "mutex/db")) == 2
    assert store.read_now(lambda tx: claims.token(tx, "t1", "mutex/db")) is None


def test_a_resource_of_no_capacity_admits_nobody(store: Store) -> None:
    with pytest.raises(OccupiedError) as refused:
        store.write_now(lambda tx: claims.claim(tx, "t1", [Claim("worker/w2")], {"worker/w2": 0}))
    assert str(refused.value) == "worker/w2 is in use, 0 of 0"


def test_who_is_lost_keeps_what_it_held_alone(store: Store) -> None:
    take(store, "t1", Claim("worker/w1"), Claim("mutex/db", alone=True))
    store.write_now(lambda tx: claims.release(tx, "t1", lost=True))
    assert store.read_now(claims.held) == {"t1": [Claim("mutex/db", alone=True)]}
    store.write_now(lambda tx: claims.loosen(tx, "t1", "mutex/db"))
    assert store.read_now(claims.held) == {}


def test_the_auditor_finds_what_does_not_agree(store: Store) -> None:
    task = store.write_now(queued)
    take(store, f"task/{task.id}", Claim("tasks"))
    assert store.read_now(claims.mismatches) == []
    store.write_now(lambda tx: tx.execute("UPDATE resources SET used = 2 WHERE name = 'tasks'"))
    store.write_now(lambda tx: tasks.set_state(tx, task.id, TaskState.CANCELLED, "", 20.0))
    take(store, "t9", Claim("mutex/db", alone=True))
    assert store.read_now(claims.mismatches) == [
        "tasks counts 2 claims, alone nobody; there are 1, alone nobody",
        "t9 holds mutex/db and has ended",
        f"task/{task.id} holds tasks and has ended",
    ]


def test_leases_are_counted_and_end_with_their_task(store: Store) -> None:
    one, two = store.write_now(queued), store.write_now(queued)
    for task, key, worker in [(one, "a", "w2"), (one, "a", "w1"), (two, "a", "w1"), (one, "a", "w2")]:
        store.write_now(lambda tx, task=task, key=key, worker=worker: worker_leases.lease(tx, [(task.id, key, worker)]))
    assert store.read_now(worker_leases.leases) == [
        WorkerLease(one.id, "a", "w2", 2, 1),
        WorkerLease(one.id, "a", "w1", 1, 2),
        WorkerLease(two.id, "a", "w1", 1, 3),
    ]
    store.write_now(lambda tx: worker_leases.end(tx, one.id))
    assert store.read_now(worker_leases.leases) == [WorkerLease(two.id, "a", "w1", 1, 3)]


def test_many_writers_never_overdraw(place: Place) -> None:
    """Several stores on one place, as several nodes have; each takes, looks and gives back."""
    rounds, writers = 40, 4
    stores = [place.open() for _ in range(writers)]
    seen: list[str] = []

    def work(number: int) -> None:
        chance, store = Random(number), stores[number]
        for turn in range(rounds):
            holder = f"t{number}-{turn}"
            wanted = [Claim(name, alone=chance.random() < 0.3) for name in chance.sample(NAMES, 2)]
            try:
                take(store, holder, *wanted)
            except OccupiedError:
                continue
            seen.extend(store.read_now(lambda tx: overdrawn(claims.held(tx))))
            store.write_now(lambda tx, holder=holder: claims.release(tx, holder))

    with ThreadPoolExecutor(writers) as threads:
        list(threads.map(work, range(writers)))
    assert seen == []
    assert stores[0].read_now(claims.held) == {}
    assert stores[0].read_now(claims.mismatches) == []
    for store in stores:
        store.close()


def overdrawn(held: dict[str, list[Claim]]) -> list[str]:
    """Say which resources have more holders than they may."""
    every = [claim for found in held.values() for claim in found]
    counts = Counter(claim.resource for claim in every)
    alone = {claim.resource for claim in every if claim.alone}
    return [name for name, count in counts.items() if count > (1 if name in alone else CAPACITIES.get(name, count))]


class ClaimsMachine(RuleBasedStateMachine):
    """The model is a dictionary of who holds what."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.store = store
        self.held: dict[str, list[Claim]] = {}
        self.count = 0

    @rule(
        wanted=st.lists(
            st.builds(Claim, st.sampled_from(NAMES), st.booleans()), min_size=1, unique_by=lambda claim: claim.resource
        )
    )
    def taken(self, wanted: list[Claim]) -> None:
        self.count += 1
        holder = f"t{self.count}"
        fits = not overdrawn({**self.held, holder: wanted})
        try:
            tokens = take(self.store, holder, *wanted)
        except OccupiedError:
            assert not fits
        else:
            assert fits
            assert tokens.keys() == {claim.resource for claim in wanted}
            self.held[holder] = sorted(wanted)

    @rule(data=st.data(), how=st.sampled_from(["release", "lose", "loosen"]))
    def given_back(self, data: st.DataObject, how: str) -> None:
        if not self.held:
            return
        holder = data.draw(st.sampled_from(sorted(self.held)))
        name = self.held[holder][0].resource
        if how == "lose":
            self.store.write_now(lambda tx: claims.release(tx, holder, lost=True))
            self.held[holder] = [claim for claim in self.held[holder] if claim.alone]
        elif how == "loosen":
            self.store.write_now(lambda tx: claims.loosen(tx, holder, name))
            self.held[holder] = [claim for claim in self.held[holder] if claim.resource != name]
        else:
            self.store.write_now(lambda tx: claims.release(tx, holder))
            self.held[holder] = []
        if not self.held[holder]:
            del self.held[holder]

    @invariant()
    def agrees(self) -> None:
        assert self.store.read_now(claims.held) == self.held

    def teardown(self) -> None:
        for holder in self.held:
            self.store.write_now(lambda tx, holder=holder: claims.release(tx, holder))


def test_claims_do_what_a_dictionary_would(store: Store) -> None:
    run_state_machine_as_test(
        lambda: ClaimsMachine(store),
        settings=settings(
            max_examples=30, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
