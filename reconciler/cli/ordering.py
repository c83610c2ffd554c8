"""Order something of the live engine, or do it here: how commands about trust speak."""

import socket
from getpass import getuser

from reconciler.cli.output import note
from reconciler.server.control import decide
from reconciler.server.orders import Answer, Order
from reconciler.server.place import Place


def person() -> str:
    """Name who orders, as the audit does."""
    return f"{getuser()}@{socket.gethostname()}"


def ordered(place: Place, order: Order) -> Answer:
    """Have an order carried out; what a person should look at goes to stderr."""
    answer = decide(place, order).answer
    for warning in answer.warnings:
        note(f"Warning: {warning}")
    return answer
