"""Secrets come to hand when a step is dispatched: from the environment, a file, age-encrypted text, or a program.

| source | the value is |
|---|---|
| `env` | the environment variable of the engine |
| `file` | the content of a file below the space's root, without its line end if it is one line; a server looks for it in
|        | the directories that its configuration allows, and takes an absolute path that leads into one of them |
| `age` | the decrypted text, likewise; identities (age or OpenSSH) stand in the file that RECONCILE_AGE_IDENTITY names |
| `command` | what the program prints, without the final line end |
| `source`, `key` | what a program prints that the server's configuration names, with the key as its last argument |

An empty value is refused: it is mostly a variable that somebody forgot to set. No error holds a value, and a value is
never part of an argument vector; what a program prints to its standard error is dropped, for it may repeat the secret.
What a program did not give once it may give the next time; every other problem stays until somebody mends it.
"""

import asyncio
import errno
import os
import signal
import stat
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pyrage  # type: ignore[import-untyped]  # it ships no types

from reconciler.model.errors import ReconcilerError
from reconciler.model.variables import SecretSource
from reconciler.schedule.variables import Choice, Chosen

IDENTITY_VARIABLE = "RECONCILE_AGE_IDENTITY"
SECRET_MAX = 127 * 1024  # bytes: secrets reach scripts by the environment, and Linux passes no more in one variable
IDENTITIES_MAX = 1024 * 1024  # bytes of the file of identities: thousands of them
NAME_IT = "add it to [secrets] {} in the file that `serve --config` names"
NAME_ITS_DIRECTORY = "add its directory to [secrets] directories in the file that `serve --config` names"
COMMAND_TIMEOUT = 30.0  # seconds: a vault that takes longer is not answering
BUSY = frozenset({errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ETXTBSY})
"""Why a program cannot be started at this moment, and can the next."""


class SecretUnavailable(ReconcilerError):
    """A secret cannot be had; the text names the variable and its source, never a value.

    `passing`: it may be had the next time, with nothing changed.
    """

    def __init__(self, variable: str, source: str, problem: str, hint: str = "", *, passing: bool = False) -> None:
        super().__init__(f"the value of {variable} cannot be had from {source}: {problem}", hint)
        self.variable = variable
        self.passing = passing
        self._facts = (variable, source, problem, hint)

    def beside(self, why: str) -> "SecretUnavailable":
        """Return it with why the secret was wanted."""
        variable, source, problem, hint = self._facts
        return SecretUnavailable(variable, source, f"{problem}; {why}", hint, passing=self.passing)


