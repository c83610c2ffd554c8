"""Addresses in Git that would make the server dial inside its own machine or network."""

import socket
from contextlib import ExitStack

import pytest

from reconciler.store import worker_status
from tests.hostile.premises import LISTENING, Premises, until

pytestmark = pytest.mark.end_to_end

INSIDE = ["127.0.0.1", "127.0.0.53", "169.254.169.254", "localhost", "0.0.0.0", "::1", "::ffff:127.0.0.1", "fe80::1"]


def test_addresses_inside_are_not_dialled(premises: Premises) -> None:
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = listener.getsockname()[1]
        names = {f"inside-{number}": host for number, host in enumerate(INSIDE)}
        documents = [
            LISTENING % (name, host, port, name.replace("-", "").ljust(42, "x")) for name, host in names.items()
        ]
        premises.commit("inside.yaml", "---\n".join(documents))

        def reasons() -> dict[str, str]:
            found = premises.read(worker_status.statuses)
            return {name: found[name].reason for name in names if name in found}

        until(lambda: all(reasons().get(name) for name in names), "the server to have tried each")
        for name, reason in reasons().items():
            assert "is no ordinary unicast address, and the server's configuration does not allow it" in reason, name
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
