"""Call a server: one request after another with a token, its refusals as errors of ours, and streams that go on."""

import http.client
import json
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlencode, urlsplit

from reconciler.model.errors import Conflict, ReconcilerError, Refused, UsageMistake
from reconciler.server.trust.access_settings import is_loopback

WITHIN = 120.0
"""Seconds that a server may take to answer; a look at its source takes the longest."""

QUIET = 60.0
"""Seconds that a stream may say nothing, not even that it still stands."""

TRIES = 8
"""Of a stream that was broken off with nothing new, half a minute together; and of a request that was not answered."""

ANSWER_MAX = 256 << 20
"""Bytes of one answer."""

COPIED = 1 << 18
"""Bytes of a file that are read at once."""

KINDS: Mapping[int, type[ReconcilerError]] = {error.exit_code: error for error in (Conflict, Refused)}


@dataclass(frozen=True, slots=True)
class Message:
    """One server-sent event."""

    id: str
    name: str
    data: str


class Away(ReconcilerError):
    """The server cannot be reached, or does not lead the space; a little later that may be otherwise."""

    def __init__(self, message: str, hint: str, code: int = 1) -> None:
        super().__init__(message, hint)
        self.exit_code = code


class _Broken(Exception):
    """The connection ended before the answer was whole."""


@dataclass(slots=True)
class Arriving:
    """Parts that can be read like a file, and are written to `out` on the way."""

    parts: Iterator[bytes]
    out: BinaryIO
    _left: bytes = b""

    def read(self, size: int) -> bytes:
        """Return the next bytes, `size` at most; none at their end."""
        if not self._left:
            self._left = next(self.parts, b"")
            self.out.write(self._left)
        data, self._left = self._left[:size], self._left[size:]
        return data

    def rest(self) -> None:
        """Write what nobody has read."""
        for part in self.parts:
            self.out.write(part)


