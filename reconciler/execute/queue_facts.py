"""What a look at the queue needs, read in one transaction: unfinished tasks, their pins, what they wait for."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.model.live import LiveObject, Slot, Task, TaskId, TaskState
from reconciler.model.pinned import Pinned
from reconciler.model.work import AfterDeployment, DeploymentSpec
from reconciler.plan.deployments import deployment_digest
from reconciler.schedule.queue import Waits
from reconciler.store import objects, tasks
from reconciler.store.database import Transaction


@dataclass(frozen=True, slots=True)
class QueueFacts:
    """The queue at one moment; `deployments` are the declared ones by name."""

    queued: tuple[Task, ...]
    running: tuple[Task, ...]
    pins: Mapping[TaskId, Pinned]
    deployments: Mapping[str, DeploymentSpec]
    last_tasks: Mapping[Slot, Task]

    def tags(self) -> dict[TaskId, str]:
        """Return the concurrency tags that projects declare, by task."""
        return {task: pin.project.concurrency_tag for task, pin in self.pins.items() if pin.project.concurrency_tag}

    def conditions(self, now: float) -> dict[TaskId, Waits]:
        """Return what queued tasks wait for beside their place in the queue."""
        found = {}
        for task in self.queued:
            for after in self.pins[task.id].deployment.waits_for():
                waits = self._after(after, task, now)
                if waits is not None:
                    found[task.id] = waits
                    break
        return found

    def _after(self, after: AfterDeployment, task: Task, now: float) -> Waits | None:
        """Say why the other deployment does not count as done, or None: it succeeded at its present digest."""
        spec = self.deployments.get(after.deployment)
        if spec is None:
            return Waits(f"{after.deployment} is not declared any more", hopeless=True)
        if after.same_release and spec.release != task.release:
            return Waits(f"{after.deployment} is at release {spec.release}, not {task.release}", hopeless=True)
        tenants: list[str | None] = [*spec.tenants]
        for tenant in tenants or [None]:
            last = self.last_tasks.get(Slot(spec.project, spec.environment, tenant))
            if last is None or last.digest != deployment_digest(spec, tenant):
                return Waits(f"{after.deployment} has not run as it is declared", hopeless=True)
            if not last.state.ended:
                return Waits(f"{after.deployment} has not ended (task {last.id})", on=last.id)
            if last.state is not TaskState.SUCCEEDED:
                return Waits(f"{after.deployment} {last.state} (task {last.id})", hopeless=True)
            soaked = (last.finished_at or now) + (after.soak.seconds if after.soak else 0.0)
            if now < soaked:
                until = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(soaked))
                return Waits(f"{after.deployment} soaks until {until}")
        return None


def queue_facts(tx: Transaction) -> QueueFacts:
    """Read the queue."""
    unfinished = tasks.unfinished(tx)
    declared: dict[str, LiveObject] = objects.of_kind(tx, "Deployment") if unfinished else {}
    return QueueFacts(
        queued=tuple(task for task in unfinished if task.state is TaskState.QUEUED),
        running=tuple(task for task in unfinished if task.state is not TaskState.QUEUED),
        pins={task.id: Pinned.parse(tasks.pinned(tx, task.pin)) for task in unfinished},
        deployments={name: DeploymentSpec.parse(found.spec) for name, found in declared.items()},
        last_tasks=tasks.last_tasks(tx) if unfinished else {},
    )
