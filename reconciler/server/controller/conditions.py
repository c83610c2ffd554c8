"""What is said of a space in three conditions, from what is known of it; pure."""

from dataclasses import dataclass

from reconciler.model.following import Condition, ConditionType, Judged, SourceState, Suspension, Verdict
from reconciler.server.orders.words import suspended
from reconciler.server.state.times import stamp

STALLING = {
    Verdict.INVALID: "Invalid",
    Verdict.REFUSED: "Refused",
    Verdict.PARTLY: "PartlyRefused",
    Verdict.UNSIGNED: "Unsigned",
    Verdict.WAITS: "AwaitingApproval",
}
"""Verdicts after which nothing moves until a person does something, and the reason that is given."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What conditions are made of; `judged` is the head's, or None before the first, `drift` a sentence about it.

    Of the tasks that are `running`, `asking` wait for a person.
    """

    source: SourceState | None = None
    judged: Judged | None = None
    suspension: Suspension | None = None
    running: int = 0
    asking: int = 0
    failed: tuple[str, ...] = ()
    overdue: tuple[str, ...] = ()
    drift: str = ""


def conditions_of(facts: Facts) -> tuple[Condition, Condition, Condition]:
    """Return Ready, Reconciling and Stalled."""
    revision = facts.judged.revision if facts.judged else ""
    stalled = _stalled(facts)
    reconciling = _reconciling(facts)
    if stalled is not None:
        ready = (False, *stalled)
    elif reconciling is not None:
        ready = (False, *reconciling)
    elif facts.judged is None:
        ready = (False, "NotJudged", "no commit was judged yet")
    else:
        ready = (True, "Applied", f"everything is as {facts.judged.revision[:12]} declares it")
    return (
        Condition(ConditionType.READY, *ready, revision),
        _condition(ConditionType.RECONCILING, reconciling, "Idle", "nothing is under way", revision),
        _condition(ConditionType.STALLED, stalled, "Moving", _moving(facts), revision),
    )


def _condition(
    kind: ConditionType, found: tuple[str, str] | None, otherwise: str, sentence: str, revision: str
) -> Condition:
    return Condition(kind, found is not None, *(found or (otherwise, sentence)), revision)


def _moving(facts: Facts) -> str:
    return "only questions of tasks wait for a person" if facts.asking else "nothing needs a person"


def _stalled(facts: Facts) -> tuple[str, str] | None:
    """Return reason and sentence where a person has to act."""
    judged = facts.judged
    if facts.suspension is not None:
        return "Suspended", suspended(facts.suspension)
    if judged is not None and judged.verdict in STALLING:
        return STALLING[judged.verdict], judged.reason
    if facts.failed:
        return "DeploymentFailed", "; ".join(facts.failed)
    if facts.overdue:
        return "DrainOverdue", f"past the deadline of its drain: {', '.join(facts.overdue)}"
    if facts.drift:
        return "Drifted", facts.drift
    return None


def _reconciling(facts: Facts) -> tuple[str, str] | None:
    """Return reason and sentence where something is under way that ends by itself."""
    if facts.source is not None and facts.source.failed_since is not None:
        since = stamp(facts.source.failed_since)
        return "SourceUnreadable", f"the source cannot be read since {since}: {facts.source.problem}"
    if facts.judged is not None and facts.judged.verdict is Verdict.FAILED:
        return "Retrying", facts.judged.reason
    if facts.running:
        asking = f"; {facts.asking} wait{'' if facts.asking != 1 else 's'} for a person" if facts.asking else ""
        reason = "AwaitingAnswers" if facts.asking == facts.running else "Deploying"
        return reason, f"{facts.running} task{'s' if facts.running != 1 else ''} under way{asking}"
    return None
