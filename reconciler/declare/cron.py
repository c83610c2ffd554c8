"""What is wrong with a cron expression or the name of a time zone, in words."""

from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

_ANY_DAY = datetime(2024, 1, 1, tzinfo=UTC)  # an expression is right or wrong on every day
_EXPRESSION_MAX = 200  # characters; the longest useful lists stay below


@lru_cache(maxsize=512)  # many schedules share few expressions
def cron_fault(expression: str) -> str | None:
    """Say why `expression` is not a cron expression of five fields, or None if it is."""
    if len(expression) > _EXPRESSION_MAX or len(expression.split()) != 5:
        return "a cron expression has five fields: minute, hour, day, month, day of the week"
    try:
        CronSim(expression, _ANY_DAY)
    except CronSimError as error:
        return f"the cron expression is wrong: {str(error).lower()}"
    return None


@lru_cache(maxsize=512)  # as above
def timezone_fault(name: str) -> str | None:
    """Say why `name` is not a time zone, or None if it is."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return f'"{name[:80]}" is not a time zone'
    return None
