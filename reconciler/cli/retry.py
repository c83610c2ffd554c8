"""`reconcile retry`: a person's decision about a task."""

from reconciler.cli.decisions import decision_command

command = decision_command(
    "retry",
    "Run a TASK that did not succeed again, with the process it pinned.",
)
