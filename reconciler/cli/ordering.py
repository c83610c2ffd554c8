"""Order something of the live engine, or do it here: how commands speak that write."""

from reconciler.cli.desk import Desk
from reconciler.cli.output import note
from reconciler.server.engine.control import Request
from reconciler.server.orders.account import account
from reconciler.server.orders.orders import Answer


def person() -> str:
    """Name who orders, as the audit does."""
    return account()


def ordered(desk: Desk, request: Request) -> Answer:
    """Have a request carried out; what a person should look at goes to stderr."""
    answer = desk.decide(request).answer
    for warning in answer.warnings:
        note(f"Warning: {warning}")
    return answer
