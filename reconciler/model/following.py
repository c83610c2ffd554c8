"""What is known of the source that a state follows: its head, the commits that were judged, conditions, plans that wait."""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class SourceState:
    """A source as it was looked at last; times are seconds since the epoch, `failed_since` None after a success.

    `signatures` says what has to be signed of it: a `commit`, a `tag`, or nothing.
    """

    url: str
    ref: str
    folder: str
    head: str
    signatures: str = ""
    looked_at: float = 0.0
    failed_since: float | None = None
    problem: str = ""


class Verdict(StrEnum):
    """What became of a commit."""

    APPLIED = "applied"
    UNCHANGED = "unchanged"
    PARTLY = "partly"
    """An isolated space left out what was refused."""
    INVALID = "invalid"
    REFUSED = "refused"
    UNSIGNED = "unsigned"
    WAITS = "waits"
    """A person has to approve its plan."""
    FAILED = "failed"
    """It could not be carried out for a reason that may pass; it is tried again."""

    @property
    def is_good(self) -> bool:
        """Is the live state as the commit wants it?"""
        return self in {Verdict.APPLIED, Verdict.UNCHANGED}


@dataclass(frozen=True, slots=True)
class Judged:
    """A commit that was judged: who made it, what became of it and why."""

    revision: str
    author: str
    subject: str
    verdict: Verdict
    reason: str = ""
    seen_at: float = 0.0
    judged_at: float = 0.0


class ConditionType(StrEnum):
    """What is said of a space: is all as declared, is something under way, does it need a person."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition: `reason` is a word in CamelCase, `message` a sentence; `since` it has this status and reason."""

    type: ConditionType
    status: bool
    reason: str
    message: str
    revision: str
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class Suspension:
    """A person's wish that nothing is carried out until a time."""

    by: str
    reason: str
    since: float
    until: float


class Why(StrEnum):
    """Why a plan waits for a person."""

    MANUAL = "manual"
    """The space wants each plan approved."""
    REMOVALS = "removals"
    """It removes more than the space allows by itself."""
    HISTORY = "history"
    """Its commit does not descend from the one carried out last, and it removes something."""
    NEW_STATE = "newState"
    """Nothing ever ran here, and it would run deployments."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A plan that waits, or waited, for a person; `decision` is approved or rejected.

    `digest` is that of its changes and of the script files that it runs, `plan` that of the plan as it is shown.
    """

    digest: str
    revision: str
    why: Why
    summary: str
    made_at: float
    decision: str = ""
    decided_by: str = ""
    decided_at: float | None = None
    notes: str = ""
    plan: str = ""

    @property
    def name(self) -> str:
        """What people call it by: `plan-` and the beginning of its digest."""
        return plan_name(self.digest)


NAMED_DIGITS = 12


def plan_name(digest: str) -> str:
    """Return what people call a plan by."""
    return f"plan-{digest[:NAMED_DIGITS]}"
