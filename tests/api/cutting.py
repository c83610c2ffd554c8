"""A network between caller and server that cuts each connection after so many bytes of answer."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass


@dataclass(slots=True)
class Cuts:
    """How often a connection was cut."""

    count: int = 0


@contextmanager
def cutting(address: str, every: int) -> Iterator[tuple[str, Cuts]]:
    """Pass connections on to `address`; each is cut once `every` bytes have come back."""
    host, port = address.rsplit(":", 1)
    cuts, listener = Cuts(), socket.create_server(("127.0.0.1", 0))

    def pump(from_: socket.socket, to: socket.socket) -> None:
        with suppress(OSError):
            while data := from_.recv(65536):
                to.sendall(data)
            to.shutdown(socket.SHUT_WR)

    def serve(near: socket.socket) -> None:
        with near, socket.create_connection((host, int(port))) as far:
            threading.Thread(target=pump, args=(near, far), daemon=True).start()
            left = every
            with suppress(OSError):
                while left > 0 and (data := far.recv(left)):
                    near.sendall(data)
                    left -= len(data)
                if left <= 0:
                    cuts.count += 1
            for end in (near, far):  # a thread that waits on one keeps it from being closed
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                threading.Thread(target=serve, args=(near,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}", cuts
    finally:
        listener.close()
