"""The server's own log: one event with its fields per line, as text for people or JSON for programs."""

import sys
from typing import TextIO

import structlog
from structlog.typing import EventDict, WrappedLogger

from reconciler.declare.render import printable
from reconciler.execute.watching import Breached, Sighting, StepMoved, TaskMoved

FORMS = ("text", "json")

_LOGFMT = structlog.processors.LogfmtRenderer(key_order=["at", "level", "event"], drop_missing=True)


class Voice:
    """Says what happens, on standard error; secrets never come here, for reasons and names hold none."""

    reads_output = False  # it is in the log of the attempt

    def __init__(self, form: str = "text", stream: TextIO = sys.stderr, **fields: object) -> None:
        self._form, self._stream, self._fields = form, stream, fields
        last = structlog.processors.JSONRenderer() if form == "json" else _line
        self._log = structlog.wrap_logger(
            structlog.WriteLogger(stream),
            processors=[structlog.processors.add_log_level, structlog.processors.TimeStamper("iso", key="at"), last],
            wrapper_class=structlog.BoundLogger,
        ).bind(**fields)

    def about(self, **fields: object) -> "Voice":
        """Return a voice that says these fields with every event."""
        return Voice(self._form, self._stream, **{**self._fields, **fields})

    def say(self, event: str, **fields: object) -> None:
        """Tell that something happened."""
        self._log.info(event, **fields)

    def warn(self, event: str, **fields: object) -> None:
        """Tell that something is not as it should be."""
        self._log.warning(event, **fields)

    def see(self, sighting: Sighting) -> None:
        """Take what a running task does."""
        match sighting:
            case TaskMoved(task, deployment, _, release, state, reason):
                self.say("task", task=task, deployment=deployment, release=release, state=state.value, reason=reason)
            case StepMoved(task, deployment, _, name, state, worker, reason, ticket=ticket):
                facts = {"task": task, "deployment": deployment, "step": name, "state": state.value}
                self.say("step", **facts, worker=worker, attempt=ticket, reason=reason)
            case Breached(worker, kind, times, reason):
                self.warn("breach", worker=worker, kind=kind, times=times, reason=reason)


def _line(logger: WrappedLogger, method: str, fields: EventDict) -> str:
    """Return fields as logfmt; what committers, callers and forges have put into them commands no terminal."""
    shown = {name: _shown(value) if isinstance(value, str) else value for name, value in fields.items()}
    return _LOGFMT(logger, method, shown)


def _shown(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))  # an end of a line is escaped after this
