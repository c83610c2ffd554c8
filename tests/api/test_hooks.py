"""Calls of forges: who is heard, who is not, and how much of it."""

import asyncio
import hmac
import http.client
import io
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

import pytest

from reconciler.api import hooks
from reconciler.api.web import serve_http
from reconciler.server.binding import bound
from reconciler.server.configuration import EMBEDDED, Configuration
from reconciler.server.sources.policy import Policy
from reconciler.server.sources.settings import SourceTable, WebhookTable
from reconciler.server.sources.webhooks import BODY_BYTES_MAX, NotProven, check_call, concerns
from reconciler.server.space_service import Followed, SpaceService
from reconciler.server.state.place import Place
from reconciler.server.trust.access_settings import HttpTable
from reconciler.server.voice import Voice
from reconciler.store.directory import DataDirectory

SECRET = b"a shared secret"
PATIENCE = 30.0


@asynccontextmanager
async def hooked(folder: Path, configuration: Configuration = EMBEDDED) -> AsyncIterator[tuple[int, io.StringIO]]:
    """Serve the calls of one source whose engine does not run; yields the port, and what is said."""
    (folder / "secret").write_bytes(SECRET + b"\n")
    webhook = WebhookTable(kind="github", secret_file=str(folder / "secret"))
    settings = SourceTable(space="shop", url=f"file://{folder}/nowhere", webhook=webhook)
    data, said, listening = DataDirectory(folder / "data"), io.StringIO(), bound("127.0.0.1:0")
    followed = Followed(settings.source(data.root), Policy(), settings)
    place = Place(data.root, str(data.root), data)
    space = SpaceService(place, followed, configuration, Voice("text", said), None, "node-a")
    async with space.locked():
        serving = asyncio.create_task(serve_http([space], configuration, listening, space.voice))
        try:
            yield listening.getsockname()[1], said
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
            listening.close()


def proof(body: bytes, secret: bytes = SECRET) -> str:
    return "sha256=" + hmac.new(secret, body, sha256).hexdigest()


def call(port: int, body: bytes, signed: str | None, name: str = "shop") -> tuple[int, str]:
    """Call the hook once; returns the status and the sentence."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request(
            "POST", f"/hooks/{name}", body, {"X-Hub-Signature-256": signed} if signed is not None else {}
        )
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


async def test_a_call_has_to_be_proven_and_is_no_longer_than_it_may_be(tmp_path: Path) -> None:
    unhurried = EMBEDDED.model_copy(update={"http": HttpTable(rate=1e6, burst=10**6)})
    async with hooked(tmp_path, unhurried) as (port, said):
        body = b'{"ref": "refs/heads/main"}'
        refusal = "the call is not signed with the secret of this source\n"
        for given, signed, name, wanted in [
            (body, proof(body), "shop", (202, "")),
            (b"[" * 100_000, proof(b"[" * 100_000), "shop", (202, "")),
            (body, None, "shop", (403, refusal)),
            (body, "", "shop", (403, refusal)),
            (body, proof(body)[:-1], "shop", (403, refusal)),
            (body, proof(body).upper(), "shop", (403, refusal)),
            (body, proof(body, b""), "shop", (403, refusal)),
            (body + b" ", proof(body), "shop", (403, refusal)),
            (body, proof(body), "other", (404, "no source of this name takes calls\n")),
        ]:
            assert await asyncio.to_thread(call, port, given, signed, name) == wanted
        assert said.getvalue().count("call refused") == 6
        assert SECRET.decode() not in said.getvalue()
        answer = await asyncio.to_thread(begun_call, port, BODY_BYTES_MAX + 1, b"x" * (BODY_BYTES_MAX + 1))
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert answer.endswith(b"a call has 5 MiB at most\n")


async def test_strangers_are_soon_heard_no_more_and_the_forge_is(tmp_path: Path) -> None:
    async with hooked(tmp_path, EMBEDDED.model_copy(update={"http": HttpTable(rate=0.01, burst=30)})) as (port, said):
        answers = [await asyncio.to_thread(call, port, b"{}", "none") for _ in range(5)]
        assert [status for status, _ in answers] == [403, 403, 403, 429, 429]
        assert answers[-1][1] == "too many calls without proof\n"
        assert said.getvalue().count("call refused") == 3
        assert await asyncio.to_thread(call, port, b"{}", proof(b"{}")) == (202, "")


async def test_calls_that_cannot_be_checked_are_put_off_and_said_once(tmp_path: Path) -> None:
    async with hooked(tmp_path, EMBEDDED.model_copy(update={"http": HttpTable(rate=0.01, burst=30)})) as (port, said):
        (tmp_path / "secret").rename(tmp_path / "away")
        answers = [await asyncio.to_thread(call, port, b"{}", proof(b"{}")) for _ in range(5)]
        assert [status for status, _ in answers] == [503, 503, 503, 429, 429]
        assert answers[0][1] == "no call can be checked: the server's log tells more\n"
        assert answers[-1][1] == "too many calls without proof\n"
        (line,) = [line for line in said.getvalue().splitlines() if "calls cannot be checked" in line]
        assert line.endswith(f'reason="{tmp_path}/secret: No such file or directory"')
        assert "Traceback" not in said.getvalue()
        (tmp_path / "away").rename(tmp_path / "secret")
        assert await asyncio.to_thread(call, port, b"{}", proof(b"{}")) == (202, "")
        (tmp_path / "secret").unlink()
        assert (await asyncio.to_thread(call, port, b"{}", proof(b"{}")))[0] == 429
        assert said.getvalue().count("calls cannot be checked") == 2


async def test_a_call_whose_body_does_not_come_is_waited_for_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hooks, "BODY_WITHIN", 0.3)
    async with hooked(tmp_path) as (port, _):
        answer = await asyncio.to_thread(begun_call, port, 40, b"{")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert answer.endswith(b"the body did not come within 0.3 s\n")


def begun_call(port: int, length: int, body: bytes) -> bytes:
    """Begin a call of so many bytes, and return all that is answered until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        head = f"POST /hooks/shop HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        connection.sendall(head.encode() + body)
        answer = b""
        while data := connection.recv(65536):
            answer += data
    return answer


@pytest.mark.parametrize("kind", ["generic", "github", "gitea", "gitlab"])
@pytest.mark.parametrize("content", [b"", b"\n", b"  \nsecond line\n"])
def test_a_secret_that_is_empty_proves_nothing(tmp_path: Path, kind: str, content: bytes) -> None:
    (tmp_path / "secret").write_bytes(content)
    secret = WebhookTable(kind=kind, secret_file=str(tmp_path / "secret")).secret()  # type: ignore[arg-type]  # one of the words
    empty = hmac.new(b"", b"{}", sha256).hexdigest()
    headers = {
        "x-reconciler-signature": f"sha256={empty}", "x-hub-signature-256": f"sha256={empty}",
        "x-gitea-signature": empty, "x-gitlab-token": "",
    }  # fmt: skip
    with pytest.raises(NotProven):
        check_call(kind, headers, b"{}", secret)


@pytest.mark.parametrize(
    "body", [b"", b"\xff", b"[" * 100_000, b"null", b'{"ref": 1}', b'{"ref": "main"}', b"9" * 9_999]
)
def test_what_does_not_say_which_ref_it_is_about_may_be_about_any(body: bytes) -> None:
    assert concerns("refs/heads/main", body)
    assert not concerns("refs/heads/main", b'{"ref": "refs/heads/other"}')
