"""One connection between an agent and a server made of whole frames, each of which is delivered when the world says so."""

import asyncio
import json
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache

from reconciler.protocol.frames import CONTROL, FILE, HEADER, OFFSET

END = b""
"""In place of a frame: the other end has closed the connection."""

READ_BYTES = 1 << 20
FRAMES_KNOWN = 4_096
"""Frames that are read once: those of one run are mostly those of the next."""

HEARTBEATS = frozenset({"PING", "PONG"})


def frames_of(data: bytes) -> list[bytes]:
    """Cut bytes into the frames they are made of; both ends send whole ones."""
    frames, start = [], 0
    while start < len(data):
        end = start + HEADER.size + HEADER.unpack_from(data, start)[0]
        assert end <= len(data), "an end sent part of a frame"
        frames.append(data[start:end])
        start = end
    return frames


@lru_cache(maxsize=FRAMES_KNOWN)
def control_of(frame: bytes) -> dict[str, object]:
    """Return the object of a control frame, nothing for other frames."""
    if frame == END or HEADER.unpack_from(frame)[1] != CONTROL:
        return {}
    value = json.loads(frame[HEADER.size :])
    assert isinstance(value, dict)
    return value


@lru_cache(maxsize=FRAMES_KNOWN)
def title(frame: bytes) -> str:
    """Name a frame in the log of events."""
    if frame == END:
        return "END"
    _, kind, _, subject = HEADER.unpack_from(frame)
    if kind == CONTROL:
        value = control_of(frame)
        report = value.get("report")
        state = report.get("state", {}) if isinstance(report, dict) else {}
        state = state.get("is", "") if isinstance(state, dict) else ""
        offset = value.get("offset", "")
        return " ".join(str(part) for part in (value["message"], state, offset) if part != "")
    (offset,) = OFFSET.unpack_from(frame, HEADER.size + subject)
    return f"{'FILE' if kind == FILE else 'LOG'} {offset}+{len(frame) - HEADER.size - subject - OFFSET.size}"


class _Transport:
    """What carriers and conversations ask of a transport."""

    def __init__(self, abort: Callable[[], None]) -> None:
        self.abort = abort

    def get_write_buffer_size(self) -> int:
        return 0


class Pen:
    """The server's writing end, until the server is dead or has closed it."""

    def __init__(self, line: "Line") -> None:
        self._line = line
        self.transport = _Transport(self.close)
        self.is_cut = False
        self._closed = False

    def write(self, data: bytes) -> None:
        if not self._closed and not self.is_cut:
            self._line.takes_from_server(frames_of(data))

    async def drain(self) -> None:
        """Take everything at once."""

    def is_closing(self) -> bool:
        return self._closed

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            if not self.is_cut:
                self._line.takes_from_server([END])
            self._line.end_server()


class Line:
    """One connection: what is under way in each direction, and who still holds an end of it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, said: Callable[[bytes], None]) -> None:
        self.reader = asyncio.StreamReader(loop=loop)
        self.pen = Pen(self)
        self._loop = loop
        self._said = said
        self.to_agent: deque[bytes] = deque()
        self.to_server: deque[bytes] = deque()
        self._ours, self.theirs = socket.socketpair()
        self._ours.setblocking(False)
        self.is_cut = False
        self.agent_holds, self.server_holds = True, True

    def takes_from_server(self, frames: list[bytes]) -> None:
        """Take what the server says."""
        for frame in frames:
            self._said(frame)
        self.to_agent += frames

    def collect(self) -> bool:
        """Take what the agent has said; say whether there was anything."""
        if not self.agent_holds:
            return False
        try:
            data = self._ours.recv(READ_BYTES)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            data = END
        if data == END:
            self._close_ours()
        if not self.is_cut:
            self.to_server += frames_of(data) if data else [END]
        return True

    def deliver_to_agent(self, frame: bytes) -> None:
        """Let the agent read a frame."""
        if frame == END:
            self._close_ours()
        elif self.agent_holds:
            with suppress(BrokenPipeError):
                self._ours.send(frame)

    def deliver_to_server(self, frame: bytes) -> None:
        """Let the server read a frame."""
        if frame == END:
            self.end_server()
        elif self.server_holds:
            self.reader.feed_data(frame)

    def cut(self, *, agent_knows: bool, server_knows: bool) -> None:
        """Lose what is under way and all that will be said; whoever does not know finds out by silence."""
        self.is_cut = self.pen.is_cut = True
        self.to_agent.clear()
        self.to_server.clear()
        if agent_knows:
            self._close_ours()
        if server_knows:
            self.end_server()

    def end_server(self) -> None:
        """Let the server read the end."""
        if self.server_holds:
            self.server_holds = False
            self._loop.call_soon(self.reader.feed_eof)

    def _close_ours(self) -> None:
        if self.agent_holds:
            self.agent_holds = False
            self._ours.close()
