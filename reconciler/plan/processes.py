"""Which process a project has now: told from another one by a digest of its steps and all that they name."""

import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping

from pydantic import JsonValue

from reconciler.model.live import LiveState, Task
from reconciler.model.spec import Address, canonical_json, digest_of
from reconciler.plan.changes import Run
from reconciler.schedule.fleet import Described


def process_digest(objects: Mapping[Address, Described], project: str) -> str:
    """Return the digest of a project's steps with the templates and locations that they name; "" where it is gone.

    Variables are left out: they are settings, and a process that runs with others is still the same one.
    """
    parts = _parts(objects, project)
    return digest_of(canonical_json(parts)) if parts else ""


def names_scripts(objects: Mapping[Address, Described], project: str) -> bool:
    """Say whether a step of a project, or a template that it names, has its script in a file: no digest covers those."""
    return any(_script_files(_parts(objects, project)))


def _parts(objects: Mapping[Address, Described], project: str) -> dict[str, JsonValue]:
    """Return a project's steps, and the templates and locations that they name; nothing where it is gone."""
    found = objects.get(Address("Project", project))
    if found is None:
        return {}
    steps = json.loads(found.spec)["process"]
    parts: dict[str, JsonValue] = {"steps": steps}
    for address in sorted(_named(steps)):
        if address in objects:
            parts[str(address)] = json.loads(objects[address].spec)
    return parts


def _script_files(value: JsonValue) -> Iterator[str]:
    match value:
        case {"script": {"file": str(file)}}:
            yield file
        case dict():
            for inside in value.values():
                yield from _script_files(inside)
        case list():
            for inside in value:
                yield from _script_files(inside)


def _named(steps: list[dict[str, JsonValue]]) -> set[Address]:
    named = {Address("ExecutionLocation", at) for step in steps if isinstance(at := step.get("location"), str)}
    for step in steps:
        template = step.get("template")
        if isinstance(template, dict):
            named.add(Address("StepTemplate", str(template["name"])))
    return named


def moved_on(runs: Collection[Run], objects: Mapping[Address, Described], live: LiveState) -> Iterator[str]:
    """Yield a warning for each run whose release ran elsewhere with another process."""
    ran: dict[tuple[str, str], list[Task]] = defaultdict(list)
    for task in live.last_tasks.values():
        if task.process:
            ran[task.slot.project, task.release].append(task)
    now = {project: process_digest(objects, project) for project in {run.slot.project for run in runs}} if ran else {}
    for run in runs:
        others = ran.get((run.slot.project, run.release), ())
        changed = [task for task in others if task.slot != run.slot and task.process != now[run.slot.project]]
        if changed:
            first = min(changed, key=lambda task: task.id)
            more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
            yield (
                f"{run.title} runs release {run.release} with another process than task {first.id} of {first.slot}"
                f"{more}: the process has changed since"
            )
