"""Spans and moments that people type: `90m`, `24h`, `2030-01-31T06:00Z`."""

import time
from datetime import UTC, datetime

from reconciler.model.errors import UsageMistake
from reconciler.model.text import Duration


def seconds_until(option: str, text: str) -> float:
    """Return the seconds from now until a span has passed or a moment comes; raises UsageMistake."""
    if text and Duration.pattern.fullmatch(text):
        return Duration(text).seconds
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageMistake(
            f"{option} {text}: a span or a time is expected, such as 90m, 24h or 2030-01-31T06:00Z"
        ) from None
    zoned = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return zoned.timestamp() - time.time()
