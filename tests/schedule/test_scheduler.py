"""The fast scheduler decides what the slow, obvious one decides, whatever happens to both."""

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from reconciler.model.live import SeenWorker, WorkerHealth, WorkerStatus
from reconciler.schedule.fleet import Fleet, Member, Pool
from reconciler.schedule.requests import Claim, Needs, Request, RequestId
from reconciler.schedule.scheduler import Scheduler
from tests.schedule.oracle import Oracle

POOLS = ("east", "west")
LOCKS = ("mutex/a", "mutex/b")
CAPS = ("cap/a", "cap/b")
ZONES = ("", "north", "south")


def status(name: str, health: WorkerHealth) -> WorkerStatus:
    seen = SeenWorker(0.0, "10.0.0.1", "1", "boot", "store", 1, {"bash": "5.2.15"})
    return WorkerStatus(name, health, 0.0, "" if health is WorkerHealth.HEALTHY else "gone", seen)


members = st.builds(
    lambda pools, state, zone, slots, health: Member(
        "",
        tuple(sorted(pools)),
        "polling",
        state,
        labels={"zone": zone} if zone else {},
        slots=slots,
        status=status("", health),
    ),
    st.sets(st.sampled_from(POOLS), min_size=1),
    st.sampled_from(("enabled", "enabled", "enabled", "disabled", "draining")),
    st.sampled_from(ZONES),
    st.sampled_from((None, 0, 1, 1, 2, 3)),
    st.sampled_from((WorkerHealth.HEALTHY, WorkerHealth.HEALTHY, WorkerHealth.UNAVAILABLE)),
)


@st.composite
def fleets(draw) -> Fleet:
    workers = {}
    for number in range(draw(st.integers(0, 5))):
        name = f"w{number}"
        member = draw(members)
        workers[name] = replace(member, name=name, status=status(name, member.status.health))
    pools = {
        name: Pool(
            name,
            default=name == "east",
            allowed_environments=draw(st.sampled_from((None, None, ("production",)))),
            workers=tuple(sorted(worker.name for worker in workers.values() if name in worker.pools)),
            round_robin=draw(st.booleans()),
        )
        for name in POOLS
    }
    return Fleet(pools, workers, "east", builtin_enabled=draw(st.booleans()))


needs = st.one_of(
    st.builds(
        Needs,
        pool=st.sampled_from(POOLS),
        environment=st.sampled_from(("staging", "production")),
        selector=st.sampled_from(((), (), (("zone", "north"),))),
        requires=st.sampled_from(((), (("bash", ">=5"),), (("bash", ">=6"),))),
    ),
    st.builds(Needs, machine=st.sampled_from(("w0", "w1"))),
)

claims = st.lists(
    st.one_of(
        st.builds(Claim, st.sampled_from(LOCKS), st.sampled_from((True, True, False))),
        st.builds(Claim, st.sampled_from(CAPS), st.just(False)),
    ),
    max_size=2,
    unique_by=lambda claim: claim.resource,
).map(lambda found: tuple(sorted(found)))

steps = st.fixed_dictionaries(
    {
        "project": st.sampled_from(("p", "q", "r")),
        "task": st.integers(1, 4),
        "needs": needs,
        "claims": claims,
        "machine_claims": st.sampled_from(((), (), (), ("package/a",))),
        "exclusive": st.sampled_from((False, False, True)),
        "lease_key": st.sampled_from(("", "a", "b")),
        "lease_cap": st.sampled_from((0, 0, 1, 2)),
        "spread": st.sampled_from(("", "", "zone", "worker")),
        "priority": st.sampled_from((0, 0, 0, 1, 5)),
    }
)

turns = st.fixed_dictionaries(
    {"project": st.sampled_from(("p", "q", "r")), "claims": claims, "priority": st.sampled_from((0, 0, 2))}
)


