"""The life of a ticket against the plainest account of it, whoever says what, dies or finds the disk full, in any order."""

import os
import selectors
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from reconciler.agent import custody as custody_module
from reconciler.agent import directory as tickets_on_disk
from reconciler.agent import durable, forgotten, life
from reconciler.agent.custody import STARTS_MAX, Custody
from reconciler.agent.directory import TicketDirectory
from reconciler.agent.isolations import Isolations
from reconciler.agent.nursery import Nursery
from reconciler.agent.tombstones import Tombstones
from reconciler.protocol.tickets import (
    Cancelled,
    Declined,
    Ended,
    Final,
    Lost,
    NotStarted,
    Offered,
    Running,
    Secrets,
    TicketId,
    TicketReport,
    TicketSpec,
)
from tests.agent.stand_in import Disk, Supervisor, Supervisors
from tests.agent.worker import specification

WHICH = st.integers(0, 2)
"""The ticket that was spoken of last, the one before it, or one that nobody has heard of."""

FULL_AFTER = st.one_of(st.none(), st.none(), st.integers(0, 6))
"""Writes that the disk takes before it is full; None is a disk with room."""

CANCELLED = "it was cancelled before it started"
WITHDRAWN = "it was withdrawn before it started"
FORGOTTEN = "it was forgotten before it started"
DIED = "its supervisor died each time before it could start the script; look at the agent's log"
NO_ROOM = "the worker cannot store it: No space left on device; look at its state directory"


@dataclass
class Account:
    """What is to be known of a ticket: `void` and `final` exclude each other's contrary for ever."""

    spec: TicketSpec | None = None
    started: bool = False
    void: str = ""
    """Why it never starts."""
    final: Final | None = None
    """As its supervisor published it."""
    lost: bool = False
    """The supervisor died after the start and before the end."""
    wanted: int = 0
    """Supervisors that this agent asked for; 0 until it is told to run the ticket."""
    unseen: bool = False
    """A supervisor of an agent before works out of sight, or a void waits for one to notice it."""
    stopped: bool = False
    """The supervisor was told to stop its script."""
    buried: bool = False

    @property
    def ended(self) -> bool:
        return bool(self.void or self.final or self.lost)


