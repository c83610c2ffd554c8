"""The control socket: commands that write speak to the live engine here, or write themselves where there is none."""

import asyncio
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from reconciler.model.errors import Conflict, ReconcilerError, Refused, UsageMistake
from reconciler.protocol.objects import MalformedError, plain, restored
from reconciler.server.engine.leading import Lead, Led, node_of, other_leader
from reconciler.server.orders.decisions import Decision, carry_out_decision, decision_from, decision_to
from reconciler.server.orders.draining import carry_out_drain
from reconciler.server.orders.granting import carry_out_access
from reconciler.server.orders.orders import (
    AccessOrder,
    Answer,
    DrainOrder,
    Order,
    Release,
    SourceOrder,
    order_from,
    order_to,
)
from reconciler.server.orders.releasing import carry_out_release
from reconciler.server.orders.steering import carry_out_steering
from reconciler.server.state import origins
from reconciler.server.state.looking import looking
from reconciler.server.state.place import Place
from reconciler.server.state.sealing import sealer_of
from reconciler.store.database import Transaction
from reconciler.store.directory import EngineLock
from reconciler.store.keys import Sealer
from reconciler.store.writer import Store

Request = Decision | Order
"""What a command asks an engine for."""

KINDS: Mapping[int, type[ReconcilerError]] = {error.exit_code: error for error in (Conflict, Refused, UsageMistake)}
"""How an engine's refusal is raised in the command, by its exit code."""

LINE_BYTES_MAX = 64 * 1024
"""A request or an answer is one line of JSON; notes of a person are the longest thing in it."""

ANSWER_WITHIN = 30.0
"""Seconds that an engine may take to answer; it writes one transaction."""


class ControlSocket:
    """Answers requests on a socket that only the owner of the data directory can reach."""

    def __init__(self, path: Path, store: Store, sealer: Sealer, *, changed: Callable[[], None]) -> None:
        self._path = path
        self._store = store
        self._sealer = sealer
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
        peer: socket.socket = writer.get_extra_info("socket")
        try:
            with suppress(ValueError, ConnectionError):
                answer = await self._handle(await reader.readline(), origins.of_peer(peer))
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        finally:
            writer.close()

    async def _handle(self, line: bytes, origin: str) -> Mapping[str, object]:
        try:
            request = _request_from(json.loads(line))
            answer = await self._store.write(lambda tx: carry_out(tx, request, lambda _: self._sealer, origin))
        except ReconcilerError as error:
            return {"error": error.message, "hint": error.hint, "code": error.exit_code}
        except (ValueError, KeyError, TypeError, MalformedError) as error:
            return {"error": f"the request was not understood: {error}", "hint": "", "code": UsageMistake.exit_code}
        self._changed()
        done: Mapping[str, object] = plain(answer)
        return done


@dataclass(frozen=True, slots=True)
class Decided:
    """A request that is carried out: its answer, and whether a live engine takes it up at once."""

    answer: Answer
    by_engine: bool

    @property
    def message(self) -> str:
        """The sentence for the person."""
        return self.answer.message


def decide(place: Place, request: Request, *, answer_within: float = ANSWER_WITHIN) -> Decided:
    """Have a request carried out, by the live engine or here.

    Raises UsageMistake where there is nothing to decide, Refused where something stands against it, Conflict where
    neither way is open.
    """
    with looking(place):
        pass  # there is a state, and it can be read
    place.files.create()
    answer = _ask_engine(place.files.socket, request, answer_within)
    if answer is None:
        if found := other_leader(place):  # before the lock, which a standby has
            raise Led(found)
        with (
            EngineLock.take(place.files),
            Store.open(place.data, place.files.root) as store,
            Lead.take(store, node_of(place.files)),
        ):
            origin = origins.of_command()
            done = store.write_now(lambda tx: carry_out(tx, request, lambda tx: sealer_of(tx, place.files), origin))
            return Decided(done, by_engine=False)
    if "error" in answer:
        raise KINDS[int(str(answer.get("code", 1)))](str(answer["error"]), str(answer.get("hint", "")))
    return Decided(restored(Answer, answer), by_engine=True)


def _request_from(value: Mapping[str, object]) -> Request:
    return order_from(value) if "order" in value else decision_from(value)


def _request_to(request: Request) -> Mapping[str, object]:
    return decision_to(request) if isinstance(request, Decision) else order_to(request)


def carry_out(tx: Transaction, request: Request, sealing: Callable[[Transaction], Sealer], origin: str) -> Answer:
    """Carry a request out that comes from `origin`; raises UsageMistake, Conflict or Refused."""
    if isinstance(request, Decision):
        return Answer(carry_out_decision(tx, request, origin))
    if isinstance(request, DrainOrder):
        return carry_out_drain(tx, request, time.time(), origin)
    if isinstance(request, Release):
        return carry_out_release(tx, request, time.time(), origin)
    if isinstance(request, SourceOrder):
        return carry_out_steering(tx, request, time.time(), origin)
    if isinstance(request, AccessOrder):
        return carry_out_access(tx, request, time.time(), origin)
    from reconciler.server.orders.trusting import carry_out_order  # commands about tasks start without certificates

    return carry_out_order(tx, request, sealing, time.time(), origin)


def _ask_engine(path: Path, request: Request, within: float) -> Mapping[str, object] | None:
    """Send a request to the live engine and wait for its answer so many seconds; None where none listens."""
    sent = json.dumps(_request_to(request)).encode() + b"\n"
    if len(sent) > LINE_BYTES_MAX:
        raise UsageMistake(f"the notes are longer than {LINE_BYTES_MAX // 1024} KiB", "shorten them")
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(within)
    with connection, _short_path(path) as short:
        try:
            connection.connect(short)
            connection.sendall(sent)
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
