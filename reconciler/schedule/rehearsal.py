"""A rehearsal: tasks played on simulated workers on virtual time; the scheduler and the course of a process are the real ones.

Time is in seconds from the moment at which all tasks are queued. Every choice follows from what is given, so equal
tasks on an equal fleet give an equal outcome.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush

from reconciler.model.live import StepRun, StepState, TaskId, TaskState
from reconciler.model.work import Step
from reconciler.schedule.asking import TASKS, attempt_request, resumed, resumption
from reconciler.schedule.fleet import Fleet
from reconciler.schedule.progress import End, Settle, Start, next_moves
from reconciler.schedule.queue import TASKS_MAX
from reconciler.schedule.requests import Grant, Request, RequestId
from reconciler.schedule.scheduler import Scheduler

TICK = 1e-9
"""Seconds between two that ask at one moment: who asks first comes first, as ever."""


@dataclass(frozen=True, slots=True)
class Part:
    """A step as it is rehearsed; `request` is None where it asks a person, or is left out."""

    step: Step
    request: Request | None = None
    left_out: str = ""
    """Why the task does not run it, or ""."""
    fails: bool = False


@dataclass(frozen=True, slots=True)
class Process:
    """The steps of a task and how many of them run at a time."""

    parts: tuple[Part, ...]
    parallel_max: int
    steps: tuple[Step, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", tuple(part.step for part in self.parts))


@dataclass(frozen=True, slots=True)
class Soak:
    """A task that must have succeeded, by its place among all, and for how many seconds."""

    task: int
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class RehearsedTask:
    """A task to be played: what it asks for, its process, and the seconds that each of its steps takes."""

    title: str
    turn: Request
    process: Process
    seconds: tuple[float, ...]
    after: tuple[Soak, ...] = ()


@dataclass(slots=True)
class StepCourse:
    """What became of a step: when it asked for a worker, ran and ended; None is never."""

    asked: float | None = None
    began: float | None = None
    ended: float | None = None
    worker: str = ""
    """Empty where a person was asked."""

    @property
    def waited(self) -> float | None:
        """Seconds from asking to running; None where it asked for no worker or got none."""
        return None if self.asked is None or self.began is None else self.began - self.asked


@dataclass(slots=True)
class TaskCourse:
    """What became of a task; `ready` is when nothing but its turn held it back any more."""

    task: RehearsedTask
    runs: list[StepRun]
    steps: list[StepCourse]
    ready: float | None = None
    began: float | None = None
    ended: float | None = None
    state: TaskState = TaskState.QUEUED
    reason: str = ""
    """Why it failed or has not ended."""
    is_resuming: bool = False
    """A person has answered, and it waits for its place among those that run."""

    @property
    def waited(self) -> float | None:
        """Seconds that it waited for its turn."""
        return None if self.ready is None or self.began is None else self.began - self.ready


@dataclass(frozen=True, slots=True)
class Course:
    """A whole rehearsal: `makespan` is when the last step ended, `peaks` the most attempts that a pool ran at a time."""

    tasks: tuple[TaskCourse, ...]
    makespan: float
    peaks: dict[str, int]


def rehearse(fleet: Fleet, tasks: Sequence[RehearsedTask], *, tasks_max: int = TASKS_MAX) -> Course:
    """Play tasks to their end; `turn.task` numbers them from 1, and `turn.since` says in which order they were queued."""
    return _Stage(fleet, tasks, tasks_max).play()


class _Stage:
    def __init__(self, fleet: Fleet, tasks: Sequence[RehearsedTask], tasks_max: int) -> None:
        self._scheduler = Scheduler()
        self._scheduler.see_fleet(fleet)
        self._scheduler.resize(TASKS, min(tasks_max, fleet.task_quota or tasks_max))
        for pool in fleet.pools.values():
            if pool.attempts_max is not None:
                self._scheduler.resize(f"pool/{pool.name}", pool.attempts_max)
        self._courses = [_course(task) for task in tasks]
        self._now = 0.0
        self._ends: list[tuple[float, int, int]] = []  # a heap: when, which task, which step; step -1 is a soak
        self._told = True
        self._asked = 0
        self._places: dict[RequestId, int] = {}  # of those that wait: which step of its task
        self._running: dict[str, int] = defaultdict(int)
        self._peaks: dict[str, int] = defaultdict(int)
        self._unmet = [len(task.after) for task in tasks]
        self._followers: dict[int, list[tuple[int, float]]] = defaultdict(list)
        for number, task in enumerate(tasks):
            for soak in task.after:
                self._followers[soak.task].append((number, soak.seconds))

    def play(self) -> Course:
        """Play to the end."""
        for number, course in enumerate(self._courses):
            if not course.task.after:
                self._queue(number)
        while True:
            while self._told:
                self._told = False
                for grant in self._scheduler.decide(self._now):
                    self._granted(grant)
            if not self._ends:
                break
            self._pass_time()
        for course in self._courses:
            if not course.state.ended:
                course.reason = self._stuck(course)
        return Course(tuple(self._courses), self._now, dict(sorted(self._peaks.items())))

    def _pass_time(self) -> None:
        """Go to the next moment at which something ends, and let all end that does so then."""
        self._now = self._ends[0][0]
        moved: dict[int, None] = {}
        while self._ends and self._ends[0][0] == self._now:
            _, number, index = heappop(self._ends)
            if index < 0:
                self._met(number)
            else:
                self._end_step(self._courses[number], index)
                moved[number] = None
        for number in moved:
            self._advance(number)

    def _queue(self, number: int) -> None:
        course = self._courses[number]
        course.ready = self._now
        self._ask(course.task.turn)

    def _ask(self, request: Request) -> None:
        self._scheduler.ask(request)
        self._told = True

    def _granted(self, grant: Grant) -> None:
        request = grant.request
        number = request.task - 1
        course = self._courses[number]
        if request.needs is None:
            course.began = self._now if course.began is None else course.began
            course.state, course.is_resuming = TaskState.RUNNING, False
            self._advance(number)
            return
        index = self._places.pop(request.id)
        step = course.steps[index]
        step.began, step.worker = self._now, grant.machine
        running = self._running[request.needs.pool] = self._running[request.needs.pool] + 1
        self._peaks[request.needs.pool] = max(self._peaks[request.needs.pool], running)
        self._run(course, number, index)

    def _run(self, course: TaskCourse, number: int, index: int) -> None:
        course.runs[index] = _with_state(course.runs[index], StepState.RUNNING)
        heappush(self._ends, (self._now + course.task.seconds[index], number, index))

    def _end_step(self, course: TaskCourse, index: int) -> None:
        part = course.task.process.parts[index]
        course.steps[index].ended = self._now
        course.runs[index] = _with_state(course.runs[index], StepState.FAILED if part.fails else StepState.SUCCEEDED)
        if part.request is None:
            self._answered(course)
            return
        assert part.request.needs is not None, "a step asks for a worker"
        self._running[part.request.needs.pool] -= 1
        self._scheduler.release(_attempt(course, index))
        self._told = True

    # A person is asked.

    def _ask_person(self, course: TaskCourse, number: int, index: int) -> None:
        course.steps[index].began = self._now
        self._run(course, number, index)
        if course.task.seconds[index]:
            turn = course.task.turn
            self._scheduler.end_leases(turn.task)
            self._scheduler.loosen(turn.id, TASKS)
            self._scheduler.release(resumed(turn.id))
            course.state = TaskState.AWAITING_INTERVENTION
            self._told = True

    def _answered(self, course: TaskCourse) -> None:
        if course.state is TaskState.AWAITING_INTERVENTION and not _asks_a_person(course):
            course.is_resuming = True
            self._ask(resumption(course.task.turn, self._now))

    # What follows.

    def _advance(self, number: int) -> None:
        """Let a task do all that it may now."""
        course = self._courses[number]
        process = course.task.process
        is_settled = not course.is_resuming
        while is_settled:
            is_settled = False
            for move in next_moves(process.steps, course.runs, _holds, parallel_max=process.parallel_max):
                match move:
                    case Start(index):
                        if course.runs[index].state is StepState.PENDING:
                            self._start(course, number, index)
                    case Settle(index, state, reason):
                        course.runs[index] = replace(course.runs[index], state=state, reason=reason)
                        is_settled = True
                    case End(state, reason):
                        self._end(course, number, state, reason)

    def _start(self, course: TaskCourse, number: int, index: int) -> None:
        request = course.task.process.parts[index].request
        if request is None:
            self._ask_person(course, number, index)
            return
        course.runs[index] = _with_state(course.runs[index], StepState.WAITING)
        course.steps[index].asked = self._now
        self._asked += 1
        key, since = course.runs[index].key, self._now + self._asked * TICK
        asked = attempt_request(request, course.task.turn.task, key, 1, since)
        self._places[asked.id] = index
        self._ask(asked)

    def _end(self, course: TaskCourse, number: int, state: TaskState, reason: str) -> None:
        course.ended, course.state, course.reason = self._now, state, reason
        turn = course.task.turn
        self._scheduler.release(resumed(turn.id))
        self._scheduler.release(turn.id)
        self._scheduler.end_leases(turn.task)
        self._told = True
        if state is TaskState.SUCCEEDED:
            for follower, seconds in self._followers[number]:
                if seconds:
                    heappush(self._ends, (self._now + seconds, follower, -1))
                else:
                    self._met(follower)

    def _met(self, number: int) -> None:
        """Count one of those that a task comes after."""
        self._unmet[number] -= 1
        if not self._unmet[number]:
            self._queue(number)

    def _stuck(self, course: TaskCourse) -> str:
        """Say why a task has not ended although nothing moves any more."""
        if course.ready is None:
            others = [self._courses[soak.task] for soak in course.task.after]
            missing = next(other for other in others if other.state is not TaskState.SUCCEEDED)
            return f"{missing.task.title} has not succeeded before it"
        waiting = [run.index for run in course.runs if run.state is StepState.WAITING]
        name = _attempt(course, waiting[0]) if waiting else course.task.turn.id
        return self._scheduler.wait(name).reason


def _course(task: RehearsedTask) -> TaskCourse:
    number = TaskId(task.turn.task)
    runs = [
        StepRun(
            *(number, index, part.step.key, part.step.name),
            StepState.SKIPPED if part.left_out else StepState.PENDING,
            part.left_out,
        )
        for index, part in enumerate(task.process.parts)
    ]
    return TaskCourse(task, runs, [StepCourse() for _ in runs])


def _attempt(course: TaskCourse, index: int) -> RequestId:
    return RequestId(f"{course.task.turn.id}/{course.runs[index].key}#1")


def _asks_a_person(course: TaskCourse) -> bool:
    parts = course.task.process.parts
    return any(
        run.state is StepState.RUNNING and parts[run.index].request is None and course.task.seconds[run.index] > 0
        for run in course.runs
    )


def _with_state(run: StepRun, state: StepState) -> StepRun:
    return StepRun(run.task, run.index, run.key, run.name, state)


def _holds(index: int, condition: str) -> bool:
    """Take every expression as true."""
    return True