class ATicketsLife(RuleBasedStateMachine):
    """An agent whose server repeats itself, whose supervisors die, and which dies itself."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.state = tempfile.mkdtemp()
        self.tickets = os.path.join(self.state, "tickets")
        os.mkdir(self.tickets)
        patch.undo()
        self.disk = Disk(patch)
        self.nursery = Supervisors(self.tickets)
        self.accounts: dict[TicketId, Account] = {}
        self.told: dict[TicketId, Final] = {}
        """The first ending that the server was told of each ticket."""
        self.reports: list[TicketReport] = []

    @initialize()
    def begin(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.custody = Custody(
            self.state,
            cast("Nursery", self.nursery),
            self.selector,
            Isolations(),
            report=self.reports.append,
            finish=self._on_final,
        )
        self.custody.take_inventory()

    def teardown(self) -> None:
        for each in self.nursery.living():
            each.die()
        self._die()
        shutil.rmtree(self.state)

    def _die(self) -> None:
        """Close what the kernel closes of a killed agent."""
        for found in self.custody._lives.values():
            found.close()
        for channel in self.custody._shims._idle:
            channel.close()
        self.selector.close()

    def _on_final(self, final: Final) -> None:
        assert self.told.setdefault(final.ticket, final) == final, "an ending has changed"

    def _settle(self) -> None:
        """Let the agent do what there is to do."""
        quiet = 0
        while quiet < 3:
            ready = self.selector.select(0)
            for key, _ in ready:
                key.data()
            self.custody.look_again()
            self.custody.tidy(is_idle=not ready)
            quiet = 0 if ready else quiet + 1

    def _say(self, verb: Callable[[], None], full_after: int | None = None) -> list[TicketReport]:
        """Say something to the agent, with a disk that may be full at first; return what it answers."""
        self.reports.clear()
        if full_after is not None:
            self.disk.fill(full_after)
        verb()
        self.custody.accept()
        self.custody.look_again()
        answers = list(self.reports)
        self.disk.free()
        self._settle()
        return answers

    def _account(self, ticket: TicketId) -> Account:
        return self.accounts.setdefault(ticket, Account())

    def _named(self, which: int) -> TicketId:
        count = len(self.accounts)
        return TicketId(f"t{count - which if which < min(2, count) else count + 1}")

    def _state(self, ticket: TicketId) -> object:
        return {each.ticket: each.state for each in self.custody.reports()}.get(ticket)

    # What the server says.

    @rule(
        which=WHICH,
        full_after=FULL_AFTER,
        arguments=st.sampled_from([(), ("another",)]),
        runs=st.sampled_from([True, True, False]),
        steps=st.integers(0, 2),
    )
    def offer(self, which: int, full_after: int | None, arguments: tuple[str, ...], steps: int, *, runs: bool) -> None:
        ticket = self._named(which)
        spec = replace(specification("true", ticket), arguments=arguments)
        account = self._account(ticket)
        is_new = account.spec is None and not account.buried

        def verb() -> None:
            self.custody.offer(spec, None)
            if runs and self._state(ticket) is not None:
                self.custody.run(ticket, Secrets())

        answers = [each.state for each in self._say(verb, full_after) if each.ticket == ticket]
        if account.buried:
            assert answers == [Declined("it was forgotten here")]
        elif is_new and Declined(NO_ROOM) in answers:
            assert full_after is not None
            assert not os.path.exists(os.path.join(self.tickets, ticket))
        else:
            if is_new:
                account.spec = spec
            if runs:
                self._wanted(account)
        for each in [each for each in self._at_work() if each.ticket == ticket] * steps:
            self._watch(each, lambda each: each.step(0))

    @rule(which=WHICH, full_after=FULL_AFTER)
    def run_it(self, which: int, full_after: int | None) -> None:
        ticket = self._named(which)
        account = self._account(ticket)
        answers = self._say(lambda: self.custody.run(ticket, Secrets()), full_after)
        if account.spec is None:
            assert [each.state for each in answers] == [Declined("this worker does not know it")]
        else:
            self._wanted(account)

    def _wanted(self, account: Account) -> None:
        if not (account.started or account.ended):
            account.wanted = account.wanted or 1

    @rule(which=WHICH, full_after=FULL_AFTER)
    def cancel(self, which: int, full_after: int | None) -> None:
        self._cancel(self._named(which), full_after)

    def _cancel(self, ticket: TicketId, full_after: int | None) -> None:
        account = self._account(ticket)
        self._say(lambda: self.custody.cancel(ticket, 0.0), full_after)
        if account.spec is not None and not account.wanted:
            self._voided(account, CANCELLED)
        account.stopped = account.stopped or (bool(account.wanted or account.started) and not account.unseen)

    @rule(which=WHICH, full_after=FULL_AFTER)
    def void(self, which: int, full_after: int | None) -> None:
        self._withdraw(self._named(which), full_after)

    def _withdraw(self, ticket: TicketId, full_after: int | None) -> None:
        account = self._account(ticket)
        self._say(lambda: self.custody.void(ticket), full_after)
        if account.spec is not None:
            self._voided(account, WITHDRAWN)

    def _voided(self, account: Account, reason: str) -> None:
        if not (account.started or account.ended):
            account.void, account.wanted = reason, 0

    @rule(which=WHICH, full_after=FULL_AFTER, is_known=st.sampled_from([True, True, True, False]))
    def forget(self, which: int, full_after: int | None, *, is_known: bool) -> None:
        ticket = self._named(which)
        account = self._account(ticket)
        state = self._state(ticket)
        if is_known and state is None:
            return
        answers = self._say(lambda: self.custody.forget(ticket), full_after)
        if isinstance(state, Offered):
            is_asked_for = bool(account.wanted) or account.void == FORGOTTEN
            account.unseen = account.unseen or is_asked_for
            self._voided(account, FORGOTTEN)
            if not (is_asked_for or account.started):
                self._bury(account)
        elif isinstance(state, Running):
            assert [each.state for each in answers] == [Running()]
        else:
            self._bury(account)

    def _bury(self, account: Account) -> None:
        account.spec, account.buried, account.unseen = None, True, False

    # What supervisors do.

    def _at_work(self) -> list[Supervisor]:
        """Return the supervisors that were asked for."""
        for each in self.nursery.living():
            each.listen()
        return [each for each in self.nursery.living() if each.ticket is not None]

    @rule(
        which=st.integers(0, 2),
        code=st.integers(0, 3),
        steps=st.integers(1, 3),
        is_cancelled=st.sampled_from([False, False, False, True]),
    )
    def step(self, which: int, code: int, steps: int, *, is_cancelled: bool) -> None:
        for _ in range(steps):
            if at_work := self._at_work():
                each = at_work[which % len(at_work)]
                if is_cancelled and each.ticket is not None:
                    self._cancel(each.ticket, None)
                self._watch(each, lambda each: each.step(code))

    @rule(which=st.integers(0, 2))
    def kill(self, which: int) -> None:
        if at_work := self._at_work():
            self._watch(at_work[which % len(at_work)], Supervisor.die)

    @rule()
    def kill_one_that_waits(self) -> None:
        if waiting := [each for each in self.nursery.living() if each not in self._at_work()]:
            self._watch(waiting[0], Supervisor.die)

    @rule()
    def look(self) -> None:
        for each in list(self.nursery.living()):
            self._watch(each, Supervisor.look)

    def _watch(self, each: Supervisor, move: Callable[[Supervisor], None]) -> None:
        """Let a supervisor move, and account for what has become of its ticket."""
        each.listen()
        before, was_near = each.stage, each.channel is not None
        move(each)
        account = self._account(each.ticket) if each.ticket is not None else None
        self._settle()
        if account is None:
            return
        is_gone = each.stage == "gone"
        if each.stage == "claimed" and before != "claimed":
            assert not account.void, "started although it is void"
            account.started, account.wanted = True, 0
        elif each.stage == "published" and before == "claimed":
            account.final = each.final
            assert not account.stopped or (each.final is not None and each.final.ending == Cancelled())
        elif is_gone and before == "claimed":
            account.lost = True
        elif is_gone and was_near and account.wanted and before in {"waiting", "locked"}:
            self._died_in_vain(account)

    def _died_in_vain(self, account: Account) -> None:
        if account.wanted < STARTS_MAX:
            account.wanted += 1
        else:
            self._voided(account, DIED)

    @rule(steps=st.integers(0, 3))
    def restart(self, steps: int) -> None:
        """Kill the agent and start the next one on the same directory; supervisors may go on a little later."""
        at_work = self._at_work()
        self._die()
        for account in self.accounts.values():
            account.unseen = account.unseen or bool(account.wanted)
            account.wanted, account.stopped = 0, account.stopped and account.started
        self.begin()
        self._settle()
        for each in at_work * steps:
            self._watch(each, lambda each: each.step(0))

    # What holds.

    @invariant()
    def a_script_starts_at_most_once_and_never_after_a_void(self) -> None:
        for ticket, account in self.accounts.items():
            assert self.nursery.started[ticket] == account.started
            if ticket in self.told and isinstance(self.told[ticket].ending, NotStarted):
                assert not self.nursery.started[ticket], "the server was told that it never starts"

    @invariant()
    def the_agent_tells_what_is(self) -> None:
        if not hasattr(self, "custody"):
            return
        found = {each.ticket: each.state for each in self.custody.reports()}
        assert set(found) == {ticket for ticket, account in self.accounts.items() if account.spec is not None}
        for ticket, state in found.items():
            account = self.accounts[ticket]
            is_late = account.unseen or any(
                each.ticket == ticket and each.stage == "published" for each in self.nursery.living()
            )
            if not (is_late and isinstance(state, Offered | Running)):
                self._agrees(state, account)

    def _agrees(self, state: object, account: Account) -> None:
        assert isinstance(state, Ended) == account.ended
        if not isinstance(state, Ended):
            assert isinstance(state, Running if account.started else Offered)
        elif account.void:
            assert state.final.ending == NotStarted(account.void)
        elif account.final is not None:
            assert state.final == account.final
        else:
            assert isinstance(state.final.ending, Lost)

    @invariant()
    def the_disk_holds_what_was_accepted_and_nothing_of_what_was_forgotten(self) -> None:
        if not hasattr(self, "custody"):
            return
        tombstones = Tombstones(os.path.join(self.state, "tombstones"))
        for ticket, account in self.accounts.items():
            if account.buried:
                assert not os.path.exists(os.path.join(self.tickets, ticket))
                assert ticket in tombstones
            elif account.spec is not None:
                assert os.path.isdir(os.path.join(self.tickets, ticket))
                directory = TicketDirectory(self.tickets, ticket)
                assert directory.spec() == account.spec, "the first spec counts"
                directory.close()

    @rule()
    def converge(self) -> None:
        """Let every script end; what the agent does not see, it finds out when it is asked once more."""
        for ticket, account in self.accounts.items():
            if account.spec is not None:
                self._withdraw(ticket, None)
        while at_work := self._at_work():
            for each in at_work:
                self._watch(each, lambda each: each.step(0))
        for account in self.accounts.values():
            account.unseen = False
        self.the_agent_tells_what_is()


def prepare(patch: pytest.MonkeyPatch) -> ATicketsLife:
    """Return a machine whose agent waits for nothing."""
    machine = ATicketsLife(patch)
    for where, name in (
        (custody_module, "LOOK_AGAIN"),
        (custody_module, "WRITE_AGAIN"),
        (forgotten, "WAIT_SECONDS"),
        (forgotten, "WRITE_AGAIN"),
    ):
        patch.setattr(where, name, 0.0)
    patch.setattr(life, "sweep", lambda _: True)  # no process bears the cookie
    return machine


def run(patch: pytest.MonkeyPatch, plant: Callable[[pytest.MonkeyPatch], None], examples: int, *phases: Phase) -> None:
    """Let the machine run on an agent into which something was planted."""

    def machine() -> ATicketsLife:
        found = prepare(patch)
        plant(patch)
        return found

    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            database=None,
            phases=phases or tuple(Phase),
            derandomize=bool(phases),  # what was planted is found each time
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_no_order_of_events_starts_a_script_twice_or_changes_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, lambda _: None, 60)


@pytest.mark.parametrize("verb", ["cancel", "void", "forget"])
def test_a_supervisor_that_starts_after_its_agent_was_killed_is_found_by_the_next_one(
    verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = prepare(monkeypatch)
    machine.begin()
    machine.offer(which=2, full_after=None, arguments=(), steps=0, runs=True)
    machine.restart(steps=1)  # it takes the lock and starts when the next agent has looked already
    ticket = machine._named(0)
    assert machine.accounts[ticket].started
    more = {"is_known": True} if verb == "forget" else {}
    getattr(machine, verb)(which=0, full_after=None, **more)
    machine.look()
    machine.look()
    assert isinstance(machine._state(ticket), Running)
    assert machine._at_work()[0].is_stopped == (verb == "cancel")
    machine.converge()
    assert ticket in machine.told
    machine.teardown()


def _void_that_leaves_no_claim(directory: TicketDirectory, reason: str) -> bool:
    return True


def _claim_that_replaces(directory: int, name: str, data: bytes) -> bool:
    if os.path.lexists(f"/proc/self/fd/{directory}/{name}"):
        os.unlink(name, dir_fd=directory)
    return _CLAIM(directory, name, data)


def _nothing(*_: object) -> None:
    """Leave out what should be done."""


def _never_locked(directory: TicketDirectory) -> bool:
    return False


def _offer_that_stores_again(custody: Custody, spec: TicketSpec, script: bytes | None) -> None:
    if spec.ticket in custody._lives:
        custody._store(spec, script)
    else:
        _OFFER(custody, spec, script)


_CLAIM, _OFFER = durable.claim, Custody.offer

BUGS: dict[str, tuple[object, str, Callable[..., object]]] = {
    "a void that leaves no claim": (TicketDirectory, "claim_void", _void_that_leaves_no_claim),
    "a claim that replaces the one before": (durable, "claim", _claim_that_replaces),
    "a lock that nobody sees": (TicketDirectory, "is_locked", _never_locked),
    "a lost exit status": (TicketDirectory, "final", _nothing),
    "a tombstone that is not written": (Tombstones, "add", _nothing),
    "a ticket that stays on the disk": (tickets_on_disk, "remove", _nothing),
    "a cancel that reaches no script": (Custody, "_press", _nothing),
    "an offer that is stored again": (Custody, "offer", _offer_that_stores_again),
}


@pytest.mark.parametrize("name", BUGS)
def test_the_machine_finds(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where, what, bug = BUGS[name]
    with pytest.raises(AssertionError):
        run(monkeypatch, lambda patch: patch.setattr(where, what, bug), 400, Phase.generate)
