"""What asks for a turn: requests, the claims they make, and what they are granted.

Everything that limits concurrency is a *resource* with a capacity: the slots of a machine, a mutex, the tasks that run
at a time. A request claims all that it needs at once and is granted all of it or nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NewType

RequestId = NewType("RequestId", str)
"""`task/12` for a task's turn, `task/12/3` for a step of it; orders requests that came at the same moment."""

Arrival = tuple[float, int, RequestId]


@dataclass(frozen=True, slots=True, order=True)
class Claim:
    """A share of a resource: one unit of its capacity, or all of it, `alone`."""

    resource: str
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Needs:
    """What a machine must be; requests with equal needs share one view of the fleet.

    The members of `pool`, or one `machine` by name.
    """

    pool: str = ""
    machine: str = ""
    environment: str = ""
    """Whose steps run there; empty where it does not matter."""
    selector: tuple[tuple[str, str], ...] = ()
    requires: tuple[tuple[str, str], ...] = ()
    promises: tuple[str, ...] = ()
    """Capabilities that its agent itself must have told; no declaration stands in for them."""


@dataclass(frozen=True, slots=True)
class Request:
    """Something that waits for its turn; `since` is in seconds since the epoch."""

    id: RequestId
    project: str
    since: float
    task: int = 0
    needs: Needs | None = None
    """What its machine must be; None for a task's turn, which needs no machine."""
    claims: tuple[Claim, ...] = ()
    machine_claims: tuple[str, ...] = ()
    """Locks of which each machine has one of its own; claimed alone."""
    exclusive: bool = False
    """No other script beside it on its machine."""
    lease_key: str = ""
    """Requests of one task with one key prefer one machine; empty asks for no lease."""
    lease_cap: int = 0
    """Grants under the key on one machine before another is preferred; 0 is no cap."""
    spread: str = ""
    """A label: grants of this task's step are spread over the machines' values of it."""
    priority: int = 0
    top_since: float | None = None
    """When somebody moved it to the top of the queue."""

    @property
    def arrival(self) -> Arrival:
        """What orders equals: first come, first served."""
        return (self.since if self.top_since is None else self.top_since), self.task, self.id

    @property
    def step(self) -> str:
        """The step that it is an invocation of: what spreading counts together."""
        return self.id.partition("#")[0]


@dataclass(frozen=True, slots=True)
class Grant:
    """A request that was granted, and why on this machine; a task's turn has no machine."""

    request: Request
    machine: str = ""
    kept: bool = False
    """Its task had a lease there already."""
    leases: int = 0
    """Leases on the machine before this grant."""
    open: int = 1
    """Machines that had room for it."""


@dataclass(frozen=True, slots=True)
class Leases:
    """The machines that a task holds under one lease key, and how many grants it had on each, the oldest first."""

    steps: Mapping[str, int] = field(default_factory=dict)
