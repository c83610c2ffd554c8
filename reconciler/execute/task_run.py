"""One task on its way: asks what comes next, begins steps, takes what workers report, records every move."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from reconciler.execute import records
from reconciler.execute.attempt_records import Ending, Granting
from reconciler.execute.beginnings import Anew, Beginnings, Pauses, Ready, Stays
from reconciler.execute.endings import CANCEL_GRACE, refused, silent, unproven, verdict
from reconciler.execute.grounds import Grounds
from reconciler.execute.ledger import Ledger
from reconciler.execute.offering import Reoffers
from reconciler.execute.patience import patience
from reconciler.execute.places import Places
from reconciler.execute.preparation import Preparation
from reconciler.execute.questions import Questions
from reconciler.execute.searches import Searches
from reconciler.execute.silence import deadline, lost
from reconciler.execute.tail import Tail
from reconciler.execute.watching import step_moved, task_moved
from reconciler.model.errors import ReconcilerError
from reconciler.model.live import Attempt, AttemptState, StepRun, StepState, Task, TaskState
from reconciler.model.pinned import Pinned
from reconciler.protocol.tickets import Final, Running, TicketId, TicketReport
from reconciler.schedule import progress
from reconciler.schedule.explain import Wait
from reconciler.schedule.outcomes import tried_again
from reconciler.schedule.progress import End, Move, Settle, Start, next_moves
from reconciler.schedule.requests import Request
from reconciler.store.database import Work


class TaskRun:
    """Conducts one task; all that it knows is in the store, so another one can go on from there."""

    def __init__(self, task: Task, pinned: Pinned, grounds: Grounds, turn: Request) -> None:
        self.task = task
        self.turn = turn
        self._grounds = grounds
        self._steps = pinned.project.process
        self._preparation = Preparation(task, pinned, grounds)
        self._asked = Questions(self._steps)
        self._runs: list[StepRun] = []
        self._live: dict[TicketId, Attempt] = {}
        self._endings: dict[TicketId, Ending] = {}  # reported, and recorded with the next write
        self._due: dict[int, float] = {}  # step → when its next attempt is due
        self._cancelled_at: float | None = None
        self._tail = Tail(task, grounds)
        self._held = False
        self._told = True
        self._conducts = False
        self._rests = False
        self._wake = asyncio.Event()
        self._places = Places(grounds, turn, self._wake)
        self._searches = Searches(self._preparation, grounds, self._wake.set)
        self._beginnings = Beginnings(self._steps, self._preparation, self._places, self._searches)
        self._again = Reoffers(self._preparation, grounds, self._is_unstarted)
        self._ledger = Ledger(grounds.store, grounds.sealer, self._take, self._wake.set)

    @property
    def waits_for_a_person(self) -> bool:
        """Is a person's answer all that can move the task?"""
        waiting = any(run.state is StepState.WAITING for run in self._runs)
        return self._rests and bool(self._asked) and not (self._live or self._due or waiting)

    @property
    def live(self) -> Mapping[TicketId, Attempt]:
        """The task's live attempts; at its end those that are left to themselves."""
        return self._live

    def wake(self) -> None:
        """Look at the store again: a person decided something."""
        self._told = True
        self._wake.set()

    def look_around(self) -> None:
        """Try again to place what waits: the fleet has changed."""
        self._wake.set()

    def hold(self) -> None:
        """Begin no further step."""
        self._held = True

    async def begin(self) -> None:
        """Take the task out of the queue; one that cannot succeed fails here, before its first step."""
        await self._preparation.look_around()
        self._runs = self._preparation.first_runs()
        self.task = await self._ledger.write(records.begin_task(self.task, self._runs, self.turn))
        self._say_task(self.task.state)

    async def load(self) -> None:
        """Take up a task that another engine began: live attempts are offered again unless they have started."""
        await self._preparation.look_around()
        facts = await self._grounds.store.read(records.task_facts(self.task.id, self._grounds.sealer))
        self.task, self._runs = facts.task, list(facts.runs)
        self._asked.put(*facts.questions)
        if self._asked or facts.answered_at is not None:
            self._places.rest(facts.answered_at)
        self._preparation.take_up(facts)
        for attempt in facts.attempts:
            self._take_up(attempt)
        for ticket, attempt in list(self._live.items()):
            await self._tail.resume(ticket, attempt.step, self._steps[attempt.step].name)
            if attempt.state is AttemptState.GRANTED:
                await self._again.offer(attempt, self._runs)
        self._say_task(self.task.state)

    def _is_unstarted(self, ticket: TicketId) -> bool:
        """Say whether an attempt is neither known to have started, nor has ended, nor is to be stopped."""
        attempt, is_over = self._live.get(ticket), ticket in self._endings or ticket in self._grounds.withdrawn
        granted = attempt is not None and attempt.state is AttemptState.GRANTED
        return granted and not is_over and self._cancelled_at is None

    def _take_up(self, attempt: Attempt) -> None:
        """Take in an attempt that another engine granted; of one step they come in the order of their numbers."""
        ticket, step = TicketId(attempt.ticket), self._steps[attempt.step]
        self._beginnings.tried(attempt.step, attempt.number)
        if attempt.state not in {AttemptState.ENDED, AttemptState.LOST}:
            self._due.pop(attempt.step, None)
            self._live[ticket] = attempt
        elif self._runs[attempt.step].state is StepState.RUNNING:
            self._due[attempt.step] = (attempt.finished_at or 0.0) + step.retry.backoff.seconds

    async def conduct(self) -> None:
        """Move the task on until it has ended."""
        self._conducts = True
        async with self._searches.under_way():
            self._again.go_on(self._searches, self._runs)
            while not self.task.state.ended:
                self._wake.clear()
                if self._told:
                    await self._hear()
                if not await self._move():
                    await self._rest()
        self._conducts = False
        await self._ledger.flush()

    async def _rest(self) -> None:
        """Wait until something happens, or time itself changes something."""
        await self._ledger.flush()
        self._rests = True
        if self._asked:
            self._grounds.changed.notify()  # to those who look whether it waits for a person alone
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience()):
                await self._wake.wait()
        self._rests = False

    # What comes next.

    async def _move(self) -> bool:
        """Do everything that may happen now; False where there is nothing but waiting."""
        moved = await self._expire()
        reason = self._preparation.hopeless
        if reason and not any(run.started_at for run in self._runs):
            return await self._end(End(TaskState.FAILED, reason))
        if not self._asked and self._cancelled_at is None and await self._waits_for_its_place():
            return moved
        moves = next_moves(
            self._steps,
            self._runs,
            lambda index, condition: self._preparation.holds(index, condition, self._runs),
            parallel_max=self._preparation.parallel_max,
            cancelling=self._cancelled_at is not None,
        )
        for move in moves:
            moved |= await self._carry_out(move)
        for index, due in list(self._due.items()):
            if due <= time.time():
                moved |= await self._may_begin() and await self._start(index)
        return moved

    async def _may_begin(self) -> bool:
        """Say whether anything may begin, after all that people have decided so far."""
        if self._told:
            await self._hear()
        return not self._held and self._cancelled_at is None

    async def _waits_for_its_place(self) -> bool:
        """Say whether a task that was answered waits for its place among those that run, and record why."""
        reason = self._places.wait()
        if reason != self.task.reason:
            self.task = await self._ledger.write(records.move_task(self.task.id, TaskState.RUNNING, reason))
            self._say_task(self.task.state)
        return bool(reason)

    async def _carry_out(self, move: Move) -> bool:
        match move:
            case Start(index):
                is_due = self._due.get(index, 0.0) <= time.time()
                return is_due and await self._may_begin() and await self._start(index)
            case Settle(index, state, reason):
                return await self._settle(index, state, reason)
            case End():
                return await self._end(move)

    async def _start(self, index: int) -> bool:
        """Begin an attempt of a step, or put its question; a step that nobody can run waits, then fails."""
        if self._steps[index].action[0] == "manual":
            return await self._ask(index)
        match await self._beginnings.begin(index, self._runs, room_comes=bool(self._endings)):
            case Stays(state, reason):
                return await self._stay(index, state, reason)
            case Anew():
                return self._ask_again(index)
            case Pauses(reason, seconds):
                await self._settle(index, StepState.WAITING, reason)
                self._due[index] = time.time() + seconds
            case Wait():
                await self._ledger.flush()
            case ready:
                if not await self._may_begin() or not await self._preparation.is_still(ready.placed, ready.grant):
                    return self._ask_again(index)
                await self._grant(index, ready)
        return True

    def _ask_again(self, index: int, pause: float = 0.0) -> bool:
        """Give up what was found for a step; after `pause` seconds, if it still may begin, it is asked for anew."""
        self._places.drop(index)
        self._due[index] = time.time() + pause
        return True

    async def _stay(self, index: int, state: StepState, reason: str) -> bool:
        """Let a step wait, or fail without an attempt; it is woken when it has what it lacks, and not by time."""
        if (self._runs[index].state, self._runs[index].reason) != (state, reason):
            await self._settle(index, state, reason)
        self._due.pop(index, None)
        return state.ended

    async def _grant(self, index: int, ready: Ready) -> None:
        leasing, link, grant = self._grounds.leasing, self._grounds.links[ready.placed.worker], ready.grant
        wish = Granting(
            self.task, index, ready.number, ready.placed, ready.prepared.spec, grant, leasing.capacities(grant)
        )
        granted = await self._ledger.grant(wish)
        if granted is None:  # it is held by what this engine does not know of, its worker left Git, or it was cancelled
            self._ask_again(index, progress.LOOK_AGAIN)
            self._grounds.fleet.changed()
            self._told = True
            return
        self._due.pop(index, None)
        attempt, self._runs[index] = granted.attempt, granted.run
        ticket = TicketId(attempt.ticket)
        leasing.bind(grant, ticket)
        self._beginnings.taken(index, ready.number)
        self._live[ticket] = attempt
        self._tail.begin(ticket, index, self._steps[index].name)
        self._say_step(index, attempt)
        link.offer(granted.spec)
        link.start(ticket, ready.prepared.secrets)

    # What workers report.

    def take_report(self, report: TicketReport) -> None:
        """Take in the first sign that an attempt has started."""
        attempt = self._live.get(report.ticket)
        if attempt is not None and isinstance(report.state, Running) and attempt.state is AttemptState.GRANTED:
            running = self._live[report.ticket] = replace(attempt, state=AttemptState.RUNNING, started_at=time.time())
            self._ledger.start(running)

    def refusal(self, ticket: TicketId, reason: str) -> Final | None:
        """Return how an attempt ended that the worker declined; None where it is known to have started."""
        if self._live[ticket].state is not AttemptState.GRANTED:
            return None
        return refused(ticket, reason, offered_before=ticket in self._again)

    async def take_final(self, final: Final) -> bool:
        """Record how an attempt ended, once, with all that it left and the move that follows; False if it was given up."""
        ending = self._endings.get(final.ticket) or self._ended(final)
        if ending is not None:
            if not self._conducts:
                await asyncio.shield(self._ledger.flush())  # the session that tells of it may end meanwhile
            await ending.recorded.wait()
        return ending is not None and ending.final == final

    def _ended(self, final: Final, *, given_up: bool = False) -> Ending | None:
        """Take in how an attempt ended, or that it is given up; every write from here on records it first."""
        attempt = self._live.get(final.ticket)
        if attempt is None or final.ticket in self._endings:
            return None
        step, run = self._steps[attempt.step], self._runs[attempt.step]
        cancelling, why = bool(self._cancelled_at or self.task.cancel_by), self._grounds.withdrawn.get(final.ticket, "")
        outcome = verdict(final, step, cancelling=cancelling, withdrawn=self._again.take(final.ticket) or why)
        pause = tried_again(outcome, step.retry, attempt.number) if self._cancelled_at is None else None
        if pause is not None:
            self._due[attempt.step] = time.time() + pause
        else:
            self._runs[attempt.step] = replace(run, state=outcome.state, reason=outcome.reason)
        at = time.time()
        ending = self._endings[final.ticket] = Ending(attempt, final, step, outcome, pause, at, given_up)
        self._ledger.end(ending)
        self._preparation.learn(step, final.outputs)
        return ending

    def _take(self, ending: Ending, run: StepRun) -> None:
        """Take in that an attempt's end is recorded."""
        ticket, attempt = ending.final.ticket, ending.attempt
        del self._live[ticket], self._endings[ticket]
        (self._grounds.leasing.lose if ending.lost else self._grounds.leasing.release)(ticket)
        self._runs[attempt.step] = run
        self._tail.end(ticket)
        self._say_step(attempt.step, attempt)

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
        self.task, self._runs[index] = await self._ledger.write(self._asked.ask(self._runs[index], job))
        self._places.rest()
        self._say_task(self.task.state)
        self._say_step(index)
        return True

    async def _hear(self) -> None:
        """Take what people have decided meanwhile: a cancellation, answers."""
        self._told = False
        facts = await self._grounds.store.read(records.task_facts(self.task.id, self._grounds.sealer))
        if facts.task.cancel_by and self._cancelled_at is None:
            self._cancelled_at = time.time()
            self.task = await self._ledger.write(records.begin_to_cancel(self.task.id))
            self._say_task(TaskState.CANCELLING)
            self._searches.give_up()
            for ticket, attempt in self._live.items():
                self._grounds.links[attempt.worker].cancel(ticket, CANCEL_GRACE)
            for index in {*self._asked, *self._due}:
                await self._settle(index, StepState.CANCELLED, "the task was cancelled")
            self._asked.clear()
        for answer in facts.answers:
            if answer.step in self._asked:
                await self._close(answer.step, self._asked.answered(self._runs[answer.step], answer))
                self._preparation.learn_answer(self._steps[answer.step], answer)

    async def _close(self, index: int, closing: Work[tuple[Task, StepRun] | None]) -> None:
        """Close the question of a step, unless somebody has just answered it."""
        closed = await self._ledger.write(closing)
        self._told |= closed is None
        if closed is not None:
            self._asked.close(index)
            self.task, self._runs[index] = closed
            self._say_step(index)
            self._say_task(self.task.state)

    async def _expire(self) -> bool:
        """End what has waited too long: a question nobody answers, a cancellation without proof."""
        now = time.time()
        expired = self._asked.expired(now)
        for index in expired:
            await self._close(index, self._asked.unanswered(self._runs[index]))
        if self._cancelled_at is not None and self._live and now - self._cancelled_at >= progress.ABANDONED_AFTER:
            return await self._end(End(TaskState.ABANDONED, unproven(len(self._live))))
        losses = list(lost(self._live.values(), self._steps, self._grounds, now))
        given_up = [self._ended(silent(TicketId(each.ticket), reason), given_up=True) for each, reason in losses]
        return bool(expired or any(given_up))

    async def _settle(self, index: int, state: StepState, reason: str) -> bool:
        self._runs[index] = await self._ledger.write(records.settle_step(self._runs[index], state, reason))
        self._due.pop(index, None)
        if state.ended:
            self._beginnings.drop(index)
        self._say_step(index)
        return True

    async def _end(self, end: End) -> bool:
        self.task = await self._ledger.write(records.end_task(self.task, self._runs, end, abandoned=self._live))
        for index in range(len(self._runs)):
            self._beginnings.drop(index)
        for ticket in self._live:
            self._grounds.leasing.lose(ticket)
        self._say_task(self.task.state)
        return True

    def _patience(self) -> float:
        losses = [deadline(attempt, self._steps, self._grounds) for attempt in self._live.values()]
        begins = not (self._held or self._places.resumes or self._cancelled_at is not None)
        moments = [*losses, *self._asked.deadlines, *(self._places.deadlines if begins else ())]
        return patience(time.time(), moments, due=self._due if begins else {}, cancelled_at=self._cancelled_at)

    def _say_task(self, state: TaskState) -> None:
        self._grounds.watcher.see(task_moved(self.task, state, self.task.reason, self._asked.keys))
        self._grounds.changed.notify()

    def _say_step(self, index: int, attempt: Attempt | None = None) -> None:
        self._grounds.watcher.see(step_moved(self.task, self._runs[index], attempt))
