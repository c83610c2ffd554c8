"""`reconcile rehearse`: play the declared deployments on the declared fleet, on virtual time."""

import click

from reconciler.cli.desk import Desk
from reconciler.cli.options import at_desk
from reconciler.cli.output import json_list

REPEATS_MAX = 1_000
"""Rehearsals of one command: each is kept until all are summed up."""


@click.command("rehearse")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="What durations are drawn by.")
@click.option("--workers", metavar="POOL=+2|-1|=N", multiple=True, help="What if the pool had more or fewer workers?")
@click.option(
    "--duration", "durations", metavar="[PROJECT/]STEP=TIME[..TIME]", multiple=True, help="How long a step takes."
)
@click.option(
    "--default-duration",
    metavar="TIME[..TIME]",
    default="30s",
    show_default=True,
    help="Of steps of which nothing else is known.",
)
@click.option("--fail", "failing", metavar="[PROJECT/]STEP", multiple=True, help="Let this step fail.")
@click.option(
    "--tasks",
    type=click.Choice(["planned", "all"]),
    default="planned",
    show_default=True,
    help="What `plan` would queue, or every declared deployment.",
)
@click.option(
    "--repeat",
    type=click.IntRange(1, REPEATS_MAX),
    default=1,
    show_default=True,
    help="Play it so often, with the seeds from --seed on.",
)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", help="How to print.")
@click.option("--json", "form", flag_value="json", help="The same as --format json.")
@at_desk
def command(
    *,
    seed: int,
    workers: tuple[str, ...],
    durations: tuple[str, ...],
    default_duration: str,
    failing: tuple[str, ...],
    tasks: str,
    repeat: int,
    form: str,
    desk: Desk,
) -> int:
    """Play the deployments on the declared workers with the real scheduler, on virtual time. Nothing is run or written.

    By default those that `plan` would queue, each step as long as it took before; with --server, those of the commit
    that the server follows.
    """
    from reconciler.server.planning.rehearsing import RehearsalForm, Wanted

    seeds = tuple(range(seed, seed + repeat))
    wanted = Wanted(seeds, tasks == "all", workers, durations, default_duration, failing)
    found = desk.rehearsal(wanted, RehearsalForm(form))
    if found.form is RehearsalForm.JSON:
        json_list(found.records)
    else:
        click.echo(found.text, nl=False)
    return 0
