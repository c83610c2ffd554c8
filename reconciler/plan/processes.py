"""Which process a project has now: told from another one by a digest of its steps and all that they name."""

import json
from collections.abc import Iterable, Iterator, Mapping

from reconciler.model.live import LiveState
from reconciler.model.spec import Address, canonical_json, digest_of
from reconciler.plan.changes import Run
from reconciler.schedule.fleet import Described


def process_digest(objects: Mapping[Address, Described], project: str) -> str:
    """Return the digest of a project's steps with the templates and locations that they name; "" where it is gone.

    Variables are left out: they are settings, and a process that runs with others is still the same one.
    """
    found = objects.get(Address("Project", project))
    if found is None:
        return ""
    steps = json.loads(found.spec)["process"]
    parts: dict[str, object] = {"steps": steps}
    for address in sorted(_named(steps)):
        if address in objects:
            parts[str(address)] = json.loads(objects[address].spec)
    return digest_of(canonical_json(parts))


def _named(steps: list[dict[str, object]]) -> set[Address]:
    named = {Address("ExecutionLocation", at) for step in steps if isinstance(at := step.get("location"), str)}
    for step in steps:
        template = step.get("template")
        if isinstance(template, dict):
            named.add(Address("StepTemplate", str(template["name"])))
    return named


def moved_on(runs: Iterable[Run], objects: Mapping[Address, Described], live: LiveState) -> Iterator[str]:
    """Yield a warning for each run whose release ran elsewhere with another process."""
    for run in runs:
        now = process_digest(objects, run.slot.project)
        for slot, task in live.last_tasks.items():
            same = slot.project == run.slot.project and slot != run.slot and task.release == run.release
            if same and task.process and task.process != now:
                yield (
                    f"{run.title} runs release {run.release} with another process than task {task.id} of {slot}: "
                    "the process has changed since"
                )
