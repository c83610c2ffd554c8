"""Calls of forges that say a repository has moved: who may call is proven by a shared secret, what they say is not believed."""

import hmac
import json
from collections.abc import Mapping
from hashlib import sha256

from reconciler.model.errors import ReconcilerError

BODY_BYTES_MAX = 5 << 20
"""Of a call; a push with hundreds of commits has some 100 KiB."""

SIGNATURES: Mapping[str, tuple[str, str]] = {
    "generic": ("x-reconciler-signature", "sha256="),
    "github": ("x-hub-signature-256", "sha256="),
    "gitea": ("x-gitea-signature", ""),
}
"""The header that holds the HMAC of the body, and what stands before its hexadecimal digits."""

TOKEN_HEADER = "x-gitlab-token"  # noqa: S105 - the name of a header
"""GitLab sends the secret itself."""


class NotProven(ReconcilerError):
    """A call does not prove that it comes from whom it should."""


def check_call(kind: str, headers: Mapping[str, str], body: bytes, secret: bytes) -> None:
    """Raise NotProven unless a call is signed as forges of `kind` do; names of headers are in small letters.

    A secret that is empty proves nothing.
    """
    if kind == "gitlab":
        proof, wanted = headers.get(TOKEN_HEADER, ""), secret.decode("utf-8", "surrogateescape")
    else:
        header, before = SIGNATURES[kind]
        proof, wanted = headers.get(header, ""), before + hmac.new(secret, body, sha256).hexdigest()
    if not secret or not hmac.compare_digest(
        proof.encode("utf-8", "surrogateescape"), wanted.encode("utf-8", "surrogateescape")
    ):
        raise NotProven("the call is not signed with the secret of this source")


def concerns(ref: str, body: bytes) -> bool:
    """May a call be about `ref`? What does not say which ref it is about may be about any."""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return True
    named = told.get("ref") if isinstance(told, dict) else None
    return not isinstance(named, str) or not named.startswith("refs/") or named == ref
