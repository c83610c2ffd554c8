"""How attempts end that no worker ran to an end, and what any end means for the step."""

import hashlib

from reconciler.model.live import StepState
from reconciler.model.work import Retry, Step
from reconciler.protocol.tickets import Cancelled, Digest, Ending, Final, Lost, NotStarted, TicketId
from reconciler.schedule.outcomes import Outcome, judge

CANCEL_GRACE = 10.0
"""Seconds between SIGTERM and SIGKILL when a task is cancelled."""

NO_LOG = Digest(hashlib.sha256(b"").hexdigest())


def gone(ticket: TicketId, worker: str, log_length: int, log_digest: Digest) -> Final:
    """Return the ending of an attempt that had started and that its worker no longer has; the log is what we hold."""
    reason = f"the worker {worker} no longer knows the attempt; its effects are unknown"
    return Final(ticket, Lost(reason), log_length, log_digest)


def silent(ticket: TicketId, reason: str) -> Final:
    """Return the ending of an attempt whose worker was silent for too long."""
    return _without_log(ticket, Lost(reason))


def unproven(attempts: int) -> str:
    """Say why a task is abandoned that was cancelled while so many attempts of it lived."""
    some = "1 attempt" if attempts == 1 else f"{attempts} attempts"
    return f"cancelled, and {some} gave no proof of having stopped for 2 minutes"


def unknown(attempts: int) -> str:
    """Say why a task is abandoned that was cancelled after so many attempts of it were given up."""
    if attempts == 1:
        return "cancelled, and 1 attempt was lost: whether it has stopped is unknown"
    return f"cancelled, and {attempts} attempts were lost: whether they have stopped is unknown"


def refused(ticket: TicketId, reason: str, *, offered_before: bool) -> Final:
    """Return the ending of an attempt that a worker declines.

    One that another engine had offered may have run and been forgotten, as after a restore: it is lost, never repeated.
    """
    if offered_before:
        return _without_log(ticket, Lost(f"the worker refused it when it was offered again: {reason}"))
    return _without_log(ticket, NotStarted(f"the worker refused it: {reason}"))


TRIED = "attempt "
"""How the reason of a step begins that waits for its next attempt."""


def between(number: int, retry: Retry, reason: str, pause: float) -> str:
    """Say how attempt `number` ended, and in how many seconds the next one is due."""
    return f"{TRIED}{number} of {retry.attempts}: {reason}; the next one in {pause:g} s"


def verdict(final: Final, step: Step, *, cancelling: bool, withdrawn: str) -> Outcome:
    """Say what a final means for its step; `withdrawn` is why we wanted it not to start or to end, or empty."""
    if isinstance(final.ending, Cancelled) and withdrawn and not cancelling:
        return Outcome(StepState.FAILED, withdrawn)
    if not isinstance(final.ending, NotStarted):
        return judge(final, step.timeout.seconds if step.timeout else None)
    if cancelling:
        return Outcome(StepState.CANCELLED, "cancelled before it started")
    return Outcome(StepState.FAILED, withdrawn or final.ending.reason)


def _without_log(ticket: TicketId, ending: Ending) -> Final:
    return Final(ticket, ending, 0, NO_LOG)
