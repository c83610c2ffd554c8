"""What an attempt's ending means for its step: the state, the sentence, and whether it may be tried again."""

from dataclasses import dataclass

from reconciler.model.live import StepState
from reconciler.model.work import Retry
from reconciler.protocol.tickets import Cancelled, CutOff, Ending, Exited, Final, Lost, NotStarted, Signalled, TimedOut


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended, for its step."""

    state: StepState
    reason: str


def judge(final: Final, timeout: float | None = None) -> Outcome:
    """Turn a final into the step's state and a sentence without its full stop."""
    outcome = _of_ending(final.ending, timeout)
    if final.message and isinstance(final.ending, Signalled):
        return Outcome(outcome.state, final.message)
    if final.message and outcome.state is StepState.FAILED:
        return Outcome(outcome.state, f"{final.message} ({outcome.reason})")
    if outcome.state is StepState.SUCCEEDED and final.message.startswith("output-lost"):
        return Outcome(StepState.FAILED, final.message)
    return outcome


def _of_ending(ending: Ending, timeout: float | None) -> Outcome:
    if isinstance(ending, Exited):
        if ending.code == 0:
            return Outcome(StepState.SUCCEEDED, "")
        return Outcome(StepState.FAILED, f"exit code {ending.code}")
    if isinstance(ending, Signalled):
        return Outcome(
            StepState.FAILED, f"ended by {SIGNALS.get(ending.signal, f'signal {ending.signal}')}, which was not ours"
        )
    if isinstance(ending, TimedOut):
        after = f" after {timeout:g} s" if timeout is not None else ""
        return Outcome(StepState.FAILED, f"timed out{after}; the whole process tree was killed")
    if isinstance(ending, Cancelled):
        return Outcome(StepState.CANCELLED, "cancelled; nothing of it is left running")
    if isinstance(ending, CutOff):
        return Outcome(
            StepState.LOST, "stopped by its worker, which had lost the server; nothing of it is left running"
        )
    if isinstance(ending, NotStarted):
        return Outcome(StepState.FAILED, ending.reason)
    assert isinstance(ending, Lost)
    return Outcome(StepState.LOST, ending.reason)


SIGNALS = {
    1: "SIGHUP",
    2: "SIGINT",
    3: "SIGQUIT",
    6: "SIGABRT",
    7: "SIGBUS",
    9: "SIGKILL",
    11: "SIGSEGV",
    15: "SIGTERM",
}
"""The signals that end scripts, as Linux numbers them."""


def tried_again(outcome: Outcome, retry: Retry, number: int) -> float | None:
    """Return the seconds to wait before attempt `number` + 1, or None if there is none.

    A lost attempt may have had effects that nobody saw: it is repeated only where the step says that this is safe.
    """
    if number >= retry.attempts:
        return None
    if outcome.state is StepState.FAILED or (outcome.state is StepState.LOST and retry.on_worker_lost):
        return retry.backoff.seconds
    return None