@dataclass(frozen=True, slots=True)
class SecretRules:
    """What a server's configuration lets committers name: nothing, where it says nothing."""

    environment: tuple[str, ...] = ()
    """Patterns of names, `SHOP_*`."""
    directories: tuple[Path, ...] = ()
    sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Programs by name; the key is their last argument."""


@dataclass(frozen=True, slots=True)
class Origins:
    """Where secrets come from on this engine: the space's root, the environment, the identities, named programs.

    Without `rules` everything may be named: whoever runs `apply` acts for himself. A server acts for committers.
    """

    root: Path
    environment: Mapping[str, str] = field(repr=False)
    rules: SecretRules | None = None
    command_timeout: float = COMMAND_TIMEOUT


class _Unavailable(Exception):
    """Why a source gives nothing: `problem` completes a sentence, `hint` says how to mend it, `passing` is had next time."""

    def __init__(self, problem: str, hint: str = "", *, passing: bool = False) -> None:
        super().__init__(problem)
        self.problem = problem
        self.hint = hint
        self.passing = passing


async def resolve(variable: str, source: SecretSource, origins: Origins) -> str:
    """Return the value of `source`, which `variable` names; raises SecretUnavailable."""
    failure: _Unavailable | None = None
    try:
        value = _text(await _raw(source, origins))
        if value:
            return value
        failure = _Unavailable("it is empty", "set it, or remove the variable", passing=asks_a_program(source))
    except _Unavailable as error:
        failure = error
    raise SecretUnavailable(variable, described(source), failure.problem, failure.hint, passing=failure.passing)


async def resolve_all(sources: Mapping[str, SecretSource], origins: Origins) -> dict[str, str]:
    """Return the values of several variables, one after the other; raises SecretUnavailable for the first that fails."""
    return {variable: await resolve(variable, source, origins) for variable, source in sources.items()}


def asks_a_program(source: SecretSource) -> bool:
    """Say whether a program gives the value, for which one may have to wait."""
    return source.command is not None or source.source is not None


def plain_values(choices: Mapping[str, Choice], rules: SecretRules | None) -> dict[str, str]:
    """Return the values that come from the environment and may be shown: a condition or a question may name them."""
    names = {
        name: choice.value.env
        for name, choice in choices.items()
        if isinstance(choice, Chosen) and not choice.sensitive and isinstance(choice.value, SecretSource)
    }
    return {
        name: os.environ[source]
        for name, source in names.items()
        if source is not None and source in os.environ and _may_be_read(source, rules)
    }


def described(source: SecretSource) -> str:
    """Name a source for people, in few words; of a command the program alone."""
    match source:
        case SecretSource(env=str(name)):
            return f"the environment variable {name}"
        case SecretSource(file=str(name)):
            return f"the file {name}"
        case SecretSource(age=str()):
            return "its age text"
        case SecretSource(command=(str(program), *_)):
            return f"the command {program}"
        case SecretSource(source=str(name), key=str(key)):
            return f"the source {name}, key {key}"
    return "an empty command"


def forbidden(variable: str, source: SecretSource, rules: SecretRules) -> str:
    """Say why a server gets nothing from a source, whatever is there; "" where that is to be seen by looking."""
    try:
        _check(source, rules)
    except _Unavailable as error:
        return SecretUnavailable(variable, described(source), error.problem).message
    return ""


def _check(source: SecretSource, rules: SecretRules | None) -> None:
    """Raise for what the rules do not allow; without rules only what has to be configured is not there."""
    match source:
        case SecretSource(source=str(name)) if rules is None or name not in rules.sources:
            raise _Unavailable("no source of this name is configured", "use another source, or configure it")
        case SecretSource(env=str(name)) if not _may_be_read(name, rules):
            raise _Unavailable("the server's configuration does not allow it", NAME_IT.format("environment"))
        case SecretSource(file=str()) if rules is not None and not rules.directories:
            raise _not_there()
        case SecretSource(command=tuple()) if rules is not None:
            raise _Unavailable("a server runs no program that a commit names", NAME_IT.format("sources"))


async def _raw(source: SecretSource, origins: Origins) -> bytes:
    _check(source, origins.rules)
    match source:
        case SecretSource(env=str(name)):
            return _from_environment(name, origins)
        case SecretSource(file=str(name)):
            rules = origins.rules
            return _one_line(_from_file(name, origins) if rules is None else _from_directories(name, rules.directories))
        case SecretSource(age=str(text)):
            return _one_line(_from_age(text, origins))
        case SecretSource(command=tuple(argv)) if argv:
            return await _from_command(argv, origins)
        case SecretSource(source=str(name), key=str(key)):
            assert origins.rules is not None, "who has no sources was refused"
            return await _from_command((*origins.rules.sources[name], key), origins)
    raise _Unavailable("it names no program", "write the program and its arguments as a list")


def _text(data: bytes) -> str:
    if len(data) > SECRET_MAX:
        raise _too_long()
    try:
        return data.decode()
    except UnicodeDecodeError:
        failure = _Unavailable("it is no text in UTF-8", "encode it, in base64 for example")
    raise failure  # outside of `except`: the other error would hold the value


def _one_line(data: bytes) -> bytes:
    """Drop the line end of a single line, which editors put there; a key of several lines needs its last one."""
    return data[: -len(b"\n")].removesuffix(b"\r") if data.endswith(b"\n") and data.count(b"\n") == 1 else data


def _from_environment(name: str, origins: Origins) -> bytes:
    if name not in origins.environment:
        raise _Unavailable("it is not set", "set it where reconcile runs")
    return origins.environment[name].encode("utf-8", "surrogateescape")


def _from_file(name: str, origins: Origins) -> bytes:
    """Read a file below the root, by the path that it really has."""
    root = origins.root.resolve()
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise _outside()
    try:
        path = (root / name).resolve(strict=True)
    except (OSError, ValueError, RuntimeError):  # missing, a NUL character, a circle of links
        raise _Unavailable("there is no such file", f"paths are relative to {origins.root}") from None
    if not path.is_relative_to(root):
        raise _outside()
    return _content(path, SECRET_MAX)


def _may_be_read(name: str, rules: SecretRules | None) -> bool:
    return rules is None or any(fnmatchcase(name, pattern) for pattern in rules.environment)


def _from_directories(name: str, directories: tuple[Path, ...]) -> bytes:
    """Read a file that really lies in a directory that the server allows, named by its path there or an absolute one.

    Of several that have it, the first in the configuration's order; what the server runs in is none of them.
    """
    for directory in directories:
        try:
            root = directory.resolve()
            path = (root / name).resolve(strict=True)
        except (OSError, ValueError, RuntimeError):
            continue
        if path.is_relative_to(root):
            return _content(path, SECRET_MAX)
    raise _not_there()


def _not_there() -> _Unavailable:
    return _Unavailable(
        "there is no such file in the directories that the server's configuration allows",
        f"put it into one of them, or {NAME_ITS_DIRECTORY}",
    )


def _outside() -> _Unavailable:
    return _Unavailable(
        "it lies outside of the space's root", "name it relative to the root, without links that lead out"
    )


def _content(path: Path, size_max: int) -> bytes:
    """Return a regular file's bytes, at most one more than `size_max`; never waits for a pipe, never follows a link."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _Unavailable(f"it cannot be opened ({error.strerror})") from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _Unavailable("it is no regular file")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(size_max + 1)
    finally:
        os.close(descriptor)


