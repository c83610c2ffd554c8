"""`reconcile serve`: the engine kept running; it follows a branch, and agents call it."""

import asyncio
from pathlib import Path

import click

from reconciler.cli.options import located
from reconciler.model.errors import UsageMistake
from reconciler.server.state.place import Place


@click.command("serve")
@click.option("--agents", metavar="HOST:PORT", help="Where polling agents call; the port by habit is 10943.")
@click.option("--http", metavar="HOST:PORT", help="Where the API, health and metrics are.")
@click.option("--node", metavar="NAME", help="This node's name among several.  [default: the host's, with the port]")
@click.option("--config", "config", metavar="FILE", help="What committers may have done on this machine (TOML).")
@click.option("--new-state", is_flag=True, help="Where the state is empty: run the declared deployments.")
@click.option("--adopt", is_flag=True, help="Where the state is empty: record the declared deployments as done.")
@click.option("--dev", is_flag=True, help="Follow the working tree, committed or not, for trying things out.")
@click.option("--log", "form", type=click.Choice(["text", "json"]), default="text", help="The form of the log.")
@located
def command(
    *,
    agents: str | None,
    http: str | None,
    node: str | None,
    config: str | None,
    new_state: bool,
    adopt: bool,
    dev: bool,
    form: str,
    place: Place,
) -> int:
    """Carry out each commit of the branch that is checked out, and run what is declared, until stopped.

    Without --config nothing is allowed that reaches beyond the declared workers: no secrets, no steps on this machine,
    no address but ordinary unicast ones is dialled.
    """
    from reconciler.api.web import serve_http
    from reconciler.server.configuration import read_configuration
    from reconciler.server.engine.leading import checked_name, default_name
    from reconciler.server.service import Wishes, service_of
    from reconciler.server.voice import Voice

    if new_state and adopt:
        raise UsageMistake("--new-state and --adopt exclude each other")
    configuration = read_configuration(Path(config) if config else None)
    name = checked_name(node) if node is not None else default_name(agents)
    wishes = Wishes(agents, http, name, new_state=new_state, adopt=adopt, dev=dev)
    asyncio.run(service_of(place, configuration, Voice(form), wishes).run(serve_http))
    return 0
