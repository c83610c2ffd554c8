"""A plan that waits for a person, made again beside the state: it has to be the one that the server asks about."""

from reconciler.declare.load import load
from reconciler.model.errors import Conflict
from reconciler.model.following import Proposal, SourceState
from reconciler.model.live import LiveState
from reconciler.model.text import Removals
from reconciler.plan.changes import Plan
from reconciler.plan.planner import Options
from reconciler.server.planning.drifting import check_for, load_commit
from reconciler.server.planning.planning import files_of, plan_space
from reconciler.server.planning.shown import faulty
from reconciler.server.state.place import Place

BUDGETLESS = Options(removals_max=Removals("100%"), ceiling=True, followed=True)


def made_again(place: Place, asked: Proposal, live: LiveState, source: SourceState | None) -> Plan:
    """Return the plan that a person is asked about, with no budget of removals, for that is what is asked.

    Raises Conflict where it has become another, and what stands against its commit as planning does.
    """
    if asked.revision.startswith("tree:"):
        loaded = load(place.root, live_paths=files_of(live))
    else:
        loaded = load_commit(place, asked.revision, live, source)
    if loaded.desired is None:
        raise faulty(loaded)
    check = check_for(place, source)
    plan = plan_space(loaded, live, Options(followed=True), check=check).plan
    if plan.stopped:
        plan = plan_space(loaded, live, BUDGETLESS, check=check).plan
    if plan.digest != (asked.plan or asked.digest):
        raise Conflict(
            f"{asked.name} has become another plan, as something else is live by now",
            "the server makes it anew; `reconcile status` names the plan that waits then",
        )
    return plan
