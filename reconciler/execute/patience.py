"""How long a task may rest: until the first moment at which time itself changes something."""

from collections.abc import Iterable, Mapping

from reconciler.schedule.progress import ABANDONED_AFTER, NOBODY_FOR


def patience(
    now: float, moments: Iterable[float | None], *, due: Mapping[int, float], cancelled_at: float | None
) -> float:
    """Return the seconds to rest at most; all moments are in seconds since the epoch.

    `due` are those of the next attempts by step.
    """
    every = [*due.values(), *(moment for moment in moments if moment is not None)]
    if cancelled_at is not None:
        every.append(cancelled_at + ABANDONED_AFTER)
    return max(0.0, min((moment - now for moment in every), default=NOBODY_FOR))
