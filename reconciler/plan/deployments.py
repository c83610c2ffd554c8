"""Which declared deployments run: slots, digests, and the last task queued for each slot."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pydantic import JsonValue

from reconciler.model.desired import DesiredState
from reconciler.model.live import LiveState, Slot, Task, TaskState
from reconciler.model.spec import Position, canonical_json, digest_of
from reconciler.plan.changes import Run, RunReason, title

if TYPE_CHECKING:
    from reconciler.model.work import DeploymentSpec

DIGEST_VERSION = 1
"""Rises when the meaning of a deployment's fields changes; every slot then runs again, so it never should."""

_ENDED: Mapping[TaskState, str] = {
    TaskState.FAILED: "failed",
    TaskState.CANCELLED: "was cancelled",
    TaskState.TIMED_OUT: "timed out",
    TaskState.ABANDONED: "was abandoned",
}
UNSUCCESSFUL = frozenset(_ENDED)


class Located(Protocol):
    """A deployment, declared or live."""

    @property
    def spec(self) -> str:
        """Canonical JSON of the spec."""

    @property
    def position(self) -> Position:
        """Where it is declared."""


@dataclass(frozen=True, slots=True)
class Wish:
    """One declared slot: which deployment wants which release there."""

    deployment: str
    slot: Slot
    spec: "DeploymentSpec"
    digest: str
    position: Position

    @property
    def title(self) -> str:
        """How the wish is called in a plan."""
        return title(self.deployment, self.slot)


def deployment_digest(spec: "DeploymentSpec", tenant: str | None) -> str:
    """Return the SHA-256 that decides whether a slot runs: by what is wished, never by where or how it is written."""
    wish: dict[str, JsonValue] = {
        "v": DIGEST_VERSION,
        "project": spec.project,
        "environment": spec.environment,
        "release": spec.release,
    }
    optional: dict[str, JsonValue] = {
        "tenant": tenant,
        "packages": dict(spec.packages),
        "variables": dict(spec.variables),
        "skipSteps": [*sorted(set(spec.skip_steps))],
        "rerun": spec.rerun,
    }
    wish |= {key: value for key, value in optional.items() if value not in (None, {}, [])}
    return digest_of(canonical_json(wish))


def wishes(desired: DesiredState) -> Iterator[Wish]:
    """Yield every declared slot, in the order of the deployments' names, tenants sorted."""
    for address in sorted(address for address in desired.objects if address.kind == "Deployment"):
        yield from wishes_of(address.name, desired.objects[address])


def wishes_of(name: str, declared: Located) -> Iterator[Wish]:
    """Yield the slots of one declared deployment."""
    from reconciler.model.work import DeploymentSpec  # here, for a space without deployments needs none of it

    spec = DeploymentSpec.parse(declared.spec)
    tenants: list[str | None] = [*sorted(set(spec.tenants))]
    for tenant in tenants or [None]:
        slot = Slot(spec.project, spec.environment, tenant)
        yield Wish(name, slot, spec, deployment_digest(spec, tenant), declared.position)


def runs(declared: list[Wish], live: LiveState, *, retry_failed: bool) -> Iterator[Run]:
    """Yield the runs that make every declared slot true: where its digest is not that of the last task queued."""
    for wish in declared:
        last = live.last_tasks.get(wish.slot)
        found = _reason(wish, last, retry_failed)
        if found is not None:
            reason, because = found
            yield Run(
                deployment=wish.deployment,
                slot=wish.slot,
                release=wish.spec.release,
                digest=wish.digest,
                reason=reason,
                because=because,
                position=wish.position,
                former_release=last.release if last else None,
                after=tuple(item.deployment for item in wish.spec.waits_for()),
                priority=wish.spec.priority,
            )


def _reason(wish: Wish, last: Task | None, retry_failed: bool) -> tuple[RunReason, str] | None:
    if last is None:
        return RunReason.FIRST, f"nothing was ever deployed for {wish.slot}"
    if last.digest != wish.digest:
        if last.release != wish.spec.release:
            return RunReason.CHANGED, f"release {last.release} was queued last and {wish.spec.release} is declared"
        return RunReason.CHANGED, f"release {last.release} was queued last with other settings"
    if retry_failed and last.state in UNSUCCESSFUL:
        return RunReason.RETRY, f"task {last.id} {_ENDED[last.state]} and a retry is asked for"
    return None


APPLY, RETRY = "reconcile apply --retry-failed", "reconcile retry {task}"
"""What repeats a task that failed, where a person applies and where a server does."""


def failed_slots(
    declared: list[Wish],
    live: LiveState,
    retried: Collection[Slot] = (),
    remedy: str = APPLY,
) -> Iterator[str]:
    """Yield a sentence for each declared slot whose last task at its present digest did not succeed; not for `retried`.

    In `remedy`, `{task}` stands for the number of that task.
    """
    for wish in declared:
        last = live.last_tasks.get(wish.slot)
        if wish.slot not in retried and last is not None and last.digest == wish.digest and last.state in UNSUCCESSFUL:
            yield (
                f"{wish.title} {_ENDED[last.state]} at release {last.release} (task {last.id}: "
                f"{last.reason or 'no reason was recorded'}); repeat it with: {remedy.format(task=last.id)}"
            )


def unfinished(declared: list[Wish], live: LiveState) -> Iterator[Task]:
    """Yield the tasks that still work on a declared slot."""
    for wish in declared:
        last = live.last_tasks.get(wish.slot)
        if last is not None and not last.state.ended:
            yield last
