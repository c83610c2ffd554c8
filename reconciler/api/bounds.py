"""What any caller may take: bytes of a body, and requests of a span of time; and answers that need no second sending."""

import asyncio
import json
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

API = "/api/"
BODY_BYTES_MAX = 1 << 20
ROUNDING = 1e-6  # of a request
CALLERS_MAX = 10_000
"""Buckets that are remembered; the one that was not used for the longest time goes first."""


BODY_WITHIN = 30.0
"""Seconds in which a body has to come."""


class _Unfit(Exception):
    """A body that is too long or too slow: the status and the sentence that answer it."""

    def __init__(self, status: int, error: str, hint: str) -> None:
        super().__init__(error)
        self.status = status
        self.fault = {"error": error, "hint": hint, "code": 1}


class BodyLimit:
    """Refuses bodies of the API that are longer than a MiB, without ever holding one, and those that do not come."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http" or not scope["path"].startswith(API):
            await self._app(scope, receive, send)
            return
        said = Headers(scope=scope).get("content-length", "0")
        if not said.isdecimal() or int(said[:20]) > BODY_BYTES_MAX:
            await _refuse(send, _too_long())
            return
        body = _Body(receive)
        begun = refused = False

        async def watched(message: Message) -> None:
            nonlocal begun, refused
            if body.unfit is not None and not begun:  # whoever read the body has an opinion of its end
                refused = True
                await _refuse(send, body.unfit)
            begun = True
            if not refused:
                await send(message)

        try:
            await self._app(scope, body.receive, watched)
        except _Unfit as unfit:
            if not begun:
                await _refuse(send, unfit)


class _Body:
    """A body as it comes; raises _Unfit where it is too long or too slow."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._until = asyncio.get_running_loop().time() + BODY_WITHIN
        self._taken = 0
        self._is_whole = False
        self.unfit: _Unfit | None = None

    async def receive(self) -> Message:
        """Return the next message: of the body, and when that is whole, whatever comes."""
        if self._is_whole:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._until):
                message = await self._receive()
        except TimeoutError:
            self.unfit = _Unfit(408, f"the body did not come within {BODY_WITHIN:g} s", "send it again")
            raise self.unfit from None
        self._is_whole = not message.get("more_body", False)
        self._taken += len(message.get("body", b""))
        if self._taken > BODY_BYTES_MAX:
            self.unfit = _too_long()
            raise self.unfit
        return message


def _too_long() -> _Unfit:
    return _Unfit(413, f"a body has {BODY_BYTES_MAX >> 20} MiB at most", "send less")


async def _refuse(send: Send, unfit: _Unfit) -> None:
    answer = json.dumps(unfit.fault).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
    if unfit.status == 408:
        headers.append((b"connection", b"close"))  # whoever is still sending a body that is too long hears the answer
    await send({"type": "http.response.start", "status": unfit.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


class Tagged:
    """Gives each whole answer to a GET of the API its `ETag`, and answers 304 to who has it already."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http" or scope["method"] != "GET" or not scope["path"].startswith(API):
            await self._app(scope, receive, send)
            return
        wanted = Headers(scope=scope).get("if-none-match", "")
        start: Message | None = None

        async def tagging(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and message["status"] == 200:
                start = message
                return
            if start is not None:
                first, start = start, None
                if not message.get("more_body", False):
                    message = _tag(first, message, wanted)
                await send(first)
            await send(message)

        await self._app(scope, receive, tagging)


def _tag(start: Message, message: Message, wanted: str) -> Message:
    headers = MutableHeaders(raw=start["headers"])
    tag = headers.get("etag") or f'"{sha256(message.get("body", b"")).hexdigest()[:32]}"'
    headers["etag"] = tag
    headers["cache-control"] = "private, no-cache"
    if tag not in {part.strip().removeprefix("W/") for part in wanted.split(",")}:
        return message
    start["status"] = 304
    del headers["content-length"]
    return {**message, "body": b""}


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


@dataclass(slots=True)
class Rates:
    """A bucket of requests for each caller: it holds `burst` of them, and fills by `rate` a second.

    What a bucket lacks for rounding alone does not count: who comes back when told to is served.
    """

    rate: float
    burst: int
    clock: Callable[[], float] = time.monotonic
    _buckets: OrderedDict[str, _Bucket] = field(default_factory=OrderedDict)

    def take(self, caller: str) -> int:
        """Take one request from a caller's bucket: 0, or in how many whole seconds there is one again."""
        now = self.clock()
        bucket = self._buckets.setdefault(caller, _Bucket(float(self.burst), now))
        self._buckets.move_to_end(caller)
        if len(self._buckets) > CALLERS_MAX:
            self._buckets.popitem(last=False)
        bucket.left = min(float(self.burst), bucket.left + (now - bucket.at) * self.rate)
        bucket.at = now
        if bucket.left < 1.0 - ROUNDING:
            return max(1, math.ceil((1.0 - bucket.left) / self.rate))
        bucket.left = max(0.0, bucket.left - 1.0)
        return 0
