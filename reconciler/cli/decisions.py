"""What people decide about tasks and plans, as commands: one function for all of them."""

import click

from reconciler.cli.desk import Desk
from reconciler.cli.following import next_engine
from reconciler.cli.options import at_desk
from reconciler.cli.ordering import person
from reconciler.cli.output import say
from reconciler.model.errors import UsageMistake
from reconciler.server.orders.decisions import ANSWERS, Decision
from reconciler.server.orders.orders import DecidePlan
from reconciler.server.orders.steering import PLAN

WHOSE = "Whose question is answered, by name or id; needed where several steps ask."


def decision_command(verb: str, explanation: str) -> click.Command:
    """Make the command that writes a decision; one that answers a question takes a plan and the step that asks, too."""
    answers = verb in ANSWERS

    @click.command(verb, help=explanation)
    @click.argument("task")
    @click.option("--notes", metavar="TEXT", default="", help="Why; recorded with the decision.")
    @at_desk
    def command(*, task: str, notes: str, desk: Desk, step: str = "") -> int:
        about_plan = answers and task.startswith(PLAN)
        if about_plan and step:
            raise UsageMistake(f"{task} is a plan, and --step names one that asks in a task", "leave --step away")
        request = DecidePlan(person(), task, verb, notes) if about_plan else Decision(verb, task, person(), notes, step)
        decided = desk.decide(request)
        say(decided.message)
        if not decided.by_engine:
            click.echo(f"No engine is running; it takes effect with the next: {next_engine(desk)}", err=True)
        return 0

    if answers:
        command.params.insert(1, click.Option(["--step"], metavar="NAME", default="", help=WHOSE))
    return command
