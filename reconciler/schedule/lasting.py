"""How long things take: spans of time that a share between 0 and 1 draws a duration from, and their words."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor


@dataclass(frozen=True, slots=True)
class Lasting:
    """Durations in seconds, the least first: one, the ends of a range, or some that were seen."""

    seconds: tuple[float, ...]

    def at(self, share: float) -> float:
        """Return the duration below which `share` of them lie, drawn between neighbours."""
        return quantile(self.seconds, share)


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the value below which `share` of some ordered ones lie; `ordered` holds at least one."""
    place = share * (len(ordered) - 1)
    below = floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def in_words(seconds: float) -> str:
    """Say a span of time as declarations write it: `250ms`, `4.2s`, `1m30s`, `2h5m`."""
    if 0.0005 <= seconds < 0.9995:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 59.95:
        return f"{seconds:.1f}".removesuffix(".0") + "s"
    whole = round(seconds)
    if whole < 3_600:
        return _pair(whole, 60, "m", "s")
    return _pair(round(seconds / 60), 60, "h", "m")


def _pair(count: int, size: int, large: str, small: str) -> str:
    first, rest = divmod(count, size)
    return f"{first}{large}{rest}{small}" if rest else f"{first}{large}"
