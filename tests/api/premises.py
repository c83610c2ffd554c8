"""A real server over a real repository, in a thread of this process, and callers that show its tokens."""

import asyncio
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconciler.api.web import serve_http
from reconciler.cli.exit_codes import ExitCode
from reconciler.server.binding import bound
from reconciler.server.configuration import EMBEDDED, Configuration
from reconciler.server.engine.control import decide
from reconciler.server.orders.orders import CreateAccess
from reconciler.server.service import Wishes, service_of
from reconciler.server.space_service import SpaceService
from reconciler.server.standby import first_of
from reconciler.server.trust.access_settings import HttpTable
from reconciler.server.voice import Voice
from tests.cli.workplace import Workplace, reconcile

PATIENCE = 30.0  # seconds for what takes well under one
UNHURRIED: Configuration = EMBEDDED.model_copy(update={"http": HttpTable(rate=1e6, burst=10**6)})
"""A configuration that lets tests call as often as they like."""

SPACE = "apiVersion: reconciler/v1\nkind: Space\nmetadata: {name: shop}\nspec: {}\n"


@dataclass(frozen=True, slots=True)
class Reply:
    """What was answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def expect(self, status: int) -> Any:
        assert self.status == status, (self.status, self.body[:2_000])
        return self.json if self.body else None


@dataclass(slots=True)
class Premises:
    """A server, its repository, and the address that it answers at."""

    work: Workplace
    address: str
    service: SpaceService
    loop: asyncio.AbstractEventLoop
    reader: str = ""
    """A token that a fixture has made."""

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def token(self, *roles: str, space: str = "shop", name: str = "", ttl: float = 3600.0) -> str:
        """Make a token with some roles, as the owner of the state does."""
        name = name or f"{'-'.join(roles)}-{time.monotonic_ns()}"
        return decide(self.service.place, CreateAccess("ann", name, roles, space, ttl)).answer.made

    def call(
        self, method: str, path: str, token: str = "", body: object = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """Call the server once; a body that is no bytes goes as JSON."""
        connection = http.client.HTTPConnection(self.address, timeout=PATIENCE)
        sent = {"Authorization": f"Bearer {token}"} if token else {}
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        if data is not None:
            sent["Content-Type"] = "application/json"
        try:
            connection.request(method, path, data, {**sent, **(headers or {})})
            answer = connection.getresponse()
            return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def get(self, path: str, token: str, **headers: str) -> Reply:
        return self.call("GET", f"/api/v1/spaces/shop{path}", token, headers=headers)

    def post(self, path: str, token: str, body: object = None, **headers: str) -> Reply:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.call("POST", f"/api/v1/spaces/shop{path}", token, {} if body is None else body, named)

    def at_server(self, token: str, *arguments: str | Path) -> tuple[ExitCode, str, str]:
        """Run a command against the server; returns its exit code and what it printed."""
        file = self.work.root.parent / "token"
        file.write_text(token)
        done = reconcile(*arguments, "--server", self.url, "--token-file", file)
        return ExitCode(done.code), done.out, done.err


def until(ready: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not ready():
        assert time.monotonic() < deadline, f"{what} does not come"
        time.sleep(0.02)


@contextmanager
def premises(
    folder: Path,
    body: str = "echo done",
    configuration: Configuration = UNHURRIED,
    declare: Callable[[Workplace], None] | None = None,
) -> Iterator[Premises]:
    """Serve a shop of one step; yields once its first commit is carried out and its task has ended."""
    work = Workplace(folder / "space")
    work.write("reconcile.yaml", SPACE)
    work.declare_shop(body)
    if declare is not None:
        declare(work)
    work.commit()
    with served(work, configuration) as found:
        yield found


@contextmanager
def served(work: Workplace, configuration: Configuration = UNHURRIED) -> Iterator[Premises]:
    """Serve a repository; yields once a commit was judged."""
    from reconciler.server.state.place import place_of

    place = place_of(str(work.root), None, None)
    listening = bound("127.0.0.1:0")
    address = f"127.0.0.1:{listening.getsockname()[1]}"
    wishes = Wishes(None, address, "node-a", new_state=True)
    service = service_of(place, configuration, Voice(stream=(work.root.parent / "serve.log").open("a")), wishes)
    loop, stop, failures = asyncio.new_event_loop(), asyncio.Event(), []

    async def serve() -> None:
        with_spaces = service.spaces[0]
        async with with_spaces.locked():
            await first_of(
                stop.wait(), with_spaces.hold(), serve_http(service.spaces, configuration, listening, service.voice)
            )

    async def end_all() -> None:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def run() -> None:
        try:
            loop.run_until_complete(serve())
        except Exception as error:  # noqa: BLE001 - told by whoever waits for the server
            failures.append(error)
        loop.run_until_complete(end_all())

    thread = threading.Thread(target=run, name="server", daemon=True)
    thread.start()
    found = Premises(work, address, service.spaces[0], loop)
    try:
        until(lambda: failures or _has_judged(found), "the first commit")
        assert not failures, failures
        yield found
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(PATIENCE)
        assert not thread.is_alive()
        loop.close()
        listening.close()


def _has_judged(found: Premises) -> bool:
    post = getattr(found.service, "post", None)
    return post is not None and post.controller is not None and bool(post.controller.revision)
