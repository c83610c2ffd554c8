"""The controller of one space: it looks at the source, judges each head, carries it out, and says how things stand."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from reconciler.apply.places import follow, moved
from reconciler.declare.cache import ParseCache
from reconciler.declare.load import EMPTIED, Loaded
from reconciler.declare.signatures import Unsigned
from reconciler.model.diagnostics import Severity
from reconciler.model.errors import Invalid, ReconcilerError, Refused, StateUnreadable, UsageMistake
from reconciler.model.following import Judged, Proposal, SourceState, Verdict
from reconciler.model.live import ActorKind, Event, LiveState
from reconciler.model.spec import Address
from reconciler.plan.planner import Options, settings_of
from reconciler.server.backoff import pause
from reconciler.server.controller.judging import (
    SHOWN_MAX,
    Circumstances,
    Judgement,
    Move,
    asked_of,
    judge,
    refusals,
    summary,
)
from reconciler.server.controller.telling import Teller, ourselves
from reconciler.server.engine.engine import Engine, Running
from reconciler.server.engine.reconciling import apply_lease, carry_out_planned
from reconciler.server.forge.herald import Herald
from reconciler.server.planning.machines import Alone, Claims, machines
from reconciler.server.planning.planning import Planned, plan_space
from reconciler.server.sources.policy import Policy
from reconciler.server.sources.sources import Authorship, Source
from reconciler.server.state import origins
from reconciler.server.voice import Voice
from reconciler.store import audit, following, objects
from reconciler.store.counters import last_number
from reconciler.store.database import Transaction

STATE_SECONDS = 1.0
"""Between two looks at the state; the source is looked at as its policy says."""

TOGETHER_SECONDS = 0.02
"""In which what comes at once, calls of a forge or ends of tasks, counts as one."""

RETRY_SECONDS = (5.0, 300.0)
"""After which what may pass is tried again the first time, and at most; it doubles, and a new head begins anew."""

SEEN_EACH = 60.0
"""Seconds after which a look that found nothing new is recorded as well."""

JITTER = 0.1
"""Share of the time between two looks at the source that is random, so that many servers do not call at once."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What is compared from look to look: where anything of it is another, the head is judged again."""

    serial: int = 0
    answers: tuple[tuple[str, str], ...] = ()
    suspended: bool = False


class _Held(Exception):
    """Somebody has suspended the space while a commit was judged."""


