"""From where somebody acts, as the system sees it: the account of the process that asks, whatever it says of itself."""

import os
import pwd
import socket
import struct

from reconciler.model.live import ActorKind

_CREDENTIALS = struct.Struct("3i")
"""What Linux tells of the other end of a socket: process, user, group."""

_API = "API from "


def of_command() -> str:
    """Name this process, which does itself what a person asks for."""
    return f"command on {socket.gethostname()}, {_account(os.getuid())}"


def of_server() -> str:
    """Name this process, which carries out commits."""
    return f"server on {socket.gethostname()}, {_account(os.getuid())}"


def of_peer(peer: socket.socket) -> str:
    """Name the other end of the control socket."""
    _, uid, _ = _CREDENTIALS.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return f"control socket on {socket.gethostname()}, {_account(uid)}"


def of_caller(address: str) -> str:
    """Name who calls the API from an address."""
    return f"{_API}{address}"


def kind_of(origin: str) -> ActorKind:
    """Say who orders something from there: whoever bears a token of the API, or else a person."""
    return ActorKind.TOKEN if origin.startswith(_API) else ActorKind.PERSON


def _account(uid: int) -> str:
    try:
        return f"uid {uid} ({pwd.getpwuid(uid).pw_name})"
    except KeyError:
        return f"uid {uid}"
