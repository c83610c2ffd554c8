"""Attempts on workers that are silent: when they are given up, and in which words."""

from collections.abc import Iterable, Iterator, Sequence

from reconciler.execute.grounds import Grounds
from reconciler.model.live import Attempt
from reconciler.model.work import Step
from reconciler.schedule.fleet import BUILTIN


def deadline(attempt: Attempt, steps: Sequence[Step], grounds: Grounds) -> float | None:
    """Return when an attempt is lost if its worker stays silent, in seconds since the epoch; None while it speaks.

    Time never decides of a step that holds what it has until the worker is back (`onDisconnect: hold`).
    The built-in worker's supervisors answer to this engine alone, so there silence is never the network's. Whoever
    has no link cannot be heard at all.
    """
    if attempt.worker == BUILTIN or steps[attempt.step].on_disconnect == "hold":
        return None
    link = grounds.links.get(attempt.worker)
    silent_since = link.silent_since if link is not None else attempt.granted_at
    if silent_since is None:
        return None
    return max(silent_since, attempt.granted_at) + grounds.fleet.lost_after(attempt.worker)


def lost(live: Iterable[Attempt], steps: Sequence[Step], grounds: Grounds, now: float) -> Iterator[tuple[Attempt, str]]:
    """Yield the attempts whose workers were silent for too long, each with the sentence about it."""
    for attempt in live:
        due = deadline(attempt, steps, grounds)
        if due is not None and due <= now:
            seconds = grounds.fleet.lost_after(attempt.worker)
            yield (
                attempt,
                (
                    f"the worker {attempt.worker} was silent for {seconds:g} s; whether the script runs or has done its work "
                    "is unknown until it is back"
                ),
            )