@dataclass(slots=True)
class Controller:
    """Follows one source for one engine."""

    engine: Engine
    running: Running
    source: Source
    voice: Voice
    policy: Policy
    claims: Claims = field(default_factory=Alone)
    """Keeps it from the machines of other spaces."""
    herald: Herald | None = None
    """Tells a forge what became of commits."""
    results: Counter[str] = field(default_factory=Counter)
    """How heads were judged, by verdict."""
    space: str = ""
    """The name of the space, "" before a commit was read."""
    machines: Mapping[str, Address] = field(default_factory=dict)
    """What the workers and targets that were carried out last are reached by."""
    waiting: Judgement | None = None
    """What a person is asked about: its plan is the one that waits."""
    judged: Judged | None = None
    seen: SourceState | None = None
    _known: _Known | None = None
    _serial: int = 0
    """That of the state which the head was judged by, and after what was carried out of it."""
    _parsed: ParseCache = field(init=False)
    _drift: str = ""
    _tries: int = 0
    _failures: int = 0
    _look_at: float = 0.0
    _retry_at: float = 0.0
    _woken: asyncio.Event = field(default_factory=asyncio.Event)
    _awaited: list[asyncio.Future[None]] = field(default_factory=list)
    _teller: Teller = field(init=False)

    def __post_init__(self) -> None:
        self._parsed = ParseCache.open(self.engine.place.cache)
        self._teller = Teller(self.engine.store, self.voice, self.herald)

    @property
    def revision(self) -> str:
        """The commit that was judged last, "" before the first."""
        return self.judged.revision if self.judged else ""

    def wake(self) -> None:
        """Look at the source now: somebody says that it has moved."""
        self._look_at = 0.0
        self._woken.set()

    async def look(self) -> None:
        """Return when a look at the source has ended that began after this call."""
        waiter = asyncio.get_running_loop().create_future()
        self._awaited.append(waiter)
        self.wake()
        await waiter

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            self._woken.clear()
            moved = self.running.dispatcher.moved()
            await self.turn()
            waits = [asyncio.create_task(event.wait()) for event in (self._woken, moved)]
            await asyncio.wait(waits, timeout=STATE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
            await asyncio.sleep(TOGETHER_SECONDS)

    async def turn(self) -> None:
        """Look once, at the source where that is due, and do what follows."""
        await self._look()
        known = await self.engine.store.read(_known_now)
        if self._is_due(known):
            await self._judge(known)
        await self._teller.tell(self.seen, self.judged, self._drift)

    # The source.

    async def _look(self) -> None:
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + self.policy.poll * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - no secret
        awaited, self._awaited = self._awaited, []
        try:
            head = await asyncio.to_thread(self.source.head)
        except ReconcilerError as error:
            await self._unreadable(error)
        else:
            self._failures = 0
            now, seen = time.time(), self.seen
            if seen is None or seen.failed_since is not None or seen.head != head or now - seen.looked_at >= SEEN_EACH:
                await self._saw(self._source_state(head, now))
        for waiter in awaited:
            if not waiter.done():
                waiter.set_result(None)

    async def _unreadable(self, error: ReconcilerError) -> None:
        before, now = self.seen, time.time()
        since = before.failed_since if before and before.failed_since else now
        if before is None or before.problem != error.message:
            self.voice.warn("source cannot be read", source=self.source.url, reason=error.message, hint=error.hint)
        self.results["unreadable"] += 1
        self._failures += 1
        self._look_at = min(self._look_at, time.monotonic() + pause(self._failures, *RETRY_SECONDS))
        head = before.head if before else ""
        await self._saw(replace(self._source_state(head, now), failed_since=since, problem=error.message))

    def _source_state(self, head: str, now: float) -> SourceState:
        return SourceState(self.source.url, self.source.ref, self.source.folder, head, self.source.signatures, now)

    async def _saw(self, seen: SourceState) -> None:
        if self.seen is None or self.seen.head != seen.head:
            self._tries, self._retry_at = 0, 0.0
        self.seen = seen
        await self.engine.store.write(lambda tx: following.see_source(tx, seen))

    # The head.

    def _is_due(self, known: _Known) -> bool:
        head = self.seen.head if self.seen else ""
        if not head or known.suspended:
            return False
        if head != self.revision or known != self._known:
            return True
        return 0.0 < self._retry_at <= time.monotonic()

    async def _judge(self, known: _Known) -> None:
        """Judge the head, and remember what it was judged by."""
        assert self.seen is not None, "there is a head"
        head, seen_at = self.seen.head, time.time()
        self._retry_at, self._drift, self._serial = 0.0, "", known.serial
        made = await asyncio.to_thread(self.source.authorship, head)
        try:
            verdict, reason = await self._brought_to(head, made)
        except _Held:
            self._known = None  # it is judged when that has ended
            return
        except Unsigned as error:
            verdict, reason = Verdict.UNSIGNED, _sentence(error)
        except (Invalid, UsageMistake) as error:
            verdict, reason = Verdict.INVALID, _sentence(error)
        except Refused as error:
            verdict, reason = Verdict.REFUSED, _sentence(error)
        except StateUnreadable:
            raise
        except ReconcilerError as error:  # what is so now may be over soon
            verdict, reason = Verdict.FAILED, _sentence(error)
            self._try_again()
            self._look_at = min(self._look_at, self._retry_at)  # what was fetched may be what is wrong
        self.waiting = self.waiting if verdict is Verdict.WAITS else None
        judged = Judged(head, made.author, made.subject, verdict, reason, seen_at, time.time())
        await self._record(judged)
        after = await self.engine.store.read(_known_now)
        if verdict is Verdict.FAILED:
            self._known = after
        else:
            self._known = replace(after if verdict.is_good else known, serial=self._serial)

    def _try_again(self) -> None:
        """Judge the head again after a while, though nothing else moves."""
        self._tries += 1
        self._retry_at = time.monotonic() + pause(self._tries, *RETRY_SECONDS)

    async def _record(self, judged: Judged) -> None:
        self.results[judged.verdict] += 1
        known = self.judged
        again = known is not None and (known.revision, known.verdict, known.reason) == (
            judged.revision,
            judged.verdict,
            judged.reason,
        )
        if again:
            return
        if not judged.verdict.is_good:
            facts = {"revision": judged.revision, "outcome": judged.verdict.value, "reason": judged.reason}
            self.voice.warn("commit is not carried out", **facts)
        event = Event(
            *(judged.judged_at, judged.author or ourselves(), "reconcile", "space", judged.verdict.value),
            revision=judged.revision,
            detail=judged.reason,
            kind=ActorKind.CONTROLLER,
            origin=origins.of_server(),
        )

        def work(tx: Transaction) -> None:
            following.judge(tx, judged)
            if not judged.verdict.is_good:
                audit.record(tx, event)
            if judged.verdict not in {Verdict.WAITS, Verdict.FAILED}:
                following.withdraw_proposals(tx)

        await self.engine.store.write(work)
        self.judged = judged

    async def _brought_to(self, head: str, made: Authorship) -> tuple[Verdict, str]:
        """Bring the live state to a commit; returns what became of it, raises what stands against it."""
        signer = await asyncio.to_thread(self.source.signer, head)
        store = self.engine.store
        live = await store.read(lambda tx: objects.live_state(tx, store.known))
        self._serial = live.serial
        await asyncio.to_thread(self.source.check_since, live.revision, head)
        loaded = await asyncio.to_thread(self.source.load, head, live, self._parsed)
        if loaded.desired is None:
            raise invalid(loaded, self.voice)
        self.space = loaded.desired.name
        planned = await self._planned(loaded, live, Options(followed=True))
        judgement = await self._judgement(head, loaded, planned)
        if judgement.move in {Move.NOTHING, Move.CARRY_OUT}:
            if claimed := await self.claims.take(store, planned):  # meanwhile, by a space that was judged beside it
                return Verdict.REFUSED, claimed
            self.machines = dict(machines(planned.desired.objects))
        match judgement.move:
            case Move.NOTHING:
                await asyncio.to_thread(self.source.applied, head)
                if live.revision != head:
                    self._serial += await follow(store, moved(planned.desired.objects, live.objects))
                    await self.engine.store.write(lambda tx: objects.record_revision(tx, head, time.time()))
                self.voice.say("nothing to change", revision=head)
                return Verdict.UNCHANGED, ""
            case Move.REPORT:
                self._drift = judgement.reason
                return Verdict.UNCHANGED, ""
            case Move.REFUSE:
                return Verdict.REFUSED, judgement.reason
            case Move.ASK:
                await self._ask(head, judgement)
                return Verdict.WAITS, judgement.reason
            case Move.CARRY_OUT:
                return await self._carry_out(loaded, planned, judgement, signer or made.author)

    async def _planned(self, loaded: Loaded, live: LiveState, options: Options) -> Planned:
        rules = self.running.secret_rules
        return await asyncio.to_thread(plan_space, loaded, live, options, check=self.source.check, secret_rules=rules)

    async def _judgement(self, head: str, loaded: Loaded, planned: Planned) -> Judgement:
        plan, live = planned.plan, planned.live
        if plan.passing:
            self._try_again()
        if claimed := self.claims.against(planned):
            return Judgement(Move.REFUSE, plan, claimed)
        again = live.revision == head
        descends = again or not live.revision or live.revision.startswith("tree:") or await self._descends(head, live)
        lifted = plan
        if plan.stopped:
            options = Options(removals_max=self.policy.removals_max, ceiling=True, followed=True)
            lifted = (await self._planned(loaded, live, options)).plan
        asked = await asyncio.to_thread(asked_of, lifted, planned.desired, loaded.tree.read)
        answered = await self.engine.store.read(lambda tx: following.proposal(tx, asked))
        return judge(
            plan,
            Circumstances(
                settings_of(planned.desired, live),
                lifted,
                descends=descends,
                again=again,
                decided=self.policy.new_state or self.policy.adopt,
                asked=asked,
                answered=answered,
            ),
        )

    async def _descends(self, head: str, live: LiveState) -> bool:
        try:
            return await asyncio.to_thread(self.source.descends, head, live.revision)
        except ReconcilerError as error:
            self.voice.warn("history cannot be read", source=self.source.url, reason=error.message)
            return False

    async def _ask(self, head: str, judgement: Judgement) -> None:
        assert judgement.why is not None, "whoever asks says why"
        self.waiting = judgement
        plan = judgement.plan
        proposal = Proposal(judgement.asked, head, judgement.why, summary(plan), time.time(), plan=plan.digest)
        await self.engine.store.write(lambda tx: following.propose(tx, proposal))

    async def _carry_out(
        self, loaded: Loaded, planned: Planned, judgement: Judgement, actor: str
    ) -> tuple[Verdict, str]:
        plan = judgement.plan
        for doubt in planned.doubts:
            self.voice.warn("secret cannot be had", revision=plan.revision, reason=doubt)
        wanted = Planned(plan, planned.desired, planned.live)
        adopt = self.policy.adopt and plan.new_state
        async with apply_lease(self.engine) as token:
            if await self.engine.store.read(lambda tx: following.suspension(tx, time.time())) is not None:
                raise _Held
            applied = await carry_out_planned(
                *(self.engine, loaded, wanted, token),
                adopt=adopt,
                progress=lambda _item, _outcome: None,
                actor=actor or ourselves(),
                binding=self.source.binding(loaded),
            )
            await self.engine.store.write(following.settle_proposals)
        self._serial += applied.risen
        await asyncio.to_thread(self.source.applied, plan.revision)
        self.running.change()
        self.voice.say("carried out", revision=plan.revision, changes=applied.changes, deployments=len(applied.tasks))
        if plan.refused:
            return Verdict.PARTLY, refusals(plan)
        return Verdict.APPLIED, ""


def invalid(loaded: Loaded, voice: Voice) -> Invalid:
    """Say what is wrong with a commit, and return the error to raise."""
    errors = [found for found in loaded.diagnostics if found.severity is Severity.ERROR]
    for found in errors[:SHOWN_MAX]:
        where = f"{found.span.file}:{found.span.line}:{found.span.column}"
        voice.warn("diagnostic", code=found.code, where=where, text=found.message)
    first, count = errors[0], len(errors)
    where = f"{first.span.file}:{first.span.line}"
    return Invalid(
        f"{count} error{'s' if count != 1 else ''} in the declarations, the first at {where}: {first.message}",
        first.help if first.code == EMPTIED else "see them with: reconcile validate",  # it reads no live state
    )


def _known_now(tx: Transaction) -> _Known:
    answers = tuple((each.digest, each.decision) for each in following.proposals(tx) if each.decision)
    return _Known(last_number(tx, "serial"), answers, following.suspension(tx, time.time()) is not None)


def _sentence(error: ReconcilerError) -> str:
    """Return what an error says, and what mends it."""
    return f"{error.message} ({error.hint})" if error.hint else error.message
