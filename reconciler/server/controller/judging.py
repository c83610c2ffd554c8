"""What is done about a plan that nobody sits in front of: carry it out, ask, or refuse; pure, but for files it may read."""

from dataclasses import dataclass
from enum import Enum

from reconciler.apply.pinning import ReadFile, files_of_runs
from reconciler.declare.source import blob_name
from reconciler.model.desired import DesiredState
from reconciler.model.following import Proposal, Why, plan_name
from reconciler.model.space import SpaceSpec
from reconciler.model.spec import canonical_json, digest_of
from reconciler.plan.changes import Action, Plan
from reconciler.server.planning.planning import first_runs

SHOWN_MAX = 20
"""Sentences of one refusal that are told; `reconcile plan` shows all."""


class Move(Enum):
    """What follows from a plan."""

    NOTHING = "nothing"
    CARRY_OUT = "carryOut"
    ASK = "ask"
    REFUSE = "refuse"
    REPORT = "report"


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a plan is judged by beside itself.

    `lifted` is the plan of the same changes without the space's budget of removals, but within the server's ceiling;
    `descends` says whether the commit follows the one carried out last, `again` whether it is that very one;
    `asked` is the digest of what a person decides on, `answered` what one said to it, and `decided` whether the operator allowed a new state.
    """

    settings: SpaceSpec
    lifted: Plan
    descends: bool = True
    again: bool = False
    decided: bool = False
    asked: str = ""
    answered: Proposal | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """A move, the plan that it is about, in a sentence why, and the digest that a person decides on."""

    move: Move
    plan: Plan
    reason: str = ""
    why: Why | None = None
    asked: str = ""


def judge(plan: Plan, given: Circumstances) -> Judgement:
    """Judge a plan by the settings last applied."""
    if plan.empty:
        return Judgement(Move.NOTHING, plan)
    if given.again and given.settings.drift == "ignore" and not plan.runs:
        return Judgement(Move.NOTHING, plan)
    if given.again and given.settings.drift == "report" and not plan.runs:
        return Judgement(Move.REPORT, plan, _drifted(plan))
    if given.lifted.stopped:
        return Judgement(Move.REFUSE, plan, refusals(given.lifted))
    why = _needs(plan, given)
    if why is None:
        return Judgement(Move.CARRY_OUT, plan)
    return _answered(given.lifted, why, given)


def _needs(plan: Plan, given: Circumstances) -> Why | None:
    """Return for what sake a person has to approve, None where nobody need."""
    if plan.new_state and plan.runs and not given.decided:
        return Why.NEW_STATE
    if not given.descends and any(change.action is Action.REMOVE for change in plan.changes):
        return Why.HISTORY
    if plan.stopped:
        return Why.REMOVALS
    if given.settings.approval == "manual" and not given.again:
        return Why.MANUAL
    return None


def asked_of(plan: Plan, desired: DesiredState, read: ReadFile) -> str:
    """Return the digest of what a person decides on: the changes, and the script files of what they run."""
    files = {
        file: blob_name(read(file)) for file in files_of_runs((run for run in plan.runs if not run.refusal), desired)
    }
    return digest_of(canonical_json([plan.digest, files])) if files else plan.digest


def _answered(plan: Plan, why: Why, given: Circumstances) -> Judgement:
    answered = given.answered
    if answered is not None and answered.decision == "approved":
        return Judgement(Move.CARRY_OUT, plan, why=why)
    if answered is not None and answered.decision == "rejected":
        told = f": {answered.notes}" if answered.notes else ""
        return Judgement(Move.REFUSE, plan, f"{answered.decided_by} rejected {answered.name}{told}", why)
    asked = given.asked or plan.digest
    return Judgement(Move.ASK, plan, asking(plan, why, asked), why, asked)


def asking(plan: Plan, why: Why, asked: str) -> str:
    """Say what a person has to approve, why, and how."""
    removed = plan.count(Action.REMOVE)
    because = {
        Why.MANUAL: "the space wants every plan approved",
        Why.REMOVALS: "it takes more away than the space allows by itself",
        Why.HISTORY: f"the commit does not descend from the one carried out last, and the plan removes {removed} "
        f"object{'s' if removed != 1 else ''}",
        Why.NEW_STATE: first_runs(plan),
    }[why]
    return f"{because}; approve it with: reconcile approve {plan_name(asked)}"


def summary(plan: Plan) -> str:
    """Count what a plan does."""
    counts = {
        "to add": plan.count(Action.CREATE),
        "to change": plan.count(Action.UPDATE, Action.RENAME, Action.REPLACE),
        "to remove": plan.count(Action.REMOVE),
        "to run": len(plan.runs),
    }
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count)


def refusals(plan: Plan) -> str:
    """Say what stands against a plan."""
    sentences = [refusal.message for refusal in plan.refusals]
    sentences += [f"{change.address}: {change.refusal}" for change in plan.changes if change.refusal]
    sentences += [f"Deployment/{run.deployment}: {run.refusal}" for run in plan.runs if run.refusal]
    return "; ".join(sentences[:SHOWN_MAX])


def _drifted(plan: Plan) -> str:
    addresses = [str(change.address) for change in plan.changes]
    shown = ", ".join(addresses[:SHOWN_MAX])
    verb = "differs" if len(addresses) == 1 else "differ"
    return f"{shown} {verb} from what was applied last, and the space only reports that; see: reconcile drift"
