"""The control socket: commands that write speak to the live engine here, or write themselves where there is none."""

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from reconciler.model.errors import Conflict, ReconcilerError, UsageMistake
from reconciler.server.decisions import Decision, carry_out_decision, decision_from, decision_to
from reconciler.server.looking import looking
from reconciler.server.place import Place
from reconciler.store.directory import EngineLock
from reconciler.store.writer import Store

LINE_BYTES_MAX = 64 * 1024
"""A request or an answer is one line of JSON; notes of a person are the longest thing in it."""

ANSWER_WITHIN = 30.0
"""Seconds that an engine may take to answer; it writes one transaction."""


class ControlSocket:
    """Answers requests on a socket that only the owner of the data directory can reach."""

    def __init__(self, path: Path, store: Store, *, changed: Callable[[], None]) -> None:
        self._path = path
        self._store = store
        self._changed = changed

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Listen while the context stands; the engine's lock makes any older socket a leftover."""
        with _short_path(self._path) as short:
            self._path.unlink(missing_ok=True)
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            before = os.umask(0o177)
            try:
                listener.bind(short)
            finally:
                os.umask(before)
        server = await asyncio.start_unix_server(self._answer, sock=listener, limit=LINE_BYTES_MAX)
        try:
            yield
        finally:
            server.close()
            self._path.unlink(missing_ok=True)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(ValueError, ConnectionError):
                answer = await self._handle(await reader.readline())
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        finally:
            writer.close()

    async def _handle(self, line: bytes) -> Mapping[str, object]:
        try:
            decision = decision_from(json.loads(line))
            message = await self._store.write(lambda tx: carry_out_decision(tx, decision))
        except ReconcilerError as error:
            return {"error": error.message, "hint": error.hint, "conflict": isinstance(error, Conflict)}
        except (ValueError, KeyError, TypeError) as error:
            return {"error": f"the request was not understood: {error}", "hint": "", "conflict": False}
        self._changed()
        return {"message": message}


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision that is written: the sentence for the person, and whether a live engine takes it up at once."""

    message: str
    by_engine: bool


def decide(place: Place, decision: Decision, *, answer_within: float = ANSWER_WITHIN) -> Decided:
    """Have a decision written, by the live engine or here; returns the sentence for the person who decided.

    Raises UsageMistake where there is nothing to decide, Conflict where neither way is open.
    """
    with looking(place):
        pass  # there is a state, and it can be read
    place.files.create()
    answer = _ask_engine(place.files.socket, decision, answer_within)
    if answer is None:
        with EngineLock.take(place.files), Store.open(place.data, place.files.root) as store:
            return Decided(store.write_now(lambda tx: carry_out_decision(tx, decision)), by_engine=False)
    if "error" in answer:
        kind = Conflict if answer.get("conflict") else UsageMistake
        raise kind(str(answer["error"]), str(answer.get("hint", "")))
    return Decided(str(answer["message"]), by_engine=True)


def _ask_engine(path: Path, decision: Decision, within: float) -> Mapping[str, object] | None:
    """Send a decision to the live engine and wait for its answer so many seconds; None where none listens."""
    request = json.dumps(decision_to(decision)).encode() + b"\n"
    if len(request) > LINE_BYTES_MAX:
        raise UsageMistake(f"the notes are longer than {LINE_BYTES_MAX // 1024} KiB", "shorten them")
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(within)
    with connection, _short_path(path) as short:
        try:
            connection.connect(short)
            connection.sendall(request)
            with connection.makefile("rb") as answers:
                line = answers.readline(LINE_BYTES_MAX)
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        except TimeoutError:
            raise Conflict(
                f"the engine did not answer within {within:g} s, and may still do what was asked",
                "look at it with: reconcile status",
            ) from None
        except ConnectionError:
            line = b""
    if not line.endswith(b"\n"):
        raise Conflict("the engine stopped before it answered", "run the command again")
    answer: Mapping[str, object] = json.loads(line)
    return answer


@contextmanager
def _short_path(path: Path) -> Iterator[str]:
    """Name a socket through its directory's descriptor: the kernel takes no path of more than 107 bytes."""
    descriptor = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)
