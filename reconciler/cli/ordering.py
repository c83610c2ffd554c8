"""Order something of the live engine, or do it here: how commands speak that write."""

from reconciler.cli.desk import Desk
from reconciler.cli.local_desk import LocalDesk
from reconciler.cli.output import note
from reconciler.server.engine.control import Request
from reconciler.server.orders.account import account
from reconciler.server.orders.orders import Answer, Order
from reconciler.server.state.place import Place


def person() -> str:
    """Name who orders, as the audit does."""
    return account()


def ordered(place: Place, order: Order) -> Answer:
    """Have an order carried out beside the state; what a person should look at goes to stderr."""
    return ordered_at(LocalDesk(place), order)


def ordered_at(desk: Desk, request: Request) -> Answer:
    """Have a request carried out; what a person should look at goes to stderr."""
    answer = desk.decide(request).answer
    for warning in answer.warnings:
        note(f"Warning: {warning}")
    return answer
