"""Tells a forge what became of commits: from a bounded store of what is not told yet, and never in anybody's way."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from reconciler.model.following import Condition, ConditionType
from reconciler.server.backoff import pause
from reconciler.server.forge.forges import Forge, State, Status
from reconciler.server.forge.line import ForgeProblem
from reconciler.server.voice import Voice

UNTOLD_MAX = 100
"""Commits whose status waits to be told; past that the oldest are given up."""

RETRY_SECONDS = (5.0, 600.0)
"""After which what may pass is tried again the first time, and at most; it doubles."""

ASKED_MAX = 3_600.0
"""Seconds that a forge may ask to be left alone."""

OF_THE_SPACE = frozenset({"Suspended", "SourceUnreadable", "NotJudged"})
"""Reasons that say nothing about a commit."""


@dataclass(slots=True)
class Herald:
    """Speaks with one forge for one space; `context` is what its statuses are called, `url` where they lead to."""

    forge: Forge
    voice: Voice
    context: str
    url: str = ""
    retry_seconds: tuple[float, float] = RETRY_SECONDS
    _untold: dict[str, Status] = field(default_factory=dict)
    _last: Status | None = None
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, conditions: Sequence[Condition]) -> None:
        """Take how a space stands; returns at once."""
        status = self._status({condition.type: condition for condition in conditions})
        if status is None or status == self._last:
            return
        last, self._last = self._last, status
        if last is not None and last.commit != status.commit and last.state is State.PENDING:
            self._take(self._about(last.commit, State.SUPERSEDED, f"superseded by {status.commit[:12]}"))
        self._take(status)

    async def run(self) -> None:
        """Tell what was taken, the oldest first, until cancelled."""
        tries = 0
        while True:
            await self._woken.wait()
            self._woken.clear()
            while self._untold:
                commit, status = next(iter(self._untold.items()))
                wait = await self._told(status)
                if wait is None:
                    tries = 0
                    if self._untold.get(commit) == status:
                        del self._untold[commit]
                    continue
                tries += 1
                await asyncio.sleep(max(pause(tries, *self.retry_seconds), min(wait, ASKED_MAX)))

    async def _told(self, status: Status) -> float | None:
        """Tell one status; return None where that is settled, else the seconds that the forge wants to be left alone."""
        facts = {"revision": status.commit, "state": status.state.value}
        try:
            await asyncio.to_thread(self.forge.status, status)
        except ForgeProblem as problem:
            self.voice.warn("forge was not told", **facts, reason=problem.message, hint=problem.hint)
            return problem.after
        except Exception as error:  # noqa: BLE001 - the named boundary: no forge stops a space
            self.voice.warn("forge was not told", **facts, reason=f"a bug of ours: {type(error).__name__}")
            return None
        self.voice.say("forge was told", **facts)
        return None

    def _take(self, status: Status) -> None:
        self._untold.pop(status.commit, None)
        self._untold[status.commit] = status
        while len(self._untold) > UNTOLD_MAX:
            given_up = self._untold.pop(next(iter(self._untold)))
            self.voice.warn("forge was not told", revision=given_up.commit, reason="too much waits to be told")
        self._woken.set()

    def _status(self, conditions: dict[ConditionType, Condition]) -> Status | None:
        ready, stalled = conditions[ConditionType.READY], conditions[ConditionType.STALLED]
        if not ready.revision or ready.reason in OF_THE_SPACE:
            return None
        if ready.status:
            return self._about(ready.revision, State.SUCCESS, ready.message)
        state = State.FAILURE if stalled.status and stalled.reason != "AwaitingApproval" else State.PENDING
        return self._about(ready.revision, state, ready.message)

    def _about(self, commit: str, state: State, description: str) -> Status:
        return Status(commit, state, description, self.context, self.url)
