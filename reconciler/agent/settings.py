"""The agent's settings: whose worker it is and how server and agent find each other; `agent.json` and its neighbours."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Optional, TypeVar, Union

from reconciler.agent import durable
from reconciler.agent.faults import AgentError
from reconciler.protocol.messages import Trust
from reconciler.protocol.objects import MalformedError, dumped, loaded

CREDENTIALS_VARIABLE = "RECONCILE_PROXY_CREDENTIALS"
CREDENTIALS_FILE = "proxy-credentials"
POLLING_PORT = 10943
LISTENING_PORT = 10933
PROXY_PORT = 3128
WILDCARDS = ("", "0.0.0.0", "::")  # noqa: S104 - they are recognised here, not bound
PORT_MAX = 65535
Kept = TypeVar("Kept", "Settings", Trust)
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
ADDRESS = re.compile(r"(?:\[([0-9a-f:.]+(?:%\w+)?)\]|([^\s:/@?#\[\]]+))(?::([0-9]*))?", re.IGNORECASE)
NAME_RULE = "a name has letters a-z, digits and hyphens, at most 63"


@dataclass(frozen=True)
class Address:
    """A host, which may be an IPv6 address, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True)
class Polling:
    """The agent dials the server: any of `servers` (`HOST:PORT`), through the HTTP proxy at `proxy` if one is given."""

    servers: tuple[str, ...]
    subscription: str
    proxy: Optional[str] = None


@dataclass(frozen=True)
class Listening:
    """The server dials the agent, which listens at `listen` (`HOST:PORT`)."""

    listen: str


Endpoint = Union[Polling, Listening]


@dataclass(frozen=True)
class Settings:
    """The content of `agent.json`: exactly one of `polling` and `listening` is there."""

    worker: str
    pools: tuple[str, ...] = ()
    polling: Optional[Polling] = None
    listening: Optional[Listening] = None
    accounts: tuple[str, ...] = ()
    """Whom steps may be run under, by isolation `user` or `sandbox`; this machine's owner alone decides that."""

    @property
    def endpoint(self) -> Endpoint:
        """How server and agent find each other."""
        endpoint = self.polling or self.listening
        assert endpoint is not None, "settings are made with an endpoint"
        return endpoint


def settings_of(worker: str, pools: tuple[str, ...], endpoint: Endpoint, accounts: tuple[str, ...] = ()) -> Settings:
    """Return settings with this endpoint."""
    if isinstance(endpoint, Polling):
        return Settings(worker, pools, polling=endpoint, accounts=accounts)
    return Settings(worker, pools, listening=endpoint, accounts=accounts)


def address(text: str, default_port: int) -> Address:
    """Read `HOST`, `HOST:PORT` or `[IPV6]:PORT`; raise `AgentError`."""
    found = ADDRESS.fullmatch(text)
    port = int((found[3] if found else "") or default_port)
    if found is None or not 0 < port <= PORT_MAX:
        raise AgentError(f"{text!r} is no address; write HOST:PORT, an IPv6 address in brackets: [::1]:{default_port}")
    return Address((found[1] or found[2]).lower(), port)


def proxy_address(url: str) -> Address:
    """Read `http://HOST:PORT`; raise `AgentError`, also where credentials stand in it."""
    scheme, separator, rest = url.partition("://")
    if "@" in rest:
        raise AgentError(
            f"the proxy's URL holds credentials, which every process can read; give them in {CREDENTIALS_VARIABLE} "
            f"or in the file {CREDENTIALS_FILE} of the state directory, as USER:PASSWORD"
        )
    if scheme != "http" or not separator:
        raise AgentError(f"{url!r} is no proxy; write http://HOST:PORT")
    return address(rest.rstrip("/"), PROXY_PORT)


def proxy_credentials(state: str) -> Optional[str]:
    """Return `USER:PASSWORD` for the proxy from the environment or the state directory, None if there are none."""
    if CREDENTIALS_VARIABLE in os.environ:
        return os.environ[CREDENTIALS_VARIABLE].strip()
    found = _read(state, CREDENTIALS_FILE)
    return found.decode("utf-8", "replace").strip() if found is not None else None


def keep_proxy_credentials(state: str, credentials: str) -> None:
    """Keep `USER:PASSWORD` for later starts, readable by the agent alone."""
    keep(state, CREDENTIALS_FILE, credentials.encode())


def settings(state: str) -> Settings:
    """Read `agent.json`; raise `AgentError` if the agent is not enrolled or the file is broken."""
    text = _read(state, "agent.json")
    if text is None:
        raise AgentError(f"{state}: this agent is not enrolled; run `reconcile agent enrol` first")
    found = _loaded(Settings, text, state, "agent.json")
    if (found.polling is None) == (found.listening is None):
        raise AgentError(f"{os.path.join(state, 'agent.json')}: it is broken; enrol again")
    return found


def keep_settings(state: str, value: Settings) -> None:
    """Make `agent.json` durable."""
    keep(state, "agent.json", dumped(value))


def trust(state: str) -> Trust:
    """Read `trust.json`; trust nobody if there is none; raise `AgentError` if it is broken."""
    text = _read(state, "trust.json")
    return Trust((), ()) if text is None else _loaded(Trust, text, state, "trust.json")


def keep_trust(state: str, value: Trust) -> None:
    """Make `trust.json` durable."""
    keep(state, "trust.json", dumped(value))


def keep(directory: str, name: str, data: bytes) -> None:
    """Replace the file `name` below `directory`, which is made if missing; durable when this returns."""
    _make(directory)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        durable.replace(descriptor, name, data)
    finally:
        os.close(descriptor)


def _make(directory: str) -> None:
    """Make a directory for the agent alone, and what it lies in; durable when this returns."""
    if not os.path.isdir(directory):
        parent = os.path.dirname(os.path.abspath(directory))
        _make(parent)
        os.mkdir(directory, 0o700)
        durable.sync_directory(parent)


def _read(state: str, name: str) -> Optional[bytes]:
    try:
        with open(os.path.join(state, name), "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _loaded(kind: type[Kept], text: bytes, state: str, name: str) -> Kept:
    try:
        return loaded(kind, text)
    except MalformedError:
        raise AgentError(f"{os.path.join(state, name)}: it is broken; enrol again with a new token") from None
