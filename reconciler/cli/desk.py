"""Where a command reads and orders: a desk is the state itself, or a server that has it."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Protocol

if TYPE_CHECKING:  # a command starts with what it needs itself, and no more
    from pathlib import Path

    from reconciler.cli.options import Selection
    from reconciler.model.following import SourceState
    from reconciler.model.live import Event, StoredArtifact, Task, TaskState
    from reconciler.plan.explanation import Explanation
    from reconciler.server.answers.access import AccessRow
    from reconciler.server.answers.commit_names import Standing
    from reconciler.server.answers.log_walk import Entry
    from reconciler.server.answers.overview import ObjectRow, Overview, WorkerRow
    from reconciler.server.answers.trust import Trust
    from reconciler.server.checkup.checkup import Named
    from reconciler.server.checkup.findings import Finding
    from reconciler.server.engine.control import Decided, Request
    from reconciler.server.planning.explaining import Question
    from reconciler.server.planning.rehearsing import RehearsalForm, ShownRehearsal, Wanted
    from reconciler.server.planning.shown import Form, ShownPlan
    from reconciler.server.state.archive import Manifest
    from reconciler.server.state.place import Place
    from reconciler.server.trust.tokens import TokenRow
    from reconciler.store.audit import Selection as Selected
    from reconciler.store.chain import Broken, Whole


@dataclass(frozen=True, slots=True)
class Listing:
    """Which events of a selection: those after a number, else the last ones; at most `limit`."""

    after: int | None
    limit: int
    selection: "Selected"


@dataclass(frozen=True, slots=True)
class LogWish:
    """Which log: that of a task, by number or deployment; of one step or of all; to its end, or as far as it is."""

    task: str
    step: str | None
    follow: bool


Telling = Callable[[str], None]
"""Takes a sentence about what is not there."""


class Desk(Protocol):
    """What commands ask for; all of it raises ReconcilerError."""

    @property
    def place(self) -> "Place":
        """Return where the repository and the state are; raises UsageMistake where only a server knows."""

    def overview(self) -> "Overview":
        """Return how all stands."""

    def objects(self, kind: str) -> Sequence["ObjectRow"]:
        """Return the live objects of a kind by name."""

    def workers(self) -> Sequence["WorkerRow"]:
        """Return the workers, the built-in one first."""

    def tasks(self, limit: int, states: "Collection[TaskState]") -> "Sequence[Task]":
        """Return the newest tasks, of those in some states where any are named."""

    def events(self, listing: Listing) -> "Sequence[Event]":
        """Return events, the oldest first."""

    def exported(self, selection: "Selected") -> Iterator[str]:
        """Yield the lines of an export of the audit."""

    def checked(self) -> "Whole | Broken":
        """Return whether the whole audit is as it was recorded."""

    def reasons(self, address: str) -> Sequence[str]:
        """Return sentences about something."""

    def explanation(self, question: "Question") -> "Explanation":
        """Return where a step would run."""

    def plan(self, selection: "Selection", form: "Form", *, save: bool) -> "ShownPlan":
        """Return a plan as it is shown, with the text of a plan file where that is wanted."""

    def rehearsal(self, wanted: "Wanted", form: "RehearsalForm") -> "ShownRehearsal":
        """Return what the declared fleet would make of its deployments, as it is shown."""

    def waiting_plan(self, name: str, form: "Form") -> "ShownPlan":
        """Return a plan that waits for a person, as the controller has made it."""

    def snapshot(self) -> str:
        """Return the live state, redacted and signed."""

    def snapshot_keys(self) -> str:
        """Return the public keys that snapshots are signed with (PEM)."""

    def drift(self, form: "Form") -> "ShownPlan":
        """Return what was changed behind Git's back, as it is shown."""

    def standing(self, commit: str) -> "Standing":
        """Return where a commit stands."""

    def followed_head(self, *, as_it_is: bool, repeats: bool) -> str | None:
        """Have the source looked at now, and return its head; None where nothing is followed.

        A server carries a commit out `as_it_is`, and `repeats` nothing by it; raises UsageMistake where that is not
        enough.
        """

    def source(self) -> "SourceState | None":
        """Return the source that a server follows and carries out here; None where nothing is followed."""

    def log(self, wish: LogWish, tell: Telling) -> Iterator["Entry"]:
        """Yield what a log holds, as it comes."""

    def artifacts(self, task: str) -> "Sequence[StoredArtifact]":
        """Return the files that a task left, by step and name."""

    def copy_artifact(self, artifact: "StoredArtifact", target: "Path") -> None:
        """Write the content of one to a file, which appears when it is whole."""

    def tokens(self) -> Sequence["TokenRow"]:
        """Return the enrolment tokens, the newest first."""

    def access(self) -> Sequence["AccessRow"]:
        """Return the tokens of the API that are kept here, by name."""

    def trust(self) -> "Trust":
        """Return the installation's own keys, and what is revoked."""

    def findings(self, named: "Named", now: float) -> Iterable["Finding"]:
        """Check the server, and what is named of it."""

    def back_up(self, out: BinaryIO, *, with_key: bool) -> "Manifest":
        """Write the state as it is now to `out`, and return what it holds."""

    def decide(self, request: "Request") -> "Decided":
        """Have a request carried out."""