def _from_age(text: str, origins: Origins) -> bytes:
    identities = _identities(origins)
    try:
        data: bytes = pyrage.decrypt(text.strip().encode(), identities)
    except pyrage.DecryptError:
        raise _Unavailable(
            f"none of the identities in {origins.environment[IDENTITY_VARIABLE]} decrypts it",
            "encrypt it for one of their recipients, armoured (`age --armor`)",
        ) from None
    return data


def _identities(origins: Origins) -> list[Any]:
    """Return pyrage's identities, of which no type is known."""
    name = origins.environment.get(IDENTITY_VARIABLE)
    if not name:
        raise _Unavailable("no age identity is at hand", f"name the file that holds it in {IDENTITY_VARIABLE}")
    data = _content(Path(name).resolve(), IDENTITIES_MAX)
    lines = [line.strip() for line in data.decode("utf-8", "replace").splitlines()]
    try:
        if data.lstrip().startswith(b"-----BEGIN"):
            return [pyrage.ssh.Identity.from_buffer(data)]
        found = [pyrage.x25519.Identity.from_str(line) for line in lines if line and not line.startswith("#")]
    except pyrage.IdentityError:
        found = []
    if not found:
        raise _Unavailable(f"{name} holds no age identities", "make one with `age-keygen`")
    return found


async def _from_command(argv: tuple[str, ...], origins: Origins) -> bytes:
    """Return what a program prints; if it fails to end well, it is killed with every process of its group."""
    process = _started(argv, origins)
    ended = False
    try:
        async with asyncio.timeout(origins.command_timeout):
            data = await _output(process)
            code = await asyncio.to_thread(process.wait)
            ended = True
    except TimeoutError:
        raise _Unavailable(f"it did not end within {origins.command_timeout:g} seconds", passing=True) from None
    finally:
        if not ended:  # out of time, too much output, cancelled
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await asyncio.to_thread(process.wait)
    if code:
        raise _Unavailable(f"it ended with exit code {code}", "run it by hand to see why", passing=True)
    return data.removesuffix(b"\n").removesuffix(b"\r")


def _started(argv: tuple[str, ...], origins: Origins) -> "subprocess.Popen[bytes]":
    """Start a program in one go: asyncio's way may be cancelled halfway, and then leaves its children behind."""
    try:
        return subprocess.Popen(
            argv,
            cwd=origins.root,
            env=dict(origins.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "an argument holds a NUL character"
        passing, hint = isinstance(error, OSError) and error.errno in BUSY, "check the program's name and PATH"
        raise _Unavailable(f"it cannot be started ({reason})", hint, passing=passing) from None


async def _output(process: "subprocess.Popen[bytes]") -> bytes:
    """Read up to the end; raise as soon as it is more than a secret may have."""
    stream = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), process.stdout)
    data = b""
    try:
        while more := await stream.read(SECRET_MAX):
            data += more
            if len(data) > SECRET_MAX:
                raise _too_long()
    finally:
        transport.close()
    return data


def _too_long() -> _Unavailable:
    limit = f"it has more than {SECRET_MAX // 1024} KiB"
    return _Unavailable(limit, "a secret has to fit into an environment variable")
