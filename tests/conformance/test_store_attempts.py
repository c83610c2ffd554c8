"""Every dialect holds G2 and G5: one live attempt per step run, one ending per attempt."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from reconciler.model.errors import Conflict
from reconciler.model.live import Attempt, AttemptState, TaskId
from reconciler.store import attempts
from reconciler.store.writer import Store
from tests.conformance.process import queued_with_steps

STEPS = 2


def granted(task: TaskId, step: int, number: int = 1) -> Attempt:
    return Attempt(
        ticket=f"t{task}-{step}-{number}",
        task=task,
        step=step,
        number=number,
        worker="w1",
        token=5,
        state=AttemptState.GRANTED,
        spec='{"script":"true"}',
        decision="w1 is the only worker",
        granted_at=3.0,
    )


def unfinished(store: Store, worker: str = "w1") -> list[Attempt]:
    return store.read_now(lambda tx: attempts.unfinished_on(tx, worker))


def test_an_attempt_goes_from_granted_over_running_to_its_end(store: Store) -> None:
    task = store.write_now(queued_with_steps)
    attempt = granted(task.id, 0)
    store.write_now(lambda tx: attempts.grant(tx, [(attempt, "")]))
    assert unfinished(store) == [attempt]
    assert store.write_now(lambda tx: attempts.started(tx, {attempt.ticket: 4.0}))
    assert not store.write_now(lambda tx: attempts.started(tx, {attempt.ticket: 5.0}))
    ended = store.write_now(
        lambda tx: attempts.ended(
            tx, [attempts.Ended(attempt.ticket, '{"exited":0}', 6.0, log_length=2**40, log_digest="ab")]
        )
    )
    assert ended
    assert unfinished(store) == []
    assert store.read_now(lambda tx: attempts.attempt(tx, attempt.ticket)) == replace(
        attempt,
        state=AttemptState.ENDED,
        ending='{"exited":0}',
        started_at=4.0,
        finished_at=6.0,
        log_length=2**40,
        log_digest="ab",
    )


def test_a_second_live_attempt_of_a_step_run_is_refused_in_words(store: Store) -> None:
    task = store.write_now(queued_with_steps)
    store.write_now(lambda tx: attempts.grant(tx, [(granted(task.id, 0), "")]))
    with pytest.raises(Conflict) as refused:
        store.write_now(lambda tx: attempts.grant(tx, [(granted(task.id, 0, 2), "")]))
    assert refused.value.message == "step 0 of task 1 has a live attempt already: ticket t1-0-1 on w1"
    assert len(store.read_now(lambda tx: attempts.attempts(tx, task.id))) == 1


def test_the_first_ending_stays_whatever_arrives_later(store: Store) -> None:
    task = store.write_now(queued_with_steps)
    ticket = granted(task.id, 0).ticket
    store.write_now(lambda tx: attempts.grant(tx, [(granted(task.id, 0), "")]))
    recorded = [
        store.write_now(
            lambda tx, code=code: attempts.ended(
                tx, [attempts.Ended(ticket, f"{code}", 5.0 + code, log_length=code, log_digest="d")]
            )
        )
        for code in (0, 1, 0)
    ]
    assert recorded == [{ticket}, set(), set()]
    found = store.read_now(lambda tx: attempts.attempt(tx, ticket))
    assert found is not None
    assert (found.ending, found.finished_at, found.log_length) == ("0", 5.0, 0)


def test_a_late_start_does_not_revive_an_ended_attempt(store: Store) -> None:
    task = store.write_now(queued_with_steps)
    ticket = granted(task.id, 0).ticket
    store.write_now(lambda tx: attempts.grant(tx, [(granted(task.id, 0), "")]))
    store.write_now(lambda tx: attempts.ended(tx, [attempts.Ended(ticket, "{}", 5.0, log_length=0, log_digest="")]))
    assert not store.write_now(lambda tx: attempts.started(tx, {ticket: 6.0}))


def test_an_unknown_ticket_changes_nothing(store: Store) -> None:
    assert store.read_now(lambda tx: attempts.attempt(tx, "x")) is None
    assert not store.write_now(lambda tx: attempts.started(tx, {"x": 1.0}))
    assert not store.write_now(
        lambda tx: attempts.ended(tx, [attempts.Ended("x", "{}", 1.0, log_length=0, log_digest="")])
    )


def test_a_lost_attempt_makes_way_for_another_and_may_end_late(store: Store) -> None:
    task = store.write_now(queued_with_steps)
    first, second = granted(task.id, 0), replace(granted(task.id, 0, 2), worker="w2")
    store.write_now(lambda tx: attempts.grant(tx, [(first, "")]))
    assert store.write_now(lambda tx: attempts.lose(tx, first.ticket, 5.0))
    assert not store.write_now(lambda tx: attempts.lose(tx, first.ticket, 6.0))
    store.write_now(lambda tx: attempts.grant(tx, [(second, "")]))
    assert unfinished(store) == [replace(first, state=AttemptState.LOST)]
    assert unfinished(store, "w2") == [second]
    assert store.write_now(
        lambda tx: attempts.ended(tx, [attempts.Ended(first.ticket, "{}", 7.0, log_length=0, log_digest="")])
    )
    assert unfinished(store) == []
    assert not store.write_now(lambda tx: attempts.lose(tx, first.ticket, 8.0))


def test_the_epoch_of_a_worker_never_falls(store: Store) -> None:
    assert store.read_now(lambda tx: attempts.worker_epoch(tx, "w")) == 0
    rises = [store.write_now(lambda tx, n=n: attempts.set_worker_epoch(tx, "w", n)) for n in (3, 3, 2, 9)]
    assert rises == [True, False, False, True]
    assert store.read_now(lambda tx: attempts.worker_epoch(tx, "w")) == 9


class AttemptsOfATask(RuleBasedStateMachine):
    """Grants, starts and endings in any order, repeated and late, against the plainest account of them."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.store = store
        self.tickets: dict[int, list[str]] = {step: [] for step in range(STEPS)}
        self.endings: dict[str, str] = {}

    @initialize()
    def queue(self) -> None:
        self.task = self.store.write_now(queued_with_steps).id

    def live(self, step: int) -> list[str]:
        return [ticket for ticket in self.tickets[step] if ticket not in self.endings]

    @rule(step=st.integers(0, STEPS - 1))
    def grant(self, step: int) -> None:
        attempt = granted(self.task, step, len(self.tickets[step]) + 1)
        try:
            self.store.write_now(lambda tx: attempts.grant(tx, [(attempt, "")]))
        except Conflict:
            assert self.live(step), "a grant is refused only beside a live attempt"
        else:
            assert not self.live(step), "never a second live attempt"
            self.tickets[step].append(attempt.ticket)

    @rule(step=st.integers(0, STEPS - 1), which=st.integers(0, 5), code=st.integers(0, 255))
    def end(self, step: int, which: int, code: int) -> None:
        if not self.tickets[step]:
            return
        ticket = self.tickets[step][which % len(self.tickets[step])]
        ending = f'{{"exited":{code}}}'
        first = self.store.write_now(
            lambda tx: attempts.ended(tx, [attempts.Ended(ticket, ending, 9.0, log_length=code, log_digest="d")])
        )
        assert first == {ticket} - self.endings.keys()
        self.endings.setdefault(ticket, ending)

    @rule(step=st.integers(0, STEPS - 1), which=st.integers(0, 5))
    def start(self, step: int, which: int) -> None:
        if self.tickets[step]:
            ticket = self.tickets[step][which % len(self.tickets[step])]
            started = self.store.write_now(lambda tx: attempts.started(tx, {ticket: 8.0}))
            assert not (started and ticket in self.endings)

    @invariant()
    def the_store_agrees(self) -> None:
        found = self.store.read_now(lambda tx: attempts.attempts(tx, self.task))
        assert {attempt.ticket: attempt.ending for attempt in found if attempt.ending} == self.endings
        live = [attempt for attempt in unfinished(self.store) if attempt.task == self.task]
        assert [attempt.ticket for attempt in live] == [ticket for step in range(STEPS) for ticket in self.live(step)]


def test_no_order_of_grants_and_endings_breaks_g2_or_g5(store: Store) -> None:
    run_state_machine_as_test(
        lambda: AttemptsOfATask(store),
        settings=settings(
            max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
