"""The way to the API of a forge: one request after another with a token, and its refusals as problems of ours."""

import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, HTTPSHandler, OpenerDirector, Request, build_opener

from reconciler.model.errors import ReconcilerError
from reconciler.server.trust.access_settings import is_loopback

WITHIN = 20.0
"""Seconds that a forge may take to answer."""

ANSWER_MAX = 16 << 20
"""Bytes of one answer: a page of a hundred comments, each as long as it may be."""

SAID_MAX = 200
"""Characters of a forge's own words that are repeated."""

PASSING = frozenset({408, 409})
"""Refusals that are over in a moment: GitLab takes one update of a commit's status at a time."""

HINTS = {
    401: "give it a token that is valid",
    403: "give it a token that may do this",
    404: "the repository, the commit or the pull request is not there, or the token may not see it",
}
"""How to mend what a forge refuses, by the code of its answer."""


class ForgeProblem(ReconcilerError):
    """A forge did not do what it was asked for; `after` are seconds until that may be otherwise, None for never."""

    def __init__(self, message: str, hint: str = "", *, after: float | None = None, code: int = 0) -> None:
        super().__init__(message, hint)
        self.after = after
        self.code = code


class _NoRedirect(HTTPRedirectHandler):
    """The token is shown to the address that was named, and to no other."""

    def redirect_request(self, *_: object) -> None:
        return None


@dataclass(frozen=True, slots=True)
class Line:
    """The way to an API, and the token that is shown there."""

    url: str
    token: str = field(repr=False)
    ca_file: str | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for an address that is none, or over which the token would go in clear."""
        parts = urlsplit(self.url)
        if parts.scheme not in {"https", "http"} or not parts.hostname or parts.username is not None:
            raise ValueError(f"{self.url} is no address of an API, such as https://forge.example.org/api/v1")
        if parts.scheme == "http" and not is_loopback(parts.hostname):
            raise ValueError(f"to {self.url} the token would go in clear; write https://")

    def ask(self, method: str, path: str, headers: Mapping[str, str], body: Mapping[str, object] | None = None) -> Any:
        """Return the JSON that a forge answers; raises ForgeProblem."""
        data = json.dumps(body).encode() if body is not None else None
        sent = {"User-Agent": "reconcile", **headers} | ({"Content-Type": "application/json"} if data else {})
        request = Request(f"{self.url.rstrip('/')}{path}", data, sent, method=method)  # noqa: S310 - checked above
        try:
            with self._opener().open(request, timeout=WITHIN) as answer:
                return json.loads(answer.read(ANSWER_MAX) or b"null")
        except HTTPError as error:
            with error:
                raise self._problem(error.code, error.headers, error.read(ANSWER_MAX)) from None
        except (OSError, HTTPException) as error:
            raise ForgeProblem(f"the forge at {self.url} cannot be reached: {_reason(error)}", after=0.0) from None
        except ValueError:
            raise ForgeProblem(f"the forge at {self.url} answers with something else than JSON", after=0.0) from None

    def _opener(self) -> OpenerDirector:
        if self.url.startswith("http:"):
            return build_opener(_NoRedirect)
        return build_opener(_NoRedirect, HTTPSHandler(context=ssl.create_default_context(cafile=self.ca_file)))

    def _problem(self, code: int, headers: Message, body: bytes) -> ForgeProblem:
        said = self._said(body)
        after = _wait(headers, time.time())
        limited = code == 429 or (code == 403 and (after is not None or headers.get("X-RateLimit-Remaining") == "0"))
        if limited or code >= 500 or code in PASSING:
            why = "has had enough for now" if limited else "fails"
            return ForgeProblem(f"the forge at {self.url} {why} ({code}{said})", after=after or 0.0, code=code)
        return ForgeProblem(f"the forge at {self.url} refuses ({code}{said})", HINTS.get(code, ""), code=code)

    def _said(self, body: bytes) -> str:
        """Return a forge's own words, without the token."""
        try:
            told = json.loads(body)
        except ValueError:
            return ""
        message = told.get("message") or told.get("error") if isinstance(told, dict) else None
        if message is None:
            return ""
        text = " ".join((message if isinstance(message, str) else json.dumps(message)).split())
        safe = "".join(letter for letter in text if letter.isprintable())
        return ": " + (safe.replace(self.token, "***") if self.token else safe)[:SAID_MAX]


def _reason(error: Exception) -> str:
    reason = error.reason if isinstance(error, URLError) else error
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    return str(reason) or type(reason).__name__


def _wait(headers: Message, now: float) -> float | None:
    """Return the seconds that a forge asks to be left alone, if it says so."""
    after, reset = headers.get("Retry-After", ""), headers.get("X-RateLimit-Reset", "")
    if after.isdecimal():
        return float(after)
    if headers.get("X-RateLimit-Remaining") == "0" and reset.isdecimal():
        return max(0.0, float(reset) - now)
    return None