class SchedulerMachine(RuleBasedStateMachine):
    """Both are told the same things, and asked after each of them."""

    def __init__(self) -> None:
        super().__init__()
        self.fast, self.slow = Scheduler(), Oracle()
        self.now = 1_000_000.0
        self.count = 0
        self.grants: list[tuple[str, str]] = []

    @initialize(fleet=fleets())
    def begin(self, fleet: Fleet) -> None:
        self.tell("see_fleet", fleet)

    def tell(self, what: str, *about: object) -> None:
        for one in (self.fast, self.slow):
            getattr(one, what)(*about)

    def ask(self, fields: dict[str, object], *, top: bool) -> None:
        self.count += 1
        number = f"{self.count:04}"
        top_since = self.now if top else None
        self.tell(
            "ask",
            Request(RequestId(f"{fields.get('task', 't')}/{number}"), since=self.now, top_since=top_since, **fields),
        )

    @rule(fields=st.one_of(steps, turns), copies=st.integers(1, 4), top=st.sampled_from((False, False, False, True)))
    def asked(self, fields: dict[str, object], copies: int, top: bool) -> None:
        for _ in range(copies):
            self.ask(fields, top=top)

    @rule(fields=steps, copies=st.integers(2, 3))
    def asked_by_many(self, fields: dict[str, object], copies: int) -> None:
        """Invocations of one step."""
        self.count += 1
        for number in range(copies):
            name = RequestId(f"{fields['task']}/{self.count:04}#{number}")
            self.tell("ask", Request(name, since=self.now, **fields))

    @rule(data=st.data())
    def withdrawn(self, data: st.DataObject) -> None:
        if self.slow.waiting:
            self.tell("withdraw", data.draw(st.sampled_from(sorted(self.slow.waiting))))

    @rule(data=st.data(), how=st.sampled_from(("release", "release", "release", "lose")))
    def ended(self, data: st.DataObject, how: str) -> None:
        if self.slow.held:
            self.tell(how, data.draw(st.sampled_from(sorted(self.slow.held))))

    @rule(data=st.data(), resource=st.sampled_from((*LOCKS, *CAPS, "package/a")))
    def loosened(self, data: st.DataObject, resource: str) -> None:
        if self.slow.held:
            self.tell("loosen", data.draw(st.sampled_from(sorted(self.slow.held))), resource)

    @rule(data=st.data())
    def paused(self, data: st.DataObject) -> None:
        """Let a task that has leases give them up, or one that has none."""
        leased = sorted({task for task, _ in self.slow.leases}) or [1]
        self.tell("end_leases", data.draw(st.sampled_from(leased)))

    @rule(fleet=fleets())
    def changed(self, fleet: Fleet) -> None:
        """Machines that carry something stay: nobody is deregistered while an attempt lives on him."""
        carrying = {held.machine for held in self.slow.held.values()} - {"", "built-in"} - fleet.workers.keys()
        kept = {name: replace(self.slow.fleet.workers[name], pools=(), state="disabled") for name in carrying}
        self.tell("see_fleet", replace(fleet, workers={**fleet.workers, **kept}))

    @rule(data=st.data(), health=st.sampled_from(WorkerHealth), state=st.sampled_from(("enabled", "draining")))
    def flapped(self, data: st.DataObject, health: WorkerHealth, state: str) -> None:
        workers = self.slow.fleet.workers
        if not workers:
            return
        name = data.draw(st.sampled_from(sorted(workers)))
        member = replace(workers[name], status=status(name, health), state=state)
        self.fast.see_machine(member)
        self.slow.see_fleet(replace(self.slow.fleet, workers={**workers, name: member}))

    @rule(resource=st.sampled_from((*CAPS, LOCKS[0])), capacity=st.sampled_from((None, 0, 1, 2)))
    def resized(self, resource: str, capacity: int | None) -> None:
        self.tell("resize", resource, capacity)

    @rule(seconds=st.sampled_from((1.0, 30.0, 599.0, 600.0, 4000.0)))
    def waited(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def same(self) -> None:
        fast = [(grant.request.id, grant.machine) for grant in self.fast.decide(self.now)]
        slow = self.slow.decide(self.now)
        self.grants += slow
        assert fast == slow
        for name, request in self.slow.waiting.items():
            found = self.fast.wait(RequestId(name))
            assert found.reason
            assert found.busy == (request.needs is None or bool(self.slow.fitting(request)))


TestScheduler = SchedulerMachine.TestCase
TestScheduler.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
