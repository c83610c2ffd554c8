"""An agent that also notes what it hears: how long the server takes to answer a heartbeat, and when log is durable there.

Run in the agent's place by `tls_output.py` and `tls_tail.py`: PULSE names the file for the notes, and each `PING_EVERY`
a heartbeat is sent, where the real one sends one each 5 s.
"""

import os
import sys
import time
from typing import TextIO

from reconciler.agent import daemon, silence
from reconciler.agent.main import main
from reconciler.agent.talk import Talk
from reconciler.protocol import messages
from reconciler.protocol.session import Event

PING_EVERY = 0.05  # seconds


class NotedTalk(Talk):
    """A conversation that notes `pong SECONDS` and `ack TICKET OFFSET TIME`."""

    notes: TextIO

    def patience(self) -> float:
        """Return the seconds until the next heartbeat."""
        return min(super().patience(), PING_EVERY)

    def keep_alive(self) -> None:
        """Send heartbeats more often."""
        super().keep_alive()
        if self.stands and time.monotonic() - self._noted_at >= PING_EVERY:
            self._noted_at = time.monotonic()
            self._session.send(messages.Ping(silence.now()))

    def _on(self, event: Event) -> None:
        super()._on(event)
        if isinstance(event, messages.Pong):
            self.notes.write(f"pong {silence.now() - event.sent}\n")
        elif isinstance(event, messages.LogAck):
            self.notes.write(f"ack {event.ticket} {event.offset} {time.time()}\n")

    _noted_at = 0.0


if __name__ == "__main__":
    if "PULSE" in os.environ:
        NotedTalk.notes = open(os.environ["PULSE"], "a", buffering=1 << 16)  # noqa: SIM115 - until the process ends
        daemon.Talk = NotedTalk  # type: ignore[attr-defined]  # it is imported there
    sys.exit(main())
