"""The desk of who works beside the state: reads it, and orders of its engine or does it in its place."""

import shutil
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

from reconciler.server.state.looking import engine_runs, looking
from reconciler.store.dialects import is_address

if TYPE_CHECKING:  # a command starts with what it needs itself, and no more
    from pathlib import Path

    from reconciler.cli.desk import Listing, LogWish, Telling
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
    from reconciler.store.database import Transaction, Work

LOOK_AGAIN = 0.2
"""Seconds between looks at a log that another process writes; it has no way to wake us."""


@dataclass(frozen=True, slots=True)
class LocalDesk:
    """Commands at a place."""

    place: "Place"

    def overview(self) -> "Overview":
        """Return how all stands; only while an engine runs is it known whether an agent is connected."""
        from reconciler.server.answers.overview import overview

        with looking(self.place) as readers:
            return readers.read_now(lambda tx: overview(tx, engine_runs=self._engine_runs(tx)))

    def objects(self, kind: str) -> "Sequence[ObjectRow]":
        """Return the live objects of a kind by name."""
        from reconciler.server.answers.overview import object_rows
        from reconciler.store import objects

        with looking(self.place) as readers:
            return object_rows(readers.read_now(objects.live_state), kind)

    def workers(self) -> "Sequence[WorkerRow]":
        """Return the workers, the built-in one first."""
        from reconciler.server.answers.overview import worker_rows
        from reconciler.store import objects

        with looking(self.place) as readers:
            return readers.read_now(lambda tx: worker_rows(objects.live_state(tx), engine_runs=self._engine_runs(tx)))

    def tasks(self, limit: int, states: "Collection[TaskState]") -> "Sequence[Task]":
        """Return the newest tasks."""
        from reconciler.store import tasks

        with looking(self.place) as readers:
            return readers.read_now(lambda tx: tasks.tasks(tx, limit, states or None))

    def events(self, listing: "Listing") -> "Sequence[Event]":
        """Return events, the oldest first."""
        with looking(self.place) as readers:
            return readers.read_now(partial(_events, listing=listing))

    def exported(self, selection: "Selected") -> Iterator[str]:
        """Yield the lines of an export of the audit."""
        from reconciler.store import audit
        from reconciler.store.exports import export

        with looking(self.place) as readers:
            yield from export(readers.read_now, readers.read_now(audit.end), selection)

    def checked(self) -> "Whole | Broken":
        """Return whether the whole audit is as it was recorded."""
        from reconciler.store import audit

        with looking(self.place) as readers:
            return readers.read_now(audit.verify)

    def reasons(self, address: str) -> Sequence[str]:
        """Return sentences about something."""
        from reconciler.server.answers.reasons import reasons

        with looking(self.place) as readers:
            return readers.read_now(lambda tx: list(reasons(tx, address)))

    def explanation(self, question: "Question") -> "Explanation":
        """Return where a step of the working tree would run."""
        from reconciler.cli.loading import load_space
        from reconciler.server.answers.steps import read_loads
        from reconciler.server.planning.explaining import explained
        from reconciler.server.planning.planning import check_reader, files_of, read_live

        live = read_live(self.place.data)
        loaded = load_space(self.place, rev=None, live_paths=files_of(live))
        assert loaded.desired is not None
        check_reader(loaded, live)
        return explained(question, loaded.desired, live, read_loads(self.place.data, live))

    def plan(self, selection: "Selection", form: "Form", *, save: bool) -> "ShownPlan":
        """Plan the working tree, or a commit."""
        from reconciler.cli.loading import load_space
        from reconciler.declare.beside import Beside
        from reconciler.declare.source import open_tree
        from reconciler.server.planning.planning import check_reader, files_of, plan_space, read_live
        from reconciler.server.planning.shown import saved, shown

        opening = Beside(lambda: open_tree(self.place.root, selection.rev).with_first_commit())  # while we read
        live = read_live(self.place.data)
        loaded = load_space(
            self.place, rev=selection.rev, live_paths=files_of(live), space=selection.space, opening=opening
        )
        options = replace(selection.options, followed=live.serial > 0 and self.source() is not None)
        planned = plan_space(loaded, live, options, check=check_reader)
        return shown(planned.plan, form, saved(planned, selection.options, loaded.tree.read) if save else "")

    def rehearsal(self, wanted: "Wanted", form: "RehearsalForm") -> "ShownRehearsal":
        """Rehearse the working tree."""
        from reconciler.cli.loading import load_space
        from reconciler.server.planning.planning import check_reader, files_of
        from reconciler.server.planning.rehearsing import read_with_durations, rehearsal, shown_rehearsal

        live, recorded = read_with_durations(self.place.data)
        loaded = load_space(self.place, rev=None, live_paths=files_of(live))
        assert loaded.desired is not None
        check_reader(loaded, live)
        return shown_rehearsal(rehearsal(loaded.desired, live, recorded, wanted), form)

    def waiting_plan(self, name: str, form: "Form") -> "ShownPlan":
        """Return a plan that waits for a person, made again; raises Conflict where it has become another."""
        from reconciler.server.answers.reasons import plan_called
        from reconciler.server.planning.proposed import made_again
        from reconciler.server.planning.shown import shown
        from reconciler.store import following, objects

        with looking(self.place) as readers:
            found, live, source = readers.read_now(
                lambda tx: (plan_called(tx, name), objects.live_state(tx), following.source(tx))
            )
        return shown(made_again(self.place, found, live, source), form)

    def snapshot(self) -> str:
        """Return the live state, redacted and signed."""
        from reconciler.server.planning.snapshots import written
        from reconciler.server.state.sealing import sealer_of

        return self._with_key(lambda tx: written(tx, lambda tx: sealer_of(tx, self.place.files)))

    def snapshot_keys(self) -> str:
        """Return the public keys that snapshots are signed with."""
        from reconciler.server.planning.snapshots import public_keys

        return self._with_key(lambda tx: "".join(public_keys(tx)))

    def _with_key(self, work: "Work[str | None]") -> str:
        """Read what needs the key of snapshots, which is made where there is none yet."""
        from reconciler.cli.ordering import ordered, person
        from reconciler.server.orders.orders import MakeSnapshotKey

        def look() -> str | None:
            with looking(self.place) as readers:
                return readers.read_now(work)

        found = look()
        if not found:
            ordered(self, MakeSnapshotKey(person()))
            found = look()
        assert found, "the key was made"
        return found

    def drift(self, form: "Form") -> "ShownPlan":
        """Return what was changed behind Git's back."""
        from reconciler.cli.loading import show
        from reconciler.model.errors import Invalid
        from reconciler.server.planning.drifting import drift, load_applied
        from reconciler.server.planning.shown import shown
        from reconciler.store import following, objects

        with looking(self.place) as readers:
            live, source = readers.read_now(lambda tx: (objects.live_state(tx), following.source(tx)))
        loaded = load_applied(self.place, live, source)
        if loaded.desired is None:
            show(loaded, limit=1)
            raise Invalid(f"the commit {live.revision[:12]} that was applied last holds errors now")
        return shown(drift(self.place, loaded, live, source), form)

    def standing(self, commit: str) -> "Standing":
        """Return where a commit stands."""
        from reconciler.server.answers.commit_names import repositories, standing, whole_name

        roots = repositories(self.place)
        named = whole_name(roots, commit) or commit
        with looking(self.place) as readers:
            return readers.read_now(lambda tx: standing(tx, named, roots, engine_runs=self._engine_runs(tx)))

    def followed_head(self, *, as_it_is: bool, repeats: bool) -> str | None:
        """Return None: what is here is carried out by the command itself."""
        del as_it_is, repeats
        return None

    def source(self) -> "SourceState | None":
        """Return what the server of this state follows; None without a state, too."""
        from reconciler.store import following
        from reconciler.store.reader import open_for_reading

        readers = open_for_reading(self.place.data)
        if readers is None:
            return None
        with readers:
            return readers.read_now(following.source)

    def log(self, wish: "LogWish", tell: "Telling") -> Iterator["Entry"]:
        """Yield what a log holds, with `follow` until the task has ended or no engine runs any more."""
        from reconciler.cli.following import next_engine
        from reconciler.execute.logs import LogStore
        from reconciler.server.answers.log_walk import Walk, check_step, facts_of, reading
        from reconciler.server.orders.decisions import find_task

        with looking(self.place) as readers:
            number = readers.read_now(lambda tx: find_task(tx, wish.task)).id
            walk = Walk(reading(LogStore(self.place.files.logs)), wish.step)
            while True:
                goes_on = wish.follow and engine_runs(self.place.files)  # asked first: an engine writes until it ends
                facts = readers.read_now(lambda tx: facts_of(tx, number))
                check_step(wish.step, facts)
                yield from walk.look(facts)
                if not goes_on or facts.task.state.ended:
                    break
                time.sleep(LOOK_AGAIN)
        if wish.follow and not facts.task.state.ended:
            state = f"task {number} ({facts.task.state})"
            tell(f"No engine is running; {state} goes on with the next: {next_engine(self)}")

    def artifacts(self, task: str) -> "Sequence[StoredArtifact]":
        """Return the files that a task left."""
        from reconciler.server.orders.decisions import find_task
        from reconciler.store import results

        with looking(self.place) as readers:
            return readers.read_now(lambda tx: results.artifacts(tx, find_task(tx, task).id))

    def copy_artifact(self, artifact: "StoredArtifact", target: "Path") -> None:
        """Write the content of one to a file."""
        from reconciler.cli.output import appearing
        from reconciler.store.blobs import open_blob

        with open_blob(self.place.files.blobs, artifact.digest) as content, appearing(target) as file:
            shutil.copyfileobj(content, file)

    def tokens(self) -> Sequence["TokenRow"]:
        """Return the enrolment tokens, the newest first."""
        from reconciler.server.trust.tokens import token_rows

        with looking(self.place) as readers:
            return readers.read_now(lambda tx: token_rows(tx, time.time()))

    def access(self) -> Sequence["AccessRow"]:
        """Return the tokens of the API that are kept here, by name."""
        from reconciler.server.answers.access import access_rows

        with looking(self.place) as readers:
            return readers.read_now(lambda tx: access_rows(tx, time.time()))

    def trust(self) -> "Trust":
        """Return the installation's own keys, and what is revoked."""
        from reconciler.server.answers.trust import trust

        with looking(self.place) as readers:
            return readers.read_now(trust)

    def findings(self, named: "Named", now: float) -> Iterable["Finding"]:
        """Check the machine, the state and what is named of the server."""
        from reconciler.server.checkup.checkup import checked

        return checked(self.place, named, now)

    def back_up(self, out: BinaryIO, *, with_key: bool) -> "Manifest":
        """Write the state as it is now to `out`, and return what it holds."""
        from reconciler.server.state.backup import back_up

        return back_up(self.place, out, with_key=with_key)

    def decide(self, request: "Request") -> "Decided":
        """Have a request carried out by the live engine, or here."""
        from reconciler.server.engine.control import decide

        return decide(self.place, request)

    def _engine_runs(self, tx: "Transaction") -> bool:
        """Say whether an engine runs, with these files or, on a database that nodes share, with those of another."""
        from reconciler.store import leadership

        shared = is_address(self.place.data)
        return engine_runs(self.place.files) or (shared and leadership.leader(tx, time.time()) is not None)


def _events(tx: "Transaction", listing: "Listing") -> "list[Event]":
    from reconciler.server.answers.events import events_behind
    from reconciler.store import audit

    if listing.after is None:
        return audit.newest(tx, listing.limit, listing.selection)
    return events_behind(tx, listing.after, listing.limit, listing.selection)
