"""Every error that ends a command: each knows its exit code and writes its own sentence.

ReconcilerError            1  where, what, how to mend
├── Invalid                1  the declarations hold errors (the diagnostics were shown)
├── UsageMistake           1  the command line asks for something that is not there
├── StateUnreadable        1  the store is missing, corrupt, of another version, or cannot be written
├── Conflict               3  a stale plan, a held lock, another engine
├── Deposed                3  another node has taken the lead from this one
├── Refused                5  protection, budget, policy or a new state
└── Interrupted          130  a person stopped the command
"""


class ReconcilerError(Exception):
    """Something that a person can mend; the text is a sentence, `hint` is the next thing to type or do."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Invalid(ReconcilerError):
    """The declarations hold errors."""


class UsageMistake(ReconcilerError):
    """The command line asks for something that is not there."""


class StateUnreadable(ReconcilerError):
    """The store is missing, corrupt, of another version, or cannot be written."""


class Conflict(ReconcilerError):
    """The plan is stale, a lock is held, or another engine owns the store."""

    exit_code = 3


class Deposed(ReconcilerError):
    """Another node has taken the lead, so nothing more may be written from here."""

    exit_code = 3


class Refused(ReconcilerError):
    """Protection, budget, policy or a new state stands against it."""

    exit_code = 5


class Interrupted(ReconcilerError):
    """A person stopped the command; running steps go on."""

    exit_code = 130
