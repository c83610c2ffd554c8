"""Identities: the thumbprint of a certificate's public key and its validity, found in its DER bytes without a library.

A thumbprint is `SHA256:` and the unpadded base64 of the SHA-256 of the SubjectPublicKeyInfo (RFC 5280, section 4.1), so
that renewing a certificate changes nothing.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Optional

SEQUENCE = 0x30
UTC_TIME = 0x17  # YYMMDDHHMMSSZ; years from 50 on belong to the last century
FIELDS_BEFORE_ISSUER = 2  # serial number, signature algorithm
FIELDS_BEFORE_VALIDITY = 3  # serial number, signature algorithm, issuer
REQUEST_FIELDS_BEFORE_KEY = 2  # version, subject
VERSION = 0xA0  # the explicit tag [0] of a certificate's version; absent in version 1
FIELDS_BEFORE_SUBJECT = 4  # serial number, signature algorithm, issuer, validity
MONTHS = 12
MARCH = 3
DAYS_BEFORE_1970 = 719_468  # from 1 March of the year 0 on
FIELDS_BEFORE_KEY = 5  # serial number, signature algorithm, issuer, validity, subject


class CertificateError(Exception):
    """Bytes that claim to be a certificate are none."""

    def __init__(self) -> None:
        super().__init__("the other end's certificate cannot be read")


def thumbprint(certificate: bytes) -> str:
    """Return the thumbprint of a certificate in DER; raise `CertificateError`."""
    return _thumbprint_at(certificate, _field(certificate, FIELDS_BEFORE_KEY))


def thumbprint_of_request(request: bytes) -> str:
    """Return the thumbprint of a certificate signing request in DER; raise `CertificateError`."""
    return _thumbprint_at(request, _field(request, REQUEST_FIELDS_BEFORE_KEY))


def validity(certificate: bytes) -> tuple[float, float]:
    """Return from when until when a certificate in DER holds, in seconds since 1970; raise `CertificateError`."""
    at = _content(certificate, _field(certificate, FIELDS_BEFORE_VALIDITY), SEQUENCE)
    return _time(certificate, at), _time(certificate, _end(certificate, at))


def is_issued_by(certificate: bytes, authority: bytes) -> bool:
    """Say whether a certificate names an authority as its issuer, both in DER; raise `CertificateError`."""
    return _bytes_at(certificate, FIELDS_BEFORE_ISSUER) == _bytes_at(authority, FIELDS_BEFORE_SUBJECT)


def thumbprint_of_key(public_key: bytes) -> str:
    """Return the thumbprint of a SubjectPublicKeyInfo in DER."""
    digest = hashlib.sha256(public_key).digest()
    return "SHA256:" + base64.b64encode(digest).decode("ascii").rstrip("=")


def _field(data: bytes, before: int) -> int:
    """Return where the field stands that follows `before` others, a certificate's version not counted."""
    at = _content(data, _content(data, 0, SEQUENCE), SEQUENCE)
    if data[at : at + 1] == bytes([VERSION]):
        at = _end(data, at)
    for _ in range(before):
        at = _end(data, at)
    return at


def _bytes_at(data: bytes, before: int) -> bytes:
    at = _field(data, before)
    return data[at : _end(data, at)]


def _thumbprint_at(data: bytes, at: int) -> str:
    _content(data, at, SEQUENCE)
    return thumbprint_of_key(data[at : _end(data, at)])


def _time(data: bytes, at: int) -> float:
    """Read a UTCTime or a GeneralizedTime (RFC 5280, section 4.1.2.5)."""
    start, end = _element(data, at, None)
    digits = data[start:end].decode("ascii", "replace").rstrip("Z")
    if data[at] == UTC_TIME:
        digits = ("19" if digits[:2] >= "50" else "20") + digits
    if len(digits) != len("YYYYMMDDHHMMSS") or not (digits.isascii() and digits.isdigit()):
        raise CertificateError
    month, day, hour, minute, second = (int(digits[place : place + 2]) for place in range(4, 14, 2))
    days = _days(int(digits[:4]), month, day)
    return float(((days * 24 + hour) * 60 + minute) * 60 + second)


def _days(year: int, month: int, day: int) -> int:
    """Return the days since 1970 (Hinnant, "chrono-compatible low-level date algorithms"); raise `CertificateError`.

    An idle agent would hold the 450 kB of the module `datetime` for this alone.
    """
    if not 1 <= month <= MONTHS:
        raise CertificateError
    since_march = (month - MARCH) % MONTHS
    year -= month < MARCH
    day_of_year = (153 * since_march + 2) // 5 + day - 1
    return year * 365 + year // 4 - year // 100 + year // 400 + day_of_year - DAYS_BEFORE_1970


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
