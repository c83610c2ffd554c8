"""One task on its way: asks what comes next, begins steps, takes what workers report, records every move."""

import asyncio
import time
from contextlib import suppress

from reconciler.execute.grounds import Grounds
from reconciler.execute.preparation import Preparation, PreparedScript
from reconciler.execute.records import (
    Answered,
    begin_task,
    end_attempt,
    end_task,
    grant_attempt,
    open_question,
    settle_step,
    task_facts,
)
from reconciler.execute.tail import Tail
from reconciler.execute.watching import StepMoved, TaskMoved
from reconciler.model.errors import ReconcilerError
from reconciler.model.live import Attempt, AttemptState, StepRun, StepState, Task, TaskState
from reconciler.model.pinned import Pinned
from reconciler.protocol.objects import loaded
from reconciler.protocol.tickets import Final, Running, TicketId, TicketReport, TicketSpec
from reconciler.schedule.outcomes import judge, tried_again
from reconciler.schedule.placement import Nowhere, Placed
from reconciler.schedule.progress import NOBODY_FOR, ConditionUnclear, End, Move, Settle, Start, next_moves
from reconciler.steps.jobs import ManualJob
from reconciler.store import attempts, tasks

CANCEL_GRACE = 10.0
"""Seconds between SIGTERM and SIGKILL when a task is cancelled."""

ABANDONED_AFTER = 120.0
"""Seconds without proof that a cancelled task has stopped, after which it is abandoned, visibly."""

INTERVENTION_MAX = 7 * 86_400.0
"""Seconds that a person is waited for."""


