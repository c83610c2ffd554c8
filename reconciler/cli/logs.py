"""`reconcile logs`: print what the steps of a task printed."""

import sys
import time
from collections.abc import Iterator

import click

from reconciler.cli.options import located
from reconciler.cli.output import json_lines, json_list, note, wants_colour
from reconciler.cli.progress import harmless, marked, progress_text, text_of
from reconciler.execute.logs import LogStore
from reconciler.model.diagnostics import did_you_mean
from reconciler.model.errors import UsageMistake
from reconciler.model.live import Attempt, StepRun, Task
from reconciler.protocol.journal import BrokenJournalError, Kind, Record
from reconciler.protocol.tickets import TicketId
from reconciler.server.decisions import find_task
from reconciler.server.looking import engine_runs, looking
from reconciler.server.place import Place
from reconciler.server.reasons import outcome_of
from reconciler.server.times import stamp
from reconciler.store import attempts, tasks
from reconciler.store.database import Transaction

LOOK_AGAIN = 0.2
"""Seconds between looks with --follow."""


@click.command("logs")
@click.argument("task")
@click.option("-f", "--follow", is_flag=True, help="Go on until the task has ended, or no engine runs any more.")
@click.option("--step", "wanted", metavar="STEP", help="Only this step, by name or id.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON record a line.")
@located
def command(
    *,
    task: str,
    follow: bool,
    wanted: str | None,
    as_json: bool,
    place: Place,
) -> int:
    """Print what the steps of TASK printed; TASK is a number, or a deployment's name for its last one."""
    with looking(place) as readers:
        printer = _Printer(LogStore(place.files.logs), wanted, as_json=as_json)
        number = readers.read_now(lambda tx: find_task(tx, task)).id
        if as_json:
            json_list([])
        while True:
            goes_on = follow and engine_runs(place.files)  # asked first: an engine writes until it ends
            found, runs, tries = readers.read_now(lambda tx: _facts(tx, number))
            _check_step(wanted, found, runs)
            printer.show(runs, tries)
            if not goes_on or found.state.ended:
                break
            time.sleep(LOOK_AGAIN)  # another process writes the log; it has no way to wake us
    if follow and not found.state.ended:
        note(f"No engine is running; task {number} ({found.state}) goes on with the next: reconcile apply")
    return 0


def _facts(tx: Transaction, number: int) -> tuple[Task, list[StepRun], list[Attempt]]:
    found = find_task(tx, str(number))
    return found, tasks.steps(tx, found.id), attempts.attempts(tx, found.id)


def _check_step(wanted: str | None, task: Task, runs: list[StepRun]) -> None:
    """Refuse the name of a step that the task does not have; before it starts, a task has none yet."""
    names = [run.name for run in runs]
    if wanted is not None and runs and wanted not in {*names, *(run.key for run in runs)}:
        raise UsageMistake(f'task {task.id} has no step "{wanted}"{did_you_mean(wanted, names)}')


class _Printer:
    """Prints each step's log from where it was printed last, under a heading."""

    def __init__(self, logs: LogStore, wanted: str | None, *, as_json: bool) -> None:
        self._logs = logs
        self._wanted = wanted
        self._json = as_json
        self._offsets: dict[str, int] = {}
        self._settled: set[str | int] = set()  # tickets and steps whose endings were printed
        self._told: set[str] = set()  # tickets whose journals are broken
        self._under = ""  # the ticket that the last heading belongs to
        self._fresh = True  # the next text begins a line
        self._careful = sys.stdout.isatty()  # scripts must not command it; in a file every byte is as it came
        self._bold = wants_colour("auto")  # our lines, which no script can forge where it cannot print so

    def show(self, runs: list[StepRun], tries: list[Attempt]) -> None:
        for run in runs:
            if self._wanted is not None and self._wanted not in {run.name, run.key}:
                continue
            ours = [attempt for attempt in tries if attempt.step == run.index]
            for attempt in ours:
                self._attempt(run, attempt)
                if attempt is not ours[-1] or not run.state.ended:
                    self._ending_of_attempt(run, attempt)
            if run.state.ended and run.index not in self._settled:
                self._settled.add(run.index)
                self._ending(run)

    def _attempt(self, run: StepRun, attempt: Attempt) -> None:
        if attempt.ticket not in self._offsets:
            self._offsets[attempt.ticket] = 0
            self._enter(run, attempt)
        for record in self._new(attempt.ticket):
            if self._under != attempt.ticket:  # steps side by side take turns
                self._enter(run, attempt)
            self._record(run, attempt, record)

    def _enter(self, run: StepRun, attempt: Attempt) -> None:
        self._under = attempt.ticket
        again = f", attempt {attempt.number}" if attempt.number > 1 else ""
        self._line(f"==> {run.name} on {attempt.worker}{again}")

    def _new(self, ticket: str) -> Iterator[Record]:
        try:
            for end, record in self._logs.records(TicketId(ticket), self._offsets[ticket]):
                self._offsets[ticket] = end
                yield record
        except BrokenJournalError as error:
            self._broken(ticket, error)

    def _record(self, run: StepRun, attempt: Attempt, record: Record) -> None:
        if self._json:
            _print(
                type="output",
                step=run.index + 1,
                name=run.name,
                attempt=attempt.number,
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

    def _broken(self, ticket: str, error: BrokenJournalError) -> None:
        """Say once that the rest of a journal cannot be read: what sent it was no agent of ours."""
        if ticket not in self._told:
            self._told.add(ticket)
            note(f"{ticket}: {error}")

    def _ending_of_attempt(self, run: StepRun, attempt: Attempt) -> None:
        """Print how an attempt ended that was not the last one of its step."""
        outcome = outcome_of(attempt)
        if outcome is None or attempt.ticket in self._settled:
            return
        self._settled.add(attempt.ticket)
        state, reason = outcome.state.value, outcome.reason
        if self._json:
            facts = {"step": run.index + 1, "name": run.name, "attempt": attempt.number, "worker": attempt.worker}
            _print(type="attempt", **facts, state=state, reason=reason)
        else:
            self._line(f"<== {run.name}, attempt {attempt.number} {state}{f': {reason}' if reason else ''}")

    def _ending(self, run: StepRun) -> None:
        reason = f": {run.reason}" if run.reason else ""
        if self._json:
            _print(type="step", step=run.index + 1, name=run.name, state=run.state.value, reason=run.reason)
        else:
            self._line(f"<== {run.name} {run.state}{reason}")

    def _line(self, text: str) -> None:
        """Print a line of ours, on a line of its own."""
        if not self._json:
            shown = click.style(text, bold=True) if self._bold else text
            click.echo(shown if self._fresh else f"\n{shown}")
            self._fresh = True


def _print(**fields: object) -> None:
    json_lines([fields])
