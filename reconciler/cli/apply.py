"""`reconcile apply`: carry a plan out and run what is declared."""

import asyncio
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import click
from pydantic import JsonValue

from reconciler.cli.desk import Desk
from reconciler.cli.exit_codes import ExitCode, combined
from reconciler.cli.loading import load_space
from reconciler.cli.options import Selection, at_desk_of_space, coloured, selecting
from reconciler.cli.output import on_terminal, wants_colour
from reconciler.cli.plan import show
from reconciler.cli.showing import progress_for
from reconciler.cli.wait import wait_for
from reconciler.model.errors import Conflict, Interrupted, UsageMistake
from reconciler.plan.planner import Options
from reconciler.plan.saved import SavedPlan, moved, read
from reconciler.server.engine.embedded import Approval, Embedded, Ending, Finding
from reconciler.server.planning.choosing import options_of
from reconciler.server.planning.planning import Planned
from reconciler.server.planning.shown import Form, shown

FOLLOWED_WITHIN = "1h"
"""How long a server may take to carry out the head of its source."""

WITH_PLANFILE = (
    "a saved plan holds what it was made with; --rev, --target, --exclude, --max-removals and --retry-failed do not go "
    "with it"
)


@click.command("apply")
@click.argument("planfile", required=False, type=click.Path(dir_okay=False, exists=True))
@click.option("--auto-approve", is_flag=True, help="Do not ask.")
@click.option("--new-state", is_flag=True, help="Where the state is empty: run the declared deployments.")
@click.option("--adopt", is_flag=True, help="Where the state is empty: record the declared deployments as done.")
@click.option(
    "--agents",
    metavar="HOST:PORT",
    default=":10943",
    show_default=True,
    help="Where polling agents call, if a worker is declared that does.",
)
@click.option("--json", "as_json", is_flag=True, help="Print plan and progress as JSON lines.")
@at_desk_of_space
@selecting
@coloured
def command(
    *,
    planfile: str | None,
    auto_approve: bool,
    new_state: bool,
    adopt: bool,
    agents: str,
    as_json: bool,
    selection: Selection,
    color: str,
    desk: Desk,
) -> int:
    """Carry out what `plan` shows and run what is declared, with live progress to the end.

    With PLANFILE exactly the saved plan is carried out, if it still holds. Killed at any moment, the same command goes
    on from there: a step that was running is followed again and never started twice.

    With --server, the server looks at its source now, and the command waits until the head is carried out.
    """
    if new_state and adopt:
        raise UsageMistake("--new-state and --adopt exclude each other")
    own = bool(planfile or new_state or adopt or as_json or selection.rev or selection.options != Options())
    if (head := desk.followed_head(as_it_is=not own, repeats=selection.options.retry_failed)) is not None:
        return wait_for(desk, head, FOLLOWED_WITHIN, for_people=False)
    place = desk.place
    saved = _saved(planfile)
    if saved is not None:
        if selection.rev or selection.options != Options():
            raise UsageMistake(WITH_PLANFILE, "make another one with them: reconcile plan --out FILE")
        selection = _saved_selection(saved, selection.space)
    elif not auto_approve and not on_terminal():
        raise UsageMistake(
            "there is no terminal to ask on", "add --auto-approve, or apply a saved plan: reconcile apply PLANFILE"
        )
    colour = wants_colour(color)
    approval = _Asking(saved, colour=colour, as_json=as_json, auto=auto_approve)
    embedded = Embedded(
        place=place,
        load=lambda live_paths: load_space(place, rev=selection.rev, live_paths=live_paths, space=selection.space),
        options=selection.options,
        approval=approval,
        progress=progress_for(as_json=as_json, colour=color),
        new_state=new_state,
        adopt=adopt,
        people=on_terminal(),
        agents=agents,
    )
    return combined(_codes(_to_the_end(embedded)))


