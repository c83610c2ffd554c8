"""What we tell the service manager that started us: ready, alive, stopping (the protocol of sd_notify(3))."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from typing import Optional


class Supervision:
    """Speaks to NOTIFY_SOCKET, if there is one; the loop itself shows that it turns."""

    def __init__(self) -> None:
        self._address = os.environ.pop("NOTIFY_SOCKET", "")  # scripts have no business with it
        watchdog = os.environ.pop("WATCHDOG_USEC", "")
        is_ours = os.environ.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._interval: Optional[float] = int(watchdog) / 2e6 if watchdog.isdigit() and is_ours else None
        self._barked_at = time.monotonic()

    def ready(self) -> None:
        """Say that the agent works, connected or not."""
        self._tell("READY=1")

    def stopping(self) -> None:
        """Say that the agent ends on purpose."""
        self._tell("STOPPING=1")

    def status(self, text: str) -> None:
        """Say in words how the agent is."""
        self._tell(f"STATUS={text.splitlines()[0] if text else ''}")

    def patience(self) -> Optional[float]:
        """Return the seconds until `keep_alive` has something to do, None if nobody watches."""
        return None if self._interval is None else max(0.0, self._barked_at + self._interval - time.monotonic())

    def keep_alive(self) -> None:
        """Say that the loop turns, at twice the rate that is asked for."""
        if self.patience() == 0.0:
            self._barked_at = time.monotonic()
            self._tell("WATCHDOG=1")

    def _tell(self, text: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.setblocking(False)  # a manager that does not listen must not stop the loop
            manager.sendto(text.encode(), address)
