"""The agent's identities: a key, its certificate request and its certificate, all in one file that is replaced as one.

`identity/current.pem` is who the agent is, `identity/next.pem` who it will be after a change of key; the change itself
is one rename.
"""

from __future__ import annotations

import binascii
import os
import re
import ssl
from dataclasses import dataclass, field, replace
from typing import Optional

from reconciler.agent import durable, settings
from reconciler.agent.faults import AgentError
from reconciler.agent.keys import new_key, self_signed
from reconciler.protocol import identity as certificates
from reconciler.protocol.identity import CertificateError, thumbprint, thumbprint_of_request, validity

CURRENT = "current.pem"
NEXT = "next.pem"
BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----\n.*?\n-----END \1-----\n?", re.DOTALL)
REQUEST_BEGIN = "-----BEGIN CERTIFICATE REQUEST-----"
REQUEST_END = "-----END CERTIFICATE REQUEST-----"


@dataclass(frozen=True)
class Identity:
    """A private key, its request and its certificates, PEM each; the certificate is empty until somebody signed it."""

    key: str = field(repr=False)
    request: str
    certificate: str = ""

    @property
    def thumbprint(self) -> str:
        """Name the key, as Git does."""
        return thumbprint_of_request(_der(self.request, REQUEST_BEGIN, REQUEST_END))

    @property
    def validity(self) -> tuple[float, float]:
        """From when until when the certificate holds, in seconds since 1970; there must be one."""
        return validity(ssl.PEM_cert_to_DER_cert(_first(self.certificate)))

    def certified(self, certificate: str) -> Identity:
        """Return this identity with a certificate; raise `AgentError` if that is another key's."""
        if thumbprint_of_certificate(certificate) != self.thumbprint:
            raise AgentError("the server sent a certificate for another key than ours; it was not stored")
        return replace(self, certificate=certificate)


def path_of(state: str, name: str) -> str:
    """Return where an identity lies."""
    return os.path.join(state, "identity", name)


def identity(state: str, name: str = CURRENT) -> Optional[Identity]:
    """Read an identity, None if there is none; raise `AgentError` if it cannot be used."""
    path = path_of(state, name)
    try:
        with open(path, encoding="ascii") as file:
            text = file.read()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise AgentError(f"{path}: it is broken; enrol again with a new token") from None
    blocks = [(found[1], found[0]) for found in BLOCK.finditer(text)]
    keys = [block for kind, block in blocks if kind.endswith("PRIVATE KEY")]
    requests = [block for kind, block in blocks if kind == "CERTIFICATE REQUEST"]
    if not keys or not requests:
        raise AgentError(f"{path}: it is broken; enrol again with a new token")
    return Identity(keys[0], requests[0], "".join(block for kind, block in blocks if kind == "CERTIFICATE"))


def keep(state: str, value: Identity, name: str = CURRENT) -> None:
    """Make an identity durable."""
    text = "\n".join(part.rstrip("\n") for part in (value.certificate, value.key, value.request) if part) + "\n"
    settings.keep(os.path.join(state, "identity"), name, text.encode("ascii"))


def made(state: str, worker: str, name: str = CURRENT) -> Identity:
    """Return the identity, made now if there is none; raise `AgentError` if no key can be made."""
    found = identity(state, name)
    if found is None:
        found = Identity(*new_key(worker))
        keep(state, found, name)
    return found


def made_self_signed(state: str, worker: str) -> Identity:
    """Return the current identity, certified by itself if nobody did that before."""
    found = made(state, worker)
    if not found.certificate:
        found = found.certified(self_signed(found.key, worker))
        keep(state, found)
    return found


def promote(state: str) -> None:
    """Make the next identity the current one, durably and in one step."""
    os.rename(path_of(state, NEXT), path_of(state, CURRENT))
    durable.sync_directory(os.path.join(state, "identity"))


def thumbprint_of_certificate(certificate: str) -> str:
    """Return the thumbprint of the first certificate in a PEM text; raise `AgentError`."""
    try:
        return thumbprint(ssl.PEM_cert_to_DER_cert(_first(certificate)))
    except (ValueError, CertificateError):
        raise AgentError("a text that should hold a certificate (PEM) holds none") from None


def is_issued_by(certificate: str, authority: str) -> bool:
    """Say whether a certificate was issued by an authority, both in PEM; a text that holds none was issued by nobody."""
    try:
        ours, theirs = (ssl.PEM_cert_to_DER_cert(_first(text)) for text in (certificate, authority))
        return certificates.is_issued_by(ours, theirs)
    except (ValueError, CertificateError):
        return False


def _first(certificates: str) -> str:
    found = BLOCK.search(certificates)
    return found[0].rstrip("\n") if found else ""


def _der(text: str, begin: str, end: str) -> bytes:
    """Return the bytes of a PEM block."""
    body = text.strip()
    assert body.startswith(begin), "an identity is read or made with a request"
    return binascii.a2b_base64(body[len(begin) : -len(end)])
