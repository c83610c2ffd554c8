"""A schedule played on paper: what asks, ends and changes, and what the scheduler makes of it."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from reconciler.model.live import SeenWorker, WorkerHealth, WorkerStatus
from reconciler.schedule.asking import resumption
from reconciler.schedule.explain import because_of, who
from reconciler.schedule.fleet import Fleet, Member, Pool
from reconciler.schedule.requests import Claim, Grant, Needs, Request, RequestId
from reconciler.schedule.scheduler import Scheduler

START = 1_000_000.0  # seconds since the epoch; what counts is how many pass


class Paper:
    """A fleet, tasks that ask, and the clock of a page."""

    def __init__(self) -> None:
        self._scheduler = Scheduler()
        self._fleet = Fleet({}, {}, "default")
        self._now = START
        self._names: dict[RequestId, str] = {}
        self._open: dict[tuple[int, str], RequestId] = {}
        self._waiting: dict[RequestId, str] = {}
        self._count = 0

    def play(self, lines: list[str]) -> Iterator[str]:
        """Yield each event and, indented, what follows from it."""
        for line in lines:
            if line.startswith("  ") or not line:
                continue
            yield line
            if not line.startswith("#"):
                self._do(line)
                yield from self._follows()

    def _do(self, line: str) -> None:
        for pattern, act in _EVENTS:
            found = re.fullmatch(pattern, line)
            if found:
                act(self, found.groupdict())
                return
        raise AssertionError(f"nothing happens like this: {line}")

    def _follows(self) -> Iterator[str]:
        for grant in self._scheduler.decide(self._now):
            self._waiting.pop(grant.request.id, None)
            yield f"  {self._names[grant.request.id]} {self._granted(grant)}"
        for name, before in list(self._waiting.items()):
            reason = self._scheduler.wait(name).reason
            if reason != before:
                self._waiting[name] = reason
                yield f"  {self._names[name]} waits: {reason}"

    def _granted(self, grant: Grant) -> str:
        if not grant.machine:
            return "begins"
        needs = grant.request.needs
        if needs is None or needs.machine:
            return f"runs on {grant.machine}"
        return f"runs on {grant.machine}: {because_of(grant, self._fleet.pools[needs.pool].round_robin)}"

    # What happens.

    def _pool(self, told: Mapping[str, str]) -> None:
        options = _options(told["options"])
        cap = options.get("maxConcurrentAttempts")
        pool = Pool(told["pool"], default=False, round_robin=options.get("selection") == "roundRobin")
        self._fleet = replace(self._fleet, pools={**self._fleet.pools, pool.name: pool})
        if cap:
            self._scheduler.resize(f"pool/{pool.name}", int(cap))
        self._scheduler.see_fleet(self._fleet)

    def _worker(self, told: Mapping[str, str]) -> None:
        options, name = _options(told["options"]), told["worker"]
        slots, zone = options.get("slots"), options.get("zone")
        seen = SeenWorker(0.0, "", "", "", "", 1, {})
        member = Member(
            *(name, (told["pool"],) if told["pool"] else (), "polling", options.get("state", "enabled")),
            labels={"zone": zone} if zone else {},
            slots=int(slots) if slots else None,
            status=WorkerStatus(name, WorkerHealth(options.get("health", "healthy")), 0.0, "no answer", seen),
        )
        workers = {**self._fleet.workers, name: member}
        pools = dict(self._fleet.pools)
        if told["pool"]:
            pool = pools.get(told["pool"], Pool(told["pool"]))
            pools[pool.name] = replace(pool, workers=tuple(sorted({*pool.workers, name})))
        self._fleet = replace(self._fleet, workers=workers, pools=pools)
        self._scheduler.see_fleet(self._fleet)

    def _leases(self, told: Mapping[str, str]) -> None:
        for _ in range(int(told["count"])):
            self._count += 1
            self._scheduler.restore_lease(-self._count, "", told["worker"], 1)

    def _asks(self, told: Mapping[str, str]) -> None:
        options, task = _options(told["options"]), int(told["task"])
        where = told["where"]
        machine = where.removeprefix("the machine ") if where.startswith("the machine ") else ""
        pool = "" if machine else where
        mutex, package = options.get("mutex"), options.get("package")
        claims = [Claim(f"pool/{pool}")] if pool else []
        machine_claims = [f"package/{package}"] if package else []
        match options.get("scope", "space"):
            case "machine":
                machine_claims.append(f"mutex/{mutex}")
            case "pool":
                claims.append(Claim(f"mutex/{mutex} of {pool}", alone=True))
            case _ if mutex:
                claims.append(Claim(f"mutex/{mutex}", alone=True))
        step = f"task/{task}/{told['step'].partition('#')[0]}"
        for bound, resource in (("maxParallelism", step), ("windowSize", f"{step}/window")):
            if bound in options:
                claims.append(Claim(resource))
                self._scheduler.resize(resource, int(options[bound]))
        self._ask(
            task,
            told["step"],
            told["project"],
            needs=Needs(pool=pool, machine=machine),
            claims=tuple(sorted(claims)),
            machine_claims=tuple(machine_claims),
            exclusive="exclusive" in options,
            lease_key=f"{where}/{options.get('key', '')}",
            lease_cap=int(options.get("leaseCap", 0)),
            spread=options.get("spread", ""),
            priority=int(options.get("priority", 0)),
        )

    def _queues(self, told: Mapping[str, str]) -> None:
        options = _options(told["options"])
        tag = options.get("tag")
        claims = [Claim("tasks"), *([Claim(f"tag/{tag}", alone=True)] if tag else [])]
        first, last = int(told["task"]), int(told["last"] or told["task"])
        for task in range(first, last + 1):
            self._ask(
                *(task, "", told["project"]),
                claims=tuple(sorted(claims)),
                priority=int(options.get("priority", 0)),
                top_since=self._now if "top" in options else None,
            )

    def _ask(self, task: int, step: str, project: str, **fields: object) -> None:
        self._count += 1
        name = RequestId(f"task/{task}/{step}{'' if '#' in step else '#'}{self._count:06}" if step else f"task/{task}")
        self._names[name] = who(name) if "#" not in step else f"{step} of task {task}"
        self._open[task, step] = name
        self._waiting[name] = ""
        self._scheduler.ask(Request(name, project, self._now, task, **fields))  # type: ignore[arg-type]  # as told
        self._now += 0.001

    def _ends(self, told: Mapping[str, str]) -> None:
        task, step = int(told["task"]), told["step"] or ""
        if told["how"] == "loses":
            self._scheduler.lose(self._open[task, step])
            return
        self._scheduler.release(self._open.pop((task, step)))
        if not step:
            self._scheduler.release(self._open.pop((task, "going on"), RequestId("")))
            self._scheduler.end_leases(task)

    def _has(self, told: Mapping[str, str]) -> None:
        self._scheduler.loosen(self._open[int(told["task"]), told["step"]], f"package/{told['package']}")

    def _waits_for_child(self, told: Mapping[str, str]) -> None:
        self._scheduler.loosen(self._open[int(told["task"]), ""], "tasks")

    def _goes_on(self, told: Mapping[str, str]) -> None:
        task = int(told["task"])
        wish = resumption(Request(self._open[task, ""], "", self._now, task), self._now)
        self._names[wish.id] = f"task {task}, which goes on,"
        self._waiting[wish.id] = ""
        self._open[task, "going on"] = wish.id
        self._scheduler.ask(wish)

    def _pauses(self, told: Mapping[str, str]) -> None:
        task = int(told["task"])
        self._scheduler.end_leases(task)
        if (task, "") in self._open:
            self._scheduler.loosen(self._open[task, ""], "tasks")

    def _withdraws(self, told: Mapping[str, str]) -> None:
        name = self._open.pop((int(told["task"]), told["step"]))
        del self._waiting[name]
        self._scheduler.withdraw(name)

    def _caps(self, told: Mapping[str, str]) -> None:
        self._scheduler.resize("tasks", int(told["count"]))

    def _passes(self, told: Mapping[str, str]) -> None:
        self._now += float(told["seconds"])


def _options(text: str | None) -> dict[str, str]:
    """Read `, slots 2, exclusive` as words with and without a value."""
    pairs = (part.strip().partition(" ") for part in (text or "").split(",") if part.strip())
    return {name: value for name, _, value in pairs}


_EVENTS: tuple[tuple[str, Callable[[Paper, Mapping[str, str]], None]], ...] = (
    (r"pool (?P<pool>[\w-]+)(?P<options>(, .*)?)", Paper._pool),
    (r"worker (?P<worker>[\w-]+) in (?P<pool>[\w-]+)(?P<options>(, .*)?)", Paper._worker),
    (r"target (?P<worker>[\w-]+)(?P<pool>)(?P<options>(, .*)?)", Paper._worker),
    (r"others hold (?P<count>\d+) leases? on (?P<worker>[\w-]+)", Paper._leases),
    (
        r"task (?P<task>\d+) of (?P<project>\w+) asks for (?P<step>[\w#-]+) on (?P<where>the machine [\w-]+|[\w-]+)(?P<options>(, .*)?)",
        Paper._asks,
    ),
    (r"tasks? (?P<task>\d+)(-(?P<last>\d+))? of (?P<project>\w+) queues?(?P<options>(, .*)?)", Paper._queues),
    (r"task (?P<task>\d+) (?P<how>ends|loses)( (?P<step>[\w#-]+))?", Paper._ends),
    (r"task (?P<task>\d+) has the package (?P<package>[\w-]+) for (?P<step>[\w-]+)", Paper._has),
    (r"task (?P<task>\d+) waits for a person", Paper._pauses),
    (r"task (?P<task>\d+) waits for its child", Paper._waits_for_child),
    (r"task (?P<task>\d+) goes on", Paper._goes_on),
    (r"task (?P<task>\d+) asks no longer for (?P<step>[\w-]+)", Paper._withdraws),
    (r"at most (?P<count>\d+) tasks run", Paper._caps),
    (r"(?P<seconds>\d+) seconds pass", Paper._passes),
)
