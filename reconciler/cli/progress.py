"""Progress of tasks: plain lines on stderr, or JSON lines on stdout; the log of a failing step in full."""

import json
import time
import unicodedata
from collections.abc import Callable

import click

from reconciler.execute.endings import TRIED
from reconciler.execute.watching import Printed, Sighting, StepMoved, TaskMoved
from reconciler.execute.wording import HIDDEN
from reconciler.model.live import StepState, TaskState
from reconciler.plan.changes import Change, Run
from reconciler.protocol.journal import Kind, Level, Record
from reconciler.server.orders.words import answering

MARKS = {
    StepState.SUCCEEDED: ("✓", "green"),
    StepState.FAILED: ("✗", "red"),
    StepState.LOST: ("✗", "red"),
    StepState.SKIPPED: ("-", "cyan"),
    StepState.CANCELLED: ("✗", "yellow"),
    StepState.RUNNING: ("▶", None),
    StepState.WAITING: ("…", "yellow"),
}
LEVEL_WORDS = {Level.WARNING: "warning: ", Level.ERROR: "error: "}
"""What stands before each line of a level, since not every reader sees colours."""

LEVEL_COLOURS = {Level.WARNING: "yellow", Level.ERROR: "red", Level.HIGHLIGHT: "cyan", Level.DEBUG: "bright_black"}


class LineProgress:
    """A line for every move and for every printed line, with the deployment and step it belongs to."""

    reads_output = True

    def __init__(self, write: Callable[[str], None], *, colour: bool, careful: bool = False) -> None:
        self._write = write
        self._colour = colour
        self._shown = harmless if careful else str  # what scripts print, for a terminal or as it is
        self._open: dict[tuple[int, int], str] = {}  # step → the beginning of a line that has not ended, with its word

    def changed(self, item: Change | Run, outcome: str) -> None:
        """Take one change or run of the plan with its outcome."""
        if isinstance(item, Run):
            self.say(f"{item.title}: release {item.release} {outcome}")
        else:
            self.say(f"{item.address}: {item.action} {outcome}")

    def say(self, text: str) -> None:
        """Print a sentence."""
        self._write(text)

    def finish(self) -> None:
        """Print nothing: the last line of a step ends with the step."""

    def see(self, sighting: Sighting) -> None:
        """Print one sighting."""
        match sighting:
            case TaskMoved():
                self.say(self._task_line(sighting))
            case StepMoved():
                self._end_line(sighting)
                self.say(self._step_line(sighting))
            case Printed():
                self._print(sighting)

    def _task_line(self, moved: TaskMoved) -> str:
        reason = f": {moved.reason}" if moved.reason else ""
        tenant = f"@{moved.slot.tenant}" if moved.slot.tenant else ""
        line = f"{moved.deployment}{tenant}: release {moved.release}, task {moved.task} {moved.state}{reason}"
        if moved.state is TaskState.AWAITING_INTERVENTION:
            several = moved.asks if len(moved.asks) > 1 else ("",)
            line += "".join(f"\nanswer with: {answering(moved.task, step)}" for step in several)
        colours = {TaskState.SUCCEEDED: "green", TaskState.FAILED: "red", TaskState.AWAITING_INTERVENTION: "yellow"}
        return self._styled(line, colours.get(moved.state), bold=True)

    def _step_line(self, moved: StepMoved) -> str:
        mark, colour = MARKS.get(moved.state, ("·", None))
        where = f" on {moved.worker}" if moved.worker and moved.state is StepState.RUNNING else ""
        took = f" in {moved.seconds:.1f} s" if moved.seconds is not None else ""
        told = moved.state is not StepState.RUNNING or moved.reason.startswith(TRIED)
        reason = f": {moved.reason}" if moved.reason and told else ""
        line = f"{moved.deployment} {mark} {moved.name} {moved.state}{where}{took}{reason}"
        return self._styled(line, colour)

    def _print(self, printed: Printed) -> None:
        record = printed.record
        if record.kind is Kind.PROGRESS:
            self.say(f"{printed.deployment} │ {printed.name}: {self._shown(progress_text(record))}")
            return
        key = (printed.task, printed.index)
        begun = self._open.pop(key, "")
        *lines, rest = (begun + marked(self._shown(text_of(record)), record.level, fresh=not begun)).split("\n")
        if lines:  # said at once: a call for each line would be the slowest part of a flood
            colour = LEVEL_COLOURS.get(record.level)
            self.say("\n".join(self._styled(f"{printed.deployment} │ {line}", colour) for line in lines))
        if rest:
            self._open[key] = rest

    def _end_line(self, moved: StepMoved) -> None:
        """Print the last line of a step that printed no newline at its end."""
        rest = self._open.pop((moved.task, moved.index), "")
        if rest:
            self.say(f"{moved.deployment} │ {rest}")

    def _styled(self, line: str, colour: str | None, *, bold: bool = False) -> str:
        return click.style(line, fg=colour, bold=bold) if self._colour and (colour or bold) else line


