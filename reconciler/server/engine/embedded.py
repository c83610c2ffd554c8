"""`apply` without a server: the same engine in one process, until what was declared has run."""

import asyncio
import signal
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from reconciler.apply.carry_out import Applied
from reconciler.apply.places import follow, moved
from reconciler.declare.load import Loaded
from reconciler.execute.watching import Watcher
from reconciler.model.errors import Conflict, Interrupted, Refused
from reconciler.model.live import LiveState, TaskId, TaskState
from reconciler.model.spec import Address
from reconciler.plan import deployments
from reconciler.plan.changes import Change, Plan, Run
from reconciler.plan.planner import Options
from reconciler.server.binding import bound
from reconciler.server.engine.engine import Engine, Running, open_engine
from reconciler.server.engine.reconciling import apply_lease, carry_out_planned
from reconciler.server.engine.unreached import leavers, unreached
from reconciler.server.planning.planning import Planned, files_of, first_runs, plan_space, scripts_of
from reconciler.server.state.place import Place
from reconciler.store import following, objects, plans, tasks
from reconciler.store.database import Transaction


class Finding(Enum):
    """What is to happen to declared deployments where the live state is empty."""

    RUN = "run"
    ADOPT = "adopt"
    UNDECIDED = "undecided"


class Approval(Protocol):
    """How the person who applies is shown the plan and asked."""

    def show(self, planned: Planned) -> None:
        """Show the plan."""

    def saved_digest(self) -> str | None:
        """Return under which name a saved plan is applied once; None without one."""

    def check(self, planned: Planned, scripts: Mapping[str, str]) -> None:
        """Raise Conflict where a saved plan no longer holds; `scripts` are the SHA-256s of the files that it runs."""

    def approves(self, planned: Planned) -> bool:
        """Ask whether to carry the plan out."""

    def decides_new_state(self, planned: Planned) -> Finding:
        """Ask what to do with deployments that never ran here."""


