"""The agent's loop: every shim and at most one conversation with the server, one thread, one selector."""

from __future__ import annotations

import selectors
from typing import Callable, Optional, Protocol

from reconciler.agent.custody import Custody
from reconciler.agent.isolations import Isolations
from reconciler.agent.nursery import Nursery
from reconciler.agent.wire import Wire
from reconciler.protocol.tickets import Final, TicketReport

READABLE, WRITABLE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Source(Protocol):
    """What a selector can wait for."""

    def fileno(self) -> int:
        """Return the descriptor."""


class Conversation(Protocol):
    """What is said on one connection."""

    wire: Wire
    why: str
    """Why it is over; empty as long as it goes on."""

    def receive(self) -> None:
        """Take what came; raise what the session does."""

    def flush(self) -> bool:
        """Send what the other end takes now; say whether some is left."""

    def patience(self) -> float:
        """Return the seconds until `keep_alive` has something to do."""

    def keep_alive(self) -> None:
        """Do what time asks for."""

    def report(self, report: TicketReport) -> None:
        """Tell how a ticket is."""

    def finish(self, final: Final) -> None:
        """Tell how a ticket ended."""

    def leave(self, reason: str) -> None:
        """Say goodbye without waiting."""


class Loop:
    """Serves shims all the time, and the server as long as a conversation goes on; tickets outlive conversations."""

    def __init__(self, state: str, nursery: Nursery, isolations: Isolations) -> None:
        self._selector = selectors.DefaultSelector()
        self._conversation: Optional[Conversation] = None
        self.isolations = isolations
        self.custody = Custody(*(state, nursery, self._selector, isolations), report=self._report, finish=self._finish)
        self.custody.take_inventory()

    @property
    def conversation(self) -> Optional[Conversation]:
        """What is being said, None between two connections."""
        return self._conversation

    def begin(self, conversation: Conversation) -> None:
        """Serve this conversation from now on, in place of the one before."""
        self.end()
        self._conversation = conversation
        self._selector.register(conversation.wire, READABLE, conversation.receive)

    def end(self) -> None:
        """Close the conversation, if there is one; shims go on."""
        if self._conversation is not None:
            self._selector.unregister(self._conversation.wire)
            self._conversation.wire.close()
            self._conversation = None
            self.custody.part()

    def watch(self, source: Source, readable: Callable[[], object]) -> None:
        """Call `readable` whenever `source` is."""
        self._selector.register(source, READABLE, readable)

    def ignore(self, source: Source) -> None:
        """Forget about `source`."""
        self._selector.unregister(source)

    def turn(self, patience: Optional[float] = None) -> None:
        """Wait until something comes, at most `patience` seconds, and handle it; raise what the conversation does."""
        self._flush()
        ready = self._selector.select(self._patience(patience))
        for key, events in ready:
            if events & READABLE:
                key.data()
        self.custody.look_again()
        self.custody.tidy(is_idle=not ready)
        if self._conversation is not None:
            self._conversation.keep_alive()

    def _flush(self) -> None:
        conversation = self._conversation
        if conversation is None:
            return
        events = READABLE | (WRITABLE if conversation.flush() else 0)
        if self._selector.get_key(conversation.wire).events != events:
            self._selector.modify(conversation.wire, events, conversation.receive)

    def _patience(self, wanted: Optional[float]) -> Optional[float]:
        conversation = self._conversation
        ends = [wanted, self.custody.patience(), conversation.patience() if conversation is not None else None]
        if conversation is not None and conversation.why:
            return 0.0  # sending has shown that it is over
        return min((end for end in ends if end is not None), default=None)

    def _report(self, report: TicketReport) -> None:
        if self._conversation is not None:
            self._conversation.report(report)

    def _finish(self, final: Final) -> None:
        if self._conversation is not None:
            self._conversation.finish(final)