class JsonProgress:
    """A JSON record on stdout for every move and every printed record."""

    reads_output = True

    def changed(self, item: Change | Run, outcome: str) -> None:
        """Print one change or run with its outcome."""
        if isinstance(item, Run):
            _record(
                "queued", deployment=item.deployment, tenant=item.slot.tenant, release=item.release, outcome=outcome
            )
        else:
            _record("applied", address=str(item.address), action=item.action.value, outcome=outcome)

    def say(self, text: str) -> None:
        """Print a sentence."""
        _record("message", message=text)

    def finish(self) -> None:
        """Print nothing: every record was whole."""

    def see(self, sighting: Sighting) -> None:
        """Print one sighting."""
        match sighting:
            case TaskMoved(task, deployment, slot, release, state, reason, asks):
                _record(
                    "task", task=task, deployment=deployment, tenant=slot.tenant, release=release,
                    state=state.value, reason=reason, asks=list(asks),
                )  # fmt: skip
            case StepMoved(task, deployment, index, name, state, worker, reason, seconds):
                _record(
                    "step", task=task, deployment=deployment, step=index + 1, name=name, state=state.value,
                    worker=worker, reason=reason, seconds=seconds,
                )  # fmt: skip
            case Printed(task, _, index, name, record):
                _record("output", task=task, step=index + 1, name=name, stream=record.kind.name.lower(),
                        level=record.level.name.lower(), text=text_of(record))  # fmt: skip


def progress_text(record: Record) -> str:
    """Return a progress record as people read it: `30 % trying`."""
    percent, _, message = record.data.decode(errors="replace").partition(" ")
    return f"{percent} % {message}".rstrip()


def text_of(record: Record) -> str:
    """Return a record's text; bytes that are no UTF-8 are shown as the replacement character."""
    if record.kind is Kind.GAP:
        return f"… {record.data.decode(errors='replace')} bytes over the output limit were dropped …\n"
    return record.data.decode(errors="replace")


def harmless(text: str) -> str:
    """Return a text that a terminal can be trusted with: all that is hidden but tabs and line ends is shown as �."""
    if text.isascii() and text.replace("\n", "").isprintable():
        return text
    return "".join(map(_seen, text.replace("\r\n", "\n")))


def _seen(letter: str) -> str:
    return "\ufffd" if letter not in "\n\t" and unicodedata.category(letter) in HIDDEN else letter


def marked(text: str, level: Level, *, fresh: bool) -> str:
    """Return text with the word of its level before each line; `fresh` says whether the text begins one."""
    word = LEVEL_WORDS.get(level)
    if not word or not text:
        return text
    return (word if fresh else "") + text[:-1].replace("\n", f"\n{word}") + text[-1]


def _record(kind: str, **fields: object) -> None:
    click.echo(json.dumps({"type": kind, "at": round(time.time(), 3), **fields}, ensure_ascii=False))
