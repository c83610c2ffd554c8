"""The script of a ticket: its files, its environment, and the moment in which it is spawned."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Optional

from reconciler.agent import confinement, durable, language, limits, rooms
from reconciler.agent.accounts import NoAccountError
from reconciler.agent.confinement import Command, Confinement, NotConfinedError
from reconciler.agent.directory import TicketDirectory, script_name
from reconciler.agent.processes import COOKIE_NAME
from reconciler.protocol.tickets import Limits, Secrets, TicketSpec

PIPE_BYTES = 1 << 20  # fewer wakeups in a flood; what the kernel grants to everybody
SET_PIPE_SIZE = 1031  # F_SETPIPE_SZ, named by Python only since 3.10


class NotRunnableError(Exception):
    """Nothing can be spawned for this ticket; the sentence says why and how to mend it."""


@dataclass(frozen=True)
class Prepared:
    """All that is needed to spawn; without a confinement the script runs as we do, and without limits."""

    command: Command
    confinement: Optional[Confinement] = None

    @property
    def groups(self) -> tuple[str, ...]:
        """Return the cgroups of the script."""
        return self.confinement.groups if self.confinement is not None else ()

    @property
    def is_sandboxed(self) -> bool:
        """Say whether the process that is spawned is the sandbox, and the script one below it."""
        return self.confinement is not None and self.confinement.sandbox is not None


@dataclass(frozen=True)
class Spawned:
    """A script that runs: its process and the ends of its pipes that we read."""

    pid: int
    stdout: int
    stderr: int


def prepare(
    directory: TicketDirectory, spec: TicketSpec, secrets: Secrets, helpers: str, marks: dict[str, str]
) -> Prepared:
    """Write the script's file and directories; `marks` are our own variables. Raise `NotRunnableError`."""
    try:
        room = rooms.room(directory, spec, helpers, marks)
    except (NoAccountError, rooms.NoSandboxError) as error:
        raise NotRunnableError(str(error)) from error
    environment = {**room.environment, **spec.environment, **secrets.environment}
    environment.update(language.helper_variables(spec.language, room.helpers, environment))
    environment.update(marks, TMPDIR=room.tmp)
    program = _found(spec.interpreter[0], environment["PATH"])
    try:
        _write(directory, spec, room.confinement)
    except OSError as error:
        raise NotRunnableError(
            f"the script cannot be stored on this worker: {error.strerror}; free some space"
        ) from error
    arguments = (*spec.interpreter, room.script, *spec.arguments)
    kept = room.confinement if spec.limits is None else _limited(room.confinement, spec.limits, marks[COOKIE_NAME])
    return Prepared(Command(program, arguments, environment, room.work), kept)


def spawn(prepared: Prepared) -> Spawned:
    """Start the script in a session of its own, with nothing of ours but its two pipes; raise `NotRunnableError`."""
    out_read, out_write = _pipe()
    error_read, error_write = _pipe()
    try:
        if prepared.confinement is None:
            pid = _spawned(prepared.command, out_write, error_write)
        else:
            pid = confinement.spawned(prepared.confinement, prepared.command, out_write, error_write)
    except (OSError, ValueError) as error:
        raise NotRunnableError(_spawn_sentence(prepared.command, error)) from error
    except NotConfinedError as error:
        kept = prepared.confinement
        is_apart = kept is not None and (kept.account is not None or kept.sandbox is not None)
        what = "kept apart as its worker is declared" if is_apart else "started on this worker"
        raise NotRunnableError(f"the script cannot be {what}: {error}") from error
    finally:
        os.close(out_write)
        os.close(error_write)
    return Spawned(pid, out_read, error_read)


def _spawned(command: Command, stdout: int, stderr: int) -> int:
    os.chdir(command.work)
    try:
        return os.posix_spawn(
            command.program,
            command.arguments,
            command.environment,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, stdout, 1),
                (os.POSIX_SPAWN_DUP2, stderr, 2),
            ],
            setsid=True,
            setsigmask=(),
            setsigdef=(signal.SIGPIPE, signal.SIGCHLD, signal.SIGXFSZ, signal.SIGINT),
        )
    finally:
        os.chdir("/")


def _limited(kept: Optional[Confinement], wanted: Limits, name: str) -> Confinement:
    """Return a confinement, which may be none else, in cgroups that hold the limits; raise `NotRunnableError`."""
    confined = kept or Confinement(None, ())
    try:
        groups = limits.laid(wanted, name)
    except limits.NotLimitedError as error:
        raise NotRunnableError(f"its limits cannot be held on this worker: {error}") from error
    return replace(confined, group=confined.group or groups[0], limiting=groups) if groups else confined


def _found(interpreter: str, path: str) -> str:
    program: Optional[str] = shutil.which(interpreter, path=path)
    if program is None:
        raise NotRunnableError(
            f"{interpreter} is not installed on this worker; install it or run the step elsewhere (PATH is {path})"
        )
    return program


def _write(directory: TicketDirectory, spec: TicketSpec, kept: Optional[Confinement]) -> None:
    """Make the script's directories and its file."""
    name = script_name(spec)
    if kept is not None:
        rooms.furnish(directory.path, name, language.prepared(spec, _text(directory, spec)), kept)
        return
    for inner in ("work", "tmp"):
        with suppress(FileExistsError):  # a shim before us died before it made the claim
            os.mkdir(inner, mode=0o700, dir_fd=directory.descriptor)
    written = name if spec.script is not None else f"{name}.run"
    os.close(durable.create(directory.descriptor, written, language.prepared(spec, _text(directory, spec))))
    if written != name:
        os.rename(written, name, src_dir_fd=directory.descriptor, dst_dir_fd=directory.descriptor)


def _text(directory: TicketDirectory, spec: TicketSpec) -> bytes:
    if spec.script is not None:
        return spec.script.encode("utf-8", "surrogateescape")
    return durable.read(directory.descriptor, script_name(spec))


def _pipe() -> tuple[int, int]:
    read, write = os.pipe()
    os.set_blocking(read, False)
    with suppress(OSError):  # the user's share of pipe memory is used up; a small pipe works too
        fcntl.fcntl(read, SET_PIPE_SIZE, PIPE_BYTES)
    return read, write


def _spawn_sentence(command: Command, error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.E2BIG:
        return "the script cannot be started: its environment and arguments are too large; one value may have 127 KiB"
    detail = error.strerror if isinstance(error, OSError) else str(error)
    return f"{command.program} cannot be started on this worker: {detail}"
