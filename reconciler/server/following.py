"""Follow a branch: each commit that is checked out is planned and carried out; what is wrong with one is said and waits."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.apply.carry_out import Applied
from reconciler.declare.git import GitFailed, GitSlow, git
from reconciler.declare.load import Loaded, load
from reconciler.model.diagnostics import Severity
from reconciler.model.errors import Conflict, Invalid, ReconcilerError, Refused
from reconciler.model.live import Event
from reconciler.plan.planner import Options
from reconciler.server.engine import Engine, Running
from reconciler.server.planning import Planned, files_of, first_runs, plan_space
from reconciler.server.reconciling import apply_lease, carry_out_planned
from reconciler.server.voice import Voice
from reconciler.store import audit, objects

LOOK_SECONDS = 1.0
"""Between two looks at the branch."""

TRY_AGAIN_SECONDS = 30.0
"""After which a commit that could not be carried out for a passing reason is tried again."""

SHOWN_MAX = 20
"""Diagnostics of one commit in the log; `reconcile validate` shows all."""


@dataclass(slots=True)
class Follower:
    """One branch of a local repository, followed for one engine; `new_state` and `adopt` as for `apply`."""

    engine: Engine
    running: Running
    voice: Voice
    new_state: bool = False
    adopt: bool = False
    results: Counter[str] = field(default_factory=Counter)
    """How looks at commits ended: applied, unchanged, invalid, refused, failed."""
    revision: str = ""
    """The commit that was judged last."""

    async def run(self) -> None:
        """Look each second until cancelled."""
        due = 0.0
        while True:
            try:
                head = await asyncio.to_thread(checked_out, self.engine.place.root)
            except (GitFailed, GitSlow) as error:
                self._refused("", "unreadable", error)
                await asyncio.sleep(TRY_AGAIN_SECONDS)
                continue
            if head != self.revision or time.monotonic() >= due > 0.0:
                due = time.monotonic() + TRY_AGAIN_SECONDS if await self._follow(head) else 0.0
                self.revision = head
            await asyncio.sleep(LOOK_SECONDS)

    async def _follow(self, head: str) -> bool:
        """Bring the live state to a commit; True where trying again may help."""
        try:
            await self._reconcile(head)
        except (Conflict, GitFailed, GitSlow) as error:  # what is so now may be over soon
            self._refused(head, "failed", error)
            return True
        except ReconcilerError as error:
            self._refused(head, "refused" if isinstance(error, Refused) else "invalid", error)
            event = Event(time.time(), "serve", "reconcile", "space", "refused", revision=head, detail=error.message)
            await self.engine.store.write(lambda tx: audit.record(tx, event))
        return False

    def _refused(self, head: str, outcome: str, error: ReconcilerError) -> None:
        self.results[outcome] += 1
        self.voice.warn(
            "commit is not carried out", revision=head, outcome=outcome, reason=error.message, hint=error.hint
        )

    async def _reconcile(self, head: str) -> None:
        place, store = self.engine.place, self.engine.store
        live = await store.read(objects.live_state)
        loaded = await asyncio.to_thread(load, place.root, rev=head, cache=place.cache, live_paths=files_of(live))
        if loaded.desired is None:
            raise self.invalid(loaded)
        planned = await asyncio.to_thread(plan_space, loaded, live, Options())  # agents are heard meanwhile
        self.check(planned)
        if planned.plan.empty:
            self.results["unchanged"] += 1
            self.voice.say("nothing to change", revision=head)
            return
        applied = await self._carry_out(loaded, planned)
        self.results["applied"] += 1
        self.voice.say("carried out", revision=head, changes=applied.changes, deployments=len(applied.tasks))

    async def _carry_out(self, loaded: Loaded, planned: Planned) -> Applied:
        async with apply_lease(self.engine) as token:
            adopt = self.adopt and planned.plan.new_state
            applied = await carry_out_planned(
                *(self.engine, loaded, planned, token), adopt=adopt, progress=lambda _item, _outcome: None
            )
        self.running.change()
        return applied

    def check(self, planned: Planned) -> None:
        """Raise Refused where a person has to decide something first."""
        plan = planned.plan
        if plan.new_state and plan.runs and not (self.new_state or self.adopt):
            raise Refused(
                first_runs(plan),
                "start the server with --new-state to run them, or with --adopt to record them as done",
            )
        if not plan.stopped:
            return
        sentences = [refusal.message for refusal in plan.refusals]
        sentences += [f"{change.address}: {change.refusal}" for change in plan.changes if change.refusal]
        sentences += [f"Deployment/{run.deployment}: {run.refusal}" for run in plan.runs if run.refusal]
        raise Refused("; ".join(sentences[:SHOWN_MAX]), "see the whole plan with: reconcile plan")

    def invalid(self, loaded: Loaded) -> Invalid:
        """Say what is wrong with a commit, and return the error to raise."""
        errors = [found for found in loaded.diagnostics if found.severity is Severity.ERROR]
        for found in errors[:SHOWN_MAX]:
            self.voice.warn(
                "diagnostic",
                code=found.code,
                where=f"{found.span.file}:{found.span.line}:{found.span.column}",
                text=found.message,
            )
        count = len(errors)
        return Invalid(
            f"{count} error{'s' if count != 1 else ''} in the declarations", "see them with: reconcile validate"
        )


def checked_out(root: Path) -> str:
    """Return the commit that is checked out in a repository; raises GitFailed where there is none."""
    return git(root, "rev-parse", "--verify", "--end-of-options", "HEAD^{commit}").decode().strip()
