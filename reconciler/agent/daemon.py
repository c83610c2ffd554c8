"""The agent as a program of its own: sees to it that a session stands, whatever happens to server, network and keys."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Mapping
from types import FrameType
from typing import Optional

from reconciler.agent import memory as memories
from reconciler.agent.arrivals import Arrivals, Arrived, Failed
from reconciler.agent.calling import way
from reconciler.agent.credentials import Credentials
from reconciler.agent.faults import AgentError, StrangerError, refusal
from reconciler.agent.loop import Loop
from reconciler.agent.memory import Memory
from reconciler.agent.plea import Plea
from reconciler.agent.processes import boot_id
from reconciler.agent.settings import Polling, Settings
from reconciler.agent.supervision import Supervision
from reconciler.agent.talk import Talk, Word
from reconciler.agent.tls import TlsWire
from reconciler.agent.voice import Voice
from reconciler.protocol import messages
from reconciler.protocol.frames import FrameError
from reconciler.protocol.objects import MalformedError
from reconciler.protocol.session import ProtocolError, RejectedError

LOOK_AGAIN = 5.0  # seconds between two looks at the identities on disk
BROKEN_PEER = 30.0  # seconds at least until a server is called again that does not keep to the protocol
WAITS_LONGEST = 3600.0  # however long a server asks us to stay away, we look again by then
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Daemon:
    """One agent with its settings; `run` ends when the agent is told to stop."""

    def __init__(
        self,
        state: str,
        settings: Settings,
        memory: Memory,
        loop: Loop,
        *,
        capabilities: Mapping[str, str],
        release: str,
    ) -> None:
        self._state = state
        self._settings = settings
        self._memory = memory
        self._loop = loop
        self._capabilities = dict(capabilities)
        self._release = release
        self._voice = Voice()
        self._supervision = Supervision()
        self._credentials = Credentials(state)
        self._arrivals = Arrivals()
        self._way = way(state, settings.endpoint, self._arrivals, self._credentials, loop)
        self._where = ""
        self._looks_at = time.monotonic()
        self._signals: set[int] = set()
        self._reconnects = False

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT; scripts go on under their shims."""
        self._loop.watch(self._arrivals, self._take_arrivals)
        self._heed_signals()
        self._voice.say("started", worker=self._settings.worker, identity=self._credentials.shown.thumbprint)
        self._supervision.ready()
        while not self._signals & {signal.SIGTERM, signal.SIGINT}:
            self._look()
            self._turn()
        self._supervision.stopping()
        self._way.close()
        if self._loop.conversation is not None:
            self._loop.conversation.leave("the agent is stopped")
            self._loop.end()
        self._voice.say("stopped", worker=self._settings.worker)

    def _turn(self) -> None:
        """Serve until something happens; a conversation that is over is closed and said so."""
        waits = (self._way.patience(), self._supervision.patience(), self._looks_at - time.monotonic())
        try:
            self._loop.turn(max(0.0, min(wait for wait in waits if wait is not None)))
        except RejectedError as error:
            self._rejected(error)
        except (ProtocolError, FrameError, MalformedError) as error:
            self._over(f"{self._where}: {error}", retry_after=BROKEN_PEER)
        except AgentError as error:
            self._over(str(error), retry_after=BROKEN_PEER)
        except OSError as error:  # a full disk: shims go on, and so do we
            self._over(f"{self._state}: {error.strerror or error}; make room there", retry_after=BROKEN_PEER)
        conversation = self._loop.conversation
        if conversation is not None and conversation.why:
            self._over(f"{self._where}: {conversation.why}")
        elif conversation is not None and self._reconnects:
            conversation.leave("the agent's identity has changed")
            self._over("the agent's identity has changed")

    # Connections.

    def _take_arrivals(self) -> None:
        for arrival in self._arrivals.take():
            is_wanted = self._way.settle(arrival)
            if isinstance(arrival, Failed):
                level = "error" if isinstance(arrival.error, StrangerError) else "warning"
                self._voice.say_once("not_connected", level=level, reason=arrival.error)
                self._supervision.status(f"not connected: {arrival.error}")
            elif is_wanted:
                self._begin(arrival)
            else:
                arrival.connection.close()

    def _begin(self, arrival: Arrived) -> None:
        if self._loop.conversation is not None:
            self._loop.conversation.leave("a newer connection has come")
        self._where, self._reconnects = arrival.where, False
        wire = TlsWire(arrival.connection)
        if self._credentials.has_run_out:
            self._loop.begin(Plea(wire, messages.Renew(self._credentials.shown.request), self._hear))
        else:
            self._loop.begin(Talk(self._state, wire, self._loop.custody, self._hello(), self._hear))

    def _hello(self) -> messages.Hello:
        endpoint = self._settings.endpoint
        return messages.Hello(
            versions=(messages.PROTOCOL_VERSION,),
            store=self._memory.store,
            boot=boot_id(),
            incarnation=self._memory.incarnation,
            epoch=self._memory.epoch,
            capabilities=self._capabilities,
            subscription=endpoint.subscription if isinstance(endpoint, Polling) else "",
            release=self._release,
        )

    def _over(self, reason: str, *, retry_after: float = 0.0, busy: bool = False) -> None:
        self._loop.end()
        self._reconnects = False
        self._voice.say_once("disconnected", level="warning", reason=reason)
        self._supervision.status(f"not connected: {reason}")
        self._way.ended(retry_after=min(retry_after, WAITS_LONGEST), busy=busy)

    def _rejected(self, error: RejectedError) -> None:
        conversation = self._loop.conversation
        if isinstance(conversation, Talk) and conversation.stands:  # what we asked for is refused, not the session
            self._credentials.refused()
        self._credentials.has_run_out = error.code == "expired"
        if error.code == "undeclared":
            self._credentials.show_the_other()
            self._renew()
        busy = error.code == "busy" or error.code not in messages.REJECT_CODES
        self._over(
            f"{self._where}: {refusal(error.code, error.text)}", retry_after=max(0.0, error.retry_after), busy=busy
        )

    # What the server says of the agent itself.

    def _hear(self, word: Word) -> None:
        if isinstance(word, messages.HelloOk):
            self._memory = memories.remember(self._state, self._memory, word.epoch)
            self._credentials.welcomed()
            self._way.stands()
            self._voice.forget("not_connected")
            self._voice.forget("disconnected")
            self._voice.say("connected", server=self._where, epoch=word.epoch)
            self._supervision.status(f"connected to {self._where}")
            self._looks_at = time.monotonic()  # whether to ask for a certificate, after the inventory
        elif isinstance(word, messages.Config):
            if self._credentials.take_config(word):
                self._voice.say("key_changed", identity=self._credentials.shown.thumbprint)
                self._reconnects = True
            self._renew()
            self._looks_at = time.monotonic()  # another authority may certify now
        else:
            identity = self._credentials.take_certificate(word)
            self._renew()
            self._voice.say("certified", identity=identity)

    def _ask(self) -> None:
        """Ask for a certificate that is due."""
        conversation = self._loop.conversation
        if isinstance(conversation, Talk) and conversation.stands:
            question = self._credentials.question(time.time())
            if question is not None:
                conversation.ask(question)

    # Time and signals.

    def _look(self) -> None:
        self._way.look()
        self._supervision.keep_alive()
        if time.monotonic() >= self._looks_at or signal.SIGHUP in self._signals:
            self._looks_at = time.monotonic() + LOOK_AGAIN
            self._signals.discard(signal.SIGHUP)
            self._look_at_disk()
            self._ask()

    def _look_at_disk(self) -> None:
        try:
            if self._credentials.look():
                self._renew()
                self._reconnects = True
        except (AgentError, OSError) as error:
            self._voice.say_once("identity_unreadable", level="error", reason=error)

    def _renew(self) -> None:
        """Let the way know that identity or trust have changed; if they cannot be used, it goes on as before."""
        try:
            self._way.renew()
        except (AgentError, OSError) as error:
            self._voice.say_once("identity_unreadable", level="error", reason=error)

    def _heed_signals(self) -> None:
        """Let signals wake the loop; a process that is forked from us heeds them as if we had said nothing."""
        waking, woken = socket.socketpair()
        waking.setblocking(False)
        woken.setblocking(False)
        signal.set_wakeup_fd(waking.detach(), warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, self._note)
        os.register_at_fork(after_in_child=_heed_nothing)
        self._loop.watch(woken, lambda: woken.recv(4096))

    def _note(self, number: int, _: Optional[FrameType]) -> None:
        self._signals.add(number)


def _heed_nothing() -> None:
    signal.set_wakeup_fd(-1)
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
