"""`reconcile why`: why something is as it is."""

import click

from reconciler.cli.options import located
from reconciler.cli.output import json_list
from reconciler.server.looking import looking
from reconciler.server.place import Place
from reconciler.server.reasons import reasons


@click.command("why")
@click.argument("address")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON record a line.")
@located
def command(*, address: str, as_json: bool, place: Place) -> int:
    """Say why ADDRESS is as it is: where it is declared, what was done to it, what it waits for.

    ADDRESS is Kind/name, Project/name/Step, or task/number.
    """
    with looking(place) as readers:
        sentences = readers.read_now(lambda tx: list(reasons(tx, address)))
    if as_json:
        json_list({"type": "reason", "address": address, "message": sentence.strip()} for sentence in sentences)
    else:
        for sentence in sentences:
            click.echo(sentence)
    return 0
