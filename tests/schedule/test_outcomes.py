"""What each ending means for its step, and which are tried again."""

import pytest

from reconciler.model.live import StepState
from reconciler.model.text import Duration
from reconciler.model.work import Retry
from reconciler.protocol.tickets import (
    Cancelled,
    CutOff,
    Digest,
    Ending,
    Exited,
    Final,
    Lost,
    NotStarted,
    Signalled,
    TicketId,
    TimedOut,
)
from reconciler.schedule.outcomes import Outcome, judge, tried_again

S = StepState


def final(ending: Ending, message: str = "") -> Final:
    return Final(TicketId("1-1-1-a"), ending, 0, Digest(""), message=message)


@pytest.mark.parametrize(
    ("ending", "message", "timeout", "state", "reason"),
    [
        (Exited(0), "", None, S.SUCCEEDED, ""),
        (Exited(0), "all is well", None, S.SUCCEEDED, ""),
        (Exited(3), "", None, S.FAILED, "exit code 3"),
        (Exited(1), "no such table", None, S.FAILED, "no such table (exit code 1)"),
        (Exited(0), "output-lost: key", None, S.FAILED, "output-lost: key"),
        (Exited(2), "output-lost: key", None, S.FAILED, "output-lost: key (exit code 2)"),
        (Signalled(9), "", None, S.FAILED, "ended by SIGKILL, which was not ours"),
        (Signalled(250), "", None, S.FAILED, "ended by signal 250, which was not ours"),
        (TimedOut(), "", None, S.FAILED, "timed out; the whole process tree was killed"),
        (TimedOut(), "", 1.5, S.FAILED, "timed out after 1.5 s; the whole process tree was killed"),
        (TimedOut(), "was migrating", 60.0, S.FAILED,
         "was migrating (timed out after 60 s; the whole process tree was killed)"),
        (Cancelled(), "", None, S.CANCELLED, "cancelled; nothing of it is left running"),
        (Cancelled(), "output-lost: key", None, S.CANCELLED, "cancelled; nothing of it is left running"),
        (CutOff(), "", None, S.LOST, "stopped by its worker, which had lost the server; nothing of it is left running"),
        (NotStarted("there is no pwsh here"), "", None, S.FAILED, "there is no pwsh here"),
        (Lost("the shim died"), "", None, S.LOST, "the shim died"),
        (Lost("the shim died"), "output-lost: key", None, S.LOST, "the shim died"),
    ],
)  # fmt: skip
def test_an_ending_means(ending: Ending, message: str, timeout: float | None, state: StepState, reason: str) -> None:
    assert judge(final(ending, message), timeout) == Outcome(state, reason)


THRICE = Retry(attempts=3, backoff=Duration("2s"))
ELSEWHERE = Retry(attempts=3, backoff=Duration("2s"), on_worker_lost=True)


@pytest.mark.parametrize(
    ("state", "retry", "number", "pause"),
    [
        (S.FAILED, Retry(), 1, None),
        (S.FAILED, THRICE, 1, 2.0),
        (S.FAILED, THRICE, 2, 2.0),
        (S.FAILED, THRICE, 3, None),
        (S.LOST, THRICE, 1, None),
        (S.LOST, ELSEWHERE, 1, 2.0),
        (S.LOST, ELSEWHERE, 3, None),
        (S.CANCELLED, ELSEWHERE, 1, None),
        (S.SUCCEEDED, ELSEWHERE, 1, None),
    ],
)
def test_only_what_is_safe_is_tried_again(state: StepState, retry: Retry, number: int, pause: float | None) -> None:
    assert tried_again(Outcome(state, ""), retry, number) == pause


def test_the_default_pause_between_tries_is_fifteen_seconds() -> None:
    assert tried_again(Outcome(S.FAILED, ""), Retry(attempts=2), 1) == 15.0
