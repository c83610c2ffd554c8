"""Spans and moments that people type: `90m`, `24h`, `2030-01-31T06:00Z`."""

import time
from datetime import UTC, datetime

from reconciler.model.errors import UsageMistake
from reconciler.model.text import Duration

SPAN_MAX = 100 * 366 * 86_400.0
"""Seconds of a span: nothing here holds for longer, and a number that is much greater fits nowhere."""

LETTERS_MAX = 40
"""Of a span; each of its five parts has room for more than it takes."""


def seconds_until(option: str, text: str) -> float:
    """Return the seconds from now until a span has passed or a moment comes; raises UsageMistake."""
    if is_span(text):
        return seconds_of(option, text)
    return moment_of(option, text) - time.time()


def moment_of(option: str, text: str) -> float:
    """Return the seconds since the epoch of a moment, in UTC where it names no zone; raises UsageMistake."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageMistake(
            f"{option} {text}: a span or a time is expected, such as 90m, 24h or 2030-01-31T06:00Z"
        ) from None
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()


def is_span(text: str) -> bool:
    """Say whether a text is written as a span."""
    return bool(text) and Duration.pattern.fullmatch(text) is not None


def seconds_of(option: str, text: str, such_as: str = "90m or 24h") -> float:
    """Return the seconds of a span; raises UsageMistake where it is none, or longer than anything here."""
    if not is_span(text):
        raise UsageMistake(f"{option} {text}: a span is expected, such as {such_as}")
    if len(text) > LETTERS_MAX or Duration(text).seconds > SPAN_MAX:
        raise UsageMistake(f"{option}: a span of more than a hundred years is expected nowhere", "give a shorter one")
    return Duration(text).seconds
