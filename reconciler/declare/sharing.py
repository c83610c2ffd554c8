"""Parse many files on several processors: other processes turn a share of them into rows of the cache.

A share that is not answered, or a file of it that holds faults, is parsed by the asker as any other: the answer saves
time and decides nothing.
"""

import os
import subprocess
import sys
from base64 import urlsafe_b64decode
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import NamedTuple

from pydantic_core import from_json, to_json

from reconciler.declare.beside import Beside
from reconciler.declare.cache import Row, packed, row_of, unpacked

PROCESSES_MAX = 4  # the asker included; what is shared out grows with them, what each saves falls
START = 1_200  # files that one process parses while another one starts: 0.25 s
BYTES_MAX = 16 * 2**20  # of the files of a share, which are in memory at once; 4,000 small ones have 2 MB
TIMEOUT = 60.0  # seconds for a share; in a tenth of them the asker has parsed it alone

_OTHER = (sys.executable, "-I", "-m", "reconciler.declare.sharing")


class File(NamedTuple):
    """A file to parse; `blob` is Git's name for its content."""

    path: str
    blob: str
    data: bytes


class Share:
    """Files that another process parses meanwhile."""

    def __init__(self, files: list[File]) -> None:
        self.files = files
        self._answer = Beside(self._ask)

    def rows(self) -> Mapping[str, Row]:
        """Wait for the other process and return its rows by path; fewer than files, or none, where it found faults."""
        return unpacked(self._answer.result()) or {}

    def _ask(self) -> bytes:
        with (
            suppress(OSError),
            subprocess.Popen(
                _OTHER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            ) as process,
        ):
            try:
                return process.communicate(to_json(self.files, bytes_mode="base64"), TIMEOUT)[0]
            except subprocess.TimeoutExpired:
                process.kill()
        return b""


def hand_out(files: Iterator[File], count: int) -> list[Share]:
    """Take shares of `files`, of which there are about `count`, and start their processes; none where it does not pay."""
    others = min(PROCESSES_MAX, len(os.sched_getaffinity(0))) - 1
    size = (count - START) // (others + 1)
    return [Share(list(_taken(files, size))) for _ in range(others)] if size >= START else []


def _taken(files: Iterator[File], count: int) -> Iterator[File]:
    room = BYTES_MAX
    for file in islice(files, count):
        yield file
        room -= len(file.data)
        if room <= 0:
            return


def answer(asked: bytes) -> bytes:
    """Return the rows of those files that hold no fault, judged as strictly as files of live objects are."""
    from reconciler.declare.collector import without_collector
    from reconciler.declare.documents import parse_file

    rows = {}
    with without_collector():
        for path, blob, data in from_json(asked):
            parsed = parse_file(path, urlsafe_b64decode(data), known_to_live=True)
            if not parsed.diagnostics:
                rows[path] = row_of(blob, parsed.declared, parsed.foreign)
    return packed(rows)


if __name__ == "__main__":
    sys.stdout.buffer.write(answer(sys.stdin.buffer.read()))
