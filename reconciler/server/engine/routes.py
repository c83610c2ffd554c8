"""The way to a listening worker, from its declaration: address, thumbprints, proxy, and the proxy's password by its source."""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

from reconciler.execute.dialling import ProxyRoute, Route
from reconciler.execute.secrets import Origins, SecretRules, resolve
from reconciler.model.infrastructure import Listening
from reconciler.model.organisation import PasswordAccount
from reconciler.server.engine.wanted import Wanted

PROXY_PORT = 3128
"""Where HTTP proxies listen by habit."""


def route_to(wanted: Wanted, rules: SecretRules | None, root: Path) -> Route:
    """Return the route to a worker that listens."""
    endpoint = wanted.endpoint
    assert isinstance(endpoint, Listening), "a polling agent is not dialled"
    return Route(endpoint.host, endpoint.port, wanted.thumbprints, _proxy(wanted, rules, root))


def _proxy(wanted: Wanted, rules: SecretRules | None, root: Path) -> ProxyRoute | None:
    if wanted.proxy is None:
        return None
    url = urlsplit(wanted.proxy.url if "//" in wanted.proxy.url else f"//{wanted.proxy.url}")
    host, port = url.hostname or "", url.port or PROXY_PORT
    login = wanted.account.username_password if wanted.account is not None else None
    if login is None:
        return ProxyRoute(host, port)
    return ProxyRoute(host, port, login.username, _password(login, rules, root))


def _password(login: PasswordAccount, rules: SecretRules | None, root: Path) -> Callable[[], Awaitable[str]]:
    async def fetch() -> str:
        return await resolve("the proxy's password", login.password, Origins(root, os.environ, rules))

    return fetch
