"""A plan in a file: what was shown, held to the revision, the serial and the digest; never specs to carry out."""

import json
from dataclasses import dataclass

from pydantic import JsonValue

from reconciler.model.errors import UsageMistake
from reconciler.model.spec import canonical_json, digest_of
from reconciler.plan.changes import Plan

FORMAT = "reconciler plan"
VERSION = 1


@dataclass(frozen=True, slots=True)
class SavedPlan:
    """What a plan file holds."""

    space: str
    revision: str
    serial: int
    digest: str
    lines: tuple[str, ...]
    options: dict[str, JsonValue]
    text: str


def write(plan: Plan, options: dict[str, JsonValue], text: str) -> str:
    """Return the file's text; its last field is the SHA-256 of all others."""
    content: dict[str, JsonValue] = {
        "format": FORMAT,
        "version": VERSION,
        "space": plan.space,
        "revision": plan.revision,
        "serial": plan.serial,
        "digest": plan.digest,
        "lines": [canonical_json(line) for line in plan_lines(plan)],
        "options": options,
        "text": text,
    }
    return json.dumps(content | {"integrity": digest_of(canonical_json(content))}, ensure_ascii=False, indent=1) + "\n"


def plan_lines(plan: Plan) -> list[JsonValue]:
    """Return what is compared of each change and run."""
    return [*(plan.line_of(change) for change in plan.changes), *(plan.line_of(run) for run in plan.runs)]


def read(text: str, name: str) -> SavedPlan:
    """Read a plan file; raises UsageMistake where it is none, is damaged, or is of another version."""
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UsageMistake(f"{name} is not a plan file", "make one with: reconcile plan --out FILE")
    if content.get("version") != VERSION:
        raise UsageMistake(
            f"{name} was written by another version of reconcile", "make a new one with: reconcile plan --out FILE"
        )
    integrity = content.pop("integrity", "")
    if not _is_whole(content, integrity):
        raise UsageMistake(
            f"{name} is damaged: it does not match its own checksum", "make a new one with: reconcile plan --out FILE"
        )
    return SavedPlan(
        content["space"],
        content["revision"],
        content["serial"],
        content["digest"],
        tuple(content["lines"]),
        content["options"],
        content["text"],
    )


def _is_whole(content: dict[str, JsonValue], integrity: JsonValue) -> bool:
    try:
        return integrity == digest_of(canonical_json(content))
    except UnicodeEncodeError:  # half a surrogate pair, which no plan holds
        return False


def moved(saved: SavedPlan, plan: Plan) -> list[str]:
    """Say per object what differs between the saved plan and the plan of now."""
    then = {_name(json.loads(line)): line for line in saved.lines}
    now = {_name(line): canonical_json(line) for line in plan_lines(plan)}
    sentences = [] if saved.space == plan.space else [f'the saved plan is one of the space "{saved.space}"']
    for name in sorted(then.keys() | now.keys()):
        if name not in now:
            sentences.append(f"{name}: the saved plan changes it, and nothing is to be done for it any more")
        elif name not in then:
            sentences.append(f"{name}: the saved plan does not know this change")
        elif then[name] != now[name]:
            sentences.append(f"{name}: what would change is not what the saved plan shows")
    return sentences


def _name(line: JsonValue) -> str:
    """Name a line; a deployment can have two, for the object and for its run, and only an object's holds fields."""
    assert isinstance(line, list)
    return str(line[0]) if isinstance(line[-1], list) else f"the run of {line[0]}"
