"""`reconcile cancel`: a person's decision about a task."""

from reconciler.cli.decisions import decision_command

command = decision_command(
    "cancel",
    "Stop a TASK (a number, or a deployment's name) and everything that it started.",
)
