"""`reconcile serve`: the engine kept running; it follows a branch, and agents call it."""

import asyncio
from pathlib import Path

import click

from reconciler.cli.options import located
from reconciler.model.errors import UsageMistake
from reconciler.server.place import Place


@click.command("serve")
@click.option("--agents", metavar="HOST:PORT", help="Where polling agents call; the port by habit is 10943.")
@click.option("--http", metavar="HOST:PORT", help="Where health and metrics are shown.")
@click.option("--config", "config", metavar="FILE", help="What committers may have done on this machine (TOML).")
@click.option("--new-state", is_flag=True, help="Where the state is empty: run the declared deployments.")
@click.option("--adopt", is_flag=True, help="Where the state is empty: record the declared deployments as done.")
@click.option("--log", "form", type=click.Choice(["text", "json"]), default="text", help="The form of the log.")
@located
def command(
    *,
    agents: str | None,
    http: str | None,
    config: str | None,
    new_state: bool,
    adopt: bool,
    form: str,
    place: Place,
) -> int:
    """Carry out each commit of the branch that is checked out, and run what is declared, until stopped.

    Without --config nothing is allowed that reaches beyond the declared workers: no secrets, no steps on this machine,
    no address but ordinary unicast ones is dialled.
    """
    from reconciler.server.configuration import read_configuration
    from reconciler.server.service import Service
    from reconciler.server.voice import Voice

    if new_state and adopt:
        raise UsageMistake("--new-state and --adopt exclude each other")
    configuration = read_configuration(Path(config) if config else None)
    service = Service(place, configuration, Voice(form), agents, http, new_state=new_state, adopt=adopt)
    asyncio.run(service.run())
    return 0
