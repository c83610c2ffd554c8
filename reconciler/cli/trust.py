"""`reconcile trust`: the installation's own keys, and how they are changed."""

from collections.abc import Sequence

import click

from reconciler.cli.desk import Desk
from reconciler.cli.options import at_desk
from reconciler.cli.ordering import ordered, person
from reconciler.cli.output import json_list, say, table
from reconciler.cli.verbs import Verbs
from reconciler.model.errors import UsageMistake
from reconciler.model.trust import KeyState, Purpose, Revocation
from reconciler.server.answers.trust import KeyRow
from reconciler.server.orders.orders import Order, Retire, Stage, Switch
from reconciler.server.state.times import stamp

PURPOSE = click.Choice([purpose.value for purpose in Purpose])


@click.group("trust", cls=Verbs, no_args_is_help=False)
def command() -> None:
    """Show and change the installation's own keys: certificate authority (ca), server (server), snapshots (snapshot).

    A change has three steps: stage makes the next key, which agents hear of; switch puts it to use; retire ends the
    trust in the former one.
    """


@command.command("show")
@click.option("--ca", "only_ca", is_flag=True, help="Print the authorities' certificates alone (PEM).")
@click.option("--pin", "only_pin", is_flag=True, help="Print the server's pins alone: the present, then the next one.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON record a line.")
@at_desk
def show(*, only_ca: bool, only_pin: bool, as_json: bool, desk: Desk) -> int:
    """Show the keys with their thumbprints, and what is revoked."""
    trust = desk.trust()
    found, revoked = trust.keys, trust.revocations
    whole = not (only_ca or only_pin)
    if not found and not (whole and revoked):
        raise UsageMistake("there is no certificate authority yet", "the first token makes it: reconcile token create")
    if only_ca:
        click.echo("".join(key.certificate for key in found if key.purpose == Purpose.CA), nl=False)
    elif only_pin:
        pins = [key for key in found if key.purpose == Purpose.SERVER and key.state != KeyState.FORMER]
        for key in sorted(pins, key=lambda key: key.state == KeyState.NEXT):
            click.echo(key.thumbprint)
    elif as_json:
        json_list([*map(key_record, found), *map(revocation_record, revoked)])
    else:
        _print(found, revoked)
    return 0


@command.command("stage")
@click.argument("purpose", type=PURPOSE)
@at_desk
def stage(*, purpose: str, desk: Desk) -> int:
    """Make the next key; a next authority is trusted at once."""
    return _order(desk, Stage(person(), purpose))


@command.command("switch")
@click.argument("purpose", type=PURPOSE)
@click.option("--force", is_flag=True, help="Even if workers have not heard of the server's next key.")
@at_desk
def switch(*, purpose: str, force: bool, desk: Desk) -> int:
    """Put the next key to use."""
    return _order(desk, Switch(person(), purpose, force))


@command.command("retire")
@click.argument("purpose", type=PURPOSE)
@click.option("--force", is_flag=True, help="Even if workers still rest on the former authority.")
@at_desk
def retire(*, purpose: str, force: bool, desk: Desk) -> int:
    """End the trust in the former key, and forget it."""
    return _order(desk, Retire(person(), purpose, force))


def key_record(key: KeyRow) -> dict[str, object]:
    """Return a key of the installation as JSON."""
    return {
        "type": "key",
        "purpose": key.purpose,
        "state": key.state,
        "thumbprint": key.thumbprint,
        "since": stamp(key.since),
        "made_at": stamp(key.made_at),
        "certificate": key.certificate,
    }


def revocation_record(found: Revocation) -> dict[str, object]:
    """Return a revocation as JSON."""
    return {
        "type": "revocation",
        "thumbprint": found.thumbprint,
        "worker": found.worker,
        "reason": found.reason,
        "by": found.by,
        "at": stamp(found.at),
    }


def _order(desk: Desk, order: Order) -> int:
    say(ordered(desk, order).message)
    return 0


def _print(found: Sequence[KeyRow], revoked: Sequence[Revocation]) -> None:
    rows = ((key.purpose, key.state, stamp(key.since), key.thumbprint) for key in found)
    table(("KEY", "STATE", "SINCE", "THUMBPRINT"), rows)
    if revoked:
        click.echo()
        rows_of_revoked = ((each.worker, stamp(each.at), each.by, each.thumbprint, each.reason) for each in revoked)
        table(("REVOKED", "AT", "BY", "THUMBPRINT", "REASON"), rows_of_revoked)
