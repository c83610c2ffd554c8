"""Limits of a step's script: of those of the step and of its worker the smaller ones hold."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from reconciler.model import infrastructure
from reconciler.model.text import Size
from reconciler.model.work import Step
from reconciler.protocol.tickets import Limits

Number = TypeVar("Number", int, float)

STOP = "onDisconnect.stop"
"""An agent that says so stops scripts by itself which are not to run without the server."""


def limits_of(declared: infrastructure.Limits) -> Limits:
    """Return what a step declares, in bytes."""
    return Limits(declared.memory.bytes if declared.memory else None, declared.cpus, declared.processes)


def limits_in(spec: Mapping[str, Any]) -> Limits:
    """Return what the canonical JSON of a worker's spec declares."""
    found = spec.get("limits", {})
    memory = found.get("memory")
    return Limits(Size(memory).bytes if memory else None, found.get("cpus"), found.get("processes"))


def smaller(one: Limits, other: Limits) -> Limits | None:
    """Return what both allow, None if that is everything."""
    found = Limits(_less(one.memory, other.memory), _less(one.cpus, other.cpus), _less(one.processes, other.processes))
    return None if found == Limits() else found


def names(limits: Limits | None) -> Iterator[str]:
    """Yield which limits are set."""
    for name in ("memory", "cpus", "processes"):
        if getattr(limits, name, None) is not None:
            yield name


def promises_of(step: Step) -> tuple[str, ...]:
    """Return the capabilities that an agent must have told of itself to be offered a step."""
    limits = (f"limit.{name}" for name in names(limits_of(step.limits)))
    return (*limits, STOP) if step.on_disconnect == "stop" else tuple(limits)


def unpromised(promise: str) -> str:
    """Say that an agent has not made a promise; less than declared is never enough."""
    if promise == STOP:
        return "has an agent that does not stop scripts by itself: update it there"
    return f"has no limit {promise.partition('.')[2]}: `reconcile agent show` says why there"


def _less(one: Number | None, other: Number | None) -> Number | None:
    return min((value for value in (one, other) if value is not None), default=None)
