"""Plan a space against its live state, as `plan` and `apply` both do."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.declare.collector import without_collector
from reconciler.declare.git import asked
from reconciler.declare.load import Loaded
from reconciler.model.desired import DesiredState
from reconciler.model.diagnostics import did_you_mean
from reconciler.model.errors import Conflict, UsageMistake
from reconciler.model.live import Binding, LiveState
from reconciler.model.spec import Address
from reconciler.plan.changes import LiveFact, Plan
from reconciler.plan.planner import Options, plan
from reconciler.server.state.place import folder_in_repository, is_shallow
from reconciler.store import objects
from reconciler.store.reader import open_for_reading

if TYPE_CHECKING:
    from reconciler.execute.secrets import SecretRules
    from reconciler.plan.snapshots import Snapshot

Check = Callable[[Loaded, LiveState], None]
"""Raises Conflict where a state belongs to another space or repository."""

EMPTY = LiveState({}, {})
"""The live state where there is none yet."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan and what it was made of; `doubts` are sentences about secrets that its runs cannot be given."""

    plan: Plan
    desired: DesiredState
    live: LiveState
    doubts: tuple[str, ...] = ()


@without_collector()
def read_live(data: str) -> LiveState:
    """Read the live state without writing anything; empty where there is none. Raises StateUnreadable."""
    reader = open_for_reading(data)
    if reader is None:
        return EMPTY
    with reader:
        return reader.read_now(objects.live_state)


class FilesOf(Mapping[str, Collection[Address]]):
    """The files that live objects came from, with these, looked up where one is asked for: most loads ask for none."""

    def __init__(self, live: LiveState) -> None:
        self._live = live

    @cached_property
    def _files(self) -> dict[str, list[Address]]:
        files: dict[str, list[Address]] = {}
        for address, found in self._live.objects.items():
            files.setdefault(found.position.file, []).append(address)
        return files

    def __getitem__(self, file: str) -> Collection[Address]:
        return self._files[file]

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def files_of(live: LiveState) -> Mapping[str, Collection[Address]]:
    """Return the files that live objects came from: one that does not parse, or is emptied, is an error, never skipped."""
    return FilesOf(live)


@without_collector()
def plan_space(
    loaded: Loaded,
    live: LiveState,
    options: Options,
    *,
    check: Check | None = None,
    secret_rules: "SecretRules | None" = None,
) -> Planned:
    """Plan a loaded space; `check` tells whether the state belongs to it, by the repository where it is not given.

    `secret_rules` are those of the server that plans, and its facts then tell which secrets it will not have.

    Raises Conflict where the state belongs to another repository or space, UsageMistake for a chosen address that is
    neither declared nor live.
    """
    assert loaded.desired is not None
    (check or check_binding)(loaded, live)
    for address in (*options.targets, *options.excludes):
        _check_known(address, loaded.desired, live)
    found = plan(loaded.desired, live, options)
    if secret_rules is None or not found.runs:
        return Planned(found, loaded.desired, live)
    from reconciler.server.planning.secret_doubts import doubts  # here, for only a server has rules

    doubted = tuple(doubts(found.runs, loaded.desired, secret_rules))
    return Planned(replace(found, facts=(*found.facts, *map(LiveFact, doubted))), loaded.desired, live, doubted)


def plan_snapshot(loaded: Loaded, snapshot: "Snapshot", options: Options) -> Planned:
    """Plan a loaded space by a snapshot; raises as `plan_space` does."""
    from reconciler.plan.snapshots import revealed  # here, for few plans are made so

    assert loaded.desired is not None
    return plan_space(loaded, revealed(snapshot, loaded.desired), options)


def first_runs(plan: Plan) -> str:
    """Say that deployments would run where nothing ever ran: somebody has to want that."""
    count = len(plan.runs)
    return f"the live state is empty and {count} deployment{'s' if count != 1 else ''} would run for the first time"


def scripts_of(planned: Planned, read: Callable[[str], bytes]) -> dict[str, str]:
    """Return the SHA-256 of each script file that the runs of a plan would pin; no change of a plan shows those."""
    files = {file for run in planned.plan.runs for file in _script_files(planned.desired, run.slot.project)}
    return {file: sha256(read(file)).hexdigest() for file in sorted(files)}


def _script_files(desired: DesiredState, project: str) -> Iterator[str]:
    from reconciler.model.work import ProjectSpec, StepTemplateSpec  # here, for a plan without runs needs neither

    for step in ProjectSpec.parse(desired.objects[Address("Project", project)].spec).process:
        key, inputs = step.action
        if key == "template" and isinstance(inputs, dict):
            template = desired.objects[Address("StepTemplate", str(inputs["name"]))]
            key, inputs = StepTemplateSpec.parse(template.spec).action.action
        if key == "script" and isinstance(inputs, dict) and "file" in inputs:
            yield str(inputs["file"])


def binding_of(loaded: Loaded) -> Binding:
    """Return what a state is bound to: the space, the repository's first commit with the folder in it, and the path.

    A shallow clone does not know the first commit, so there the path alone tells.
    """
    assert loaded.desired is not None
    root = loaded.tree.root
    first = "" if is_shallow(root) else loaded.tree.first_commit
    folder = folder_in_repository(root)
    return Binding(loaded.desired.name, f"{first}:{folder}" if first and folder else first, str(root))


def _check_known(address: Address, desired: DesiredState, live: LiveState) -> None:
    known = desired.objects.keys() | live.objects.keys()
    if address not in known:
        raise UsageMistake(f"{address} is neither declared nor live{did_you_mean(str(address), map(str, known))}")


def check_binding(loaded: Loaded, live: LiveState) -> None:
    """Raise Conflict where the state belongs to another repository or space."""
    if live.binding is None:
        return
    bound, ours = live.binding, binding_of(loaded)
    if bound.space != ours.space:
        raise Conflict(
            f'this state belongs to the space "{bound.space}", and {ours.path} declares "{ours.space}"',
            "name another state with --data, or give the space its name back",
        )
    if bound.root and ours.root:
        same = bound.root == ours.root
    else:  # a snapshot has no path, and a shallow clone that plans by one cannot tell
        same = not bound.path or Path(bound.path) == Path(ours.path)
    if not same:
        raise Conflict(
            f"this state belongs to another repository{f': it was applied from {bound.path}' if bound.path else ''}",
            "name another state with --data" if bound.path else "name a snapshot of this space",
        )


def check_reader(loaded: Loaded, live: LiveState) -> None:
    """Compare as `check_binding`, for what only reads: of a state that a server fetched, the last commit shows the kin.

    Raises Conflict.
    """
    try:
        check_binding(loaded, live)
    except Conflict:
        bound, root = live.binding, loaded.tree.root
        assert bound is not None, "it was compared"
        assert loaded.desired is not None, "it was compared"
        if bound.root or bound.space != loaded.desired.name or live.revision.startswith("tree:"):
            raise
        if asked(root, "cat-file", "-e", f"{live.revision}^{{commit}}").status:
            raise Conflict(
                f"{root} does not have the commit {live.revision[:12]}, which was applied last from {bound.path}",
                "run `git fetch` there, or name another state with --data",
            ) from None
