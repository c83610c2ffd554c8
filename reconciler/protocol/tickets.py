"""The nouns both ends of a session share: what a ticket asks for and how it ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NewType, Optional, Union

TicketId = NewType("TicketId", str)
"""Names one attempt for ever; chosen by the server before anything is sent."""

Digest = NewType("Digest", str)
"""Lower-case hexadecimal SHA-256 of a byte string."""


@dataclass(frozen=True)
class OutputLimit:
    """What happens to a script that prints more than `bytes_max`: it is truncated or killed; None never happens."""

    bytes_max: int
    then: str  # "truncate" (a gap record, the rest is dropped) | "kill"


@dataclass(frozen=True)
class Limits:
    """What a script and every process of its tree may use together; None is no limit."""

    memory: Optional[int] = None
    """Bytes, swap included; whoever needs more is killed."""
    cpus: Optional[float] = None
    """Processors, such as 1.5."""
    processes: Optional[int] = None
    """Processes and threads at a time."""


@dataclass(frozen=True)
class TicketSpec:
    """One attempt as the worker stores it: complete but for secrets, which come with RUN alone."""

    ticket: TicketId
    interpreter: tuple[str, ...]
    """The program and its options; the script's file and `arguments` follow it. `interpreter[0]` is looked up in PATH."""
    language: str
    """"bash" | "sh" | "python" | "powershell": chooses the helper functions and the file's suffix."""
    script: Optional[str]
    """The text itself, or None when it travels by `script_digest` (over 64 KiB)."""
    script_digest: Digest
    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    artifacts: tuple[str, ...] = ()
    """Glob patterns relative to the working directory, collected when the script has ended."""
    timeout: Optional[float] = None
    """Seconds from the moment of starting after which the whole tree is killed; None never."""
    output_limit: Optional[OutputLimit] = None
    lease_tokens: dict[str, int] = field(default_factory=dict)
    """Fencing token of each claimed resource; a message with an older one has no effect."""
    isolation: str = "none"
    """"none" | "user" | "sandbox": how far the script is kept from the rest of the machine; never less than asked for."""
    run_as: str = ""
    """The account that the script runs under; empty leaves the choice to the agent, which allows it in any case."""
    limits: Optional[Limits] = None
    """None limits nothing; a worker that cannot hold one of them declines the ticket."""
    silence_max: Optional[float] = None
    """Seconds since the server was heard after which the whole tree is killed; None never."""


@dataclass(frozen=True)
class Secrets:
    """What RUN brings and nothing stores: environment values, and every value that must never be shown."""

    environment: dict[str, str] = field(default_factory=dict, repr=False)
    masks: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Exited:
    """The script ended by itself with `code`."""

    code: int


@dataclass(frozen=True)
class Signalled:
    """The script was ended by a signal that we did not send."""

    signal: int


@dataclass(frozen=True)
class TimedOut:
    """The whole tree was killed because the ticket's timeout had passed."""


@dataclass(frozen=True)
class Cancelled:
    """The whole tree was killed at the server's wish, and a sweep has shown that nothing is left."""


@dataclass(frozen=True)
class CutOff:
    """The whole tree was killed because the server was not heard for `silence_max`, and none of it is left."""


@dataclass(frozen=True)
class NotStarted:
    """Nothing was ever spawned, proven by the claim; `reason` is a sentence for the user (void, no interpreter …)."""

    reason: str


@dataclass(frozen=True)
class Lost:
    """The supervisor died without leaving an exit status; `reason` says what is known."""

    reason: str


Ending = Union[Exited, Signalled, TimedOut, Cancelled, CutOff, NotStarted, Lost]


@dataclass(frozen=True)
class Output:
    """One output variable of a script."""

    name: str
    value: str = field(repr=False)
    sensitive: bool = False


@dataclass(frozen=True)
class Artifact:
    """One file that a script left, stored under its digest."""

    name: str
    size: int
    digest: Digest


@dataclass(frozen=True)
class Usage:
    """What the attempt used: seconds of processor and wall time, bytes of peak memory."""

    cpu: float = 0.0
    wall: float = 0.0
    memory_peak: int = 0


@dataclass(frozen=True)
class Final:
    """How a ticket ended; repeated by the agent until FORGET."""

    ticket: TicketId
    ending: Ending
    log_length: int
    log_digest: Digest
    outputs: tuple[Output, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    usage: Usage = field(default_factory=Usage)
    message: str = ""
    """What the script said with `fail MESSAGE`, or why an output is missing (`output-lost`); masked."""


@dataclass(frozen=True)
class Offered:
    """The ticket is stored on the worker and nothing has started."""


@dataclass(frozen=True)
class Running:
    """The claim is made by a shim; the script may have started and counts as started."""


@dataclass(frozen=True)
class Ended:
    """The exit status is published; `final` holds it."""

    final: Final


@dataclass(frozen=True)
class Declined:
    """The worker will not take the ticket: unknown after FORGET, cannot be stored …; nothing was started."""

    reason: str


TicketState = Union[Offered, Running, Ended, Declined]


@dataclass(frozen=True)
class TicketReport:
    """The observed state of one ticket, as inventory and STATE frames carry it."""

    ticket: TicketId
    state: TicketState
    log_length: int = 0
    sequence: int = 0
