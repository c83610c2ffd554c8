"""How long a task may rest: until the first moment at which time itself changes something."""

from collections.abc import Iterable, Mapping

from reconciler.model.live import StepRun, StepState
from reconciler.schedule.progress import ABANDONED_AFTER, INTERVENTION_MAX, NOBODY_FOR


def patience(
    now: float,
    runs: Iterable[StepRun],
    losses: Iterable[float | None],
    *,
    due: Mapping[int, float],
    asked: Mapping[int, float],
    cancelled_at: float | None,
) -> float:
    """Return the seconds to rest at most; all moments are in seconds since the epoch.

    `losses` are those at which attempts are given up, `due` those of the next attempts and `asked` those since which
    persons are waited for, by step.
    """
    moments = [*due.values(), *(loss for loss in losses if loss is not None)]
    moments += [since + INTERVENTION_MAX for since in asked.values()]
    moments += [run.since + NOBODY_FOR for run in runs if run.state is StepState.WAITING and run.since]
    if cancelled_at is not None:
        moments.append(cancelled_at + ABANDONED_AFTER)
    return max(0.0, min((moment - now for moment in moments), default=NOBODY_FOR))
