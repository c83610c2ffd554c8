"""The authority of a running engine: certifies agents, and shows the server's own certificate to them."""

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from reconciler.model.trust import AuthorityKey
from reconciler.protocol.messages import Trust
from reconciler.server.trust.keyring import Keyring, keyring
from reconciler.store.authority import keys
from reconciler.store.certificates import Certificate, certify, read_request
from reconciler.store.keys import Sealer
from reconciler.store.writer import Store

NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME: whose certificate has run out may still renew it, so we judge dates, not TLS."""


class Authority:
    """The installation's keys in memory; whoever changes them in the store has `refresh` called."""

    def __init__(self, store: Store, sealer: Sealer, ring: Keyring) -> None:
        self._store = store
        self._sealer = sealer
        self._take(ring)

    @classmethod
    async def open(cls, store: Store, sealer: Sealer, now: float) -> Self:
        """Read the keys, making them at their first use."""
        return cls(store, sealer, await store.write(lambda tx: keyring(tx, sealer, now)))

    async def refresh(self) -> bool:
        """Read the keys again; True where they changed, so that agents are to hear of it."""
        found = Keyring(await self._store.read(lambda tx: keys(tx, self._sealer)))
        if found == self._ring:
            return False
        self._take(found)
        return True

    @property
    def ring(self) -> Keyring:
        """The keys themselves, for what works in a transaction."""
        return self._ring

    @property
    def pin(self) -> str:
        """The thumbprint of the server's present key."""
        return self._ring.pin

    def trust(self) -> Trust:
        """Return what agents are to trust."""
        return self._trust

    def certify(self, request_pem: str, worker: str, now: float) -> Certificate:
        """Certify the key of a signing request as that of `worker`; raises BadRequest."""
        return certify(self._ring.ca, read_request(request_pem), worker, now)

    def listener_context(self) -> ssl.SSLContext:
        """Return the context for agents that call: one without a certificate may come in, an unknown one may not."""
        return self._listening

    def dialling_context(self) -> ssl.SSLContext:
        """Return the context for agents that we call: theirs may be self-signed, we compare its thumbprint."""
        return self._dialling

    def _take(self, ring: Keyring) -> None:
        self._ring = ring
        self._trust = ring.trust
        self._listening = _listening(ring.server, self._trust.authorities)
        self._dialling = _dialling(ring.server)


def _listening(key: AuthorityKey, authorities: tuple[str, ...]) -> ssl.SSLContext:
    context = _presenting(ssl.PROTOCOL_TLS_SERVER, key)
    context.load_verify_locations(cadata="".join(authorities))
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags = ssl.VerifyFlags(context.verify_flags | NO_CHECK_TIME)
    context.num_tickets = 0
    return context


def _dialling(key: AuthorityKey) -> ssl.SSLContext:
    context = _presenting(ssl.PROTOCOL_TLS_CLIENT, key)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _presenting(protocol: int, key: AuthorityKey) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    with _file_in_memory(key.certificate + key.private_key) as path:
        context.load_cert_chain(path)
    return context


@contextmanager
def _file_in_memory(text: str) -> Iterator[str]:
    """Name a file that was never on a disk: OpenSSL takes keys from files alone."""
    descriptor = os.memfd_create("key", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
