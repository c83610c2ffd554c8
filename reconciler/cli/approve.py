"""`reconcile approve`: a person's decision about a task."""

from reconciler.cli.decisions import decision_command

command = decision_command(
    "approve",
    "Answer the question of a TASK (a number, or a deployment's name) with yes.",
    "No engine is running; it takes effect with the next: reconcile apply",
)
