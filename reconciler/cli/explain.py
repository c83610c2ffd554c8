"""`reconcile explain`: say where a step would run, before anything runs."""

import click

from reconciler.cli.desk import Desk
from reconciler.cli.options import at_desk
from reconciler.cli.output import json_list, say
from reconciler.plan.explanation import Explanation
from reconciler.server.planning.explaining import Question


@click.command("explain")
@click.argument("step")
@click.option("--environment", metavar="E", required=True, help="Where it would be deployed.")
@click.option("--tenant", metavar="T", help="For whom; absent, for nobody in particular.")
@click.option("--project", metavar="P", help="The project that STEP belongs to.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", help="How to print.")
@click.option("--json", "form", flag_value="json", help="The same as --format json.")
@at_desk
def command(*, step: str, environment: str, tenant: str | None, project: str | None, form: str, desk: Desk) -> int:
    """Say which workers could run STEP, and why the others not. Nothing is written.

    STEP is the name or the id of a step in the working tree, or in the head that a server follows, alone or as
    PROJECT/STEP.
    """
    explanation = desk.explanation(Question(step, environment, tenant, project))
    if form == "json":
        json_list([_record(explanation)])
    else:
        for sentence in explanation.sentences():
            say(sentence)
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
