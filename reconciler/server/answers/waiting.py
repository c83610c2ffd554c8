"""Whether a commit has become reality: what `wait` asks again and again; pure but for what it is given to look with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cache

from reconciler.model.following import Condition, ConditionType, Judged, Suspension
from reconciler.server.answers.outstanding import Failure, Outstanding
from reconciler.server.orders.words import suspended
from reconciler.server.state.times import stamp


class Stand(Enum):
    """Where a commit stands."""

    UNDER_WAY = "underWay"
    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    INVALID = "invalid"
    ASKS = "asks"
    SUSPENDED = "suspended"
    """Nothing is carried out before a time, unless a person resumes."""
    SUPERSEDED = "superseded"


STANDS: Mapping[str, Stand] = {
    "Refused": Stand.REFUSED,
    "PartlyRefused": Stand.REFUSED,
    "Invalid": Stand.INVALID,
    "Unsigned": Stand.INVALID,
    "AwaitingApproval": Stand.ASKS,
    "AwaitingAnswers": Stand.ASKS,
}
"""What the reason of Ready means for whoever waits; others may pass."""

FAILED, SUSPENDED, UNREADABLE = "DeploymentFailed", "Suspended", "SourceUnreadable"
"""Reasons of Ready that say too little about a commit by themselves."""


@dataclass(frozen=True, slots=True)
class Found:
    """Where a commit stands, and in a sentence why; `until` is the end of what holds it up, where that is known."""

    stand: Stand
    message: str
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """What a state tells of its commits: `judged` are those that were, the newest first.

    `as_of` is when a server had a look last, where none runs; None where one does.
    """

    conditions: Mapping[ConditionType, Condition] = field(default_factory=dict)
    judged: Sequence[Judged] = ()
    suspension: Suspension | None = None
    as_of: float | None = None

    @property
    def ready(self) -> Condition | None:
        """The condition Ready of a commit; None before the first was judged."""
        ready = self.conditions.get(ConditionType.READY)
        return ready if ready is not None and ready.revision else None


def stand_of(
    commit: str, told: Told, contains: Callable[[str, str], bool], read: Callable[[], Outstanding] = Outstanding
) -> Found:
    """Return where `commit` stands; `contains(head, commit)` says whether it is in the history of another.

    A head that has the commit in its history stands for it. What is not done is only `read` where that decides.
    """
    found = _stand_of(commit, told, cache(contains), read)
    if told.as_of is None or found.stand not in {Stand.UNDER_WAY, Stand.ASKS}:
        return found
    since = f"as of {stamp(told.as_of)}: " if told.ready is not None else ""
    return Found(Stand.UNDER_WAY, f"no server runs; {since}{found.message}")


def _stand_of(commit: str, told: Told, contains: Callable[[str, str], bool], read: Callable[[], Outstanding]) -> Found:
    ready, held = told.ready, told.suspension
    if ready is None:
        return _held(held) or Found(Stand.UNDER_WAY, "no commit was judged yet")
    head = ready.revision
    if not contains(head, commit):
        if _came_before(commit, head, [each.revision for each in told.judged]):
            return Found(Stand.SUPERSEDED, f"{head[:12]} took its place, and does not descend from it")
        if ready.reason == UNREADABLE and held is None:
            return Found(Stand.UNDER_WAY, ready.message)
        return _held(held) or Found(Stand.UNDER_WAY, f"the source is at {head[:12]}, which does not hold it yet")
    if ready.status:
        return Found(Stand.DONE, ready.message)
    carried_out = any(each.verdict.is_good for each in told.judged if each.revision == head)
    if ready.reason == FAILED or (held is not None and carried_out):
        return _by_tasks(commit, ready, read(), contains)
    if ready.reason == SUSPENDED and held is None:
        return Found(Stand.UNDER_WAY, "the suspension is over, and the head is judged again")
    return _held(held) or Found(STANDS.get(ready.reason, Stand.UNDER_WAY), ready.message)


def _held(suspension: Suspension | None) -> Found | None:
    """Say that nothing is carried out; None where that is not so."""
    return Found(Stand.SUSPENDED, suspended(suspension), suspension.until) if suspension is not None else None


def _came_before(commit: str, head: str, newest_first: Sequence[str]) -> bool:
    """Say whether a commit was judged before the head; what was judged after it is told of in a moment."""
    if commit not in newest_first or head not in newest_first:
        return False
    return newest_first.index(commit) > newest_first.index(head)


def _by_tasks(commit: str, ready: Condition, left: Outstanding, contains: Callable[[str, str], bool]) -> Found:
    """Say where a commit stands that was carried out: what was queued for it, or for one after it, comes first."""

    def is_own(revision: str) -> bool:
        return revision in {commit, ready.revision} or contains(revision, commit)

    own = [task for task in left.unfinished if is_own(task.revision)]
    moving, asking = sum(task.moves for task in own), sum(task.asks for task in own)
    if moving:
        return Found(Stand.UNDER_WAY, f"{_counted(moving)} of it under way")
    failures = {True: list[str](), False: list[str]()}
    for failure in left.failures:
        of_it = is_own(failure.revision)
        failures[of_it].append(failure.sentence if of_it else _older(failure))
    if asking and not failures[True]:
        return Found(Stand.ASKS, f"{_counted(asking)} of it {'waits' if asking == 1 else 'wait'} for a person")
    if any(failures.values()):
        return Found(Stand.FAILED, "; ".join([*failures[True], *failures[False]]))
    if others := len(left.unfinished):
        return Found(Stand.UNDER_WAY, f"{_counted(others)} under way")
    if ready.reason == FAILED:
        return Found(Stand.UNDER_WAY, "what failed was repeated")
    return Found(Stand.DONE, f"everything is as {ready.revision[:12]} declares it")


def _older(failure: Failure) -> str:
    return f"from before this commit, since {stamp(failure.at)}: {failure.sentence}"


def _counted(number: int) -> str:
    return f"{number} task{'' if number == 1 else 's'}"
