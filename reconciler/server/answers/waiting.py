"""Whether a commit has become reality: what `wait` asks again and again; pure but for the ancestry that it is given."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from reconciler.model.following import Condition, ConditionType, Judged


class Stand(Enum):
    """Where a commit stands."""

    UNDER_WAY = "underWay"
    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    INVALID = "invalid"
    ASKS = "asks"
    SUPERSEDED = "superseded"


STANDS: Mapping[str, Stand] = {
    "DeploymentFailed": Stand.FAILED,
    "Refused": Stand.REFUSED,
    "PartlyRefused": Stand.REFUSED,
    "Invalid": Stand.INVALID,
    "Unsigned": Stand.INVALID,
    "AwaitingApproval": Stand.ASKS,
    "AwaitingAnswers": Stand.ASKS,
}
"""What the reason of Ready means for whoever waits; others may pass."""

HELD_BACK = frozenset({"Suspended", "SourceUnreadable"})
"""Reasons for which no commit is judged: they tell more than the commit that was judged last."""


@dataclass(frozen=True, slots=True)
class Found:
    """Where a commit stands, and in a sentence why."""

    stand: Stand
    message: str


def stand_of(
    commit: str,
    conditions: Mapping[ConditionType, Condition],
    judged: Sequence[Judged],
    contains: Callable[[str, str], bool],
) -> Found:
    """Return where `commit` stands; `contains(head, commit)` says whether it is in the history of the head judged last.

    `judged` are the commits that were judged, the newest first.

    A head that has the commit in its history stands for it.
    """
    ready = conditions.get(ConditionType.READY)
    if ready is None or not ready.revision:
        return Found(Stand.UNDER_WAY, "no commit was judged yet")
    if not contains(ready.revision, commit):
        if _came_before(commit, ready.revision, [each.revision for each in judged]):
            return Found(Stand.SUPERSEDED, f"{ready.revision[:12]} took its place, and does not descend from it")
        if ready.reason in HELD_BACK:
            return Found(Stand.UNDER_WAY, ready.message)
        return Found(Stand.UNDER_WAY, f"the source is at {ready.revision[:12]}, which does not hold it yet")
    if ready.status:
        return Found(Stand.DONE, ready.message)
    return Found(STANDS.get(ready.reason, Stand.UNDER_WAY), ready.message)


def _came_before(commit: str, head: str, newest_first: Sequence[str]) -> bool:
    """Say whether a commit was judged before the head; what was judged after it is told of in a moment."""
    if commit not in newest_first or head not in newest_first:
        return False
    return newest_first.index(commit) > newest_first.index(head)
