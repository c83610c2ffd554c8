"""What a command ends with: the exit codes, and which one is given where several apply."""

from collections.abc import Iterable
from enum import IntEnum


class ExitCode(IntEnum):
    """How a command ended; the numbers are a promise to scripts."""

    FINE = 0
    ERROR = 1
    CHANGES = 2
    CONFLICT = 3
    UNREACHABLE = 4
    REFUSED = 5
    FAILED = 6
    WAITING = 7
    SUPERSEDED = 8
    TIMED_OUT = 9
    INTERRUPTED = 130
    BUG = 255


PRECEDENCE = (
    ExitCode.BUG,
    ExitCode.INTERRUPTED,
    ExitCode.ERROR,
    ExitCode.CONFLICT,
    ExitCode.REFUSED,
    ExitCode.FAILED,
    ExitCode.TIMED_OUT,
    ExitCode.SUPERSEDED,
    ExitCode.UNREACHABLE,
    ExitCode.WAITING,
    ExitCode.CHANGES,
    ExitCode.FINE,
)
"""The first that applies is given: what stands against everything before what only part of it met."""


def combined(codes: Iterable[ExitCode]) -> ExitCode:
    """Return the one code of all that apply; FINE where none does."""
    return min(codes, key=PRECEDENCE.index, default=ExitCode.FINE)