class Progress(Watcher, Protocol):
    """What is told while a plan is carried out and its tasks run."""

    def changed(self, item: Change | Run, outcome: str) -> None:
        """Take one change or run of the plan with its outcome."""

    def say(self, text: str) -> None:
        """Take a sentence for the person."""

    def finish(self) -> None:
        """Take that nothing follows."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How an apply ended: what of the plan was refused, and where the declared deployments stand now."""

    invalid: bool = False
    refused: bool = False
    failed: bool = False
    timed_out: bool = False
    waits: bool = False
    unreached: bool = False
    """A worker that was needed could not be reached, and all else is done."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """One `apply` on the embedded engine."""

    place: Place
    load: Callable[[Mapping[str, Collection[Address]]], Loaded]
    options: Options
    approval: Approval
    progress: Progress
    new_state: bool
    adopt: bool
    people: bool
    agents: str
    """`HOST:PORT` where polling agents call; nobody listens there unless a polling worker is declared."""

    async def apply(self) -> Ending:
        """Plan, ask, carry out, run to the end; returns how it ended."""
        async with open_engine(self.place) as engine:
            live = await engine.store.read(objects.live_state)
            loaded = self.load(files_of(live))
            planned = plan_space(loaded, live, self.options)
            await self._check_saved(engine, loaded, planned)
            self.approval.show(planned)
            finding = self._finding(planned)
            self._refuse(planned.plan)
            if not planned.plan.empty and not self.approval.approves(planned):
                self.progress.say("Nothing was changed.")
                return Ending()
            waits, ran = await self._act(engine, loaded, planned, adopt=finding is Finding.ADOPT)
            return await self._ending(engine, planned, ran, waits=waits)

    async def _act(self, engine: Engine, loaded: Loaded, planned: Planned, *, adopt: bool) -> tuple[bool, set[TaskId]]:
        """Carry the plan out and run it to the end under the apply lease.

        Returns whether a task waits for a person, and the tasks that ran.
        """
        interrupted = asyncio.Event()
        with _on_signals(interrupted):
            wanted = {*planned.plan.pending, *await engine.store.read(_begun)}
            if planned.plan.empty:
                await follow(engine.store, moved(planned.desired.objects, planned.live.objects))
                if not wanted:
                    return False, wanted
            async with apply_lease(engine) as token:
                if await engine.store.read(following.conditions):  # a server said so, and it moves now
                    await engine.store.write(following.forget_conditions)
                if not planned.plan.empty:
                    applied = await self._carry_out(engine, loaded, planned, token, adopt=adopt)
                    wanted |= set() if adopt else {*applied.tasks}
                waits = await self._run(engine, wanted, interrupted) if wanted else False
                return waits, wanted

    async def _check_saved(self, engine: Engine, loaded: Loaded, planned: Planned) -> None:
        name = self.approval.saved_digest()
        if name is None:
            return
        applied = await engine.store.read(lambda tx: plans.applied(tx, name))
        if applied is not None:
            raise Conflict("the saved plan was applied already", "make a new one with: reconcile plan --out FILE")
        self.approval.check(planned, scripts_of(planned, loaded.tree.read))

    def _finding(self, planned: Planned) -> Finding:
        if self.adopt:
            return Finding.ADOPT
        if self.new_state or not planned.plan.new_state:
            return Finding.RUN
        finding = self.approval.decides_new_state(planned)
        if finding is Finding.UNDECIDED:
            raise Refused(
                first_runs(planned.plan),
                "apply with --new-state to run them, or with --adopt to record them as done",
            )
        return finding

    def _refuse(self, plan: Plan) -> None:
        """Stop before the first write where something is refused, unless the space leaves refused things out."""
        refused = [change for change in plan.changes if change.refusal], [run for run in plan.runs if run.refusal]
        if not plan.stopped:
            return
        count = len(refused[0]) + len(refused[1]) + len(plan.refusals)
        raise Refused(
            f"{count} change{'s' if count != 1 else ''} of this plan {'are' if count != 1 else 'is'} refused; nothing was changed",
            "each one says why above",
        )

    async def _carry_out(self, engine: Engine, loaded: Loaded, planned: Planned, token: int, *, adopt: bool) -> Applied:
        applied = await carry_out_planned(
            *(engine, loaded, planned, token), adopt=adopt, progress=self.progress.changed
        )
        if await engine.store.read(following.proposals):
            await engine.store.write(following.settle_proposals)
        if name := self.approval.saved_digest():
            await engine.store.write(lambda tx: plans.mark_applied(tx, name, planned.plan.revision, time.time()))
        runs = len(applied.tasks)
        tail = f" {runs} deployment{'s' if runs != 1 else ''} {'adopted' if adopt else 'queued'}." if runs else ""
        changes = f"{applied.changes} change{'s' if applied.changes != 1 else ''} carried out."
        self.progress.say(f"Apply complete! {changes}{tail}")
        return applied

    async def _run(self, engine: Engine, wanted: set[TaskId], interrupted: asyncio.Event) -> bool:
        """Run tasks to their ends; True where one waits for a person whom nobody here can ask."""
        if interrupted.is_set():
            raise _interrupted()
        try:
            agents = bound(self.agents) if await engine.store.read(_someone_calls) else None
            async with engine.running(self.progress, agents=agents) as running:
                return not await self._settled(running, wanted, interrupted)
        finally:
            self.progress.finish()

    async def _settled(self, running: Running, wanted: set[TaskId], interrupted: asyncio.Event) -> bool:
        """Wait for the tasks; raises Interrupted at the first signal, and what the engine fails with."""
        settling = asyncio.create_task(running.dispatcher.settled(wanted, people=self.people))
        others = [asyncio.create_task(interrupted.wait()), asyncio.create_task(running.failure())]
        await asyncio.wait({settling, *others}, return_when=asyncio.FIRST_COMPLETED)
        stopping, failing = others
        stopping.cancel()
        if settling.done():
            failing.cancel()
            return settling.result()
        settling.cancel()
        if failing.done():
            failing.result()
        failing.cancel()
        running.dispatcher.stop_starting()
        raise _interrupted()

    async def _ending(self, engine: Engine, planned: Planned, ran: set[TaskId], *, waits: bool) -> Ending:
        left = leavers(planned.plan.changes)
        unheard = await engine.store.read(lambda tx: list(unreached(tx, ran, left)))
        for sentence in unheard:
            self.progress.say(f"Unreachable: {sentence}")
        live = await engine.store.read(objects.live_state)
        wishes = list(deployments.wishes(planned.desired))
        for sentence in deployments.failed_slots(wishes, live):
            self.progress.say(f"Failed: {sentence}")
        if waits:
            self.progress.say("A task waits for a person; see: reconcile status")
        states = set(_states(wishes, live))
        stuck = TaskState.QUEUED in states and not waits
        return Ending(
            invalid=not planned.plan.complete,
            refused=planned.plan.refused,
            failed=bool(states & (deployments.UNSUCCESSFUL - {TaskState.TIMED_OUT})) or stuck,
            timed_out=TaskState.TIMED_OUT in states,
            waits=waits,
            unreached=bool(unheard),
        )


def _states(wishes: Iterable[deployments.Wish], live: LiveState) -> Iterator[TaskState]:
    """Yield the state of each declared slot at its present digest; queued at the end, it waits for one that failed."""
    for wish in wishes:
        task = live.last_tasks.get(wish.slot)
        if task is not None and (task.digest == wish.digest or task.state is TaskState.QUEUED):
            yield task.state


def _interrupted() -> Interrupted:
    return Interrupted(
        "interrupted; steps that run go on under their supervisors, and nothing new starts",
        "follow them to the end with: reconcile apply",
    )


def _begun(tx: Transaction) -> set[TaskId]:
    """Return the tasks that have begun and not ended: each runs to its end, even if its deployment left Git since."""
    return {task.id for task in tasks.unfinished(tx) if task.state is not TaskState.QUEUED}


def _someone_calls(tx: Transaction) -> bool:
    """Is a worker declared whose agent calls?"""
    return any('"endpoint":{"polling"' in found.spec for found in objects.of_kind(tx, "Worker").values())


@contextmanager
def _on_signals(event: asyncio.Event) -> Iterator[None]:
    """Set an event at the first SIGINT or SIGTERM while the context stands."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, event.set)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
