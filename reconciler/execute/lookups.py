"""Names of machines are looked up in threads of their own: a name server that is silent holds up nothing else."""

import asyncio
import socket
import threading
from contextlib import suppress
from typing import TypeAlias
from weakref import WeakKeyDictionary

AT_ONCE = 32
"""Lookups under way; a silent name server keeps each for some 20 s."""

Found: TypeAlias = list[
    tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[str, int] | tuple[str, int, int, int]]
]
"""As `socket.getaddrinfo` returns it."""

_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


async def addresses_of(host: str, port: int) -> Found:
    """Return the addresses of a host for a stream; raises OSError where it has none.

    Who is cancelled leaves a thread behind that ends with its lookup, and does not hold up the end of the program.
    """
    with suppress(socket.gaierror):
        return _asked(host, port, socket.AI_NUMERICHOST)
    loop = asyncio.get_running_loop()
    async with _turns.setdefault(loop, asyncio.Semaphore(AT_ONCE)):
        answer: asyncio.Future[Found] = loop.create_future()
        threading.Thread(
            target=_look_up, args=(loop, answer, host, port), name=f"lookup of {host}", daemon=True
        ).start()
        return await answer


def _look_up(loop: asyncio.AbstractEventLoop, answer: "asyncio.Future[Found]", host: str, port: int) -> None:
    found: Found | OSError
    try:
        found = _asked(host, port, 0)
    except OSError as error:
        found = error
    with suppress(RuntimeError):  # the loop is closed, so nobody waits
        loop.call_soon_threadsafe(_settle, answer, found)


def _asked(host: str, port: int, flags: int) -> Found:
    return [*socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)]  # type: ignore[list-item]  # IP alone


def _settle(answer: "asyncio.Future[Found]", found: Found | OSError) -> None:
    if answer.done():
        return
    if isinstance(found, OSError):
        answer.set_exception(found)
    else:
        answer.set_result(found)
