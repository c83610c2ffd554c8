"""A plan as people read it on a terminal: a line per field, reasons above, consequences beside."""

import difflib
from collections.abc import Iterator

from pydantic import JsonValue

from reconciler.plan.changes import Absent, Action, Change, FieldChange, Plan, Run

SYMBOLS = {
    Action.CREATE: "+",
    Action.UPDATE: "~",
    Action.REPLACE: "-/+",
    Action.RENAME: ".",
    Action.REMOVE: "-",
}
RUN_SYMBOL = "<="
LEGEND = {
    "+": "create",
    "~": "update in place",
    "-/+": "replace",
    ".": "rename, kept as it is",
    "-": "remove",
    RUN_SYMBOL: "run",
}
CONTEXT_LINES = 2
"""Lines that are shown around each difference of a text."""

VALUE_MAX = 200
"""Characters of a value that are shown; past that a plan cannot be read any more."""


def render(plan: Plan) -> str:
    """Return the whole plan as text, without colour, ending in a newline."""
    return "\n".join(lines(plan)) + "\n"


def lines(plan: Plan) -> Iterator[str]:
    """Yield the plan line by line: the changes section, then what moves by itself."""
    yield from lasting_lines(plan.lasting)
    yield from passing_lines(plan)


def passing_lines(plan: Plan) -> Iterator[str]:
    """Yield what moves by itself, and is absent from a plan that is made from a snapshot."""
    for sentence in plan.failed:
        yield f"Failed: {sentence}"
    for refusal in plan.passing:
        yield f"Error: refused: {refusal.message}"
    for fact in plan.facts:
        yield f"Live: {fact.text}"


def lasting_lines(plan: Plan) -> Iterator[str]:
    """Yield the lines of a changes section."""
    if not plan.empty:
        yield from _legend(plan)
        for change in plan.changes:
            yield from change_lines(change)
            yield ""
        for run in plan.runs:
            yield from run_lines(run)
            yield ""
    yield summary(plan)
    yield from _remarks(plan)


def summary(plan: Plan) -> str:
    """Return the line that begins with fixed words: `Plan: ` or `No changes.`."""
    if plan.empty and plan.partial:
        return "No changes in what was chosen."
    if plan.empty:
        return f"No changes. The live state is what {shown_revision(plan.revision)} declares."
    add = plan.count(Action.CREATE, Action.REPLACE)
    change = plan.count(Action.UPDATE, Action.RENAME)
    remove = plan.count(Action.REMOVE, Action.REPLACE)
    runs = len(plan.runs)
    refused = sum(bool(change.refusal) for change in plan.changes) + sum(bool(run.refusal) for run in plan.runs)
    tail = f"; {runs} deployment{'s' if runs != 1 else ''} to run" if runs else ""
    tail += f"; {refused} of them refused" if refused else ""
    return f"Plan: {add} to add, {change} to change, {remove} to remove{tail}."


def shown_revision(revision: str) -> str:
    """Name a revision shortly: seven digits of a commit, or the working tree."""
    return "the working tree" if not revision or revision.startswith("tree:") else revision[:7]


def _legend(plan: Plan) -> Iterator[str]:
    used = {SYMBOLS[change.action] for change in plan.changes} | ({RUN_SYMBOL} if plan.runs else set())
    asker = shown_revision(plan.revision)
    yield f"{asker[0].upper() + asker[1:] if ' ' in asker else asker} asks for these changes:"
    for symbol, words in LEGEND.items():
        if symbol in used:
            yield f"  {symbol:>3} {words}"
    yield ""


_WILL = {
    Action.CREATE: "will be created",
    Action.UPDATE: "will be updated in place",
    Action.REPLACE: "will be replaced",
    Action.REMOVE: "will be removed",
}


def headline(change: Change) -> str:
    """Say what will happen to the object."""
    if change.action is Action.REPLACE and change.former is not None:
        return f"{change.former} will be replaced by {change.address}"
    if change.action is Action.RENAME:
        return f"{change.former} will be renamed to {change.address}"
    if change.address.kind in {"Worker", "DeploymentTarget"}:
        if change.action is Action.REMOVE:
            return f"{change.address} will be drained and deregistered"
        if change.action is Action.CREATE:
            return f"{change.address} will be registered"
    return f"{change.address} {_WILL[change.action]}"


