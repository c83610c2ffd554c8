"""How fast a rehearsal is: steps played by the real scheduler on a large fleet, on virtual time."""

import gc
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator

from benchmarks.bench import ROOT, Bench
from benchmarks.figures import AtMost, Figure, Line, Unit
from reconciler.model.infrastructure import ExecutionLocationSpec
from reconciler.model.live import Slot
from reconciler.model.work import Step
from reconciler.schedule.asking import step_request, turn_request
from reconciler.schedule.fleet import Fleet, Member, Pool
from reconciler.schedule.placement import PoolChoice
from reconciler.schedule.queue import TASKS_MAX
from reconciler.schedule.rehearsal import Part, Process, RehearsedTask, rehearse
from reconciler.schedule.supposed import healthy

RUNS = 3
WORKERS, STEPS = 10_000, 100_000
QUEUED = 1_000  # tasks, of which few run at a time
STEPS_EACH = 10  # of a task
POOLS, PROJECTS = 20, 50


def measure(bench: Bench) -> Iterator[Line]:
    """Rehearse 100,000 steps on 10,000 workers, and a long queue; each time in a process of its own."""
    workers, steps = bench.size(WORKERS), bench.size(STEPS)
    found = [_played(workers, steps, steps // STEPS_EACH) for _ in range(bench.runs(RUNS))]
    name = f"{steps:,} steps on {workers:,} workers"
    yield Figure(name, Unit.SECONDS, tuple(seconds for seconds, _ in found), bench.goal(AtMost(60)))
    yield Figure("steps", Unit.PER_SECOND, tuple(steps / seconds for seconds, _ in found))
    yield Figure("memory", Unit.BYTES, tuple(memory for _, memory in found))
    queued = bench.size(QUEUED)
    found = [_played(POOLS * TASKS_MAX, queued * STEPS_EACH, TASKS_MAX) for _ in range(bench.runs(RUNS))]
    name = f"{queued:,} tasks in the queue, {TASKS_MAX} at a time"
    yield Figure(name, Unit.SECONDS, tuple(seconds for seconds, _ in found))


def _played(workers: int, steps: int, tasks_max: int) -> tuple[float, float]:
    """Return the seconds of a rehearsal and the bytes of the process that held it."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.rehearsal", str(workers), str(steps), str(tasks_max)],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    seconds, memory = json.loads(done.stdout)
    return seconds, memory


def fleet(workers: int) -> Fleet:
    """Return workers of one slot, spread evenly over the pools."""
    members = {
        f"w{number:05}": Member(f"w{number:05}", (f"pool-{number % POOLS}",), "polling", slots=1)
        for number in range(workers)
    }
    pools = {
        f"pool-{number}": Pool(f"pool-{number}", workers=tuple(list(members)[number::POOLS])) for number in range(POOLS)
    }
    return healthy(Fleet(pools, members))


def tasks(count: int) -> list[RehearsedTask]:
    """Return tasks of ten steps, two beside each other at a time, that take from 10 to 60 seconds each."""
    found = []
    for number in range(1, count + 1):
        slot = Slot(f"project-{number % PROJECTS}", "test", f"tenant-{number}")
        pool = PoolChoice(f"pool-{number % POOLS}", "it is named")
        parts = tuple(
            Part(step, step_request(step, ExecutionLocationSpec(), pool, slot, priority=0)) for step in _STEPS
        )
        seconds = tuple(10.0 + (number * 7 + index * 13) % 51 for index in range(STEPS_EACH))
        turn = turn_request(number, slot, None, priority=0, since=number * 1e-9)
        found.append(RehearsedTask(f"task-{number}", turn, Process(parts, 10), seconds))
    return found


_STEPS = tuple(
    Step.model_validate(
        {"name": f"Step {index}", "start": "withPrevious" if index % 2 else "afterPrevious", "script": {"body": ""}}
    )
    for index in range(STEPS_EACH)
)


def main() -> None:
    """Play one rehearsal and print its seconds and the process's bytes as JSON."""
    workers, steps, tasks_max = map(int, sys.argv[1:])
    played, on = tasks(steps // STEPS_EACH), fleet(workers)
    gc.freeze()
    start = time.perf_counter()
    course = rehearse(on, played, tasks_max=tasks_max)
    seconds = time.perf_counter() - start
    assert all(task.ended is not None for task in course.tasks), "every task ends"
    print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024]))


if __name__ == "__main__":
    main()
