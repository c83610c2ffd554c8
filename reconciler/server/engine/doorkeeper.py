"""The doorkeeper: who calls on the agents' port, by certificate and first message, and what becomes of them."""

import time
from collections import OrderedDict

from reconciler.execute.carriers import Connection
from reconciler.execute.listener import Greeting, Refusal, Verdict
from reconciler.execute.peers import Peer
from reconciler.model.live import Event
from reconciler.protocol import messages
from reconciler.server.engine.roster import Roster
from reconciler.server.trust.authority import Authority
from reconciler.server.trust.enrolment import admit, enrol, renew
from reconciler.store import audit
from reconciler.store.writer import Store

TOLD_MAX = 1000
"""Refusals that are remembered as told, so that a peer which asks each ten seconds is one line in the events."""

NO_CERTIFICATE = Refusal("undeclared", "it shows no certificate; enrol it first", 60.0)


class Gate:
    """Judges by the roster, the authority and the tokens in the store."""

    def __init__(self, store: Store, authority: Authority, roster: Roster) -> None:
        self._store = store
        self._authority = authority
        self._roster = roster
        self._told: OrderedDict[tuple[str, str], None] = OrderedDict()

    async def judge(self, peer: Peer | None, greeting: Greeting, address: str) -> Verdict:
        """Decide on a peer; what is refused is told once in the events."""
        verdict = await self._verdict(peer, greeting, address)
        if isinstance(verdict, Refusal):
            await self._tell(peer.thumbprint if peer is not None else address, verdict, address)
        return verdict

    async def deliver(self, worker: str, connection: Connection) -> Refusal | None:
        """Give an admitted worker's connection to its link."""
        refusal = self._roster.take(worker, connection)
        if refusal is not None:
            await self._tell(connection.thumbprint, refusal, connection.address)
        return refusal

    async def _verdict(self, peer: Peer | None, greeting: Greeting, address: str) -> Verdict:
        now = time.time()
        match greeting:
            case messages.Enrol() as wish:
                return await self._store.write(lambda tx: enrol(tx, self._authority.ring, wish, now, address))
            case messages.Renew() as plea if peer is not None:
                return await self._store.write(
                    lambda tx: renew(tx, self._authority.ring, peer, plea, now, origin=address)
                )
            case messages.Hello() as hello if peer is not None:
                return admit(peer, hello, self._roster.declared, self._roster.revoked, now)
        return NO_CERTIFICATE

    async def _tell(self, who: str, refusal: Refusal, address: str) -> None:
        key = (who, refusal.code)
        is_new = key not in self._told
        self._told[key] = None
        self._told.move_to_end(key)
        if len(self._told) > TOLD_MAX:
            self._told.popitem(last=False)
        if is_new:
            detail = f"{address}: {refusal.text}"
            event = Event(time.time(), "engine", "refuse", f"agent/{who}", refusal.code, detail=detail, origin=address)
            await self._store.write(lambda tx: audit.record(tx, event))
