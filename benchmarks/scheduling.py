"""The scheduler: decisions alone, grants with all that they claim made durable, and how long one waits among many."""

import asyncio
import gc
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.figures import Absent, AtLeast, AtMost, Figure, Line, Ratio, Unit
from reconciler.execute.attempt_records import Entry, Granting
from reconciler.execute.leasing import Leasing
from reconciler.execute.records import begin_task
from reconciler.model.live import SeenWorker, Slot, StepRun, Task, WorkerHealth, WorkerStatus
from reconciler.protocol.tickets import TicketId, TicketSpec
from reconciler.schedule.asking import turn_request
from reconciler.schedule.fleet import BUILTIN, Fleet, Member, Pool
from reconciler.schedule.placement import Placed
from reconciler.schedule.requests import Claim, Grant, Needs, Request, RequestId
from reconciler.schedule.scheduler import Scheduler
from reconciler.server.engine.leading import Lead, Led
from reconciler.store import tasks
from reconciler.store.keys import Sealer
from reconciler.store.leadership import Node
from reconciler.store.writer import Store
from tests.postgres import postgres_server

SIZES = (100, 10_000, 100_000)  # workers, in pools of a hundred
GRANTS = 50_000
COMMITTED = 5_000
NODES = 4
ASKS_EACH = 0.1
QUEUED = 5_000
RUNS = 3
FIRST_TASK = 1


