"""`reconcile doctor`: check an installation, and say what to do."""

import time
from pathlib import Path

import click

from reconciler.cli.desk import Desk
from reconciler.cli.options import at_desk
from reconciler.cli.output import json_list, say
from reconciler.server.checkup.checkup import Named
from reconciler.server.checkup.findings import Finding, Verdict
from reconciler.server.checkup.settings import Addresses

WIDTH = max(map(len, Verdict))


@click.command("doctor")
@click.option("--config", metavar="FILE", help="The server's configuration.")
@click.option("--agents", metavar="HOST:PORT", help="Where polling agents are to call.")
@click.option("--http", metavar="HOST:PORT", help="Where health, metrics and the API are to be.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON record a line.")
@at_desk
def command(*, config: str | None, agents: str | None, http: str | None, as_json: bool, desk: Desk) -> int:
    """Check the machine, the state and the configuration of a server; run it as the server's account.

    A server that is asked checks itself. It exits 1 where something is wrong. Nothing is changed, and an engine may
    work meanwhile.
    """
    named = Named(Path(config) if config else None, Addresses(agents, http))
    findings = []
    for finding in desk.findings(named, time.time()):
        findings.append(finding)
        if not as_json:
            _show(finding)
    if as_json:
        json_list(map(record, findings))
    return int(any(finding.verdict is Verdict.WRONG for finding in findings))


def record(finding: Finding) -> dict[str, object]:
    """Return a finding as JSON."""
    return {
        "type": "finding", "check": finding.check, "verdict": finding.verdict.value, "sentence": finding.sentence,
        "fix": finding.fix,
    }  # fmt: skip


def _show(finding: Finding) -> None:
    say(f"{finding.verdict.ljust(WIDTH)}  {finding.check}: {finding.sentence}")
    if finding.fix:
        say(f"{' ' * WIDTH}  {finding.fix}")
