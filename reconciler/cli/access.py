"""`reconcile access`: tokens of the API."""

import click

from reconciler.cli.desk import Desk
from reconciler.cli.options import at_desk, at_desk_of_space
from reconciler.cli.ordering import ordered, person
from reconciler.cli.output import json_list, note, say, table
from reconciler.cli.until import seconds_of
from reconciler.cli.verbs import Verbs
from reconciler.model.access import ROLES
from reconciler.server.answers.access import AccessRow
from reconciler.server.orders.orders import CreateAccess, RevokeAccess
from reconciler.server.state.times import stamp


@click.group("access", cls=Verbs, no_args_is_help=False)
def command() -> None:
    """Make, list and revoke the tokens with which the API is called."""


@command.command("create")
@click.argument("name")
@click.option(
    "--role", "roles", metavar="ROLE", multiple=True, required=True, help=f"What it may do: {', '.join(ROLES)}."
)
@click.option("--space", metavar="NAME", help="Where; * is every space.  [default: that of this state]")
@click.option("--expires", metavar="SPAN", default="90d", show_default=True, help="How long it holds; 366d at most.")
@at_desk_of_space
def create(*, name: str, roles: tuple[str, ...], space: str | None, expires: str, desk: Desk) -> int:
    """Make a token and print it: the one time that it is shown. The audit names what it does after NAME."""
    answer = ordered(
        desk, CreateAccess(person(), name, roles, space or "", seconds_of("--expires", expires, "12h or 90d"))
    )
    click.echo(answer.made)
    note(answer.message)
    return 0


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON record a line.")
@at_desk
def list_tokens(*, as_json: bool, desk: Desk) -> int:
    """List the tokens by name; none shows its secret."""
    found = desk.access()
    if as_json:
        json_list(map(record, found))
    else:
        table(("NAME", "ROLES", "SPACE", "STATE", "EXPIRES", "LAST USED", "MADE BY"), map(_row, found))
    return 0


@command.command("revoke")
@click.argument("name")
@at_desk
def revoke(*, name: str, desk: Desk) -> int:
    """Make the token NAME useless at once."""
    say(ordered(desk, RevokeAccess(person(), name)).message)
    return 0


def record(token: AccessRow) -> dict[str, object]:
    """Return a token as JSON."""
    return {
        "type": "access",
        "name": token.name,
        "grants": [{"role": grant.role, "space": grant.space} for grant in token.grants],
        "state": token.state,
        "created_by": token.created_by,
        "created_at": stamp(token.created_at),
        "expires_at": stamp(token.expires_at),
        "last_used_at": stamp(token.last_used_at) if token.last_used_at else None,
    }


def _row(token: AccessRow) -> tuple[str, ...]:
    return (
        token.name,
        ",".join(grant.role for grant in token.grants),
        ",".join(dict.fromkeys(grant.space for grant in token.grants)),
        token.state,
        stamp(token.expires_at),
        stamp(token.last_used_at) if token.last_used_at else "never",
        token.created_by,
    )