@dataclass(slots=True)
class Caller:
    """One server, and the token that is shown to it."""

    url: str
    token: str = field(repr=False)
    certificates: Path | None = None
    _context: ssl.SSLContext | None = None
    _connection: http.client.HTTPConnection | None = None

    def __post_init__(self) -> None:
        """Raise UsageMistake for an address that is none, or over which the token would go in clear."""
        try:
            parts = urlsplit(self.url)
            host, _ = parts.hostname or "", parts.port
        except ValueError:
            host = ""
        if not host or parts.scheme not in {"https", "http"} or parts.query or parts.username is not None:
            raise UsageMistake(f"--server {self.url}: an address such as https://deploy.example.org is expected")
        if parts.scheme == "http" and not is_loopback(host):
            raise UsageMistake(f"--server {self.url}: the token would go in clear", "use https://")
        if parts.scheme == "https":
            self._context = self._trusting()

    def get(self, path: str, **query: object) -> bytes:
        """Return the body of what is at a path; raises ReconcilerError."""
        return self._asked("GET", _with_query(path, query))

    def post(self, path: str, body: Mapping[str, object], key: str | None = None) -> bytes:
        """Send a body and return the answer's; what is not only looked at goes under a key, for it may be sent again."""
        headers = {"Content-Type": "application/json"} | ({"Idempotency-Key": key} if key is not None else {})
        return self._asked("POST", path, _json(body), headers)

    def copy(self, path: str, target: BinaryIO) -> str:
        """Write what is at a path to a file, as far as it comes; return the SHA-256 of that. Raises ReconcilerError."""
        digest = sha256()
        for part in self.parts(path):
            digest.update(part)
            target.write(part)
        return digest.hexdigest()

    def parts(self, path: str, within: float = WITHIN) -> Iterator[bytes]:
        """Yield what is at a path until it ends, or breaks off; raises ReconcilerError where it is refused."""
        with suppress(OSError, http.client.HTTPException):
            answer = self._sent("GET", path, None, {}, within)
            while part := answer.read(COPIED):
                yield part

    def lines(self, path: str, **query: object) -> Iterator[str]:
        """Yield the lines of what is at a path, as they come; raises ReconcilerError, too, where not all of them do."""
        try:
            yield from _lines(self._sent("GET", _with_query(path, query), None, {}, WITHIN))
        except (OSError, http.client.HTTPException):
            self._drop()
            raise Conflict(f"{self.url} has not sent the whole answer", "run the command again") from None

    def stream(self, path: str) -> Iterator[Message]:
        """Yield the events at a path until the one called `end`; goes on behind the last one where it breaks off."""
        last, tries, begun = "", 0, False
        while tries < TRIES:
            try:
                answer = self._sent("GET", path, None, {"Last-Event-ID": last} if last else {}, QUIET)
                begun = True
                for message in _messages(answer):
                    if message.name == "end":
                        self._drop()
                        return
                    last, tries = message.id or last, 0
                    yield message
            except Away:
                if not begun:
                    raise
            except (OSError, http.client.HTTPException, _Broken):
                begun = True
            self._drop()
            tries += 1
            time.sleep(min(5.0, 0.1 * 2**tries))
        raise Conflict(f"{self.url} has broken the stream off, and does not go on with it", "run the command again")

    def _asked(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> bytes:
        for left in reversed(range(TRIES)):
            try:
                return self._sent(method, path, body, headers or {}, WITHIN).read(ANSWER_MAX)
            except (ConnectionError, http.client.HTTPException, TimeoutError) as error:
                self._drop()  # an idle connection is closed by the other end at any time
                if not left or isinstance(error, TimeoutError):
                    break
        raise Conflict(
            f"{self.url} has not answered, and may still do what was asked", "look at it with: reconcile status"
        )

    def _sent(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], within: float
    ) -> http.client.HTTPResponse:
        """Send a request and return its answer, if it is a good one; raises ReconcilerError, and what breaks it off."""
        connection = self._connected(within)
        assert connection.sock is not None, "it is connected"
        connection.sock.settimeout(within)
        prefix = urlsplit(self.url).path.rstrip("/")
        connection.request(method, f"{prefix}/api/v1{path}", body, {"Authorization": f"Bearer {self.token}", **headers})
        answer = connection.getresponse()
        if answer.status != 200:
            raise self._refusal(answer.status, answer.read(ANSWER_MAX))
        return answer

    def _connected(self, within: float) -> http.client.HTTPConnection:
        if self._connection is None or self._connection.sock is None:
            parts = urlsplit(self.url)
            host = parts.hostname or ""
            made = (
                http.client.HTTPSConnection(host, parts.port, timeout=within, context=self._context)
                if self._context is not None
                else http.client.HTTPConnection(host, parts.port, timeout=within)
            )
            try:
                made.connect()
            except ssl.SSLCertVerificationError as error:
                raise ReconcilerError(
                    f"{self.url} shows a certificate that is not trusted: {error.verify_message}",
                    "name the authority that signed it with --ca-file",
                ) from None
            except ssl.SSLError:
                raise ReconcilerError(f"{self.url} does not speak TLS with us", "is it http:// perhaps?") from None
            except OSError as error:
                reason = error.strerror or str(error) or type(error).__name__
                raise Away(f"{self.url} cannot be reached: {reason}", "is the server running there?") from None
            self._connection = made
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _refusal(self, status: int, body: bytes) -> ReconcilerError:
        try:
            told = json.loads(body)
            error, hint, code = str(told["error"]), str(told.get("hint", "")), int(told["code"])
        except (ValueError, KeyError, TypeError):
            return ReconcilerError(
                f"what answers at {self.url} is no server of ours (status {status})", "check --server"
            )
        if status == 503:
            return Away(error, hint, code)
        if status == 401:
            hint = "give one with --token-file or RECONCILE_TOKEN"
        return KINDS.get(code, UsageMistake)(f"{self.url}: {error}" if status == 401 else error, hint)

    def _trusting(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self.certificates)
        except ssl.SSLError:
            raise UsageMistake(f"--ca-file {self.certificates}: it holds no certificate in PEM") from None
        except OSError as error:
            raise UsageMistake(f"--ca-file {self.certificates}: {error.strerror}") from None


def _with_query(path: str, query: Mapping[str, object]) -> str:
    given = [(name, value) for name, value in query.items() if value not in {None, ""}]
    return f"{path}?{urlencode(given, errors='replace')}" if given else path


def _json(body: Mapping[str, object]) -> bytes:
    """Return a body; bytes of an argument that were no text are told as such."""
    return json.dumps(body, ensure_ascii=False).encode(errors="replace")


def _lines(answer: http.client.HTTPResponse) -> Iterator[str]:
    """Yield the lines of an answer; by `readline` one that was broken off would look whole."""
    left = b""
    while part := answer.read(COPIED):
        *lines, left = (left + part).split(b"\n")
        yield from (line.decode() for line in lines)


def _messages(answer: http.client.HTTPResponse) -> Iterator[Message]:
    """Yield the events of a stream; raises _Broken where it ends before its end."""
    fields: dict[str, Any] = {}
    while line := answer.readline():
        text = line.decode().rstrip("\r\n")
        if not text and fields:
            yield Message(fields.get("id", ""), fields.get("event", "message"), fields.get("data", ""))
            fields = {}
        elif text and not text.startswith(":"):
            name, _, value = text.partition(":")
            fields[name] = value.removeprefix(" ")
    raise _Broken
