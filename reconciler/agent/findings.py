"""What a script told us by service messages, gathered until its end."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Callable

from reconciler.agent.service import ServiceMessage
from reconciler.protocol.journal import Level
from reconciler.protocol.tickets import Output

OUTPUT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")
OUTPUT_BYTES_MAX = 64 << 10  # one value
OUTPUTS_BYTES_MAX = 192 << 10  # all of them: they travel in one frame
ARTIFACT_CALLS_MAX = 10_000  # more calls than that are a script gone wild
LEVELS = {level.name.lower(): level for level in Level}


@dataclass
class Findings:
    """Outputs, artifacts and the last word of one script."""

    add_masks: Callable[[list[str]], None]
    set_level: Callable[[Level], None]
    report_progress: Callable[[str], None]
    complain: Callable[[str], None]
    outputs: dict[str, Output] = field(default_factory=dict)
    artifacts: list[tuple[str, str]] = field(default_factory=list)
    failure: str = ""

    def take(self, message: ServiceMessage) -> None:
        """Do what one message asks for; what makes no sense is complained about in the log."""
        handler = {
            "set_output": self._set_output,
            "add_artifact": self._add_artifact,
            "progress": self._progress,
            "log_level": self._log_level,
            "mask": self._mask,
            "fail": self._fail,
        }.get(message.verb)
        if handler is None:
            self.complain(f"{message.verb[:40]!r} is no service message that this worker knows")
        else:
            handler(message.values)

    def _set_output(self, values: dict[str, str]) -> None:
        output = Output(values.get("name", ""), values.get("value", ""), values.get("sensitive") == "true")
        if output.sensitive:
            self.add_masks([output.value])
        others = sum(_size(other) for name, other in self.outputs.items() if name != output.name)
        if not OUTPUT_NAME.fullmatch(output.name):
            self._refuse(f"output name {output.name[:40]!r} is not made of letters, digits, '_', '.' and '-'")
        elif len(output.value.encode("utf-8", "surrogateescape")) > OUTPUT_BYTES_MAX:
            self._refuse(f"output {output.name} is longer than {OUTPUT_BYTES_MAX >> 10} KiB; write an artifact instead")
        elif others + _size(output) > OUTPUTS_BYTES_MAX:
            self._refuse(f"all outputs together are longer than {OUTPUTS_BYTES_MAX >> 10} KiB at {output.name}")
        else:
            self.outputs[output.name] = output

    def _add_artifact(self, values: dict[str, str]) -> None:
        if len(self.artifacts) < ARTIFACT_CALLS_MAX:
            path = values.get("path", "")
            self.artifacts.append((path, values.get("name") or path))

    def _progress(self, values: dict[str, str]) -> None:
        try:
            percent = min(100.0, max(0.0, float(values.get("percent", ""))))
        except ValueError:
            self.complain(f"progress {values.get('percent', '')[:40]!r} is no number")
            return
        self.report_progress(f"{percent:g} {values.get('message', '')}".rstrip())

    def _log_level(self, values: dict[str, str]) -> None:
        level = LEVELS.get(values.get("level", ""))
        if level is None:
            self.complain(f"log level {values.get('level', '')[:40]!r} is none of {', '.join(LEVELS)}")
        else:
            self.set_level(level)

    def _mask(self, values: dict[str, str]) -> None:
        self.add_masks([values.get("value", "")])

    def _fail(self, values: dict[str, str]) -> None:
        self.failure = values.get("message", "")[:4096] or "the script called fail"

    def _refuse(self, sentence: str) -> None:
        self.complain(sentence)
        self.failure = self.failure or sentence


def _size(output: Output) -> int:
    return len(output.name) + len(output.value.encode("utf-8", "surrogateescape"))
