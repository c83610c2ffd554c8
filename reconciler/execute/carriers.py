"""Carriers: who opens the byte stream to a worker's agent, and how; all else is the same for every worker."""

import asyncio
import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from reconciler.protocol.session import ServerSession

STREAM_BYTES_MAX = 1 << 20  # read ahead of the link per connection; beyond that the agent waits
AGENT_ENDS_WITHIN = 5.0  # seconds after its stream was closed; it has nothing to do but let go
INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "USER", "LOGNAME", "SSL_CERT_FILE", "SSL_CERT_DIR")
THIS_AGENT = (sys.executable, "-I", "-m", "reconciler.agent")


class CarrierError(Exception):
    """No stream to the worker could be opened; the link tries again."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where}: {what}")


@dataclass(frozen=True, slots=True)
class Connection:
    """One open byte stream to an agent; `session` where its HELLO was heard already, the rest where it came by TLS."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    session: ServerSession | None = None
    thumbprint: str = ""
    address: str = ""


class Carrier(Protocol):
    """Opens byte streams to one worker, one at a time."""

    async def open(self) -> Connection:
        """Open a stream, ending what is left of the one before; raise `CarrierError`."""

    async def close(self) -> None:
        """End the stream and whatever this carrier started; running scripts go on."""


class BuiltinCarrier:
    """The built-in worker: the agent as a child process on a socket pair, its state under `state`.

    Steps may run under `accounts` there, where any are given. An agent that shall `look` tells what the machine has.
    """

    def __init__(
        self, state: Path, program: Sequence[str] = THIS_AGENT, accounts: Sequence[str] = (), *, look: bool = False
    ) -> None:
        self._state = state
        self._options = [
            *(word for account in accounts for word in ("--account", account)),
            *(["--look"] if look else []),
        ]
        self._program = program
        self._agent: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def open(self) -> Connection:
        """Start an agent; raise `CarrierError` if that cannot be done."""
        await self.close()
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._state.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._agent = await self._started(theirs.fileno())
            except OSError as error:
                ours.close()
                raise CarrierError("built-in worker", f"the agent cannot be started: {error}") from error
        reader, self._writer = await asyncio.open_connection(sock=ours, limit=STREAM_BYTES_MAX)
        return Connection(reader, self._writer)

    async def close(self) -> None:
        """Close the stream, at which the agent ends by itself; kill it if it does not."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if self._agent is not None:
            try:
                async with asyncio.timeout(AGENT_ENDS_WITHIN):
                    await self._agent.wait()
            except TimeoutError:
                self._agent.kill()
                await self._agent.wait()
            self._agent = None

    @property
    def agent_pid(self) -> int | None:
        """The process of the agent, while there is one."""
        return self._agent.pid if self._agent is not None else None

    async def _started(self, descriptor: int) -> asyncio.subprocess.Process:
        """Start the agent in a session of its own, so that no signal to our terminal reaches it."""
        complaints = os.open(self._state / "agent.err", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            return await asyncio.create_subprocess_exec(
                *self._program,
                *("--state", str(self._state), "--fd", str(descriptor)),
                *self._options,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=complaints,
                pass_fds=(descriptor,),
                env={name: os.environ[name] for name in INHERITED if name in os.environ},
                start_new_session=True,
            )
        finally:
            os.close(complaints)
