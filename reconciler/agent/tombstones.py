"""Tombstones: the names of forgotten tickets, kept so that a late OFFER starts nothing twice."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable

from reconciler.agent import durable
from reconciler.protocol.tickets import TicketId

KEPT_DAYS = 30  # longer than any server restores a backup and goes on as if nothing had happened
DAY = 86400


class Tombstones:
    """One file of names per day below `directory`."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._days: dict[int, set[TicketId]] = {}
        os.makedirs(directory, mode=0o700, exist_ok=True)
        for name in os.listdir(directory):
            if name.isdigit():
                with open(os.path.join(directory, name), encoding="ascii", errors="replace") as file:
                    self._days[int(name)] = {TicketId(line.strip()) for line in file}

    def __contains__(self, ticket: TicketId) -> bool:
        return any(ticket in names for names in self._days.values())

    def add(self, tickets: Iterable[TicketId]) -> None:
        """Remember `tickets`, durably when this returns; drop what is older than `KEPT_DAYS`."""
        fresh = [ticket for ticket in tickets if ticket not in self]
        if not fresh:
            return
        today = int(time.time()) // DAY
        is_new_day = today not in self._days
        lines = "".join(f"{ticket}\n" for ticket in fresh)
        durable.append(os.path.join(self._directory, str(today)), lines.encode("ascii"))
        self._days.setdefault(today, set()).update(fresh)
        if is_new_day:
            for day in [day for day in self._days if day < today - KEPT_DAYS]:
                os.unlink(os.path.join(self._directory, str(day)))
                del self._days[day]
            durable.sync_directory(self._directory)
