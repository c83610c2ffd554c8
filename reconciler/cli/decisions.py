"""What people decide about tasks and plans, as commands: one function for all of them."""

import click

from reconciler.cli.desk import Desk
from reconciler.cli.following import next_engine
from reconciler.cli.options import at_desk
from reconciler.cli.ordering import person
from reconciler.cli.output import say
from reconciler.server.orders.decisions import Decision
from reconciler.server.orders.orders import DecidePlan
from reconciler.server.orders.steering import PLAN

PLAN_VERBS = ("approve", "reject")
"""What is decided about plans too."""


def decision_command(verb: str, explanation: str) -> click.Command:
    """Make the command that writes a decision."""

    @click.command(verb, help=explanation)
    @click.argument("task")
    @click.option("--notes", metavar="TEXT", default="", help="Why; recorded with the decision.")
    @at_desk
    def command(*, task: str, notes: str, desk: Desk) -> int:
        about_plan = verb in PLAN_VERBS and task.startswith(PLAN)
        request = DecidePlan(person(), task, verb, notes) if about_plan else Decision(verb, task, person(), notes)
        decided = desk.decide(request)
        say(decided.message)
        if not decided.by_engine:
            click.echo(f"No engine is running; it takes effect with the next: {next_engine(desk)}", err=True)
        return 0

    return command
