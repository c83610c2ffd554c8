"""The live state as a document that may leave the installation: all that the changes of a plan need, and nothing else.

Fields that `redaction` names stand there as salted digests. With the declarations at hand, what is still declared is put
back, so that a plan compares as it does with the live state itself.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from pydantic import JsonValue

from reconciler.model.desired import Declared, DesiredState
from reconciler.model.live import Binding, LiveObject, LiveState, Slot, Task, TaskId, TaskState
from reconciler.model.spec import Address, Position, canonical_json
from reconciler.plan import deployments, renames
from reconciler.plan.processes import process_digest
from reconciler.plan.redaction import Revealing, Salted, Veil, veil_of


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A live state as it left: its salt, and `live` with digests for all that is redacted; `live.at` is when it was made."""

    salt: str
    live: LiveState


def document(live: LiveState, salt: str) -> dict[str, JsonValue]:
    """Return the content of a snapshot as JSON."""
    salted = Salted(salt)
    bound = live.binding
    return {
        "at": live.at,
        "serial": live.serial,
        "revision": live.revision,
        "salt": salt,
        "binding": {"space": bound.space, "root": bound.root} if bound is not None else None,
        "objects": [_object(live.objects[address], salted) for address in sorted(live.objects)],
        "tasks": [_task(task, salted) for task in sorted(live.last_tasks.values(), key=lambda task: task.id)],
    }


def _object(found: LiveObject, salted: Salted) -> JsonValue:
    veil = veil_of(found.address.kind)
    return {
        "kind": found.address.kind,
        "name": found.address.name,
        "metadata": salted.redacted(json.loads(found.metadata), veil.inner("metadata")),
        "spec": salted.redacted(json.loads(found.spec), veil),
        "digest": salted.mark(found.digest),
        "file": found.position.file,
        "line": found.position.line,
        "protected": found.protected,
    }


def _task(task: Task, salted: Salted) -> JsonValue:
    return {
        "id": task.id,
        "deployment": task.deployment,
        "project": task.slot.project,
        "environment": task.slot.environment,
        "tenant": task.slot.tenant,
        "release": task.release,
        "digest": salted.mark(task.digest),
        "process": salted.mark(task.process) if task.process else "",
        "state": task.state.value,
    }


def restored(content: dict[str, JsonValue]) -> Snapshot:
    """Read the content of a snapshot that was verified; raises KeyError, TypeError or ValueError where it is none."""
    bound = content["binding"]
    objects = [_live_object(item) for item in _records(content["objects"])]
    tasks = [_live_task(item) for item in _records(content["tasks"])]
    return Snapshot(
        str(content["salt"]),
        LiveState(
            objects={found.address: found for found in objects},
            last_tasks={task.slot: task for task in tasks},
            serial=int(str(content["serial"])),
            binding=Binding(str(bound["space"]), str(bound["root"]), "") if isinstance(bound, dict) else None,
            revision=str(content["revision"]),
            at=float(str(content["at"])),
        ),
    )


def _records(value: JsonValue) -> Iterator[Mapping[str, JsonValue]]:
    if not isinstance(value, list):
        raise TypeError
    for item in value:
        if not isinstance(item, dict):
            raise TypeError
        yield item


def _live_object(item: Mapping[str, JsonValue]) -> LiveObject:
    return LiveObject(
        Address(str(item["kind"]), str(item["name"])),
        canonical_json(item["spec"]),
        canonical_json(item["metadata"]),
        str(item["digest"]),
        Position(str(item["file"]), int(str(item["line"]))),
        revision="",
        protected=item["protected"] is True,
    )


def _live_task(item: Mapping[str, JsonValue]) -> Task:
    tenant = item["tenant"]
    return Task(
        TaskId(int(str(item["id"]))),
        str(item["deployment"]),
        Slot(str(item["project"]), str(item["environment"]), None if tenant is None else str(tenant)),
        str(item["release"]),
        str(item["digest"]),
        "",
        "",
        TaskState(str(item["state"])),
        process=str(item["process"]),
    )


def revealed(snapshot: Snapshot, desired: DesiredState) -> LiveState:
    """Return the live state that a desired one is compared with: equal where it is equal, else different."""
    live, salted = snapshot.live, Salted(snapshot.salt)
    revealing = Revealing.of(salted, {address.name for address in live.objects})
    beside = _declared_beside(live, desired, salted)
    return replace(
        live,
        objects={address: _revealed(found, beside.get(address), revealing) for address, found in live.objects.items()},
        last_tasks=dict(_tasks(live, desired, salted)),
    )


def _declared_beside(live: LiveState, desired: DesiredState, salted: Salted) -> Mapping[Address, Declared]:
    """Map live objects to what each is compared with: its own declaration, that of its new name, or one that is alike."""
    found = {address: desired.objects[address] for address in live.objects if address in desired.objects}
    renamed = renames.declared(desired, live)
    found |= {former: desired.objects[address] for address, former in renamed.items()}
    new = [item for address, item in desired.objects.items() if address not in live.objects]
    leaving = [address for address in live.objects if address not in found]
    if not (new and leaving):
        return found
    alike = {
        (item.address.kind, renames.essence(_redacted(item.spec, veil_of(item.address.kind), salted))): item
        for item in new
    }
    for address in leaving:
        item = alike.get((address.kind, renames.essence(live.objects[address].spec)))
        if item is not None:
            found[address] = item
    return found


def _redacted(spec: str, veil: Veil, salted: Salted) -> str:
    return canonical_json(salted.redacted(json.loads(spec), veil))


def _revealed(found: LiveObject, declared: Declared | None, revealing: Revealing) -> LiveObject:
    veil = veil_of(found.address.kind)
    parts: tuple[JsonValue, JsonValue] = (
        (json.loads(declared.spec), json.loads(declared.metadata)) if declared is not None else (None, None)
    )
    same = declared is not None and revealing.salted.mark(declared.digest) == found.digest
    return replace(
        found,
        spec=canonical_json(revealing.revealed(json.loads(found.spec), parts[0], veil)),
        metadata=canonical_json(revealing.revealed(json.loads(found.metadata), parts[1], veil.inner("metadata"))),
        digest=declared.digest if declared is not None and same else found.digest,
    )


def _tasks(live: LiveState, desired: DesiredState, salted: Salted) -> Iterator[tuple[Slot, Task]]:
    if not live.last_tasks:
        return
    wished = {wish.slot: wish.digest for wish in deployments.wishes(desired)}
    processes = {
        project: process_digest(desired.objects, project) for project in {slot.project for slot in live.last_tasks}
    }
    for slot, task in live.last_tasks.items():
        digest, process = wished.get(slot, ""), processes[slot.project]
        yield (
            slot,
            replace(
                task,
                digest=digest if salted.mark(digest) == task.digest else task.digest,
                process=process if task.process and salted.mark(process) == task.process else task.process,
            ),
        )
