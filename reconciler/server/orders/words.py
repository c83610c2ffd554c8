"""What callers say with an order, as one line: it stands in one wherever people and logs are told of it."""

from reconciler.declare.render import printable
from reconciler.model.errors import UsageMistake
from reconciler.model.following import Suspension
from reconciler.server.state.times import stamp

REASON_MAX = 1_000
"""Characters of a reason."""


def one_line(text: str) -> str:
    """Return a text with its lines folded into one, and nothing hidden in it."""
    return printable(" ".join(text.split()))


def reason_of(text: str, what: str) -> str:
    """Return the reason for something, such as `a drain`, as one line; raises UsageMistake for none or one too long."""
    reason = one_line(text)
    if not reason or len(reason) > REASON_MAX:
        raise UsageMistake(f"{what} needs a reason", f"give one of at most {REASON_MAX} characters with --reason")
    return reason


def suspended(held: Suspension) -> str:
    """Say who has suspended a space, until when and why, and how that is ended before."""
    return f"suspended by {held.by} until {stamp(held.until)}: {held.reason}; end it with: reconcile resume"


def answering(task: int, step: str = "") -> str:
    """Return the commands that answer the question of a task, or where it asks several that of a step, by its id."""
    whose = f"{task} --step {step}" if step else str(task)
    return f"reconcile approve {whose}, or: reconcile reject {whose}"
