"""What callers say with an order, as one line: it stands in one wherever people and logs are told of it."""

from reconciler.declare.render import printable
from reconciler.model.errors import UsageMistake

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
