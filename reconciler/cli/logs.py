"""`reconcile logs`: print what the steps of a task printed."""

import sys

import click

from reconciler.cli.desk import Desk, LogWish
from reconciler.cli.options import at_desk
from reconciler.cli.output import json_lines, json_list, note, wants_colour
from reconciler.cli.progress import harmless, marked, progress_text, text_of
from reconciler.protocol.journal import Kind, Record
from reconciler.server.answers.log_walk import Ended, Entered, Entry, Printed, Remark, Tried
from reconciler.server.state.times import stamp


@click.command("logs")
@click.argument("task")
@click.option("-f", "--follow", is_flag=True, help="Go on until the task has ended, or no engine runs any more.")
@click.option("--step", "wanted", metavar="STEP", help="Only this step, by name or id.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON record a line.")
@at_desk
def command(*, task: str, follow: bool, wanted: str | None, as_json: bool, desk: Desk) -> int:
    """Print what the steps of TASK printed; TASK is a number, or a deployment's name for its last one."""
    printer = _Printer(as_json=as_json)
    for entry in desk.log(LogWish(task, wanted, follow), note):
        printer.show(entry)
    printer.end()
    return 0


class _Printer:
    """Prints the entries of a log, each attempt under a heading."""

    def __init__(self, *, as_json: bool) -> None:
        self._json = as_json
        self._begun = False
        self._under = ""  # the ticket that the last heading belongs to
        self._fresh = True  # the next text begins a line
        self._careful = sys.stdout.isatty()  # scripts must not command it; in a file every byte is as it came
        self._bold = wants_colour("auto")  # our lines, which no script can forge where it cannot print so

    def show(self, entry: Entry) -> None:
        """Print one entry."""
        self._begin()
        match entry:
            case Entered():
                self._enter(entry)
            case Printed():
                self._printed(entry)
            case Remark(_, message):
                note(message)
            case Tried():
                self._tried(entry)
            case Ended():
                self._ended(entry)

    def end(self) -> None:
        """Take that nothing more comes."""
        self._begin()

    def _begin(self) -> None:
        if self._json and not self._begun:
            json_list([])
        self._begun = True

    def _enter(self, entry: Entered | Printed) -> None:
        self._under = entry.ticket
        again = f", attempt {entry.attempt}" if entry.attempt > 1 else ""
        self._line(f"==> {entry.name} on {entry.worker}{again}")

    def _printed(self, entry: Printed) -> None:
        if self._under != entry.ticket:  # steps side by side take turns
            self._enter(entry)
        for piece in entry.pieces:
            self._record(entry, piece.record())

    def _record(self, entry: Printed, record: Record) -> None:
        if self._json:
            _print(
                type="output",
                step=entry.step + 1,
                name=entry.name,
                attempt=entry.attempt,
                at=stamp(record.milliseconds / 1000),
                stream=record.kind.name.lower(),
                level=record.level.name.lower(),
                text=self._shown(text_of(record)),
            )
        elif record.kind is Kind.PROGRESS:
            self._line(self._shown(progress_text(record)))
        elif text := self._shown(text_of(record)):
            click.echo(marked(text, record.level, fresh=self._fresh), nl=False)
            self._fresh = text.endswith("\n")

    def _shown(self, text: str) -> str:
        return harmless(text) if self._careful else text

    def _tried(self, entry: Tried) -> None:
        """Print how an attempt ended that was not the last one of its step."""
        if self._json:
            facts = {"step": entry.step + 1, "name": entry.name, "attempt": entry.attempt, "worker": entry.worker}
            _print(type="attempt", **facts, state=entry.state, reason=entry.reason)
        else:
            reason = f": {entry.reason}" if entry.reason else ""
            self._line(f"<== {entry.name}, attempt {entry.attempt} {entry.state}{reason}")

    def _ended(self, entry: Ended) -> None:
        if self._json:
            _print(type="step", step=entry.step + 1, name=entry.name, state=entry.state, reason=entry.reason)
        else:
            self._line(f"<== {entry.name} {entry.state}{f': {entry.reason}' if entry.reason else ''}")

    def _line(self, text: str) -> None:
        """Print a line of ours, on a line of its own."""
        if not self._json:
            shown = click.style(text, bold=True) if self._bold else text
            click.echo(shown if self._fresh else f"\n{shown}")
            self._fresh = True


def _print(**fields: object) -> None:
    json_lines([fields])