def measure(bench: Bench) -> Iterator[Line]:
    """Measure decisions, then commits on each dialect, then a wait."""
    found = []
    for workers in SIZES:
        size = bench.size(workers)
        runs = [decided(size, bench.size(GRANTS)) for _ in range(bench.runs(RUNS))]
        yield Figure(f"first look at {size:,} workers", Unit.SECONDS, tuple(look for look, _ in runs), None)
        rates = tuple(rate for _, rate in runs)
        goal = None if bench.is_quick or workers != 10_000 else AtLeast(50_000.0)
        found.append(Figure(f"decisions, {size:,} workers", Unit.PER_SECOND, rates, goal))
        yield found[-1]
    yield Ratio("times as long with the most as with the fewest", found[0], found[-1], AtMost(2.0))
    size = bench.size(COMMITTED)
    goal = None if bench.is_quick else AtLeast(5_000.0)
    yield Figure(
        "grants made durable, SQLite", Unit.PER_SECOND, (committed(str(bench.folder), bench.folder, size),), goal
    )
    yield from _several_nodes(bench, size)
    waits = tuple(waits_among(bench.size(QUEUED)))
    yield Figure("a step with a free worker, among those that wait", Unit.SECONDS, waits, None)
    yield Figure("the same, 99th of a hundred", Unit.SECONDS, (sorted(waits)[len(waits) * 99 // 100],), AtMost(0.02))


def fleet(workers: int) -> Fleet:
    """Return healthy workers with four slots each, a hundred to a pool."""
    seen = SeenWorker(0.0, "10.0.0.1", "1", "boot", "store", 1, {"bash": "5.2.15"})
    members = [
        Member(
            *(f"w{number:06}", (f"p{number // 100}",), "polling"),
            slots=4,
            status=WorkerStatus(f"w{number:06}", WorkerHealth.HEALTHY, 0.0, "", seen),
        )
        for number in range(workers)
    ]
    pools = {
        f"p{start // 100}": Pool(f"p{start // 100}", workers=tuple(one.name for one in members[start : start + 100]))
        for start in range(0, workers, 100)
    }
    return Fleet(pools, {member.name: member for member in members}, "p0")


def decided(workers: int, grants: int) -> tuple[float, float]:
    """Grant and release until `grants` were made.

    Returns the seconds of the first look at every worker, which a fleet takes once, and how many grants a second followed.
    """
    scheduler, pools, on = Scheduler(), max(1, workers // 100), fleet(workers)
    started = time.perf_counter()
    scheduler.see_fleet(on)
    _played_out(scheduler, [_work(number, pools) for number in range(pools)])
    looked = time.perf_counter() - started
    asked = [_work(pools + number, pools) for number in range(grants)]
    gc.collect()
    gc.freeze()
    took = _played_out(scheduler, asked)
    gc.unfreeze()
    return looked, grants / took


def _work(number: int, pools: int) -> Request:
    pool = f"p{number % pools}"
    return Request(
        *(RequestId(f"task/{number}/work#1"), f"project-{number % 20}", 1_000.0 + number * 1e-6, number),
        needs=Needs(pool),
        claims=(Claim(f"pool/{pool}"),),
        lease_key="k",
    )


def _played_out(scheduler: Scheduler, asked: Sequence[Request]) -> float:
    """Grant everything that is asked for, release it, and return the seconds of that."""
    for request in asked:
        scheduler.ask(request)
    started = time.perf_counter()
    while found := scheduler.decide(2_000.0):
        for grant in found:
            scheduler.release(grant.request.id)
            scheduler.end_leases(grant.request.task)
    return time.perf_counter() - started


def committed(data: str, files: Path, grants: int) -> float:
    """Grant one attempt of each of so many tasks, a thousand at a time; return how many a second were durable."""
    with Store.open(data, files) as store:
        queued = _queued(store, grants)
        return asyncio.run(_commit(store, queued))


async def _commit(store: Store, queued: Sequence[Task]) -> float:
    sealer = Sealer(bytes(32))
    gc.collect()
    gc.freeze()  # as a running engine does
    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for task in queued:
            group.create_task(store.write(Entry({}, [], sealer, _granting(task))))
    took = time.perf_counter() - started
    gc.unfreeze()
    return len(queued) / took


def _granting(task: Task) -> Granting:
    request = Request(
        *(RequestId(f"task/{task.id}/work#1"), task.slot.project, 0.0, task.id),
        needs=Needs("default"),
        claims=(Claim("pool/default"),),
        lease_key="default/package/",
    )
    spec = TicketSpec(TicketId(f"{task.id}-1-1-0"), ("sh",), "sh", "true", "0" * 64)
    placed = Placed(BUILTIN, "it has no workers, so the built-in worker runs it")
    return Granting(task, 0, 1, placed, spec, Grant(request, BUILTIN), {})


def _queued(store: Store, count: int) -> list[Task]:
    def work(tx) -> list[Task]:
        pin, found = tasks.pin(tx, "{}"), []
        for number in range(count):
            slot = Slot(f"project-{number}", "production")
            task = tasks.queue(
                tx, deployment=slot.project, slot=slot, release="1", digest="d", pin=pin, revision="r", at=1.0
            )
            turn = turn_request(task.id, slot, None, priority=0, since=1.0)
            begin_task(task, [StepRun(task.id, 0, "work", "Work")], turn)(tx)
            found.append(task)
        return found

    return store.write_now(work)


def _several_nodes(bench: Bench, grants: int) -> Iterator[Line]:
    """Measure the node that leads: it grants in groups, each begun with a look at the epoch, while the others ask to lead."""
    try:
        with postgres_server(durable=True) as server:
            data = server.new_database()
            context = multiprocessing.get_context("spawn")
            ready, done = context.Barrier(NODES), context.Event()
            others = [
                context.Process(target=_other_node, args=(data, bench.folder / f"node-{number}", ready, done))
                for number in range(1, NODES)
            ]
            with Store.open(data, bench.folder / "node-0") as store:
                queued = _queued(store, grants)
                with Lead.take(store, Node("node-0", "node-0")):
                    for other in others:
                        other.start()
                    ready.wait()
                    rate = asyncio.run(_commit(store, queued))
                    done.set()
            for other in others:
                other.join()
            goal = None if bench.is_quick else AtLeast(3_000.0)
            yield Figure(
                f"grants made durable, PostgreSQL, by the leader of {NODES} nodes", Unit.PER_SECOND, (rate,), goal
            )
    except FileNotFoundError as problem:
        yield Absent("PostgreSQL", str(problem))


def _other_node(data: str, files: Path, ready, done) -> None:
    """Ask to lead, by a transaction that writes, ten times as often as a node that stands by looks who does."""
    with Store.open(data, files) as store:
        ready.wait()
        while not done.wait(ASKS_EACH):
            try:
                with Lead.take(store, Node(files.name, files.name)):
                    assert done.is_set(), "a lead that is renewed was given away"
            except Led:
                continue


def waits_among(queued: int) -> Iterator[float]:
    """Yield how long each of 200 steps waits that has a free worker, while `queued` others wait in full pools."""
    leasing, found = Leasing(), fleet(200)
    full = {name: replace(member, slots=1) for name, member in found.workers.items() if member.pools == ("p0",)}
    leasing.follow(replace(found, workers={**found.workers, **full}))
    wake = asyncio.Event()
    for number in range(queued):
        leasing.place(_step(number, "p0", f"project-{number % 50}"), wake)
    for number in range(200):
        started = time.perf_counter()
        granted = leasing.place(_step(queued + number, "p1", f"project-{number % 50}"), wake)
        yield time.perf_counter() - started
        assert isinstance(granted, Grant), "the other pool has room"


def _step(number: int, pool: str, project: str) -> Request:
    name = RequestId(f"task/{number}/work#1")
    return Request(
        name, project, float(number), number, needs=Needs(pool), claims=(Claim(f"pool/{pool}"),), lease_key="k"
    )
