"""What `agent show` prints: who the agent is, whom it trusts, what it holds, how its machine is, what to commit."""

from __future__ import annotations

import os
import time
from typing import Optional

from reconciler.agent import identities, language, selfcheck, settings
from reconciler.agent.declaration import worker_document
from reconciler.agent.identities import CURRENT, NEXT, Identity
from reconciler.agent.isolations import Isolations, tried
from reconciler.agent.settings import Listening, Settings

Line = tuple[str, str]


def shown(state: str) -> tuple[str, bool]:
    """Return the text, and whether nothing is wrong; raise `AgentError` if the agent is not enrolled."""
    found = settings.settings(state)
    known = {name: identities.identity(state, name) for name in (CURRENT, NEXT)}
    findings = selfcheck.findings(state, _isolations(state, found))
    lines = [
        ("worker", found.worker),
        *_endpoint(found),
        *_identity("identity", known[CURRENT]),
        *_identity("next identity", known[NEXT]),
        *[("trusted server", pin) for pin in settings.trust(state).pins],
        ("trusted authorities", str(len(settings.trust(state).authorities))),
        ("tickets", str(_tickets(state))),
        *((each.name, f"{each.value}; {each.problem}" if each.problem else each.value) for each in findings),
    ]
    thumbprints = [each.thumbprint for each in known.values() if each is not None]
    text = "".join(f"{name + ':':<21} {value}\n" for name, value in lines)
    document = "".join(f"  {line}\n" for line in worker_document(found, *thumbprints).splitlines())
    return f"{text}declared by:\n{document}", not any(each.problem for each in findings)


def _isolations(state: str, found: Settings) -> Isolations:
    """Try them beside the agent, which may be running; what it needs is there from its first start on."""
    language.install(os.path.join(state, "helpers"))
    return tried(state, found.accounts)


def _endpoint(found: Settings) -> list[Line]:
    endpoint = found.endpoint
    if isinstance(endpoint, Listening):
        return [("listens at", endpoint.listen)]
    lines = [("server", server) for server in endpoint.servers]
    lines.append(("subscription", endpoint.subscription))
    return [*lines, ("proxy", endpoint.proxy)] if endpoint.proxy else lines


def _identity(name: str, identity: Optional[Identity]) -> list[Line]:
    if identity is None:
        return []
    lines = [(name, identity.thumbprint)]
    if not identity.certificate:
        return [*lines, ("certificate", "none yet")]
    until = identity.validity[1]
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(until))
    return [*lines, ("certificate until", stamp if until > time.time() else f"{stamp}, it has run out")]


def _tickets(state: str) -> int:
    try:
        return len(os.listdir(os.path.join(state, "tickets")))
    except FileNotFoundError:
        return 0
