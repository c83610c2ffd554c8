"""Callers of an HTTP server that cost little themselves: `callers read|pages|follow ADDRESS PATH ...`, the token on stdin.

`read CONNECTIONS SECONDS` asks for one thing on each connection again and again; `pages` walks through a list; `follow
COUNT GATE` opens the gate once each follower has heard the first event of a log, and waits until all have heard its end.
Each prints one line of JSON.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

LENGTH = b"content-length: "


class Caller(asyncio.Protocol):
    """One connection that is kept: a request, and its whole answer."""

    def __init__(self, answered: Callable[["Caller", bytes], None]) -> None:
        self._answered = answered
        self._buffer = b""
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def ask(self, request: bytes) -> None:
        """Send a request."""
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Take a part of an answer."""
        self._buffer = self._buffer + data if self._buffer else data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        assert self._buffer.startswith(b"HTTP/1.1 200"), self._buffer[:500]
        at = self._buffer.lower().index(LENGTH, 0, head) + len(LENGTH)
        end = head + 4 + int(self._buffer[at : self._buffer.index(b"\r", at)])
        if len(self._buffer) >= end:
            body, self._buffer = self._buffer[head + 4 : end], b""
            self._answered(self, body)

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end."""
        self.closed = True

    def close(self) -> None:
        """End the connection."""
        self._transport.close()


def request_of(address: str, path: str, token: str) -> bytes:
    """Return the bytes of a request."""
    return f"GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n".encode()


async def read(address: str, path: str, token: str, connections: str, seconds: str) -> dict[str, Any]:
    """Return how many answers came, in how many seconds."""
    count, request, until = 0, request_of(address, path, token), time.monotonic() + float(seconds)
    host, port = address.rsplit(":", 1)

    def again(caller: Caller, _: bytes) -> None:
        nonlocal count
        count += 1
        if time.monotonic() < until:
            caller.ask(request)
        else:
            caller.close()

    loop, begun = asyncio.get_running_loop(), time.monotonic()
    callers = [
        (await loop.create_connection(lambda: Caller(again), host, int(port)))[1] for _ in range(int(connections))
    ]
    for caller in callers:
        caller.ask(request)
    await asyncio.sleep(until - time.monotonic())
    spent = time.monotonic() - begun
    assert not all(caller.closed and not count for caller in callers), "nobody was answered"
    return {"count": count, "seconds": spent}


async def pages(address: str, path: str, token: str) -> dict[str, Any]:
    """Return the seconds that each page of a list took, and how many things are in it."""
    host, port = address.rsplit(":", 1)
    answers: asyncio.Queue[bytes] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    _, caller = await loop.create_connection(lambda: Caller(lambda _, body: answers.put_nowait(body)), host, int(port))
    took, names, after = [], [], ""
    while True:
        begun = time.monotonic()
        caller.ask(request_of(address, f"{path}{after}", token))
        body = await answers.get()
        took.append(time.monotonic() - begun)
        page = json.loads(body)
        names += [item["name"] for item in page["items"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert len(set(names)) == len(names), "a thing stands twice in a list"
    return {"seconds": took, "count": len(names)}


class Follower(asyncio.Protocol):
    """One follower of a log: hashes what it hears, whose decoding all share."""

    texts: dict[bytes, bytes] = {}  # noqa: RUF012 - shared by design

    def __init__(self, begun: asyncio.Semaphore) -> None:
        self._begun = begun
        self._rest = b""
        self._is_printed = False
        self.heard = sha256()
        self.length = 0
        self.ended: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        """Take a part of the stream."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            if line.startswith(b"event: "):
                self._is_printed = line == b"event: printed"
                if line == b"event: entered":
                    self._begun.release()
                elif line == b"event: end" and not self.ended.done():
                    self.ended.set_result(time.time())
            elif self._is_printed and line.startswith(b"data: "):
                text = self.texts.get(line)
                if text is None:
                    pieces = json.loads(line[6:])["pieces"]
                    text = self.texts[line] = "".join(piece["text"] for piece in pieces).encode()
                self.heard.update(text)
                self.length += len(text)

    def connection_lost(self, exc: Exception | None) -> None:
        """Say that the stream broke off, where it did."""
        if not self.ended.done():
            self.ended.set_exception(ConnectionError("a stream broke off"))


async def follow(address: str, path: str, token: str, count: str, gate: str) -> dict[str, Any]:
    """Return when, in seconds since the epoch, each follower had heard the end, and what they heard."""
    host, port = address.rsplit(":", 1)
    loop, begun = asyncio.get_running_loop(), asyncio.Semaphore(0)
    followers = []
    for _ in range(int(count)):
        transport, follower = await loop.create_connection(lambda: Follower(begun), host, int(port))
        transport.write(request_of(address, path, token))
        followers.append(follower)
    for _ in range(int(count)):
        await begun.acquire()
    await asyncio.to_thread(Path(gate).touch)
    ends = [await follower.ended for follower in followers]
    heard = {(follower.length, follower.heard.hexdigest()) for follower in followers}
    return {"ends": ends, "heard": sorted(heard)}


ROLES: dict[str, Callable[..., Any]] = {"read": read, "pages": pages, "follow": follow}

if __name__ == "__main__":
    role, *words = sys.argv[1:]
    print(json.dumps(asyncio.run(ROLES[role](*words[:2], sys.stdin.read().strip(), *words[2:]))))
