"""`reconcile token`: one-use tokens with which agents enrol."""

import time

import click

from reconciler.cli.options import located
from reconciler.cli.ordering import ordered, person
from reconciler.cli.output import json_list, note, table
from reconciler.cli.verbs import Verbs
from reconciler.model.errors import UsageMistake
from reconciler.model.trust import EnrolmentToken
from reconciler.server.looking import looking
from reconciler.server.orders import CreateToken, RevokeToken
from reconciler.server.place import Place
from reconciler.server.times import stamp
from reconciler.store import enrolment


@click.group("token", cls=Verbs, no_args_is_help=False)
def command() -> None:
    """Make, list and revoke the one-use tokens with which agents enrol."""


@command.command("create")
@click.option("--worker", metavar="NAME", required=True, help="The worker that the agent becomes.")
@click.option("--pool", "pools", metavar="POOL", multiple=True, required=True, help="A pool it is to be a member of.")
@click.option("--ttl", metavar="TIME", default="1h", show_default=True, help="How long it holds; 24h at most.")
@click.option("--replace", is_flag=True, help="The worker may have another identity in Git, which this one follows.")
@located
def create(*, worker: str, pools: tuple[str, ...], ttl: str, replace: bool, place: Place) -> int:
    """Make a token and print it: the one time that it is shown."""
    answer = ordered(place, CreateToken(person(), worker, pools, _seconds(ttl), replace))
    click.echo(answer.made)
    note(answer.message)
    return 0


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON record a line.")
@located
def list_tokens(*, as_json: bool, place: Place) -> int:
    """List the tokens of the last 30 days, the newest first; none shows its secret."""
    with looking(place) as readers:
        found = readers.read_now(enrolment.tokens)
    if as_json:
        json_list(map(record, found))
    else:
        table(("TOKEN", "WORKER", "POOLS", "STATE", "EXPIRES", "MADE BY", "USED BY"), map(_row, found))
    return 0


@command.command("revoke")
@click.argument("token")
@located
def revoke(*, token: str, place: Place) -> int:
    """Make a TOKEN useless, by its id; an identity that has used it stays, see `reconcile revoke`."""
    click.echo(ordered(place, RevokeToken(person(), token)).message)
    return 0


def record(token: EnrolmentToken) -> dict[str, object]:
    """Return a token as JSON."""
    return {
        "type": "token",
        "token": token.id,
        "worker": token.worker,
        "pools": list(token.pools),
        "replace": token.replace,
        "state": _state(token),
        "created_by": token.created_by,
        "created_at": stamp(token.created_at),
        "expires_at": stamp(token.expires_at),
        "used_by": token.used_by,
        "used_at": stamp(token.used_at) if token.used_at else None,
        "refusals": token.refusals,
    }


def _row(token: EnrolmentToken) -> tuple[str, ...]:
    return (
        token.id, token.worker, ",".join(token.pools), _state(token), stamp(token.expires_at), token.created_by,
        token.used_by,
    )  # fmt: skip


def _state(token: EnrolmentToken) -> str:
    if token.revoked_at is not None:
        return "revoked"
    if token.used_by:
        return "used"
    return "open" if token.expires_at > time.time() else "expired"


def _seconds(text: str) -> float:
    from pydantic_core import PydanticCustomError

    from reconciler.model.text import Duration

    try:
        return Duration.check(text).seconds
    except PydanticCustomError as error:
        raise UsageMistake(f"--ttl {text}: {error.message()}") from error
