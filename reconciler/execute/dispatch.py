"""Run what is queued: tasks leave the queue, their runs are conducted, and workers' reports find their way to them."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from reconciler.execute.attempt_records import record_ending
from reconciler.execute.endings import CANCEL_GRACE, gone
from reconciler.execute.grounds import Grounds
from reconciler.execute.leasing import remembered
from reconciler.execute.queue_facts import QueueFacts, queue_facts
from reconciler.execute.records import ENGINE
from reconciler.execute.task_run import TaskRun
from reconciler.execute.turns import take_turns, turn_of
from reconciler.execute.watching import task_moved
from reconciler.model.live import (
    Attempt,
    AttemptState,
    Event,
    SeenWorker,
    Task,
    TaskId,
    TaskState,
    WorkerHealth,
    WorkerStatus,
)
from reconciler.protocol.objects import loaded
from reconciler.protocol.session import Connected
from reconciler.protocol.tickets import Declined, Final, Offered, TicketId, TicketReport, TicketSpec
from reconciler.schedule import queue
from reconciler.schedule.fleet import BUILTIN
from reconciler.store import attempts, audit, leadership, tasks, worker_status
from reconciler.store.claims import OccupiedError
from reconciler.store.database import Transaction

LOOK_AGAIN = 5.0
"""Seconds after which the queue is looked at even if nobody woke it: time itself ends some waits."""


class Dispatcher:
    """Conducts every unfinished task of a store; may be killed at any line and begun again."""

    def __init__(self, grounds: Grounds) -> None:
        self._grounds = grounds
        self._runs: dict[TaskId, TaskRun] = {}
        self._wake = asyncio.Event()
        self._accepting = True
        self._told = False
        self._waiting: Mapping[TaskId, queue.Waits] = {}
        self._absent: dict[str, str] = {}  # worker → why it cannot be reached, as it was recorded
        self._kept: dict[str, set[TicketId]] = {}  # worker → its attempts that were live when it connected

    async def resume(self) -> None:
        """Take up the tasks that were running; to be done before any worker is met, so that its reports find them."""
        memory = await self._grounds.store.read(remembered)
        await self._grounds.fleet_now()
        self._grounds.leasing.restore(memory)
        facts = await self._grounds.store.read(queue_facts)
        for task in facts.running:
            turn = turn_of(task, facts.tags())
            self._grounds.leasing.begin(turn, rests=task.state is TaskState.AWAITING_INTERVENTION)
            run = TaskRun(task, facts.pins[task.id], self._grounds, turn)
            await run.load()
            self._runs[task.id] = run

    async def run(self) -> None:
        """Dispatch until cancelled; running scripts outlive it."""
        async with asyncio.TaskGroup() as conductors:
            for run in list(self._runs.values()):
                conductors.create_task(self._conduct(run))
            while True:
                self._wake.clear()
                await self._look(conductors)
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_AGAIN):
                        await self._wake.wait()

    def wake(self) -> None:
        """Look at the queue, the fleet, what is held and every running task again: something was written."""
        self._told = True
        self._wake.set()
        self._grounds.fleet.changed()
        for run in self._runs.values():
            run.wake()
        self._grounds.changed.notify()

    def moved(self) -> asyncio.Event:
        """Return what is set when a task has moved, or something was written: taken before a look, none is missed."""
        return self._grounds.changed.next()

    def stop_starting(self) -> None:
        """Start nothing new: no task, no step; what runs goes on under its shim."""
        self._accepting = False
        for run in self._runs.values():
            run.hold()

    async def settled(self, wanted: set[TaskId], *, people: bool) -> bool:
        """Wait until each wanted task has ended or cannot go on by itself; `people` says whether persons are awaited.

        Returns False where some task waits for a person.
        """
        while True:
            pulse = self._grounds.changed.next()
            unfinished = {task.id: task for task in await self._grounds.store.read(tasks.unfinished)}
            ours = [task for task in unfinished.values() if task.id in wanted]
            if not any(self._moves(task, unfinished, people=people) for task in ours):
                return not any(task.state is TaskState.AWAITING_INTERVENTION for task in ours)
            await pulse.wait()

    def _moves(self, task: Task, unfinished: Mapping[TaskId, Task], *, people: bool) -> bool:
        """Can a task go on by itself? One that asks a person does as long as other steps of it run."""
        run = self._runs.get(task.id)
        if run is not None and task.state is TaskState.AWAITING_INTERVENTION:
            return people or not run.waits_for_a_person
        return queue.moves(task, unfinished, self._waiting, people=people)

    async def _conduct(self, run: TaskRun) -> None:
        await run.conduct()
        for ticket, attempt in run.live.items():  # of a task that was abandoned: how they end is recorded all the same
            self._kept.setdefault(attempt.worker, set()).add(ticket)
        self._grounds.leasing.end(run.turn.id, run.task.id)
        del self._runs[run.task.id]
        self._grounds.changed.notify()
        self._wake.set()

    async def _look(self, conductors: asyncio.TaskGroup) -> None:
        """Let every task start that may, and record why each other one waits."""
        if self._told:
            self._told = False
            await self._free_released()
        facts = await self._grounds.store.read(queue_facts)
        now = time.time()
        queued = [task for task in facts.queued if not await self._expired(task, now)]
        if not self._accepting:
            return
        leasing, conditions = self._grounds.leasing, facts.conditions(now)
        turns = take_turns(leasing, queued, facts.running, conditions, facts.tags(), wake=self._wake)
        await self._record_waits(queued, turns.waiting)
        for task in turns.begin:
            await self._begin(task, facts, conductors)

    async def _free_released(self) -> None:
        """Free what attempts hold whose end a person has told."""
        holders = list(self._grounds.leasing.holders)
        for ticket in await self._grounds.store.read(lambda tx: attempts.over(tx, holders)):
            self._grounds.leasing.release(TicketId(ticket))

    async def _begin(self, task: Task, facts: QueueFacts, conductors: asyncio.TaskGroup) -> None:
        run = TaskRun(task, facts.pins[task.id], self._grounds, turn_of(task, facts.tags()))
        self._runs[task.id] = run
        try:
            await run.begin()
        except OccupiedError:  # by what this engine does not know of: it is tried again with the next look
            self._grounds.leasing.end(run.turn.id, task.id)
            del self._runs[task.id]
        else:
            conductors.create_task(self._conduct(run))

    async def _expired(self, task: Task, now: float) -> bool:
        if task.cancel_by:
            await self._end_queued(task, TaskState.CANCELLED, f"cancelled by {task.cancel_by}")
        elif now - task.queued_at >= queue.QUEUED_MAX:
            await self._end_queued(task, TaskState.TIMED_OUT, "it was queued for 24 hours")
        else:
            return False
        return True

    async def _end_queued(self, task: Task, state: TaskState, reason: str) -> None:
        await self._grounds.store.write(lambda tx: tasks.set_state(tx, task.id, state, reason, time.time()))
        self._grounds.leasing.drop(turn_of(task, {}).id)
        self._grounds.watcher.see(task_moved(task, state, reason))
        self._grounds.changed.notify()

    async def _record_waits(self, queued: list[Task], waiting: Mapping[TaskId, queue.Waits]) -> None:
        if waiting == self._waiting:
            return
        self._waiting = waiting
        changed = [task for task in queued if task.id in waiting and task.reason != waiting[task.id].reason]
        reasons = {task.id: waiting[task.id].reason for task in changed}
        await self._grounds.store.write(lambda tx: tasks.set_waiting(tx, reasons))
        for task in changed:
            self._grounds.watcher.see(task_moved(task, TaskState.QUEUED, waiting[task.id].reason))
        self._grounds.changed.notify()

    # What workers report.

    async def connected(self, worker: str, session: Connected, address: str) -> None:
        """Compare a worker's inventory with its live attempts: one that had started and is gone is lost.

        Tickets that nobody waits for are forgotten.
        """
        reports = session.reports
        self._absent.pop(worker, None)  # cut off from here on, its loss is one more, for whatever reason
        met = await self._grounds.store.write(lambda tx: _meet(tx, worker, session, address, self._grounds.node_files))
        self._see(worker, met.status)
        self._kept[worker] = {TicketId(attempt.ticket) for attempt in met.attempts}
        for attempt in met.attempts:
            ticket = TicketId(attempt.ticket)
            self._grounds.links[worker].expect(loaded(TicketSpec, attempt.spec.encode()))
            is_given_up = attempt.state is AttemptState.LOST or attempt.task in met.ended
            if ticket not in reports and (is_given_up or attempt.state is AttemptState.RUNNING):
                length, digest = await self._grounds.logs.durable(ticket), await self._grounds.logs.digest(ticket)
                await self.finished(worker, gone(ticket, worker, length, digest))
            elif is_given_up and attempt.state is not AttemptState.LOST:
                self._grounds.links[worker].cancel(ticket, CANCEL_GRACE)  # its task was given up: it is not wanted
            elif is_given_up and isinstance(reports[ticket].state, Offered):
                self._grounds.links[worker].void(ticket)  # it has not started, and nobody waits for it any more
        for ticket in reports.keys() - self._kept[worker]:
            self._grounds.links[worker].forget(ticket)
        for report in reports.values():
            await self.reported(worker, report)

    async def reported(self, worker: str, report: TicketReport) -> None:
        """Pass the state of a ticket to the run that it belongs to."""
        run = self._run_of(worker, report.ticket)
        if run is None:
            return
        if not isinstance(report.state, Declined):
            run.take_report(report)
        elif ending := run.refusal(report.ticket, report.state.reason):
            await self.finished(worker, ending)

    def withdraw(self, worker: str, tickets: Mapping[str, str]) -> None:
        """Cancel attempts on a worker, each with the sentence with which its step fails; harmless where that was done."""
        link, withdrawn = self._grounds.links.get(worker), self._grounds.withdrawn
        for ticket, why in tickets.items():
            if link is not None and ticket not in withdrawn:
                withdrawn[TicketId(ticket)] = why
                link.cancel(TicketId(ticket), CANCEL_GRACE)

    async def finished(self, worker: str, final: Final) -> None:
        """Pass how a ticket ended to its run; a late one has no effect and is forgotten."""
        run = self._run_of(worker, final.ticket)
        if run is None or not await run.take_final(final):
            try:
                await self._grounds.store.write(record_ending(final, time.time()))
            finally:  # its session may end meanwhile: it is recorded all the same, and told no more
                self._grounds.leasing.release(final.ticket)
        self._kept.get(worker, set()).discard(final.ticket)
        self._grounds.withdrawn.pop(final.ticket, None)
        self._grounds.links[worker].forget(final.ticket)

    async def disconnected(self, worker: str, reason: str) -> None:
        """Give a worker no new work until it is back; its attempts outlive a session, the next inventory tells of them."""
        if worker != BUILTIN and self._absent.get(worker) != reason:
            self._absent[worker] = reason
            self._see(worker, await self._grounds.store.write(lambda tx: _miss(tx, worker, reason)))

    def _see(self, worker: str, status: WorkerStatus | None) -> None:
        """Place steps anew: an agent has come or gone."""
        if status is not None:
            if status.health is WorkerHealth.HEALTHY:
                self._absent.pop(worker, None)
            self._grounds.see(status)
            for run in self._runs.values():
                run.look_around()

    async def logged(self, worker: str, ticket: TicketId, length: int) -> None:
        """Show what was printed since, if anyone watches."""
        run = self._run_of(worker, ticket)
        if run is not None:
            run.take_log(ticket)

    def owns(self, worker: str, ticket: TicketId) -> bool:
        """Is this an attempt that was given to this worker and has not ended?"""
        return ticket in self._kept.get(worker, ()) or self._run_of(worker, ticket) is not None

    def _run_of(self, worker: str, ticket: TicketId) -> TaskRun | None:
        for run in self._runs.values():
            if ticket in run.live and run.live[ticket].worker == worker:
                return run
        return None


def _miss(tx: Transaction, worker: str, reason: str) -> WorkerStatus | None:
    before = worker_status.status(tx, worker)
    worker_status.lose(tx, worker, reason, time.time())
    if before is not None and before.health is WorkerHealth.HEALTHY:
        audit.record(tx, Event(time.time(), ENGINE, "lose", f"Worker/{worker}", detail=reason))
    return worker_status.status(tx, worker)


@dataclass(frozen=True, slots=True)
class _Met:
    """A worker as it was met: how it is, its attempts that have not ended, and the tasks of those that have."""

    status: WorkerStatus | None
    attempts: list[Attempt]
    ended: set[TaskId]


def _meet(tx: Transaction, worker: str, session: Connected, address: str, node_files: str) -> _Met:
    """Record a new session and, of an agent that told what it is, as what; of the built-in worker, only this node's is met."""
    attempts.set_worker_epoch(tx, worker, session.epoch)
    hello = session.hello
    if worker != BUILTIN or hello.capabilities:
        seen = SeenWorker(
            at=time.time(),
            address=address,
            release=hello.release,
            boot=hello.boot,
            store=hello.store,
            incarnation=hello.incarnation,
            capabilities=hello.capabilities,
        )
        before = worker_status.status(tx, worker)
        worker_status.see(tx, worker, seen)
        if worker != BUILTIN and (before is None or before.health is not WorkerHealth.HEALTHY):
            audit.record(tx, Event(time.time(), ENGINE, "meet", f"Worker/{worker}", detail=f"from {address}"))
    left = leadership.left(tx) if worker == BUILTIN else {}
    found = [each for each in attempts.unfinished_on(tx, worker) if left.get(each.ticket, node_files) == node_files]
    ended = {number for number in {attempt.task for attempt in found} if tasks.task(tx, number).state.ended}
    return _Met(worker_status.status(tx, worker), found, ended)
