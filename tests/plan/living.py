"""The live state of a space that has been applied, whatever stood against it, and whose deployments succeeded."""

from reconciler.declare.uses import uses
from reconciler.model.desired import DesiredState
from reconciler.model.kinds import KINDS
from reconciler.model.live import Binding, LiveObject, LiveState, Task, TaskId, TaskState
from reconciler.model.order import IMPLICIT
from reconciler.plan import deployments


def live_of(desired: DesiredState) -> LiveState:
    """Return the live state that is exactly what `desired` declares."""
    return LiveState(
        objects={
            item.address: LiveObject(
                item.address,
                item.spec,
                item.metadata,
                item.digest,
                item.position,
                desired.revision,
                protected=item.protect,
            )
            for item in desired.objects.values()
        },
        last_tasks={
            wish.slot: Task(
                TaskId(number),
                wish.deployment,
                wish.slot,
                wish.spec.release,
                wish.digest,
                "",
                desired.revision,
                TaskState.SUCCEEDED,
            )
            for number, wish in enumerate(deployments.wishes(desired), 1)
        },
        serial=1,
        binding=Binding(desired.name, "", ""),
        revision=desired.revision,
    )


def dangling(live: LiveState) -> set[str]:
    """Return every use of an object that is not there."""
    return {
        f"{address} names {reference.target}"
        for address, found in live.objects.items()
        for reference in uses(KINDS[address.kind].parse(found.spec))
        if reference.target not in live.objects and reference.target not in IMPLICIT
    }
