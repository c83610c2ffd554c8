"""Tokens that a trusted OIDC issuer has signed, as CI jobs have them: who bears one, and what the configuration gives them.

Whatever cannot be shown (a key, a claim, an issuer that does not answer) lets nobody in.
"""

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.request import HTTPRedirectHandler, build_opener

import jwt

from reconciler.model.access import Bearer, Grant
from reconciler.server.trust.access_settings import OidcTable

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Those with a public key: a secret that is shared would make whoever checks a token able to make one."""

KEY_TYPES = frozenset({"RSA", "EC", "OKP"})
TOKEN_MAX = 16 * 1024  # characters
KEYS_BYTES_MAX = 1 << 20
KEYS_FRESH = 600.0  # seconds until keys are fetched again
KEYS_OLD = 3_600.0  # seconds until keys that could not be fetched again are trusted no longer
AGAIN = 30.0  # seconds between two fetches for the sake of a key that is not known
FETCH_WITHIN = 5.0  # seconds
LEEWAY = 30.0  # seconds that the clocks may differ by
NAME_MAX = 200  # characters of a subject; it stands in the audit


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


@dataclass(slots=True)
class KeySet:
    """The public keys of an issuer, from a file or an address."""

    where: str | Path
    clock: Callable[[], float] = time.monotonic
    _keys: Mapping[str, jwt.PyJWK] = field(default_factory=dict)
    _had_at: float = -KEYS_OLD
    _tried_at: float = -KEYS_OLD
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def key(self, name: str) -> jwt.PyJWK | None:
        """Return a key by its name; None where there is none that can be trusted now."""
        async with self._turn:
            now = self.clock()
            stale = now - self._had_at >= KEYS_FRESH
            if (stale or name not in self._keys) and now - self._tried_at >= AGAIN:
                self._tried_at = now
                found = await asyncio.to_thread(self._read)
                if found is not None:
                    self._keys, self._had_at = found, now
            return self._keys.get(name) if now - self._had_at < KEYS_OLD else None

    def _read(self) -> Mapping[str, jwt.PyJWK] | None:
        try:
            return _keys_in(self._text())
        except (OSError, ValueError, jwt.PyJWTError):
            return None

    def _text(self) -> bytes:
        if isinstance(self.where, Path):
            return self.where.read_bytes()
        with build_opener(_NoRedirect).open(self.where, timeout=FETCH_WITHIN) as answer:
            text: bytes = answer.read(KEYS_BYTES_MAX + 1)
        if len(text) > KEYS_BYTES_MAX:
            raise ValueError("more keys than any issuer has")
        return text


def _keys_in(text: bytes) -> Mapping[str, jwt.PyJWK]:
    listed = json.loads(text)
    found = listed["keys"] if isinstance(listed, dict) and isinstance(listed.get("keys"), list) else []
    keys = {}
    for each in found:
        if (
            isinstance(each, dict)
            and each.get("kty") in KEY_TYPES
            and each.get("use", "sig") == "sig"
            and "d" not in each
        ):
            try:
                keys[str(each.get("kid", ""))] = jwt.PyJWK(each)
            except jwt.PyJWTError:
                continue  # a form that we do not know is no reason to refuse the others
    return keys


@dataclass(frozen=True, slots=True)
class Issuers:
    """Everyone whose tokens are trusted, and what for."""

    tables: Sequence[OidcTable]
    keys: Mapping[str | Path, KeySet]

    @classmethod
    def of(cls, tables: Sequence[OidcTable]) -> "Issuers":
        """Trust those of a configuration."""
        return cls(tables, {table.keys: KeySet(table.keys) for table in tables})

    async def bearer(self, text: str) -> Bearer | None:
        """Return who bears a token with all that the tables give them together; None where none gives anything."""
        if not self.tables or len(text) > TOKEN_MAX:
            return None
        grants: list[Grant] = []
        subject = issuer = ""
        groups: tuple[str, ...] = ()
        for table in self.tables:
            claims = await self._claims(text, table)
            if claims is not None and _fits(claims, table):
                subject, issuer, groups = str(claims["sub"]), table.issuer, _groups(claims)
                grants += [Grant(role, space) for role in table.roles for space in table.spaces]
        if not grants:
            return None
        return Bearer(subject[:NAME_MAX], tuple(dict.fromkeys(grants)), f"oidc {issuer} {subject}", groups)

    async def _claims(self, text: str, table: OidcTable) -> Mapping[str, object] | None:
        """Return what a token says, if the issuer of a table has signed it for us and it holds now."""
        try:
            head = jwt.get_unverified_header(text)
            key = await self.keys[table.keys].key(str(head.get("kid", "")))
            if key is None or head.get("alg") != key.algorithm_name or key.algorithm_name not in ALGORITHMS:
                return None
            claims: Mapping[str, object] = jwt.decode(
                text,
                key,
                algorithms=[key.algorithm_name],
                audience=table.audience,
                issuer=table.issuer,
                leeway=LEEWAY,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            return None
        return claims


def _groups(claims: Mapping[str, object]) -> tuple[str, ...]:
    listed = claims.get("groups")
    return tuple(each for each in listed if isinstance(each, str)) if isinstance(listed, list) else ()


def _fits(claims: Mapping[str, object], table: OidcTable) -> bool:
    wanted = {**table.claims, "sub": table.subject}
    return all(isinstance(claims.get(name), str) and fnmatchcase(str(claims[name]), wanted[name]) for name in wanted)
