"""Identities: the thumbprint of a certificate's public key, found in its DER bytes without a library.

A thumbprint is `SHA256:` and the unpadded base64 of the SHA-256 of the SubjectPublicKeyInfo (RFC 5280, section 4.1), so
that renewing a certificate changes nothing.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Optional

SEQUENCE = 0x30
VERSION = 0xA0  # the explicit tag [0] of a certificate's version; absent in version 1
FIELDS_BEFORE_KEY = 5  # serial number, signature algorithm, issuer, validity, subject


class CertificateError(Exception):
    """Bytes that claim to be a certificate are none."""

    def __init__(self) -> None:
        super().__init__("the other end's certificate cannot be read")


def thumbprint(certificate: bytes) -> str:
    """Return the thumbprint of a certificate in DER; raise `CertificateError`."""
    outer = _content(certificate, 0, SEQUENCE)
    at = _content(certificate, outer, SEQUENCE)
    if certificate[at : at + 1] == bytes([VERSION]):
        at = _end(certificate, at)
    for _ in range(FIELDS_BEFORE_KEY):
        at = _end(certificate, at)
    _content(certificate, at, SEQUENCE)
    return thumbprint_of_key(certificate[at : _end(certificate, at)])


def thumbprint_of_key(public_key: bytes) -> str:
    """Return the thumbprint of a SubjectPublicKeyInfo in DER."""
    digest = hashlib.sha256(public_key).digest()
    return "SHA256:" + base64.b64encode(digest).decode("ascii").rstrip("=")


def _content(data: bytes, at: int, tag: Optional[int] = None) -> int:
    """Return where the content of the element at `at` begins."""
    return _element(data, at, tag)[0]


def _end(data: bytes, at: int) -> int:
    """Return where the element at `at` ends."""
    return _element(data, at, None)[1]


def _element(data: bytes, at: int, tag: Optional[int]) -> tuple[int, int]:
    head = data[at : at + 2]
    if len(head) < 2 or (tag is not None and head[0] != tag):
        raise CertificateError
    length, start = head[1], at + 2
    if length & 0x80:
        size = length & 0x7F
        length, start = int.from_bytes(data[start : start + size], "big"), start + size
    if start + length > len(data):
        raise CertificateError
    return start, start + length