def _to_the_end(embedded: Embedded) -> Ending:
    """Apply; SIGTERM counts as Ctrl-C, also before there are steps to look after."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return asyncio.run(embedded.apply())
    except KeyboardInterrupt:
        raise Interrupted("interrupted", "go on with: reconcile apply") from None
    except BrokenPipeError:
        raise Interrupted("nobody reads the output any more", "go on with: reconcile apply") from None
    finally:
        signal.signal(signal.SIGTERM, before)


def _codes(ending: Ending) -> Iterator[ExitCode]:
    """Yield each exit code that an ending is worth."""
    if ending.invalid:
        yield ExitCode.ERROR
    if ending.refused:
        yield ExitCode.REFUSED
    if ending.failed:
        yield ExitCode.FAILED
    if ending.timed_out:
        yield ExitCode.TIMED_OUT
    if ending.unreached:
        yield ExitCode.UNREACHABLE
    if ending.waits:
        yield ExitCode.WAITING


def _saved(planfile: str | None) -> SavedPlan | None:
    return read(Path(planfile).read_text(errors="replace"), planfile) if planfile else None


def _saved_selection(saved: SavedPlan, space: str | None) -> Selection:
    """Return what a plan was saved with: its options, and the revision to read again."""
    chosen = saved.options
    targets, excludes = chosen.get("targets"), chosen.get("excludes")
    options = options_of(
        tuple(map(str, targets)) if isinstance(targets, list) else (),
        tuple(map(str, excludes)) if isinstance(excludes, list) else (),
        str(chosen["maxRemovals"]) if chosen.get("maxRemovals") else None,
        retry_failed=bool(chosen.get("retryFailed")),
    )
    return Selection(None if saved.revision.startswith("tree:") else saved.revision, space, options)


def _rewritten(then: JsonValue, now: Mapping[str, str]) -> list[str]:
    """Say of each script file that its content is another one than the saved plan was made with."""
    before = then if isinstance(then, dict) else {}
    return [
        f"{file}: the script is not what it was when the plan was saved"
        for file, digest in now.items()
        if before.get(file, digest) != digest
    ]


@contextmanager
def _leavable() -> Iterator[None]:
    """Let Ctrl-C end a question at once; the event loop would keep it until there is an answer."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class _Asking(Approval):
    """Shows the plan and asks the person, unless a saved plan or --auto-approve has answered."""

    def __init__(self, saved: SavedPlan | None, *, colour: bool, as_json: bool, auto: bool) -> None:
        self._saved = saved
        self._colour = colour
        self._form = Form.JSON if as_json else Form.TEXT
        self._auto = auto

    def show(self, planned: Planned) -> None:
        show(shown(planned.plan, self._form), colour=self._colour)

    def saved_digest(self) -> str | None:
        return f"{self._saved.serial}:{self._saved.digest}" if self._saved else None

    def check(self, planned: Planned, scripts: Mapping[str, str]) -> None:
        if self._saved is None:
            return
        sentences = moved(self._saved, planned.plan) if self._saved.digest != planned.plan.digest else []
        sentences += _rewritten(self._saved.options.get("scripts"), scripts)
        if not sentences:
            return
        raise Conflict(
            "the saved plan is stale:\n" + "\n".join(f"  {sentence}" for sentence in sentences),
            "make a new one with: reconcile plan --out FILE",
        )

    def approves(self, planned: Planned) -> bool:
        if self._auto or self._saved is not None:
            return True
        click.echo()
        with _leavable():
            return click.confirm("Apply these changes?", default=False)

    def decides_new_state(self, planned: Planned) -> Finding:
        if self._auto or self._saved is not None or not on_terminal():
            return Finding.UNDECIDED
        with _leavable():
            answer = click.prompt(
                "Nothing was ever deployed here. Run the declared deployments, or adopt them as done?",
                type=click.Choice(["run", "adopt", "stop"]),
                default="stop",
            )
        return {"run": Finding.RUN, "adopt": Finding.ADOPT, "stop": Finding.UNDECIDED}[answer]
