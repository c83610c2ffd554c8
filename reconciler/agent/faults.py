"""What can go wrong with the agent as a program; each error is a sentence: where, what, how to mend.

AgentError               the agent cannot work here, or a command cannot be carried out
├── ConnectError         no connection could be opened; trying again may help
│   └── StrangerError    the other end is not whom we trust
└── RefusedError         the server has said no; its code says whether trying again helps
"""

from __future__ import annotations

import socket
from collections.abc import Iterable

REMEDIES = {
    "version": "bring agent and server to releases that are nearer to each other",
    "undeclared": "commit the Worker document that `reconcile agent show` prints",
    "revoked": "if that was a mistake, lift it on the server; else enrol with a new token in a new state directory",
    "expired": "nothing need be done: the agent asks for a new one",
    "duplicate": "stop the other agent, or enrol this machine with a key of its own",
    "token": "make a new one with `reconcile token create`",
    "taken": "choose another name, or make the token with --replace",
    "request": "enrol again with a new state directory",
    "busy": "nothing need be done: the agent tries again",
}
"""What a person does about each code of `protocol.messages.REJECT_CODES`."""


class AgentError(Exception):
    """The agent cannot work here; the sentence says why and how to mend it."""


class ConnectError(AgentError):
    """No connection could be opened."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where}: {what}")


class StrangerError(ConnectError):
    """The other end proved another identity than those that are trusted."""

    def __init__(self, where: str, found: str, trusted: Iterable[str]) -> None:
        names = " or ".join(trusted) or "nobody yet"
        super().__init__(
            where,
            f"it is {found}, trusted is {names}; nothing was sent to it. "
            "Look who answers there; if the server's key was changed, enrol again with a new token",
        )


class RefusedError(AgentError):
    """The server has said no."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(refusal(code, text))
        self.code = code


def refusal(code: str, text: str) -> str:
    """Return the sentence for a REJECT."""
    remedy = REMEDIES.get(code)
    return f"the server refused this agent ({code}): {text}" + (f"; {remedy}" if remedy else "")


def described(error: OSError) -> str:
    """Return a sentence for what the system says of a connection."""
    if isinstance(error, (socket.timeout, TimeoutError)):
        return "no answer within the time allowed; look whether a firewall drops the packets"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(error, socket.gaierror):
        return f"the name cannot be looked up: {error.strerror}"
    return error.strerror or str(error) or "the connection broke"
