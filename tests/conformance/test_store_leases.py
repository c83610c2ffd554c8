"""Every dialect gives a lease to one holder at a time, under tokens that rise."""

from itertools import count

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from reconciler.model.errors import Conflict
from reconciler.store import leases
from reconciler.store.leases import HeldBy
from reconciler.store.writer import Store

LONG = 1_000.0
OVER = 0.0  # a lease of no time has run out at once, on any clock
NOW = 100.0
NUMBERS = count()


def acquire(store: Store, holder: str, ttl: float = LONG, *, takeover: bool = False) -> int | HeldBy:
    return store.write_now(lambda tx: leases.acquire(tx, "apply", holder, ttl, NOW, takeover=takeover))


def test_a_held_lease_names_its_holder(store: Store) -> None:
    assert acquire(store, "ann") == 1
    held = acquire(store, "bob")
    assert isinstance(held, HeldBy)
    assert held.holder == "ann"


def test_a_released_lease_is_free_at_once(store: Store) -> None:
    acquire(store, "ann")
    assert store.write_now(lambda tx: leases.release(tx, "apply", 1))
    assert not store.write_now(lambda tx: leases.release(tx, "apply", 1))
    assert acquire(store, "bob") == 2


def test_a_lease_that_ran_out_goes_to_the_next_or_is_renewed(store: Store) -> None:
    assert acquire(store, "ann", OVER) == 1
    assert store.write_now(lambda tx: leases.renew(tx, "apply", 1, OVER, NOW))
    assert acquire(store, "bob") == 2
    assert not store.write_now(lambda tx: leases.renew(tx, "apply", 1, LONG, NOW))


def test_a_successor_need_not_wait_for_a_dead_holder(store: Store) -> None:
    acquire(store, "ann")
    assert acquire(store, "bob", takeover=True) == 2


def test_a_released_lease_cannot_be_renewed(store: Store) -> None:
    acquire(store, "ann")
    store.write_now(lambda tx: leases.release(tx, "apply", 1))
    assert not store.write_now(lambda tx: leases.renew(tx, "apply", 1, LONG, NOW))


def test_an_old_token_is_refused_in_words(store: Store) -> None:
    acquire(store, "ann")
    acquire(store, "bob", takeover=True)
    with pytest.raises(Conflict) as refused:
        store.write_now(lambda tx: leases.check(tx, "apply", 1))
    assert refused.value.message == "the lease apply was taken over by bob"
    store.write_now(lambda tx: leases.release(tx, "apply", 2))
    with pytest.raises(Conflict) as refused:
        store.write_now(lambda tx: leases.check(tx, "apply", 2))
    assert refused.value.message == "the lease apply is held no longer"


class HoldersOfALease(RuleBasedStateMachine):
    """Three holders, one of them always with a clock of its own, and every token that any of them ever had."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.store = store
        self.name = f"lease-{next(NUMBERS)}"
        self.tokens: list[int] = []
        self.held = False
        self.over = False

    @rule(holder=st.sampled_from(["ann", "bob", "eve"]), ttl=st.sampled_from([LONG, OVER]), takeover=st.booleans())
    def acquire(self, holder: str, ttl: float, *, takeover: bool) -> None:
        outcome = self.store.write_now(lambda tx: leases.acquire(tx, self.name, holder, ttl, NOW, takeover=takeover))
        if isinstance(outcome, HeldBy):
            assert self.held
            assert not self.over
            assert not takeover
            return
        assert not self.held or self.over or takeover, "a lease that lives was given away"
        assert outcome > max(self.tokens, default=0), "tokens rise"
        self.tokens.append(outcome)
        self.held, self.over = True, ttl == OVER

    @rule(back=st.integers(1, 3), ttl=st.sampled_from([LONG, OVER]))
    def renew(self, back: int, ttl: float) -> None:
        if back <= len(self.tokens):
            token = self.tokens[-back]
            renewed = self.store.write_now(lambda tx: leases.renew(tx, self.name, token, ttl, NOW))
            assert renewed == (back == 1 and self.held)
            self.over = ttl == OVER if renewed else self.over

    @rule(back=st.integers(1, 3))
    def release(self, back: int) -> None:
        if back <= len(self.tokens):
            token = self.tokens[-back]
            released = self.store.write_now(lambda tx: leases.release(tx, self.name, token))
            assert released == (back == 1 and self.held)
            self.held = self.held and not released

    @invariant()
    def at_most_the_newest_token_passes(self) -> None:
        passing = [token for token in self.tokens[-4:] if self.passes(token)]
        assert passing == (self.tokens[-1:] if self.held else [])

    def passes(self, token: int) -> bool:
        try:
            self.store.read_now(lambda tx: leases.check(tx, self.name, token))
        except Conflict:
            return False
        return True


def test_no_order_of_events_gives_a_lease_two_holders(store: Store) -> None:
    run_state_machine_as_test(
        lambda: HoldersOfALease(store),
        settings=settings(
            max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
