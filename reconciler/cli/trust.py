"""`reconcile trust`: the installation's own keys, and how they are changed."""

import click

from reconciler.cli.options import beside_state
from reconciler.cli.ordering import ordered, person
from reconciler.cli.output import json_list, say, table
from reconciler.cli.verbs import Verbs
from reconciler.model.errors import UsageMistake
from reconciler.model.trust import AuthorityKey, KeyState, Purpose, Revocation
from reconciler.server.orders.orders import Order, Retire, Stage, Switch
from reconciler.server.state.looking import looking
from reconciler.server.state.place import Place
from reconciler.server.state.times import stamp
from reconciler.store.authority import keys
from reconciler.store.enrolment import revocations

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
@beside_state
def show(*, only_ca: bool, only_pin: bool, as_json: bool, place: Place) -> int:
    """Show the keys with their thumbprints, and what is revoked."""
    with looking(place) as readers:
        found, revoked = readers.read_now(lambda tx: (keys(tx, None), list(revocations(tx).values())))
    whole = not (only_ca or only_pin)
    if not found and not (whole and revoked):
        raise UsageMistake("there is no certificate authority yet", "the first token makes it: reconcile token create")
    if only_ca:
        click.echo("".join(key.certificate for key in found if key.purpose is Purpose.CA), nl=False)
    elif only_pin:
        pins = [key for key in found if key.purpose is Purpose.SERVER and key.state is not KeyState.FORMER]
        for key in sorted(pins, key=lambda key: key.state is KeyState.NEXT):
            click.echo(_thumbprint(key))
    elif as_json:
        json_list([*map(key_record, found), *map(revocation_record, revoked)])
    else:
        _print(found, revoked)
    return 0


@command.command("stage")
@click.argument("purpose", type=PURPOSE)
@beside_state
def stage(*, purpose: str, place: Place) -> int:
    """Make the next key; a next authority is trusted at once."""
    return _order(place, Stage(person(), purpose))


@command.command("switch")
@click.argument("purpose", type=PURPOSE)
@click.option("--force", is_flag=True, help="Even if workers have not heard of the server's next key.")
@beside_state
def switch(*, purpose: str, force: bool, place: Place) -> int:
    """Put the next key to use."""
    return _order(place, Switch(person(), purpose, force))


@command.command("retire")
@click.argument("purpose", type=PURPOSE)
@click.option("--force", is_flag=True, help="Even if workers still rest on the former authority.")
@beside_state
def retire(*, purpose: str, force: bool, place: Place) -> int:
    """End the trust in the former key, and forget it."""
    return _order(place, Retire(person(), purpose, force))


def key_record(key: AuthorityKey) -> dict[str, object]:
    """Return a key of the installation as JSON."""
    return {
        "type": "key",
        "purpose": key.purpose.value,
        "state": key.state.value,
        "thumbprint": _thumbprint(key),
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


def _order(place: Place, order: Order) -> int:
    say(ordered(place, order).message)
    return 0


def _print(found: tuple[AuthorityKey, ...], revoked: list[Revocation]) -> None:
    rows = ((key.purpose.value, key.state.value, stamp(key.since), _thumbprint(key)) for key in found)
    table(("KEY", "STATE", "SINCE", "THUMBPRINT"), rows)
    if revoked:
        click.echo()
        rows_of_revoked = ((each.worker, stamp(each.at), each.by, each.thumbprint, each.reason) for each in revoked)
        table(("REVOKED", "AT", "BY", "THUMBPRINT", "REASON"), rows_of_revoked)


def _thumbprint(key: AuthorityKey) -> str:
    from reconciler.store.certificates import thumbprint_of

    return thumbprint_of(key.certificate)
