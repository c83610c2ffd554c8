"""A forge on this machine: it answers as it was told to, and remembers each request."""

import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread


@dataclass(frozen=True)
class Asked:
    """One request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: object


@dataclass(frozen=True)
class Answer:
    """One answer."""

    code: int = 200
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes | None = None


@dataclass
class ListeningForge:
    """The requests that came, and the answers to come; where none is left, `otherwise`."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    otherwise: Answer = field(default_factory=lambda: Answer(201, {"id": 1}))
    held: Event | None = None
    """While it is not set, nothing is answered."""

    @property
    def said(self) -> list[tuple[str, str, object]]:
        return [(each.method, each.path, each.body) for each in self.asked]


@contextmanager
def listening(tls: ssl.SSLContext | None = None) -> Iterator[ListeningForge]:
    """Listen while the context stands, over TLS where that is given."""
    forge = ListeningForge()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = json.loads(raw) if raw else None
            forge.asked.append(Asked(self.command, self.path, dict(self.headers), body))
            if forge.held is not None:
                forge.held.wait()
            answer = forge.answers.pop(0) if forge.answers else forge.otherwise
            sent = answer.raw if answer.raw is not None else json.dumps(answer.body).encode()
            self.send_response(answer.code)
            for name, value in {**answer.headers, "Content-Length": str(len(sent)), "Connection": "close"}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(sent)

        do_GET = do_POST = do_PUT = do_PATCH = answer  # noqa: N815 - the names are the library's

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    forge.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
    try:
        yield forge
    finally:
        if forge.held is not None:
            forge.held.set()
        server.shutdown()
        server.server_close()
