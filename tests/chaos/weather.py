"""A TCP proxy with weather: what passes through it is delayed, throttled, held back, lost, cut off, or heard once more."""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeVar

PIECE = 16 << 10  # bytes that are passed on at once
RECORDED_MAX = 256 << 10  # bytes of one connection that are kept to be heard once more
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close by RST, as a firewall that has lost its table does
T = TypeVar("T")


@dataclass(slots=True)
class Sky:
    """What happens to bytes at present; each field is one kind of weather."""

    refuses: bool = False
    """New connections end at once."""
    holds: frozenset[str] = frozenset()
    """Directions in which nothing moves while the connection stands: `up`, `down`."""
    delay: float = 0.0
    """Seconds that each piece takes."""
    rate: float = 0.0
    """Bytes per second; 0 is without limit."""
    cut_after: int | None = None
    """Bytes after which a connection is reset, in the middle of whatever it carries."""
    loses: bool = False
    """The next piece vanishes from the stream, which TLS then takes for a forgery."""


@dataclass(eq=False)
class Proxy:
    """Passes connections on to `target`, through the weather."""

    target: int
    port: int = 0
    sky: Sky = field(default_factory=Sky)
    recorded: bytes = b""
    _open: set[asyncio.StreamWriter] = field(default_factory=set)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection to its end."""
        if self.sky.refuses:
            _reset(writer)
            return
        try:
            there = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            _reset(writer)
            return
        ends = (writer, there[1])
        self._open.update(ends)
        self.recorded = b""
        passing = [
            asyncio.create_task(self._pass("up", reader, there[1])),
            asyncio.create_task(self._pass("down", there[0], writer)),
        ]
        try:
            await asyncio.wait(passing, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in passing:
                task.cancel()
            await asyncio.gather(*passing, return_exceptions=True)
            self._open.difference_update(ends)
            for end in ends:
                end.close()

    async def _pass(self, direction: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await reader.read(PIECE):
                while direction in self.sky.holds:
                    await self._changed.wait()
                if direction == "up" and len(self.recorded) < RECORDED_MAX:
                    self.recorded += piece
                if self.sky.loses:
                    self.sky.loses = False
                    continue
                await self._slow(len(piece))
                rest = self._left_of(len(piece))
                writer.write(piece[:rest])
                if rest < len(piece):
                    self.cut()
                    return
                await writer.drain()

    async def _slow(self, length: int) -> None:
        seconds = self.sky.delay + (length / self.sky.rate if self.sky.rate else 0.0)
        if seconds:
            await asyncio.sleep(seconds)

    def _left_of(self, length: int) -> int:
        """Return how many of so many bytes may still pass."""
        if self.sky.cut_after is None:
            return length
        taken = min(length, self.sky.cut_after)
        self.sky.cut_after -= taken
        if taken < length:
            self.sky.cut_after = None
        return taken

    # What a test does.

    def change(self, sky: Sky) -> None:
        """Let other weather come; what was held back moves on if it may."""
        self.sky = sky
        self._changed.set()
        self._changed = asyncio.Event()

    def cut(self) -> None:
        """Reset every connection."""
        for end in self._open:
            _reset(end)

    def close(self) -> None:
        """Close every connection in good order."""
        for end in self._open:
            end.close()

    async def replay(self) -> None:
        """Say again to the target, in a connection of our own, what was said in the last one."""
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(1):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.target)
                writer.write(self.recorded)
                while await reader.read(PIECE):
                    pass
                writer.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()


class Weather:
    """Proxies that run in a thread of their own; the test that steers them does not wait for bytes."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.proxies: list[Proxy] = []
        self._listeners: list[asyncio.Server] = []

    def proxy(self, target: int) -> Proxy:
        """Open a proxy to a port of this machine."""

        async def opened() -> Proxy:
            proxy = Proxy(target)
            listener = await asyncio.start_server(proxy.take, "127.0.0.1", 0)
            proxy.port = listener.sockets[0].getsockname()[1]
            self._listeners.append(listener)
            return proxy

        found = self._wait(opened())
        self.proxies.append(found)
        return found

    def do(self, act: Callable[[], T]) -> T:
        """Do something to a proxy where nothing else happens to it meanwhile."""

        async def acted() -> T:
            return act()

        return self._wait(acted())

    def clear(self) -> None:
        """Let the sun shine on every proxy."""
        for proxy in self.proxies:
            self.do(lambda proxy=proxy: proxy.change(Sky()))

    def replay(self, proxy: Proxy) -> None:
        """Begin to say a connection once more; nobody waits for what comes of it."""
        asyncio.run_coroutine_threadsafe(proxy.replay(), self._loop)

    def end(self) -> None:
        """Break every connection and wait until each proxy has noticed."""

        async def ended() -> None:
            for listener in self._listeners:
                listener.close()
            for proxy in self.proxies:
                proxy.change(Sky(refuses=True))
                proxy.cut()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            if others:
                await asyncio.wait(others)

        self._wait(ended())

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


@contextmanager
def weather() -> Iterator[Weather]:
    """Give weather that ends with the test."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    made = Weather(loop)
    try:
        yield made
    finally:
        made.end()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def any_sky(chance: Random) -> tuple[str, Sky]:
    """Draw some weather and its name."""
    skies: list[tuple[str, Sky]] = [
        ("refused", Sky(refuses=True)),
        ("held up", Sky(holds=frozenset({"up"}))),
        ("held down", Sky(holds=frozenset({"down"}))),
        ("held both", Sky(holds=frozenset({"up", "down"}))),
        ("delayed", Sky(delay=chance.uniform(0.01, 0.3))),
        ("throttled", Sky(rate=10 ** chance.uniform(3, 5.5))),
        ("cut after n bytes", Sky(cut_after=int(10 ** chance.uniform(0, 5.5)))),
        ("lost", Sky(loses=True)),
    ]
    return chance.choice(skies)
