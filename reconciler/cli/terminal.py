"""Progress on a terminal: lines as they come, and below them what runs now, for how long."""

import time
from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from reconciler.cli.progress import LineProgress
from reconciler.execute.watching import Sighting, StepMoved
from reconciler.model.live import StepState
from reconciler.plan.changes import Change, Run

REFRESHES = 8
"""A second: enough for the eye, little for the processor."""


@dataclass(frozen=True, slots=True)
class _Running:
    text: str
    since: float
    spinner: Spinner


class TerminalProgress:
    """Plain lines that scroll, above one line for each running step."""

    reads_output = True

    def __init__(self, *, colour: bool) -> None:
        self._console = Console(stderr=True, no_color=not colour, highlight=False, markup=False, soft_wrap=True)
        self._lines = LineProgress(self._print, colour=colour, careful=True)
        self._running: dict[tuple[int, int], _Running] = {}
        self._live: Live | None = None

    def changed(self, item: Change | Run, outcome: str) -> None:
        """Take one change or run of the plan with its outcome."""
        self._lines.changed(item, outcome)

    def say(self, text: str) -> None:
        """Take a sentence for the person."""
        self._lines.say(text)

    def finish(self) -> None:
        """Take the running steps off the screen."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def see(self, sighting: Sighting) -> None:
        """Print one sighting and keep what runs in sight."""
        self._lines.see(sighting)
        if isinstance(sighting, StepMoved):
            self._follow(sighting)

    def _follow(self, moved: StepMoved) -> None:
        key = (moved.task, moved.index)
        if moved.state in {StepState.RUNNING, StepState.WAITING}:
            words = f"on {moved.worker}" if moved.worker else moved.reason
            self._running[key] = _Running(f"{moved.deployment} {moved.name} {words}", time.monotonic(), Spinner("dots"))
        else:
            self._running.pop(key, None)
        if self._live is None:
            self._live = Live(
                get_renderable=self._picture, console=self._console, refresh_per_second=REFRESHES, transient=True
            )
            self._live.start()

    def _picture(self) -> RenderableType:
        now = time.monotonic()
        return Group(*(self._line(running, now) for running in self._running.values()))

    def _line(self, running: _Running, now: float) -> RenderableType:
        running.spinner.update(text=Text(f" {running.text}  {now - running.since:.0f} s"))
        return running.spinner

    def _print(self, line: str) -> None:
        self._console.print(Text.from_ansi(line))
