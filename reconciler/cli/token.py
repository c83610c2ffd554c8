"""`reconcile token`: one-use tokens with which agents enrol."""

import click

from reconciler.cli.desk import Desk
from reconciler.cli.options import at_desk
from reconciler.cli.ordering import ordered, person
from reconciler.cli.output import json_list, note, say, table
from reconciler.cli.until import seconds_of
from reconciler.cli.verbs import Verbs
from reconciler.model.errors import UsageMistake
from reconciler.server.orders.orders import CreateToken, RevokeToken
from reconciler.server.state.times import stamp
from reconciler.server.trust.tokens import TokenRow


@click.group("token", cls=Verbs, no_args_is_help=False)
def command() -> None:
    """Make, list and revoke the one-use tokens with which agents enrol."""


@command.command("create")
@click.option("--worker", metavar="NAME", required=True, help="The worker that the agent becomes.")
@click.option("--pool", "pools", metavar="POOL", multiple=True, required=True, help="A pool it is to be a member of.")
@click.option("--ttl", metavar="TIME", default="1h", show_default=True, help="How long it holds; 24h at most.")
@click.option(
    "--replace", is_flag=True, help="The worker may have another identity or other pools in Git; these follow."
)
@at_desk
def create(*, worker: str, pools: tuple[str, ...], ttl: str, replace: bool, desk: Desk) -> int:
    """Make a token and print it: the one time that it is shown."""
    answer = ordered(desk, CreateToken(person(), worker, pools, _seconds(ttl), replace))
    click.echo(answer.made)
    note(answer.message)
    return 0


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON record a line.")
@at_desk
def list_tokens(*, as_json: bool, desk: Desk) -> int:
    """List the tokens of the last 30 days, the newest first; none shows its secret."""
    found = desk.tokens()
    if as_json:
        json_list(map(record, found))
    else:
        table(("TOKEN", "WORKER", "POOLS", "STATE", "EXPIRES", "MADE BY", "USED BY"), map(_row, found))
    return 0


@command.command("revoke")
@click.argument("token")
@at_desk
def revoke(*, token: str, desk: Desk) -> int:
    """Make a TOKEN useless, by its id; an identity that has used it stays, see `reconcile revoke`."""
    say(ordered(desk, RevokeToken(person(), token)).message)
    return 0


def record(token: TokenRow) -> dict[str, object]:
    """Return a token as JSON."""
    return {
        "type": "token",
        "token": token.id,
        "worker": token.worker,
        "pools": list(token.pools),
        "replace": token.replace,
        "state": token.state,
        "created_by": token.created_by,
        "created_at": stamp(token.created_at),
        "expires_at": stamp(token.expires_at),
        "used_by": token.used_by,
        "used_at": stamp(token.used_at) if token.used_at else None,
        "refusals": token.refusals,
    }


def _row(token: TokenRow) -> tuple[str, ...]:
    return (
        token.id, token.worker, ",".join(token.pools), token.state, stamp(token.expires_at), token.created_by,
        token.used_by,
    )  # fmt: skip


def _seconds(text: str) -> float:
    from pydantic_core import PydanticCustomError

    from reconciler.model.text import Duration

    try:
        return seconds_of("--ttl", Duration.check(text))
    except PydanticCustomError as error:
        raise UsageMistake(f"--ttl {text}: {error.message()}") from error
