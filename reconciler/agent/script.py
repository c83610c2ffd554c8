"""The script of a ticket: its files, its environment, and the moment in which it is spawned."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
from contextlib import suppress
from dataclasses import dataclass
from typing import Optional

from reconciler.agent import durable, language
from reconciler.agent.directory import TicketDirectory, script_name
from reconciler.protocol.tickets import Secrets, TicketSpec

PIPE_BYTES = 1 << 20  # fewer wakeups in a flood; what the kernel grants to everybody
SET_PIPE_SIZE = 1031  # F_SETPIPE_SZ, named by Python only since 3.10


class NotRunnableError(Exception):
    """Nothing can be spawned for this ticket; the sentence says why and how to mend it."""


@dataclass(frozen=True)
class Prepared:
    """All that is needed to spawn."""

    program: str
    arguments: tuple[str, ...]
    environment: dict[str, str]
    work: str


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
    environment = language.minimal_environment(os.environ, home=directory.inside("work"))
    environment.update(spec.environment)
    environment.update(secrets.environment)
    environment.update(language.helper_variables(spec.language, helpers, environment))
    environment.update(marks, TMPDIR=directory.inside("tmp"))
    program = _found(spec.interpreter[0], environment["PATH"])
    try:
        for name in ("work", "tmp"):
            with suppress(FileExistsError):  # a shim before us died before it made the claim
                os.mkdir(name, mode=0o700, dir_fd=directory.descriptor)
        _write_script(directory, spec)
    except OSError as error:
        raise NotRunnableError(
            f"the script cannot be stored on this worker: {error.strerror}; free some space"
        ) from error
    arguments = (*spec.interpreter, directory.inside(script_name(spec)), *spec.arguments)
    return Prepared(program, arguments, environment, directory.inside("work"))


def spawn(prepared: Prepared) -> Spawned:
    """Start the script in a session of its own, with nothing of ours but its two pipes; raise `NotRunnableError`."""
    out_read, out_write = _pipe()
    error_read, error_write = _pipe()
    os.chdir(prepared.work)
    try:
        pid = os.posix_spawn(
            prepared.program,
            prepared.arguments,
            prepared.environment,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, out_write, 1),
                (os.POSIX_SPAWN_DUP2, error_write, 2),
            ],
            setsid=True,
            setsigmask=(),
            setsigdef=(signal.SIGPIPE, signal.SIGCHLD, signal.SIGXFSZ, signal.SIGINT),
        )
    except (OSError, ValueError) as error:
        raise NotRunnableError(_spawn_sentence(prepared, error)) from error
    finally:
        os.chdir("/")
        os.close(out_write)
        os.close(error_write)
    return Spawned(pid, out_read, error_read)


def _found(interpreter: str, path: str) -> str:
    program: Optional[str] = shutil.which(interpreter, path=path)
    if program is None:
        raise NotRunnableError(
            f"{interpreter} is not installed on this worker; install it or run the step elsewhere (PATH is {path})"
        )
    return program


def _write_script(directory: TicketDirectory, spec: TicketSpec) -> None:
    name = script_name(spec)
    if spec.script is not None:
        text = spec.script.encode("utf-8", "surrogateescape")
        os.close(durable.create(directory.descriptor, name, language.prepared(spec, text)))
        return
    text = durable.read(directory.descriptor, name)
    os.close(durable.create(directory.descriptor, f"{name}.run", language.prepared(spec, text)))
    os.rename(f"{name}.run", name, src_dir_fd=directory.descriptor, dst_dir_fd=directory.descriptor)


def _pipe() -> tuple[int, int]:
    read, write = os.pipe()
    os.set_blocking(read, False)
    with suppress(OSError):  # the user's share of pipe memory is used up; a small pipe works too
        fcntl.fcntl(read, SET_PIPE_SIZE, PIPE_BYTES)
    return read, write


def _spawn_sentence(prepared: Prepared, error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.E2BIG:
        return "the script cannot be started: its environment and arguments are too large; one value may have 127 KiB"
    detail = error.strerror if isinstance(error, OSError) else str(error)
    return f"{prepared.program} cannot be started on this worker: {detail}"
