"""What a benchmark finds: figures with their spread, ratios of two of them, goals, and peers that are absent."""

from dataclasses import dataclass
from enum import Enum
from statistics import median


class Unit(Enum):
    """What a figure counts; the value is how it is printed, one for each power of a thousand."""

    SECONDS = ("µs", "ms", "s")
    BYTES = ("B", "kB", "MB", "GB")
    BYTES_PER_SECOND = ("B/s", "kB/s", "MB/s", "GB/s")
    PER_SECOND = ("/s", "k/s")
    SHARE = ("%",)


@dataclass(frozen=True, slots=True)
class AtMost:
    """A goal that less is better for."""

    bound: float

    def is_met(self, value: float) -> bool:
        """Say whether `value` reaches it."""
        return value <= self.bound


@dataclass(frozen=True, slots=True)
class AtLeast:
    """A goal that more is better for."""

    bound: float

    def is_met(self, value: float) -> bool:
        """Say whether `value` reaches it."""
        return value >= self.bound


Goal = AtMost | AtLeast


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing measured several times; the goal, if any, is for the median."""

    name: str
    unit: Unit
    values: tuple[float, ...]
    goal: Goal | None = None

    @property
    def value(self) -> float:
        """The median."""
        return median(self.values)


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times as much the median of `more` is as that of `less`; `less` may be above it."""

    name: str
    more: Figure
    less: Figure
    goal: Goal | None = None

    @property
    def value(self) -> float:
        """The quotient of the medians."""
        return self.more.value / self.less.value


@dataclass(frozen=True, slots=True)
class Absent:
    """A peer that could not be measured, and why."""

    name: str
    reason: str


Line = Figure | Ratio | Absent


def shown(value: float, unit: Unit) -> str:
    """Return a value with three digits and its unit; at least of the unit's first size."""
    scaled = value * 1e6 if unit is Unit.SECONDS else value
    size = 0
    while scaled >= 999.5 and size < len(unit.value) - 1:
        scaled /= 1000
        size += 1
    digits = 2 if scaled < 9.995 else 1 if scaled < 99.95 else 0
    return f"{scaled:.{digits}f} {unit.value[size]}"
