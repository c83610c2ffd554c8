"""What the commands about a worker's state in Git have in common."""

from typing import TYPE_CHECKING

from reconciler.cli.writing import Manner, Undertaking, write_back
from reconciler.model.spec import Address
from reconciler.server.state.place import Place

if TYPE_CHECKING:
    from reconciler.model.desired import Declared

BEHIND = ("pools", "policy", "name")
"""Behind which fields of a worker its state is put, where it is not written yet."""

VERBS = {"enabled": "enable", "disabled": "disable", "draining": "drain"}


def declare_state(
    place: Place, worker: str, state: str, manner: Manner, *, verb: str = "", reason: str = "", deadline: str = ""
) -> int:
    """Declare the state of a worker in its file, and until when a drain should have ended."""
    from reconciler.declare.editing import Assigned
    from reconciler.server.forge.writeback import Wish

    verb = verb or VERBS[state]
    assigned = [Assigned(("state",), state, "enabled", BEHIND)]
    arguments = [verb, worker]
    if deadline:
        assigned.append(Assigned(("drain", "deadline"), deadline, behind=("state", *BEHIND)))
        arguments += ["--deadline", deadline]
    if reason:
        arguments += ["--reason", reason]
    wish = Wish(Address("Worker", worker), tuple(assigned))
    return write_back(place, Undertaking(wish, f"{verb.capitalize()} {worker}", tuple(arguments), reason), manner)


def declared_worker(place: Place, worker: str) -> "Declared | None":
    """Return a worker as the working tree declares it; None where it does not, or where that holds errors."""
    from reconciler.declare.load import load

    desired = load(place.root, cache=place.cache if place.cache.is_dir() else None).desired
    return desired.objects.get(Address("Worker", worker)) if desired is not None else None
