"""Compare the live state with the commit that was applied last, whatever was committed since; nothing is written."""

from reconciler.declare.load import Loaded, load
from reconciler.model.errors import UsageMistake
from reconciler.model.following import SourceState
from reconciler.model.live import LiveState
from reconciler.plan.changes import Plan
from reconciler.plan.planner import Options
from reconciler.server.answers.commit_names import mirror_of
from reconciler.server.planning.planning import Check, check_binding, files_of, plan_space
from reconciler.server.state.place import Place


def load_applied(place: Place, live: LiveState, source: SourceState | None) -> Loaded:
    """Read the commit that was applied last, from the mirror where there is one; raises UsageMistake where it is none."""
    if not live.revision or live.revision.startswith("tree:"):
        raise UsageMistake(
            "what was applied last is no commit, so nothing tells what should be", "commit it, and apply the commit"
        )
    return load_commit(place, live.revision, live, source)


def load_commit(place: Place, commit: str, live: LiveState, source: SourceState | None) -> Loaded:
    """Read a commit, by its whole name, from the mirror where there is one, else from the repository."""
    cache = place.cache if place.cache.is_dir() else None
    if source is not None and _is_fetched(place):
        return load(mirror_of(place), rev=commit, folder=source.folder, cache=cache, live_paths=files_of(live))
    return load(place.root, rev=commit, cache=cache, live_paths=files_of(live))


def check_for(place: Place, source: SourceState | None) -> Check:
    """Return what tells whether a state belongs to what is read: of a mirror, the source was chosen by the server."""
    return (lambda _loaded, _live: None) if source is not None and _is_fetched(place) else check_binding


def drift(place: Place, loaded: Loaded, live: LiveState, source: SourceState | None) -> Plan:
    """Return what differs from the commit that was applied last."""
    options = Options(followed=source is not None)
    return plan_space(loaded, live, options, check=check_for(place, source)).plan


def _is_fetched(place: Place) -> bool:
    return mirror_of(place).is_dir()
