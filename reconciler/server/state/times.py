"""Times as people read them."""

import time


def ago(moment: float | None, now: float | None = None) -> str:
    """Say how long ago a moment was: `12 s`, `4 min`, `3 h`, `2 d`."""
    if moment is None:
        return ""
    seconds = max(0, int((now if now is not None else time.time()) - moment))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def stamp(moment: float) -> str:
    """Write a moment in UTC, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
