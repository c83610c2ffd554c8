"""`reconcile reject`: a person's decision about a task or a plan."""

from reconciler.cli.decisions import decision_command

command = decision_command(
    "reject",
    "Answer the question of a TASK (a number, or a deployment's name), or a plan that waits (plan-…), with no.",
)
