"""Every dialect lets one node lead at a time, and takes nothing from one that was deposed."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from reconciler.model.errors import Deposed
from reconciler.model.live import Event
from reconciler.store import audit, leadership, pinned_files
from reconciler.store.database import Transaction
from reconciler.store.leadership import Leader, Node
from reconciler.store.writer import Store
from tests.conformance.conftest import Place

ANN, BOB, EVE = (Node(name, f"files of {name}") for name in ("ann", "bob", "eve"))
NOW = 100.0


def take(store: Store, node: Node) -> int | Leader:
    return store.write_now(lambda tx: leadership.take(tx, node, NOW))


def leader(store: Store) -> Leader | None:
    return store.read_now(lambda tx: leadership.leader(tx, NOW))


def run_out(store: Store) -> None:
    """Let the present lead be over, on any clock."""
    store.write_now(lambda tx: tx.execute("UPDATE leadership SET until = 1"))


def guard(store: Store, epoch: int) -> None:
    store.guarded_by(lambda tx: leadership.check(tx, epoch))


def record(tx: Transaction) -> int:
    return audit.record(tx, Event(1.5, "ann", "update", "Worker/a"))


def note(store: Store, subject: str = "Worker/a") -> int:
    return store.write_now(lambda tx: audit.record(tx, Event(1.5, "ann", "update", subject)))


def test_the_first_one_leads_and_others_are_told_who_does(store: Store) -> None:
    assert leader(store) is None
    assert take(store, ANN) == 1
    found = take(store, BOB)
    assert isinstance(found, Leader)
    assert (found.node, found.epoch) == (ANN, 1)
    assert leader(store) == found


def test_a_lead_that_ran_out_goes_to_who_asks(store: Store) -> None:
    take(store, ANN)
    run_out(store)
    assert leader(store) is None
    assert take(store, BOB) == 2


def test_a_lead_that_was_given_back_is_free_at_once(store: Store) -> None:
    take(store, ANN)
    store.write_now(lambda tx: leadership.release(tx, 1))
    assert leader(store) is None
    assert take(store, BOB) == 2


def test_who_has_the_same_files_does_not_wait_for_a_dead_engine(store: Store) -> None:
    take(store, ANN)
    assert take(store, ANN) == 2


def test_a_lead_that_ran_out_and_that_nobody_took_is_renewed(store: Store) -> None:
    take(store, ANN)
    run_out(store)
    store.write_now(lambda tx: leadership.renew(tx, 1, NOW))
    assert isinstance(take(store, BOB), Leader)


@pytest.mark.parametrize(
    "act", [leadership.check, lambda tx, epoch: leadership.renew(tx, epoch, NOW), leadership.release]
)
def test_a_deposed_one_is_told_who_leads(store: Store, act: Callable[[Any, int], None]) -> None:
    take(store, ANN)
    run_out(store)
    take(store, BOB)
    with pytest.raises(Deposed) as refused:
        store.write_now(lambda tx: act(tx, 1))
    assert refused.value.message == "the node bob has taken the lead, so nothing more is written from here"
    assert refused.value.hint == "running steps go on; the node that leads follows them"
    assert refused.value.exit_code == 3


def test_a_deposed_store_writes_nothing(place: Place) -> None:
    with place.open() as first, place.open() as second:
        epoch = take(first, ANN)
        assert isinstance(epoch, int)
        guard(first, epoch)
        note(first)
        run_out(second)
        take(second, BOB)
        with pytest.raises(Deposed):
            note(first)
        assert note(second) == 2


async def test_of_a_group_of_a_deposed_store_nothing_is_written(place: Place) -> None:
    with place.open() as first, place.open() as second:
        take(second, ANN)
        take(second, ANN)
        guard(first, 1)
        held, go = threading.Event(), threading.Event()

        def hold(_: Transaction) -> None:
            held.set()
            assert go.wait(30)

        second.guarded_by(hold)  # the first one's turn comes when all its functions wait
        turn = asyncio.create_task(second.write(lambda tx: None))
        await asyncio.to_thread(held.wait, 30)
        works = [asyncio.create_task(first.write(record)) for _ in range(20)]
        await asyncio.sleep(0)
        go.set()
        await turn
        outcomes = await asyncio.gather(*works, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {Deposed}
        assert second.read_now(audit.events) == []


def test_many_who_take_and_write_at_once_never_write_under_a_lead_that_is_over(place: Place) -> None:
    """Four nodes depose each other as fast as they can; each write says under which epoch it was made."""
    place.open().close()
    failures: list[BaseException] = []

    def node(own: Node) -> None:
        try:
            with place.open() as store:
                for _ in range(12):
                    store.guarded_by(lambda tx: None)
                    store.write_now(lambda tx: tx.execute("UPDATE leadership SET until = 1"))
                    epoch = take(store, own)
                    if isinstance(epoch, Leader):
                        continue
                    guard(store, epoch)
                    for _ in range(3):
                        try:
                            note(store, str(epoch))
                        except Deposed:
                            break
        except BaseException as error:  # noqa: BLE001 - seen by the assertion below
            failures.append(error)

    threads = [threading.Thread(target=node, args=(Node(name, name),)) for name in ("ann", "bob", "eve", "joe")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with place.open() as store:
        epochs = [int(event.subject) for event in store.read_now(audit.events)]
    assert epochs, "nobody wrote under a lead"  # how many do is the machine's speed
    assert epochs == sorted(epochs), "a write came after a later lead had begun"


class Nodes(RuleBasedStateMachine):
    """Three nodes, and every epoch that any of them ever had."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.store = store
        store.write_now(lambda tx: leadership.release(tx, tx.one("SELECT epoch FROM leadership")[0]))  # type: ignore[index]  # one row
        self.first: int = store.read_now(lambda tx: tx.one("SELECT epoch FROM leadership")[0])  # type: ignore[index]  # one row
        self.epochs: list[int] = []
        self.last: Node | None = None
        self.leads: Node | None = None

    @rule(node=st.sampled_from([ANN, BOB, EVE]))
    def take(self, node: Node) -> None:
        outcome = take(self.store, node)
        if isinstance(outcome, Leader):
            assert outcome.node == self.leads
            assert outcome.node != node
            return
        assert self.leads in {None, node}, "a lead that lives was given away"
        assert outcome == max(self.epochs, default=self.first) + 1, "epochs rise one by one"
        self.epochs.append(outcome)
        self.last = self.leads = node

    @rule(back=st.integers(1, 3))
    def renew(self, back: int) -> None:
        if back <= len(self.epochs):
            try:
                self.store.write_now(lambda tx: leadership.renew(tx, self.epochs[-back], NOW))
            except Deposed:
                assert back > 1
            else:
                assert back == 1
                self.leads = self.last

    @rule()
    def over(self) -> None:
        run_out(self.store)
        self.leads = None

    @rule(back=st.integers(1, 3))
    def release(self, back: int) -> None:
        if back <= len(self.epochs):
            try:
                self.store.write_now(lambda tx: leadership.release(tx, self.epochs[-back]))
            except Deposed:
                assert back > 1
            else:
                assert back == 1
                self.leads = None

    @invariant()
    def only_the_last_epoch_writes(self) -> None:
        assert [epoch for epoch in self.epochs[-4:] if self.passes(epoch)] == self.epochs[-1:]

    def passes(self, epoch: int) -> bool:
        try:
            self.store.read_now(lambda tx: leadership.check(tx, epoch))
        except Deposed:
            return False
        return True


def test_no_order_of_events_lets_two_nodes_lead(store: Store) -> None:
    run_state_machine_as_test(
        lambda: Nodes(store),
        settings=settings(
            max_examples=15, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_script_files_are_kept_once(store: Store) -> None:
    for _ in range(2):
        store.write_now(lambda tx: pinned_files.keep(tx, "ab" * 32, b"\x00\xff echo"))
    assert store.read_now(lambda tx: pinned_files.content(tx, "ab" * 32)) == b"\x00\xff echo"
    assert store.read_now(lambda tx: pinned_files.content(tx, "cd" * 32)) is None
