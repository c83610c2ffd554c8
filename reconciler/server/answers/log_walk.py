"""The log of a task as one sequence of entries, which can be broken off anywhere and gone on with by a cursor.

Steps come in the order of their process, each with its attempts; while several run, they take turns. A cursor names
the steps that are told to their end, and of the others each attempt with its offset: `0-2,4;3.1.2048,5.2.100e`.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from reconciler.execute.logs import LogStore
from reconciler.model.diagnostics import did_you_mean
from reconciler.model.errors import UsageMistake
from reconciler.model.live import Attempt, StepRun, Task, TaskId
from reconciler.protocol.journal import BrokenJournalError, Kind, Level, Record
from reconciler.protocol.tickets import TicketId
from reconciler.server.answers.reasons import outcome_of
from reconciler.store import attempts, tasks
from reconciler.store.database import Transaction

CURSOR_MAX = 16 * 1024  # characters
CURSOR = re.compile(r"(?:\d{1,6}(?:-\d{1,6})?(?:,\d{1,6}(?:-\d{1,6})?)*)?;(?:\d{1,6}\.\d{1,6}\.\d{1,12}e?m?,?)*")

Reading: TypeAlias = Callable[[TicketId, int], tuple[int, Sequence["Piece"]]]
"""Reads some of a journal from an offset on, and returns the offset behind it; raises BrokenJournalError."""


@dataclass(frozen=True, slots=True)
class Facts:
    """A task with its steps and attempts, as they were at one moment."""

    task: Task
    runs: tuple[StepRun, ...]
    tries: tuple[Attempt, ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """A record of output; `kind` and `level` are the journal's words in small letters."""

    kind: str
    level: str
    milliseconds: int
    text: str

    @classmethod
    def of(cls, record: Record) -> "Piece":
        """Return it with U+FFFD for bytes that are no UTF-8."""
        text = record.data.decode(errors="replace")
        return cls(record.kind.name.lower(), record.level.name.lower(), record.milliseconds, text)

    def record(self) -> Record:
        """Return the record again."""
        return Record(Kind[self.kind.upper()], Level[self.level.upper()], self.milliseconds, self.text.encode())


@dataclass(frozen=True, slots=True)
class Entered:
    """An attempt is met for the first time; `step` is counted from 0."""

    step: int
    name: str
    attempt: int
    worker: str
    ticket: str
    type: Literal["entered"] = "entered"


@dataclass(frozen=True, slots=True)
class Printed:
    """An attempt has printed these, which stand in its journal from `offset` on."""

    step: int
    name: str
    attempt: int
    worker: str
    ticket: str
    offset: int
    pieces: Sequence[Piece]
    type: Literal["printed"] = "printed"


@dataclass(frozen=True, slots=True)
class Remark:
    """Something is to be known of an attempt's log: bytes are missing, or cannot be read."""

    ticket: str
    message: str
    type: Literal["remark"] = "remark"


@dataclass(frozen=True, slots=True)
class Tried:
    """An attempt has ended that was not the last one of its step."""

    step: int
    name: str
    attempt: int
    worker: str
    state: str
    reason: str
    type: Literal["tried"] = "tried"


@dataclass(frozen=True, slots=True)
class Ended:
    """A step has ended."""

    step: int
    name: str
    state: str
    reason: str
    type: Literal["ended"] = "ended"


Entry: TypeAlias = Entered | Printed | Remark | Tried | Ended


@dataclass(slots=True)
class _Told:
    """What of an attempt is told: up to which offset, whether its ending is, whether what is wrong with its log is."""

    offset: int = 0
    ending: bool = False
    remark: bool = False


