"""TLS 1.3 for both directions, and the question whether the other end is whom we trust: its public key decides."""

from __future__ import annotations

import socket
import ssl
from typing import Optional

from reconciler.agent.faults import AgentError, ConnectError, StrangerError, described
from reconciler.agent.wire import READ_BYTES
from reconciler.protocol.identity import CertificateError, thumbprint
from reconciler.protocol.messages import Trust

NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME: expiry is judged by the server, in words


class TlsWire:
    """A socket under TLS, its handshake done."""

    def __init__(self, connection: ssl.SSLSocket) -> None:
        connection.setblocking(False)
        self._connection = connection

    def fileno(self) -> int:
        """Return the descriptor, for a selector."""
        return self._connection.fileno()

    def receive(self) -> Optional[bytes]:
        """Return what came, None if nothing has for now, nothing (b"") at the end; raise OSError when it broke.

        What is decrypted already is returned too, since no selector sees it.
        """
        pieces = bytearray()
        while True:
            try:
                piece = self._connection.recv(READ_BYTES)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return bytes(pieces) if pieces else None
            except ssl.SSLError as error:
                raise ConnectionError(error.errno, _in_words(error)) from error
            pieces += piece
            if not piece or not self._connection.pending():
                return bytes(pieces)

    def send(self, data: bytearray) -> int:
        """Return how many bytes of `data` were taken, 0 for none now; raise OSError when it broke.

        After 0 the next call must bring the same bytes, and may bring more behind them.
        """
        try:
            return self._connection.send(data)
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            return 0
        except ssl.SSLError as error:
            raise ConnectionError(error.errno, _in_words(error)) from error

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


def dialling_context(identity_path: Optional[str]) -> ssl.SSLContext:
    """Return how we dial a server, as nobody or as the identity in a file; whom we reached is judged afterwards."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if identity_path is not None:
        _load(context, identity_path)
    return context


def listening_context(identity_path: str, trust: Trust) -> ssl.SSLContext:
    """Return how we answer a server: only one whose certificate a trusted authority signed gets through."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0  # a session is never taken up again
    _load(context, identity_path)
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= NO_CHECK_TIME
    try:
        context.load_verify_locations(cadata="\n".join(trust.authorities))
    except (ssl.SSLError, ValueError):
        raise AgentError("trust.json holds no authority's certificate; run `reconcile agent trust` again") from None
    return context


def shaken(connection: socket.socket, context: ssl.SSLContext, where: str, *, we_dialled: bool) -> ssl.SSLSocket:
    """Do the handshake within the connection's timeout; raise `ConnectError`. The connection is closed if it fails."""
    try:
        return context.wrap_socket(connection, server_side=not we_dialled)
    except OSError as error:
        connection.close()
        raise ConnectError(where, _in_words(error)) from None


def check_pin(connection: ssl.SSLSocket, trust: Trust, where: str) -> None:
    """Raise `StrangerError` unless the other end's public key is one that we trust."""
    certificate = connection.getpeercert(binary_form=True)
    try:
        found = thumbprint(certificate or b"")
    except CertificateError:
        found = "somebody without a certificate that can be read"
    if found not in trust.pins:
        raise StrangerError(where, found, trust.pins)


def _load(context: ssl.SSLContext, identity_path: str) -> None:
    try:
        context.load_cert_chain(identity_path)
    except ssl.SSLError:
        raise AgentError(f"{identity_path}: key and certificate do not fit; enrol again with a new token") from None


def _in_words(error: OSError) -> str:
    """Return a sentence for what TLS or the system says of a connection."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the other end's certificate is not signed by a trusted authority ({error.verify_message})"
    if not isinstance(error, ssl.SSLError) or isinstance(error, socket.timeout):
        return described(error)
    reason = error.reason or ""
    if "ALERT" in reason and any(word in reason for word in ("UNKNOWN_CA", "CERTIFICATE", "ACCESS_DENIED")):
        return f"the other end does not accept this agent's certificate ({reason.lower().replace('_', ' ')})"
    if reason in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"}:
        return "the other end does not speak TLS; is that the agents' port (10943)?"
    if "PROTOCOL_VERSION" in reason or reason == "UNSUPPORTED_PROTOCOL":
        return "the other end does not speak TLS 1.3"
    return f"TLS failed: {reason.lower().replace('_', ' ') or error}"
