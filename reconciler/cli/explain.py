"""`reconcile explain`: say where a step would run, before anything runs."""

import click

from reconciler.cli.loading import load_space
from reconciler.cli.options import located
from reconciler.cli.output import json_list
from reconciler.model.live import Slot
from reconciler.model.spec import Address
from reconciler.plan.explanation import Explanation, explain
from reconciler.server.place import Place
from reconciler.server.planning import check_binding, files_of, read_live
from reconciler.server.steps import find_step, read_loads, require


@click.command("explain")
@click.argument("step")
@click.option("--environment", metavar="E", required=True, help="Where it would be deployed.")
@click.option("--tenant", metavar="T", help="For whom; absent, for nobody in particular.")
@click.option("--project", metavar="P", help="The project that STEP belongs to.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", help="How to print.")
@click.option("--json", "form", flag_value="json", help="The same as --format json.")
@located
def command(*, step: str, environment: str, tenant: str | None, project: str | None, form: str, place: Place) -> int:
    """Say which workers could run STEP, and why the others not. Nothing is written.

    STEP is the name or the id of a step in the working tree, alone or as PROJECT/STEP.
    """
    live = read_live(place.data)
    loaded = load_space(place, rev=None, live_paths=files_of(live))
    assert loaded.desired is not None
    check_binding(loaded, live)
    owner, found = find_step(step, project, loaded.desired)
    require(Address("Environment", environment), loaded.desired)
    if tenant is not None:
        require(Address("Tenant", tenant), loaded.desired)
    slot = Slot(owner, environment, tenant)
    loads = read_loads(place.data, live)
    explanation = explain(found, slot, loaded.desired, live.workers, loads, overrides=live.overrides)
    if form == "json":
        json_list([_record(explanation)])
    else:
        for sentence in explanation.sentences():
            click.echo(sentence)
    return 0


def _record(explanation: Explanation) -> dict[str, object]:
    slot = explanation.slot
    return {
        "type": "explanation",
        "step": explanation.step,
        "project": slot.project,
        "environment": slot.environment,
        "tenant": slot.tenant,
        "pool": explanation.pool,
        "because": explanation.because,
        "workers": [
            {
                "name": prospect.name,
                "able": prospect.able,
                "obstacle": prospect.obstacle,
                "leases": prospect.load.leases,
                "attempts": prospect.load.attempts,
                "isolation": prospect.isolation,
                "run_as": prospect.run_as,
                "limits": {
                    "memory": prospect.limits.memory,
                    "cpus": prospect.limits.cpus,
                    "processes": prospect.limits.processes,
                },
            }
            for prospect in explanation.workers
        ],
        "claims": explanation.claims,
        "changes": explanation.changes,
        "sentences": [sentence.strip() for sentence in explanation.sentences()],
    }
