"""Answer where a step would run, of a desired state and as workers are now."""

from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.model.desired import DesiredState
from reconciler.model.live import LiveState, Slot
from reconciler.model.spec import Address
from reconciler.plan.explanation import Explanation, Load, explain
from reconciler.server.answers.steps import find_step, require


@dataclass(frozen=True, slots=True)
class Question:
    """Which step, by name or id, alone or as PROJECT/STEP; where, and for whom it would be deployed."""

    step: str
    environment: str
    tenant: str | None = None
    project: str | None = None


def explained(question: Question, desired: DesiredState, live: LiveState, loads: Mapping[str, Load]) -> Explanation:
    """Say where the step would run; raises UsageMistake where something that is named is not declared."""
    owner, found = find_step(question.step, question.project, desired)
    require(Address("Environment", question.environment), desired)
    if question.tenant is not None:
        require(Address("Tenant", question.tenant), desired)
    slot = Slot(owner, question.environment, question.tenant)
    return explain(found, slot, desired, live.workers, loads, overrides=live.overrides)
