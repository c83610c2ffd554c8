"""Plan by a snapshot of the live state: the one way to plan that reads neither state nor server."""

import time
from pathlib import Path

from reconciler.cli.loading import load_space
from reconciler.cli.options import Selection
from reconciler.cli.output import note
from reconciler.declare.beside import Beside
from reconciler.declare.source import open_tree
from reconciler.server.planning.planning import Planned, files_of, plan_snapshot
from reconciler.server.planning.shown import Form, ShownPlan, saved, shown
from reconciler.server.planning.snapshots import opened, remarks
from reconciler.server.state.place import Place


def plan_by_snapshot(
    place: Place, file: str, key_file: str | None, selection: Selection, form: Form, *, save: bool
) -> ShownPlan:
    """Plan the working tree, or a commit; what the snapshot is goes to stderr. Raises as planning does."""
    opening = Beside(lambda: open_tree(place.root, selection.rev).with_first_commit())  # Git works while we read
    found = opened(Path(file), Path(key_file) if key_file is not None else None)
    for line in remarks(found, time.time()):
        note(line)
    live = found.snapshot.live
    loaded = load_space(place, rev=selection.rev, live_paths=files_of(live), space=selection.space, opening=opening)
    made = plan_snapshot(loaded, found.snapshot, selection.options)
    lasting = Planned(made.plan.lasting, made.desired, made.live)
    return shown(lasting.plan, form, saved(lasting, selection.options, loaded.tree.read) if save else "")