def change_lines(change: Change) -> Iterator[str]:
    """Yield the lines of one change."""
    yield f"  # {headline(change)}"
    yield f"  #   (because {change.because})"
    if change.refusal:
        yield f"  #   Refused: {change.refusal}"
    symbol = SYMBOLS[change.action]
    beside = list(change.consequences)
    for field in change.fields:
        remark = f"        # {beside.pop(0)}" if beside and field.path == "pools" else ""
        if _long(field.before) and _long(field.after):
            yield f"  {_gutter(symbol, field):>3}   {field.path}:"
            yield from _text_lines(str(field.before), str(field.after))
            continue
        yield f"  {_gutter(symbol, field):>3}   {field.path}: {_values(field, change.action)}{remark}"
    for remark in beside:
        yield f"  #   {remark}"


def _long(value: JsonValue | Absent) -> bool:
    """Say whether a value is a text of several lines."""
    return isinstance(value, str) and "\n" in value.rstrip("\n")


def _text_lines(before: str, after: str) -> Iterator[str]:
    """Yield what differs between two texts of several lines, with what stands around it."""
    found = difflib.unified_diff(before.splitlines(), after.splitlines(), n=CONTEXT_LINES, lineterm="")
    for line in list(found)[2:]:
        if line.startswith("@@"):
            yield f"          {line}"
        else:
            yield f"  {line[0].strip():>3}       {_printable(line[1:])}".rstrip()


def _printable(line: str) -> str:
    """Return a line without what could move a terminal's cursor."""
    return "".join(char if char.isprintable() or char == "\t" else f"\\u{ord(char):04x}" for char in line)


def _gutter(symbol: str, field: FieldChange) -> str:
    if symbol in {"+", "-"}:
        return symbol
    if isinstance(field.before, Absent):
        return "+"
    return "-" if isinstance(field.after, Absent) else "~"


def _values(field: FieldChange, action: Action) -> str:
    if action is Action.CREATE or isinstance(field.before, Absent):
        return _value(field.after)
    if action is Action.REMOVE or isinstance(field.after, Absent):
        return _value(field.before)
    return f"{_value(field.before)} -> {_value(field.after)}"


def _value(value: JsonValue | Absent) -> str:
    match value:
        case Absent():
            return "absent"
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            text = value if value and value.isprintable() and value.strip() == value else _quoted(value)
        case list():
            text = f"[{', '.join(_value(item) for item in value)}]"
        case dict():
            text = "{" + ", ".join(f"{key}: {_value(item)}" for key, item in value.items()) + "}"
        case _:
            text = str(value)
    return text if len(text) <= VALUE_MAX else f"{text[:VALUE_MAX]}…"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return '"' + "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in escaped) + '"'


def run_lines(run: Run) -> Iterator[str]:
    """Yield the lines of one run."""
    yield f"  # {run.title} will run release {run.release} of {run.slot}"
    yield f"  #   (because {run.because})"
    if run.refusal:
        yield f"  #   Refused: {run.refusal}"
    if run.after:
        yield f"  #   after {', '.join(run.after)} succeeded"
    former = f"{run.former_release} -> " if run.former_release and run.former_release != run.release else ""
    yield f"  {RUN_SYMBOL:>3}   release: {former}{run.release}"
    for number, name in enumerate(run.steps, 1):
        yield f"  {RUN_SYMBOL:>3}   step {number}: {name}"
    for warning in run.warnings:
        yield f"  #   Warning: {warning}"


def _remarks(plan: Plan) -> Iterator[str]:
    if not plan.complete:
        yield "Warning: objects with errors are left out with all that needs them, and nothing is removed"
    for warning in plan.warnings:
        yield f"Warning: {warning}"
    for note in plan.notes:
        yield f"Note: {note}"
    for refusal in plan.refusals:
        yield f"Error: refused: {refusal.message}"
        if refusal.help:
            yield f"  {refusal.help}"
    refused = [change for change in plan.changes if change.refusal]
    for change in refused:
        yield f"Error: refused: {change.address}: {change.refusal}"
    for run in plan.runs:
        if run.refusal:
            yield f"Error: refused: {run.title}: {run.refusal}"