class TaskRun:
    """Conducts one task; all that it knows is in the store, so another one can go on from there."""

    def __init__(self, task: Task, pinned: Pinned, grounds: Grounds) -> None:
        self.task = task
        self._grounds = grounds
        self._steps = pinned.project.process
        self._preparation = Preparation(task, pinned, grounds)
        self._runs: list[StepRun] = []
        self._live: dict[TicketId, Attempt] = {}
        self._due: dict[int, tuple[float, int]] = {}  # step → when its next attempt is due, and its number
        self._asked: dict[int, float] = {}  # step → since when a person is waited for
        self._cancelled_at: float | None = None
        self._tail = Tail(task, grounds)
        self._held = False
        self._told = True
        self._wake = asyncio.Event()

    def owns(self, ticket: TicketId) -> bool:
        """Is this one of the task's live attempts?"""
        return ticket in self._live

    def wake(self) -> None:
        """Look at the store again: a person decided something."""
        self._told = True
        self._wake.set()

    def hold(self) -> None:
        """Begin no further step."""
        self._held = True

    async def begin(self) -> None:
        """Take the task out of the queue; one that cannot succeed fails here, before its first step."""
        await self._preparation.look_around()
        self._runs = self._preparation.first_runs()
        self.task = await self._grounds.store.write(begin_task(self.task, self._runs))
        self._say_task(self.task.state)

    async def load(self) -> None:
        """Take up a task that another engine began: live attempts are offered again unless they have started."""
        await self._preparation.look_around()
        facts = await self._grounds.store.read(task_facts(self.task.id, self._grounds.sealer))
        self.task, self._runs = facts.task, list(facts.runs)
        self._preparation.know(facts.outputs)
        for attempt in facts.attempts:
            ticket = TicketId(attempt.ticket)
            if attempt.state is not AttemptState.ENDED:
                self._live[ticket] = attempt
                self._tail.begin(ticket, attempt.step, self._steps[attempt.step].name, shown=True)
            elif self._runs[attempt.step].state is StepState.RUNNING:
                backoff = self._steps[attempt.step].retry.backoff.seconds
                self._due[attempt.step] = ((attempt.finished_at or 0.0) + backoff, attempt.number + 1)
        for attempt in self._live.values():
            self._due.pop(attempt.step, None)
            if attempt.state is AttemptState.GRANTED:
                await self._hand_out(attempt)
        self._asked = {question.step: question.asked_at for question in facts.questions}
        self._say_task(self.task.state)

    async def conduct(self) -> None:
        """Move the task on until it has ended."""
        while not self.task.state.ended:
            self._wake.clear()
            if self._told:
                await self._hear()
            if await self._move():
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(self._patience()):
                    await self._wake.wait()

    # What comes next.

    async def _move(self) -> bool:
        """Do everything that may happen now; False where there is nothing but waiting."""
        moved = await self._expire()
        reason = self._preparation.hopeless
        if reason and not any(run.state.ended and run.started_at for run in self._runs):
            return await self._end(End(TaskState.FAILED, reason))
        moves = next_moves(
            self._steps,
            self._runs,
            self._holds,
            parallel_max=self._preparation.parallel_max,
            cancelling=self._cancelled_at is not None,
        )
        for move in moves:
            moved |= await self._carry_out(move)
        now = time.time()
        for index, (due, number) in list(self._due.items()):
            if due <= now and not self._held and self._cancelled_at is None:
                moved |= await self._start(index, number)
        return moved

    async def _carry_out(self, move: Move) -> bool:
        match move:
            case Start(index):
                return not self._held and await self._start(index, 1)
            case Settle(index, state, reason):
                return await self._settle(index, state, reason)
            case End():
                return await self._end(move)

    def _holds(self, index: int, condition: str) -> bool:
        try:
            return self._preparation.evaluate(index, condition, self._runs)
        except ReconcilerError as problem:
            raise ConditionUnclear(problem.message) from problem

    async def _start(self, index: int, number: int) -> bool:
        """Begin an attempt of a step, or put its question; a step that nobody can run waits, then fails."""
        step = self._steps[index]
        if step.action[0] == "manual":
            return await self._ask(index)
        placed = self._preparation.place(step)
        if isinstance(placed, Nowhere):
            return await self._wait_for_worker(index, placed)
        self._due.pop(index, None)
        try:
            prepared = await self._preparation.script(index, number, placed.worker, self._runs)
        except ReconcilerError as problem:
            return await self._settle(index, StepState.FAILED, problem.message)
        await self._grant(index, number, placed, prepared)
        return True

    async def _wait_for_worker(self, index: int, nowhere: Nowhere) -> bool:
        run = self._runs[index]
        waited = time.time() - run.since if run.state is StepState.WAITING and run.since else 0.0
        if nowhere.final:
            return await self._settle(index, StepState.FAILED, nowhere.reason)
        if waited >= NOBODY_FOR:
            reason = f"nobody could run it for {NOBODY_FOR:g} s: {nowhere.reason}"
            return await self._settle(index, StepState.FAILED, reason)
        if run.state is not StepState.WAITING or run.reason != nowhere.reason:
            await self._settle(index, StepState.WAITING, nowhere.reason)
        return False

    async def _grant(self, index: int, number: int, placed: Placed, prepared: PreparedScript) -> None:
        work = grant_attempt(self.task, index, number, placed, prepared.spec)
        attempt, spec, run = await self._grounds.store.write(work)
        self._runs[index] = run
        ticket = TicketId(attempt.ticket)
        self._live[ticket] = attempt
        self._tail.begin(ticket, index, self._steps[index].name)
        self._say_step(index, worker=placed.worker)
        link = self._grounds.links[placed.worker]
        link.offer(spec)
        link.start(ticket, prepared.secrets)

    async def _hand_out(self, attempt: Attempt) -> None:
        """Offer again what was granted and perhaps never reached the worker; its secrets are resolved anew."""
        ticket = TicketId(attempt.ticket)
        link = self._grounds.links[attempt.worker]
        link.offer(loaded(TicketSpec, attempt.spec.encode()))
        try:
            prepared = await self._preparation.script(attempt.step, attempt.number, attempt.worker, self._runs)
        except ReconcilerError:
            link.void(ticket)
        else:
            link.start(ticket, prepared.secrets)

    # What workers report.

    async def take_report(self, report: TicketReport) -> None:
        """Record the first sign that an attempt has started."""
        attempt = self._live.get(report.ticket)
        if attempt is not None and isinstance(report.state, Running) and attempt.state is AttemptState.GRANTED:
            now = time.time()
            await self._grounds.store.write(lambda tx: attempts.started(tx, report.ticket, now))
            current = self._live.get(report.ticket)
            if current is not None:
                self._live[report.ticket] = await self._grounds.store.read(
                    lambda tx: attempts.attempt(tx, report.ticket) or current
                )

    async def take_final(self, final: Final) -> None:
        """Record how an attempt ended, once, with all that it left; then the task goes on."""
        attempt = self._live.pop(final.ticket, None)
        if attempt is None:
            return
        step = self._steps[attempt.step]
        outcome = judge(final, step.timeout.seconds if step.timeout else None)
        pause = tried_again(outcome, step.retry, attempt.number) if self._cancelled_at is None else None
        recorded = await self._grounds.store.write(
            end_attempt(attempt, final, step, self._grounds.sealer, outcome=outcome, pause=pause)
        )
        if recorded is None:
            return
        self._runs[attempt.step] = recorded
        self._preparation.learn(step, final.outputs)
        self._tail.end(final.ticket)
        if pause is not None:
            self._due[attempt.step] = (time.time() + pause, attempt.number + 1)
        self._say_step(attempt.step, worker=attempt.worker)
        self._wake.set()

    def take_log(self, ticket: TicketId) -> None:
        """Show what an attempt printed since."""
        self._tail.show(ticket)

    # People.

    async def _ask(self, index: int) -> bool:
        """Put the question of a manual step; the task waits for a person."""
        if index in self._asked:
            return False
        try:
            job = self._preparation.question(index, self._runs)
        except ReconcilerError as problem:
            return await self._settle(index, StepState.FAILED, problem.message)
        self._runs[index] = await self._grounds.store.write(open_question(self.task, index, job))
        self._asked[index] = time.time()
        await self._to(TaskState.AWAITING_INTERVENTION, f'"{self._steps[index].name}": {_first_line(job)}')
        self._say_step(index)
        return True

    async def _hear(self) -> None:
        """Take what people have decided meanwhile: a cancellation, answers."""
        self._told = False
        facts = await self._grounds.store.read(task_facts(self.task.id, self._grounds.sealer))
        if facts.task.cancel_by and self._cancelled_at is None:
            self._cancelled_at = time.time()
            await self._to(TaskState.CANCELLING, f"cancelled by {facts.task.cancel_by}")
            for ticket, attempt in self._live.items():
                self._grounds.links[attempt.worker].cancel(ticket, CANCEL_GRACE)
            for index in {*self._asked, *self._due}:
                await self._settle(index, StepState.CANCELLED, "the task was cancelled")
        for answer in facts.answers:
            if answer.step in self._asked:
                await self._take_answer(answer)

    async def _take_answer(self, answer: Answered) -> None:
        del self._asked[answer.step]
        state = StepState.SUCCEEDED if answer.approved else StepState.FAILED
        notes = f": {answer.notes}" if answer.notes else ""
        await self._settle(answer.step, state, f"{answer.decision} by {answer.by}{notes}")
        self._preparation.learn_answer(self._steps[answer.step], answer)
        if not self._asked and self._cancelled_at is None:
            await self._to(TaskState.RUNNING, "")

    async def _expire(self) -> bool:
        """End what has waited too long: a question nobody answers, a cancellation without proof."""
        now = time.time()
        expired = [index for index, asked in self._asked.items() if now - asked >= INTERVENTION_MAX]
        for index in expired:
            del self._asked[index]
            await self._settle(index, StepState.FAILED, "nobody answered for 7 days")
            await self._to(TaskState.RUNNING, "")
        if self._cancelled_at is not None and self._live and now - self._cancelled_at >= ABANDONED_AFTER:
            reason = f"cancelled, and {len(self._live)} attempt(s) gave no proof of having stopped for 2 minutes"
            return await self._end(End(TaskState.ABANDONED, reason))
        return bool(expired)

    # Recording.

    async def _settle(self, index: int, state: StepState, reason: str) -> bool:
        self._runs[index] = await self._grounds.store.write(settle_step(self._runs[index], state, reason))
        self._due.pop(index, None)
        self._say_step(index)
        return True

    async def _to(self, state: TaskState, reason: str) -> None:
        number = self.task.id
        await self._grounds.store.write(lambda tx: tasks.set_state(tx, number, state, reason, time.time()))
        self.task = await self._grounds.store.read(lambda tx: tasks.task(tx, number))
        self._say_task(state)

    async def _end(self, end: End) -> bool:
        self.task = await self._grounds.store.write(end_task(self.task, self._runs, end))
        self._say_task(end.state)
        return True

    def _patience(self) -> float:
        """Return the seconds after which time itself may have changed something."""
        now = time.time()
        moments = [due for due, _ in self._due.values()]
        moments += [asked + INTERVENTION_MAX for asked in self._asked.values()]
        moments += [run.since + NOBODY_FOR for run in self._runs if run.state is StepState.WAITING and run.since]
        if self._cancelled_at is not None:
            moments.append(self._cancelled_at + ABANDONED_AFTER)
        return max(0.0, min((moment - now for moment in moments), default=NOBODY_FOR))

    def _say_task(self, state: TaskState) -> None:
        task = self.task
        self._grounds.watcher.see(TaskMoved(task.id, task.deployment, task.slot, task.release, state, task.reason))
        self._grounds.changed.notify()

    def _say_step(self, index: int, worker: str = "") -> None:
        run, task = self._runs[index], self.task
        took = run.finished_at - run.started_at if run.finished_at and run.started_at else None
        self._grounds.watcher.see(
            StepMoved(task.id, task.deployment, index, run.name, run.state, worker, run.reason, took)
        )


def _first_line(job: ManualJob) -> str:
    return job.instructions.strip().split("\n", 1)[0]
