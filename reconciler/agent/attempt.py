"""What one attempt produces: its journal, its outputs and artifacts, and at last its Final."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from typing import Callable

from reconciler.agent import rooms
from reconciler.agent.collect import NotCollectableError, collect, matching
from reconciler.agent.directory import TicketDirectory, fill_exit
from reconciler.agent.findings import Findings
from reconciler.agent.output import JournalFullError, Limiter, OutputStream, begun_journal, masked
from reconciler.protocol.journal import Kind, Level
from reconciler.protocol.tickets import Artifact, Ending, Final, Output, Secrets, TicketSpec, Usage

MESSAGE_MAX = 8192  # characters of the final's message


class Attempt:
    """The product side of a running script; knows nothing of processes and channels.

    Its files are created before that, so that the claim's sync of the directory carries their names too.
    """

    def __init__(self, directory: TicketDirectory, spec: TicketSpec, secrets: Secrets, nonce: str) -> None:
        self._directory = directory
        self._spec = spec
        self._masks = [nonce, *secrets.masks]
        self._has_secrets = bool(secrets.environment)
        self._exit = directory.blank_exit()
        self._journal = begun_journal(directory.descriptor, spec.output_limit)
        self._limiter = Limiter(spec.output_limit)
        self._findings = Findings(self._add_masks, self._set_level, self._report_progress, self.complain)
        self.stdout = self._stream(Kind.STDOUT)
        self.stderr = self._stream(Kind.STDERR)
        self._broken = ""  # why the journal cannot be written any more
        self._blame = ""  # what has made it fail, beside its output

    @property
    def length(self) -> int:
        """Return the bytes of journal written so far."""
        return self._journal.length

    @property
    def death_sentence(self) -> str:
        """Say why the script must be killed for its output, or nothing."""
        if self._broken:
            return self._broken
        if self._limiter.wants_kill and self._spec.output_limit is not None:
            return f"killed because it printed more than {self._spec.output_limit.bytes_max} bytes"
        return ""

    def feed(self, stream: OutputStream, data: bytes) -> None:
        """Take what the script printed; what cannot be stored is dropped and leads to `death_sentence`."""
        self._write(lambda: stream.feed(data))

    def say(self, sentence: str, level: Level = Level.WARNING) -> None:
        """Write a sentence of ours into the journal."""
        self._append(Kind.SYSTEM, level, masked(sentence, self._masks) + "\n")

    def complain(self, sentence: str) -> None:
        """Write into the journal what is wrong with the script's calls."""
        self.say(sentence, Level.ERROR)

    def blame(self, sentence: str, *, fails: bool) -> None:
        """Write into the journal what was done to the script; where it `fails`, the Final says so too."""
        self.say(sentence)
        self._blame = sentence if fails else ""

    @property
    def knows_secrets(self) -> bool:
        """Say whether values were seen here that nobody may see."""
        return self._has_secrets or len(self._masks) > 1

    def ended(self, ending: Ending, usage: Usage) -> tuple[Final, tuple[Output, ...]]:
        """Close the journal and say how it all ended: the Final without sensitive values, and those values."""
        for stream in (self.stdout, self.stderr):
            self._write(stream.close)
        if self._limiter.dropped:
            self._append(Kind.GAP, Level.WARNING, str(self._limiter.dropped))
        artifacts = tuple(self._collected())
        outputs = tuple(self._findings.outputs.values())
        message = " ".join(filter(None, (self.death_sentence, self._blame, self._findings.failure)))
        final = Final(
            self._spec.ticket,
            ending,
            self._journal.length,
            self._journal.digest(),
            outputs=tuple(replace(output, value="") if output.sensitive else output for output in outputs),
            artifacts=artifacts,
            usage=usage,
            message=masked(message, self._masks)[:MESSAGE_MAX],
        )
        return final, tuple(output for output in outputs if output.sensitive)

    def settle(self) -> None:
        """Let the blank `exit` reach its place on the disk, while the script runs: filling it then takes half as long."""
        with suppress(OSError):  # a full disk: whoever fills it says so
            os.fdatasync(self._exit)

    def publish(self, final: Final) -> None:
        """Make the journal durable, then `final` the ticket's ending; may be tried again after `OSError`."""
        self._journal.sync()
        fill_exit(self._exit, final)

    def close(self) -> None:
        """Let go of the files."""
        self._journal.close()
        os.close(self._exit)

    def _collected(self) -> list[Artifact]:
        work = self._directory.inside("work")
        wanted = [(path, path) for pattern in self._spec.artifacts for path in matching(work, pattern)]
        wanted += [(rooms.as_we_see(path), name) for path, name in self._findings.artifacts]
        if not wanted:
            return []
        kept: list[Artifact] = []
        for result in collect(work, self._directory.inside("artifacts"), wanted):
            if isinstance(result, NotCollectableError):
                self.complain(str(result))
            else:
                kept.append(result)
        return kept

    def _stream(self, kind: Kind) -> OutputStream:
        nonce, *values = self._masks
        return OutputStream(kind, nonce, values, self._journal, self._limiter, on_message=self._findings.take)

    def _add_masks(self, values: list[str]) -> None:
        self._masks += values
        for stream in (self.stdout, self.stderr):
            stream.add_masks(values)

    def _set_level(self, level: Level) -> None:
        self.stdout.level = level

    def _report_progress(self, text: str) -> None:
        self._append(Kind.PROGRESS, Level.INFO, masked(text, self._masks))

    def _write(self, work: Callable[[], None]) -> None:
        if self._broken:
            return
        try:
            work()
        except OSError as error:
            self._broken = (
                f"killed because its output could not be stored on the worker: {error.strerror}; free some space"
            )
        except JournalFullError as error:
            self._broken = f"killed because {error}"

    def _append(self, kind: Kind, level: Level, text: str) -> None:
        if self._broken:
            return
        try:
            self._journal.append(kind, level, text.encode("utf-8", "replace"))
        except OSError as error:
            self._broken = f"its log could not be stored on the worker: {error.strerror}; free some space"
        except JournalFullError as error:
            self._broken = f"killed because {error}"
