"""Which declared deployments run: slots, digests, and the last task queued for each slot."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from pydantic import JsonValue

from reconciler.model.desired import DesiredState
from reconciler.model.live import LiveState, Slot, Task, TaskState
from reconciler.model.spec import Address, Position, canonical_json, digest_of
from reconciler.plan.changes import Run, RunReason, title
from reconciler.schedule.fleet import Described

if TYPE_CHECKING:
    from reconciler.model.work import DeploymentSpec
    from reconciler.plan.present import Present

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


Remedy = Callable[[Wish, Task], str]
"""Says what a person does about a declared slot whose last task did not succeed."""


def by_apply(_wish: Wish, _task: Task) -> str:
    """Name the command where a person applies: it runs what is declared then."""
    return "repeat it with: reconcile apply --retry-failed"


class ByServer:
    """Says it where a server applies: it repeats what the task has pinned, and what moved since wants a commit.

    `declared` returns what is declared now, and is asked for it once, if anything failed.
    """

    def __init__(self, declared: Callable[[], Mapping[Address, Described]]) -> None:
        self._declared = declared

    def __call__(self, wish: Wish, task: Task) -> str:
        """Name the command that repeats the task, or what has to be committed where that would fail alike."""
        rerun = f"give Deployment/{wish.deployment} another `rerun`, or another release"
        if moved := self._present.moved(task):
            have = "have" if moved[-1] == "variables" else "has"
            return f"its {' and '.join(moved)} {have} changed since, and a retry repeats what the task pinned; {rerun}"
        if self._present.names_scripts(task.slot.project):
            return f"repeat it with: reconcile retry {task.id}; where a script file was mended since, {rerun}"
        return f"repeat it with: reconcile retry {task.id}"

    @cached_property
    def _present(self) -> "Present":
        from reconciler.plan.present import Present  # here, for a plan where nothing failed needs none of it

        return Present(self._declared())


def failed_slots(
    declared: list[Wish],
    live: LiveState,
    retried: Collection[Slot] = (),
    remedy: Remedy = by_apply,
) -> Iterator[str]:
    """Yield a sentence for each declared slot whose last task at its present digest did not succeed; not for `retried`."""
    for wish in declared:
        last = live.last_tasks.get(wish.slot)
        if wish.slot not in retried and last is not None and failed_as_declared(wish, last):
            yield (
                f"{wish.title} {_ENDED[last.state]} at release {last.release} (task {last.id}: "
                f"{last.reason or 'no reason was recorded'}); {remedy(wish, last)}"
            )


def failed_as_declared(wish: Wish, last: Task) -> bool:
    """Say whether the last task of a slot did not succeed, and nothing else is wished since."""
    return last.digest == wish.digest and last.state in UNSUCCESSFUL


def unfinished(declared: list[Wish], live: LiveState) -> Iterator[Task]:
    """Yield the tasks that still work on a declared slot."""
    for wish in declared:
        last = live.last_tasks.get(wish.slot)
        if last is not None and not last.state.ended:
            yield last