@dataclass(slots=True)
class Cursor:
    """Where a walk is."""

    ended: set[int] = field(default_factory=set)
    """Steps that are told to their end, and whose attempts have nothing more to tell."""
    told: dict[tuple[int, int], _Told] = field(default_factory=dict)
    """By step and number of the attempt."""

    def __str__(self) -> str:
        open_ones = (
            f"{step}.{number}.{told.offset}{'e' if told.ending else ''}{'m' if told.remark else ''}"
            for (step, number), told in sorted(self.told.items())
        )
        return f"{','.join(_ranges(sorted(self.ended)))};{','.join(open_ones)}"

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Read a cursor; raises UsageMistake."""
        if not text:
            return cls()
        if len(text) > CURSOR_MAX or not CURSOR.fullmatch(text):
            raise UsageMistake("what stands as the cursor is none", "give one that was answered, or none to begin anew")
        before, _, behind = text.partition(";")
        cursor = cls()
        for item in filter(None, before.split(",")):
            first, _, last = item.partition("-")
            cursor.ended.update(range(int(first), min(int(last or first), int(first) + 10_000) + 1))
        for item in filter(None, behind.split(",")):
            step, number, rest = item.split(".")
            told = _Told(int(rest.rstrip("em")), "e" in rest, "m" in rest)
            cursor.told[int(step), int(number)] = told
        return cursor


def reading(logs: LogStore) -> Reading:
    """Return how journals of a log store are read."""

    def read(ticket: TicketId, offset: int) -> tuple[int, Sequence[Piece]]:
        end, records = logs.piece(ticket, offset)
        return end, list(map(Piece.of, records))

    return read


def facts_of(tx: Transaction, number: TaskId) -> Facts:
    """Read a task with its steps and attempts; raises UsageMistake where there is none."""
    return Facts(tasks.task(tx, number), tuple(tasks.steps(tx, number)), tuple(attempts.attempts(tx, number)))


def check_step(wanted: str | None, facts: Facts) -> None:
    """Refuse the name of a step that the task does not have; before it starts, a task has none yet."""
    names = [run.name for run in facts.runs]
    if wanted is not None and facts.runs and wanted not in {*names, *(run.key for run in facts.runs)}:
        raise UsageMistake(f'task {facts.task.id} has no step "{wanted}"{did_you_mean(wanted, names)}')


@dataclass(slots=True)
class Walk:
    """Goes through a task's log, of one step or of all; each look yields what is new since the last one."""

    read: Reading
    wanted: str | None = None
    cursor: Cursor = field(default_factory=Cursor)

    def look(self, facts: Facts) -> Iterator[Entry]:
        """Yield what is new, `cursor` being behind each entry when it is yielded."""
        tries: dict[int, list[Attempt]] = {}
        for attempt in facts.tries:
            tries.setdefault(attempt.step, []).append(attempt)
        for run in facts.runs:
            if run.index not in self.cursor.ended and self.wanted in {None, run.name, run.key}:
                yield from self._of_step(run, tries.get(run.index, []))

    def _of_step(self, run: StepRun, ours: list[Attempt]) -> Iterator[Entry]:
        for attempt in ours:
            yield from self._of_attempt(run, attempt)
            if attempt is not ours[-1] or not run.state.ended:
                yield from self._ending(run, attempt)
        if not run.state.ended:
            return
        late = [attempt for attempt in ours if attempt.finished_at is None]  # given up; its log may still come
        key = (run.index, 0)
        if key not in self.cursor.told:
            self.cursor.told[key] = _Told(ending=True)
            if not late:
                self._close(run)
            yield Ended(run.index, run.name, run.state.value, run.reason)
        elif not late:
            self._close(run)

    def _close(self, run: StepRun) -> None:
        self.cursor.ended.add(run.index)
        for key in [key for key in self.cursor.told if key[0] == run.index]:
            del self.cursor.told[key]

    def _of_attempt(self, run: StepRun, attempt: Attempt) -> Iterator[Entry]:
        who = (run.index, run.name, attempt.number, attempt.worker, attempt.ticket)
        key = (run.index, attempt.number)
        if key not in self.cursor.told:
            self.cursor.told[key] = _Told()
            yield Entered(*who)
        told = self.cursor.told[key]
        try:
            while True:
                end, pieces = self.read(TicketId(attempt.ticket), told.offset)
                if not pieces:
                    break
                offset, told.offset = told.offset, end
                yield Printed(*who, offset, pieces)
        except BrokenJournalError as error:
            if not told.remark:
                told.remark = True
                yield Remark(attempt.ticket, f"{attempt.ticket}: {error}")
        missing = attempt.log_length - told.offset if attempt.finished_at is not None else 0
        if (missing > 0 or attempt.log_is_removed) and not told.remark:
            told.remark = True
            yield Remark(attempt.ticket, _removed(attempt) if attempt.log_is_removed else _missing(attempt, missing))

    def _ending(self, run: StepRun, attempt: Attempt) -> Iterator[Entry]:
        outcome, told = outcome_of(attempt), self.cursor.told[run.index, attempt.number]
        if outcome is not None and not told.ending:
            told.ending = True
            state, reason = outcome.state.value, outcome.reason
            yield Tried(run.index, run.name, attempt.number, attempt.worker, state, reason)


def _removed(attempt: Attempt) -> str:
    return f"{attempt.ticket}: its log was removed, for it is older than logs are kept"


def _missing(attempt: Attempt, missing: int) -> str:
    return (
        f"{attempt.ticket}: {missing} of the {attempt.log_length} bytes of this log are not in this node's files; "
        "they are in those of the node that led when it ended"
    )


def _ranges(numbers: list[int]) -> Iterator[str]:
    """Yield runs of numbers: `0-2`, `4`."""
    first = last = None
    for number in [*numbers, None]:
        if first is not None and last is not None and number != last + 1:
            yield str(first) if first == last else f"{first}-{last}"
            first = number
        elif first is None:
            first = number
        last = number
