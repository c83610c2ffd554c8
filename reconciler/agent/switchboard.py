"""The shim's selector: pipes, the ends of children, and the agents that come and go on `ctl`."""

from __future__ import annotations

import os
import selectors
import signal
import socket
from collections.abc import Iterable
from typing import Callable, Optional

from reconciler.agent.errands import Channel, Errand

CHANNELS_MAX = 8  # one agent at a time talks to us; those that a dying one leaves vanish soon


class Switchboard:
    """Waits for whatever comes next and hands it to who has asked for it."""

    def __init__(self) -> None:
        self.attend(_drop, tuple)
        self._selector = selectors.DefaultSelector()
        self._channels: list[Channel] = []
        self._wake_on_children()

    def attend(self, hear: Callable[[Errand], object], greet: Callable[[], Iterable[Errand]]) -> None:
        """Hand what agents say to `hear` from now on, and tell those who connect what `greet` returns."""
        self._hear = hear
        self._greet = greet

    @property
    def is_alone(self) -> bool:
        """Say whether no agent is connected."""
        return not self._channels

    def turn(self, patience: Optional[float]) -> None:
        """Wait until something comes, at most `patience` seconds, and handle it."""
        for key, events in self._selector.select(patience):
            if events & selectors.EVENT_WRITE and isinstance(key.fileobj, Channel):
                self._settle(key.fileobj, key.fileobj.flush())
            if events & selectors.EVENT_READ:
                key.data()

    def watch(self, descriptor: int, readable: Callable[[], object]) -> None:
        """Call `readable` whenever `descriptor` is."""
        self._selector.register(descriptor, selectors.EVENT_READ, readable)

    def ignore(self, descriptor: int) -> None:
        """Forget about `descriptor`."""
        self._selector.unregister(descriptor)

    def listen(self, listener: socket.socket) -> None:
        """Let agents connect at `listener`; each is told what `greet` says."""
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ, lambda: self._accept(listener))

    def add(self, connection: socket.socket) -> None:
        """Listen to one agent."""
        if len(self._channels) >= CHANNELS_MAX:
            self._drop(self._channels[0])
        channel = Channel(connection)
        self._channels.append(channel)
        self._selector.register(channel, selectors.EVENT_READ, lambda: self._receive(channel))
        for errand in self._greet():
            self._settle(channel, channel.send(errand))

    def tell(self, errand: Errand) -> None:
        """Tell every agent; one that does not listen is dropped and connects again."""
        for channel in self._channels.copy():
            self._settle(channel, channel.send(errand))

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return  # gone again before we looked
        self.add(connection)

    def _receive(self, channel: Channel) -> None:
        heard = channel.receive()
        if heard is None:
            self._drop(channel)
        for errand in heard or ():
            self._hear(errand)

    def _settle(self, channel: Channel, is_alive: bool) -> None:
        """Wait for room if something is left unsent."""
        if channel not in self._channels:
            return
        if not is_alive:
            self._drop(channel)
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if channel.has_unsent else 0)
        key = self._selector.get_key(channel)
        if key.events != events:
            self._selector.modify(channel, events, key.data)

    def _drop(self, channel: Channel) -> None:
        if channel in self._channels:
            self._channels.remove(channel)
            self._selector.unregister(channel)
            channel.close()

    def _wake_on_children(self) -> None:
        read, write = os.pipe()
        os.set_blocking(read, False)
        os.set_blocking(write, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        self.watch(read, lambda: _drain(read))


def _drop(errand: Errand) -> None:
    """Hear nothing."""


def _drain(descriptor: int) -> None:
    try:
        while os.read(descriptor, 4096):
            pass
    except BlockingIOError:
        return
