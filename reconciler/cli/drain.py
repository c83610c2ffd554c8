"""`reconcile drain`: give a worker nothing new for a time."""

import time
from datetime import UTC, datetime

import click

from reconciler.cli.options import located
from reconciler.cli.ordering import ordered, person
from reconciler.model.errors import UsageMistake
from reconciler.model.text import Duration
from reconciler.server.orders import Drain
from reconciler.server.place import Place


@click.command("drain")
@click.argument("worker")
@click.option("--live", is_flag=True, help="Override what Git declares, for a time.")
@click.option("--reason", metavar="TEXT", default="", help="Why; shown wherever the worker is.")
@click.option(
    "--until",
    metavar="TIME",
    default="24h",
    show_default=True,
    help="When the override ends by itself: a span, or a time in UTC such as 2030-01-31T06:00Z; 30d at most.",
)
@located
def command(*, worker: str, live: bool, reason: str, until: str, place: Place) -> int:
    """Give a WORKER nothing new from now on, whatever Git declares; what runs there goes on."""
    if not live:
        raise UsageMistake(
            "without --live a drain is a change of Git",
            f"write state: draining into the document of {worker}, or override it for a time with --live --reason TEXT",
        )
    click.echo(ordered(place, Drain(person(), worker, reason, _seconds(until))).message)
    return 0


def _seconds(until: str) -> float:
    """Return the seconds from now until a span has passed or a moment comes; raises UsageMistake."""
    if Duration.pattern.fullmatch(until):
        return Duration(until).seconds
    try:
        moment = datetime.fromisoformat(until)
    except ValueError:
        raise UsageMistake(
            f"--until {until}: a span or a time is expected, such as 90m, 24h or 2030-01-31T06:00Z"
        ) from None
    zoned = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return zoned.timestamp() - time.time()
