"""`reconcile wait`: until a commit has become reality, or cannot."""

import time
from typing import TYPE_CHECKING

import click

from reconciler.cli.desk import Desk
from reconciler.cli.exit_codes import ExitCode
from reconciler.cli.options import at_desk
from reconciler.cli.output import say
from reconciler.cli.until import seconds_of
from reconciler.server.answers.waiting import Stand

if TYPE_CHECKING:
    from reconciler.server.answers.commit_names import Standing

LOOK_SECONDS = 0.5

EXITS = {
    Stand.DONE: ExitCode.FINE,
    Stand.FAILED: ExitCode.FAILED,
    Stand.REFUSED: ExitCode.REFUSED,
    Stand.INVALID: ExitCode.ERROR,
    Stand.SUPERSEDED: ExitCode.SUPERSEDED,
}
"""How the command ends where waiting is over."""

UNDER_WAY = {
    Stand.UNDER_WAY: "under way",
    Stand.ASKS: "waits for a person",
    Stand.SUSPENDED: "waits for the end of a suspension",
}
"""What is said of the others while the command waits."""


@click.command("wait")
@click.option("--commit", "commit", metavar="SHA", required=True, help="The commit, or the beginning of its name.")
@click.option("--timeout", metavar="SPAN", default="30m", show_default=True, help="How long to wait at most.")
@at_desk
def command(*, commit: str, timeout: str, desk: Desk) -> int:
    """Wait until the server has carried out a commit, or one that descends from it, and all its deployments succeeded."""
    return wait_for(desk, commit, timeout)


def wait_for(desk: Desk, commit: str, timeout: str, *, for_people: bool = True) -> ExitCode:
    """Wait for a commit within a span, also where a person has to approve it first, and say how it ended.

    Meanwhile each change of where it stands is a line on standard error.
    """
    end, told = time.monotonic() + seconds_of("--timeout", timeout, "90s or 30m"), None
    while True:
        found = desk.standing(commit)
        commit, named = found.commit, found.commit[:12]  # what a branch is called may become another meanwhile
        if found.stand in EXITS:
            say(f"{named}: {found.message}", err=found.stand is not Stand.DONE)
            return EXITS[found.stand]
        if (found.stand is Stand.ASKS and not for_people) or _outlasts(found, end):
            say(f"{named}: {found.message}", err=True)
            return ExitCode.WAITING
        if time.monotonic() >= end:
            say(f"Error: {named} was not carried out within {timeout}: {found.message}", err=True)
            return ExitCode.WAITING if found.stand is Stand.ASKS else ExitCode.TIMED_OUT
        if told != (told := (found.stand, found.message)):
            say(f"{named}: {UNDER_WAY[found.stand]}: {found.message}", err=True)
        time.sleep(LOOK_SECONDS)


def _outlasts(found: "Standing", end: float) -> bool:
    """Say whether a suspension holds the commit up for longer than anybody waits; `end` is on the monotonic clock."""
    return found.until is not None and found.until - time.time() > end - time.monotonic()
