"""A host of Git behind https that may hang, fail or ask to be left alone, as hosts do on their bad days."""

import os
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from urllib.parse import urlsplit

BACKEND = "/usr/lib/git-core/git-http-backend"


class Mood(Enum):
    """How requests for one repository are answered."""

    WELL = "well"
    HANGS = "hangs"
    FAILS = "fails"
    THROTTLES = "throttles"


ANSWERS = {Mood.FAILS: 503, Mood.THROTTLES: 429}


@dataclass
class AwkwardHost:
    """Serves the repositories below a folder, each in a mood of its own."""

    folder: Path
    url: str = ""
    moods: dict[str, Mood] = field(default_factory=dict)
    over: Event = field(default_factory=Event)
    """Set when the host ends: who hangs is let go."""

    @property
    def certificate(self) -> Path:
        return self.folder / "host-certificate.pem"

    def address(self, repository: Path) -> str:
        return f"{self.url}/{repository.relative_to(self.folder)}/.git"


@contextmanager
def awkward_host(folder: Path) -> Iterator[AwkwardHost]:
    """Serve what lies below `folder` while the context stands."""
    host = AwkwardHost(folder)
    key = folder / "host-key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    named = ["-subj", "/CN=git", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", host.certificate]
    subprocess.run([*made, *named], check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(host.certificate, key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(host))
    server.daemon_threads = True
    server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    host.url = f"https://127.0.0.1:{server.server_port}"
    try:
        yield host
    finally:
        host.over.set()
        server.shutdown()
        server.server_close()


def _handler(host: AwkwardHost) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            mood = host.moods.get(self.path.split("/")[1], Mood.WELL)
            if mood is Mood.HANGS:
                host.over.wait()
            elif mood in ANSWERS:
                self.send_error(ANSWERS[mood])
            else:
                self._served()

        def _served(self) -> None:
            """Have Git's own program answer, as a web server does."""
            asked, length = urlsplit(self.path), int(self.headers.get("Content-Length", 0))
            scrubbed = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
            facts = {
                "GIT_PROJECT_ROOT": str(host.folder),
                "GIT_HTTP_EXPORT_ALL": "",
                "PATH_INFO": asked.path,
                "QUERY_STRING": asked.query,
                "REQUEST_METHOD": self.command,
                "CONTENT_LENGTH": str(length),
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "HTTP_GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            }
            body = self.rfile.read(length)
            done = subprocess.run([BACKEND], input=body, capture_output=True, env=scrubbed | facts, check=True)
            head, _, content = done.stdout.partition(b"\r\n\r\n")
            headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
            self.send_response(int(headers.pop("Status", "200").split()[0]))
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = answer  # noqa: N815 - the names are the library's

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
            """Say nothing."""

    return Handler
