"""The worker's end: the agent's loop with custody and conversation on a real state directory; agents come and go."""

import socket
from collections.abc import Callable
from pathlib import Path

from reconciler.agent import memory as memories
from reconciler.agent.isolations import Isolations
from reconciler.agent.loop import Loop
from reconciler.agent.talk import Talk, Word
from reconciler.agent.wire import PlainWire
from reconciler.protocol import messages
from reconciler.protocol.frames import FrameError
from reconciler.protocol.objects import MalformedError
from reconciler.protocol.session import ProtocolError, RejectedError
from tests.simulation.network import Line

TURNS_MAX = 1_000
"""Turns without rest after which an agent counts as spinning."""


class Forks:
    """In place of the nursery: whoever asks for a supervisor gets one of the world's."""

    def __init__(self, fork: Callable[[], socket.socket]) -> None:
        self.fork_shim = fork


class Agent:
    """One life of the worker's end."""

    def __init__(self, state: Path, fork: Callable[[], socket.socket], boot: str) -> None:
        self._state = str(state)
        self._boot = boot
        self._memory = memories.woken(self._state)
        self._loop = Loop(self._state, Forks(fork), Isolations())

    @property
    def is_connected(self) -> bool:
        return self._loop.conversation is not None

    @property
    def stands(self) -> bool:
        talk = self._loop.conversation
        return isinstance(talk, Talk) and talk.stands

    @property
    def tickets(self) -> list[str]:
        """Name the tickets in care."""
        return list(self._loop.custody._lives)

    @property
    def patience(self) -> float | None:
        """Return the seconds until something is due."""
        return self._loop._patience(None)

    def call(self, line: Line) -> None:
        """Open a conversation, in place of the one that is left."""
        if self._loop.conversation is not None:
            self._loop.conversation.leave("a newer connection has come")
        hello = messages.Hello(
            versions=(messages.PROTOCOL_VERSION,),
            store=self._memory.store,
            boot=self._boot,
            incarnation=self._memory.incarnation,
            epoch=self._memory.epoch,
        )
        self._loop.begin(Talk(self._state, PlainWire(line.theirs), self._loop.custody, hello, self._hear))
        self._loop._flush()

    def come_to_rest(self) -> bool:
        """Take turns until nothing comes; say whether anything came."""
        moved = False
        for _ in range(TURNS_MAX):
            if not (self._loop._selector.select(0) or self._is_due()):
                return moved
            moved = True
            self._turn()
        raise AssertionError("the agent never comes to rest")

    def _turn(self) -> None:
        try:
            self._loop.turn(0)
            self._loop._flush()
        except (RejectedError, ProtocolError, FrameError, MalformedError):
            self._loop.end()
        talk = self._loop.conversation
        if talk is not None and talk.why:
            self._loop.end()

    def die(self) -> None:
        """Vanish as a process does: everything open is closed, nothing else is done."""
        talk = self._loop.conversation
        if talk is not None:
            talk.wire.close()
        custody = self._loop.custody
        for life in custody._lives.values():
            life.close()
        for channel in custody._shims._idle:
            channel.close()
        self._loop._selector.close()

    def _is_due(self) -> bool:
        patience = self._loop._patience(None)
        return patience is not None and patience <= 0.0

    def _hear(self, word: Word) -> None:
        if isinstance(word, messages.HelloOk):
            self._memory = memories.remember(self._state, self._memory, word.epoch)
