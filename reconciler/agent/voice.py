"""The agent's voice: one line per event on stderr, `TIME LEVEL EVENT KEY=VALUE …`, never a secret."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import time

PLAIN = re.compile(r"[A-Za-z0-9_./:@+\[\]-]+")
VALUE_MAX = 2000  # letters; what others say of themselves may be long


class Voice:
    """Says each thing once as long as it stays the same."""

    def __init__(self) -> None:
        self._last: dict[str, str] = {}  # one entry per event, whose names are ours

    def say(self, event: str, *, level: str = "info", **fields: object) -> None:
        """Write one line."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        words = [f"{name}={_shown(value)}" for name, value in fields.items()]
        with contextlib.suppress(OSError):  # nobody reads it any more: no reason to stop
            print(stamp, level, event, *words, file=sys.stderr, flush=True)  # noqa: T201 - a program's own voice

    def say_once(self, event: str, *, level: str = "info", **fields: object) -> None:
        """Write one line, unless the same was the last one of this event."""
        shown = repr((level, fields))
        if self._last.get(event) != shown:
            self._last[event] = shown
            self.say(event, level=level, **fields)

    def forget(self, event: str) -> None:
        """Let the next line of this event be written whatever it is."""
        self._last.pop(event, None)


def _shown(value: object) -> str:
    text = str(value)[:VALUE_MAX]
    return text if PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)
