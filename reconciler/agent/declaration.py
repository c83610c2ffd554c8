"""The Worker document that a person commits, so that the server gives this agent work."""

from __future__ import annotations

import json
import re
import socket

from reconciler.agent.settings import LISTENING_PORT, WILDCARDS, Address, Endpoint, Listening, Settings, address

PLAIN = re.compile(r"[a-z][a-z0-9-]*")
WORDS_OF_YAML = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


def worker_document(settings: Settings, *thumbprints: str) -> str:
    """Return the document in YAML; two thumbprints stand in it during a change of key."""
    lines = [
        "apiVersion: reconciler/v1",
        "kind: Worker",
        "metadata:",
        f"  name: {_scalar(settings.worker)}",
        "spec:",
        f"  pools: [{', '.join(map(_scalar, settings.pools))}]",
        "  endpoint:",
        *(f"    {line}" for line in _endpoint(settings.endpoint)),
        f"      thumbprints: {json.dumps(list(thumbprints))}",
    ]
    return "\n".join(lines) + "\n"


def reached_at(listening: Listening) -> Address:
    """Return where the server reaches a listening agent: this machine by its name, where it listens everywhere."""
    found = address(listening.listen, LISTENING_PORT)
    return Address(socket.getfqdn(), found.port) if found.host in WILDCARDS else found


def _endpoint(endpoint: Endpoint) -> list[str]:
    if isinstance(endpoint, Listening):
        reached = reached_at(endpoint)
        return ["listening:", f"  host: {_scalar(reached.host)}", f"  port: {reached.port}"]
    return ["polling:", f"  subscription: {endpoint.subscription}"]


def _scalar(text: str) -> str:
    """Return a text as YAML reads it as a text."""
    return text if PLAIN.fullmatch(text) and text not in WORDS_OF_YAML else json.dumps(text)
