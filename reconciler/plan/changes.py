"""The nouns of a plan: changes with their reasons, runs, refusals, warnings."""

from dataclasses import dataclass, replace
from enum import StrEnum

from pydantic import JsonValue

from reconciler.model.live import Slot, TaskId
from reconciler.model.spec import Address, Position, canonical_json, digest_of


class Action(StrEnum):
    """What happens to an object."""

    CREATE = "create"
    UPDATE = "update"
    REPLACE = "replace"
    RENAME = "rename"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class Absent:
    """Stands for a value that is not there, on one side of a difference."""


ABSENT = Absent()


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field that differs; `path` is dotted, in YAML's names."""

    path: str
    before: JsonValue | Absent
    after: JsonValue | Absent


@dataclass(frozen=True, slots=True)
class Change:
    """What happens to one object, why, where that is declared, and what follows from it.

    `refusal` says why it may not happen; then nothing of it does. It is `refused_now` where only what runs just now
    stands against it.
    """

    address: Address
    action: Action
    because: str
    position: Position | None = None
    fields: tuple[FieldChange, ...] = ()
    consequences: tuple[str, ...] = ()
    former: Address | None = None
    refusal: str = ""
    refused_now: bool = False


def title(deployment: str, slot: Slot) -> str:
    """Name a deployment and, with tenants, for whom: `Deployment/shop-production for acme`."""
    return f"Deployment/{deployment}" + (f" for {slot.tenant}" if slot.tenant else "")


class RunReason(StrEnum):
    """Why a deployment runs."""

    FIRST = "first"
    CHANGED = "changed"
    RETRY = "retry"


@dataclass(frozen=True, slots=True)
class Run:
    """One deployment that is queued when the plan is applied."""

    deployment: str
    slot: Slot
    release: str
    digest: str
    reason: RunReason
    because: str
    position: Position
    former_release: str | None = None
    after: tuple[str, ...] = ()
    priority: int = 0
    steps: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    refusal: str = ""
    refused_now: bool = False

    @property
    def title(self) -> str:
        """How the run is called in a plan: `Deployment/shop-production` and, with tenants, for whom."""
        return title(self.deployment, self.slot)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Something that stands against the plan as a whole, and the option that lifts it."""

    code: str
    message: str
    help: str = ""


@dataclass(frozen=True, slots=True)
class LiveFact:
    """Something that moves by itself, such as a running task; never part of a plan's digest."""

    text: str


@dataclass(frozen=True, slots=True)
class Plan:
    """The difference between desired and live, judged; equal for equal revision and serial."""

    space: str
    revision: str
    serial: int
    changes: tuple[Change, ...] = ()
    runs: tuple[Run, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    facts: tuple[LiveFact, ...] = ()
    pending: tuple[TaskId, ...] = ()
    new_state: bool = False
    isolated: bool = False
    complete: bool = True
    partial: bool = False
    """True where `--target` or `--exclude` leaves out something that would be done."""

    @property
    def empty(self) -> bool:
        """Is there nothing to do?"""
        return not (self.changes or self.runs)

    @property
    def refused(self) -> bool:
        """Does anything in the plan stand against it?"""
        return bool(
            self.refusals or any(change.refusal for change in self.changes) or any(run.refusal for run in self.runs)
        )

    @property
    def stopped(self) -> bool:
        """Is nothing of the plan to be carried out? An isolated space leaves out what is refused, and goes on."""
        return self.refused and not (self.isolated and not self.refusals)

    def count(self, *actions: Action) -> int:
        """Return how many changes are of `actions`."""
        return sum(change.action in actions for change in self.changes)

    @property
    def lasting(self) -> "Plan":
        """The changes section: the plan without what moves by itself, equal with a snapshot and without."""
        return replace(
            self,
            changes=tuple(
                replace(change, refusal="", refused_now=False) if change.refused_now else change
                for change in self.changes
            ),
            runs=tuple(replace(run, refusal="", refused_now=False) if run.refused_now else run for run in self.runs),
            failed=(),
            facts=(),
            pending=(),
        )

    @property
    def passing(self) -> tuple[Refusal, ...]:
        """What stands against single changes and runs just now, and may not a moment later."""
        return (
            *(Refusal("now", f"{item.address}: {item.refusal}") for item in self.changes if item.refused_now),
            *(Refusal("now", f"{item.title}: {item.refusal}") for item in self.runs if item.refused_now),
        )

    @property
    def digest(self) -> str:
        """The SHA-256 of the changes section: what a saved plan is held to."""
        return digest_of(canonical_json([self.space, self._lines()]))

    def _lines(self) -> list[JsonValue]:
        return [*(self.line_of(change) for change in self.changes), *(self.line_of(run) for run in self.runs)]

    @staticmethod
    def line_of(item: Change | Run) -> JsonValue:
        """Return what of a change or run is compared with a saved plan: identity, effect, no prose."""
        if isinstance(item, Run):
            return [item.title, item.release, item.digest, item.reason.value]
        fields: list[JsonValue] = [[field.path, _shown(field.before), _shown(field.after)] for field in item.fields]
        return [str(item.address), item.action.value, str(item.former or ""), fields]


def _shown(value: JsonValue | Absent) -> JsonValue:
    return [] if isinstance(value, Absent) else [value]
