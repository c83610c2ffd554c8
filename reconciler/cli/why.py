"""`reconcile why`: why something is as it is."""

import click

from reconciler.cli.desk import Desk
from reconciler.cli.options import at_desk
from reconciler.cli.output import json_list, say


@click.command("why")
@click.argument("address")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON record a line.")
@at_desk
def command(*, address: str, as_json: bool, desk: Desk) -> int:
    """Say why ADDRESS is as it is: where it is declared, what was done to it, what it waits for.

    ADDRESS is Kind/name, Project/name/Step, task/number, plan-…, or a name that one object alone has.
    """
    sentences = desk.reasons(address)
    if as_json:
        json_list({"type": "reason", "address": address, "message": sentence.strip()} for sentence in sentences)
    else:
        for sentence in sentences:
            say(sentence)
    return 0
