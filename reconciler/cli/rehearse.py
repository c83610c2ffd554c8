"""`reconcile rehearse`: play the declared deployments on the declared fleet, on virtual time."""

import click

from reconciler.cli.loading import load_space
from reconciler.cli.options import located
from reconciler.cli.output import json_list
from reconciler.server.planning.planning import files_of
from reconciler.server.state.place import Place

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
@located
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
    place: Place,
) -> int:
    """Play the deployments on the declared workers with the real scheduler, on virtual time. Nothing is run or written.

    By default those that `plan` would queue, each step as long as it took before.
    """
    from reconciler.server.planning.rehearsing import Wanted, read_with_durations, rehearsal

    live, recorded = read_with_durations(place.data)
    loaded = load_space(place, rev=None, live_paths=files_of(live))
    seeds = tuple(range(seed, seed + repeat))
    wanted = Wanted(seeds, tasks == "all", workers, durations, default_duration, failing)
    report = rehearsal(loaded, live, recorded, wanted)
    if form == "json":
        from reconciler.plan.rehearsal_records import records

        json_list(records(report))
    else:
        from reconciler.plan.rehearsal_text import render

        click.echo(render(report), nl=False)
    return 0
