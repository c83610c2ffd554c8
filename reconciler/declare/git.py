"""The few git commands that reading needs: fixed arguments, no configuration of people, no hooks, no prompts."""

import os
import signal
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock, Timer
from typing import IO

from reconciler.model.errors import ReconcilerError

TIMEOUT = 60.0  # seconds for one command; listing a million files takes five
BATCH_MAX = 500  # names asked for before answers are read: their 21 KB fit into a pipe, so nobody waits for nobody
BLOB_MAX = 128 * 2**20  # bytes of a file that is read at all

_SAFE = (
    "git", "--no-pager", "--no-replace-objects", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null",
    "-c", "core.quotePath=false",
)  # fmt: skip


class Commands:
    """The commands of somebody that are under way, which may wait for a network: they are ended together."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self.ended = False

    def end(self) -> None:
        """Kill those that run; one that begins later is killed at once."""
        with self._lock:
            self.ended = True
            for process in self._running:
                _kill(process)

    @contextmanager
    def counting(self, process: "subprocess.Popen[bytes]") -> Iterator[None]:
        """Count a command as long as the block runs."""
        with self._lock:
            self._running.add(process)
            if self.ended:
                _kill(process)
        try:
            yield
        finally:
            with self._lock:
                self._running.discard(process)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a command may have beside the repository: settings, variables, seconds; by itself it reaches no network.

    It is one of `commands`, with which it ends.
    """

    settings: tuple[str, ...] = ("protocol.allow=never",)
    environment: Mapping[str, str] = field(default_factory=dict)
    timeout: float = TIMEOUT
    commands: Commands = field(default_factory=Commands)


HERE = Terms()


class GitFailed(ReconcilerError):
    """Git could not answer; callers may try without it."""

    def __init__(self, arguments: tuple[str, ...], said: str) -> None:
        foreign = "dubious ownership" in said
        hint = "the repository belongs to another account: run as that account, or change its owner" if foreign else ""
        super().__init__(f"git {arguments[0]} failed: {said.strip() or 'it said nothing'}", hint)


class GitSlow(ReconcilerError):
    """Git did not answer in time and was stopped."""

    def __init__(self, command: str, terms: Terms = HERE) -> None:
        hint = "is the disk reachable?" if terms is HERE else "is the other end reachable, and quick enough?"
        super().__init__(f"git {command} took longer than {terms.timeout:g} s and was stopped", hint)


class GitEnded(ReconcilerError):
    """Git was stopped, since whoever asked stops."""

    def __init__(self, command: str) -> None:
        super().__init__(f"git {command} was stopped, since the server stops")


class BlobsMissing(GitFailed):
    """The content of files is not in the repository, or cannot be read; `names` are the blobs that are known to be missing."""

    names: Sequence[str] = ()

    @classmethod
    def of(cls, arguments: tuple[str, ...], name: str, names: Sequence[str]) -> "BlobsMissing":
        """Return the error of a command that asked for the blob `name`."""
        lacking = BlobsMissing(arguments, f"the object {name} is missing")
        lacking.names = names
        return lacking


@dataclass(frozen=True, slots=True)
class Answer:
    """How a command ended, what it printed, and what it said beside that."""

    status: int
    output: bytes
    said: str


def git(root: Path, *arguments: str, terms: Terms = HERE, given: bytes | None = None) -> bytes:
    """Run one command in `root`, which reads `given`, and return its output; raises GitFailed or GitSlow."""
    answer = asked(root, *arguments, terms=terms, given=given)
    if answer.status:
        raise GitFailed(arguments, answer.said)
    return answer.output


def asked(root: Path, *arguments: str, terms: Terms = HERE, given: bytes | None = None) -> Answer:
    """Run one command in `root` whose exit status is an answer too; raises GitSlow and GitEnded."""
    stdin = subprocess.DEVNULL if given is None else subprocess.PIPE
    with _started(root, arguments, terms, stdin=stdin) as process:
        output, said = process.communicate(given)
        if process.returncode < 0 and terms.commands.ended:
            raise GitEnded(arguments[0])
        if process.returncode < 0:
            raise GitSlow(arguments[0], terms)
        return Answer(process.returncode, output, said.decode(errors="replace"))


def blobs(root: Path, names: Iterable[str]) -> Iterator[bytes]:
    """Yield the content of blobs in the order of their names, through one process; raises BlobsMissing or GitSlow."""
    wanted = list(names)
    arguments = ("cat-file", "--batch")
    with _started(root, arguments, HERE, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for first in range(0, len(wanted), BATCH_MAX):
            batch = wanted[first : first + BATCH_MAX]
            process.stdin.write("".join(f"{name}\n" for name in batch).encode())
            process.stdin.flush()
            for name in batch:
                header = process.stdout.readline().split()
                if len(header) != 3:
                    raise BlobsMissing.of(arguments, name, missing(root, wanted))
                size = int(header[2])
                yield process.stdout.read(min(size, BLOB_MAX))
                _skip(process.stdout, size + 1 - min(size, BLOB_MAX))


def missing(root: Path, names: Iterable[str]) -> list[str]:
    """Return which of these objects are not in the repository at `root`; raises GitFailed and GitSlow."""
    wanted = list(dict.fromkeys(names))
    given = "".join(f"{name}\n" for name in wanted).encode()
    checked = asked(root, "cat-file", "--batch-check", given=given)  # it ends at the first that a remote keeps for us
    if checked.status == 0 and b" missing\n" not in checked.output:
        return []
    listed = git(root, "cat-file", "--batch-all-objects", "--unordered", "--batch-check=%(objectname)")
    there = set(listed.decode().split())
    return [name for name in wanted if name not in there]


def _skip(stream: IO[bytes], size: int) -> None:
    """Read on without keeping anything."""
    while size > 0 and (read := len(stream.read(min(size, BLOB_MAX)))):
        size -= read


@contextmanager
def _started(root: Path, arguments: tuple[str, ...], terms: Terms, stdin: int) -> "Iterator[subprocess.Popen[bytes]]":
    """Start git in a process group of its own, which ends with the block or when its time is over."""
    settings = [word for setting in terms.settings for word in ("-c", setting)]
    try:
        process = subprocess.Popen(
            [*_SAFE, *settings, *arguments],
            cwd=root,
            env={**_environment(), **terms.environment},
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        if not root.is_dir():
            raise GitFailed(arguments, f"{root} is not there") from error
        raise ReconcilerError("git is not installed, and this is a repository", "install git") from error
    except OSError as error:
        raise GitFailed(arguments, f"{error.filename or 'git'}: {error.strerror}") from error
    timer = Timer(terms.timeout, _kill, [process])
    timer.daemon = True
    timer.start()
    try:
        with process, terms.commands.counting(process):
            try:
                yield process
            finally:
                _kill(process)
    finally:
        timer.cancel()


def _kill(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        with suppress(ProcessLookupError):  # it has ended meanwhile
            os.killpg(process.pid, signal.SIGKILL)


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return kept | {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
    }
