"""Writes two events per function from four threads, acknowledging each on stdout, until it is killed."""

import os
import sys
import threading
from itertools import count
from pathlib import Path

from reconciler.model.live import Event
from reconciler.store import audit
from reconciler.store.database import Transaction
from reconciler.store.writer import Store


def write_pairs(store: Store, name: str) -> None:
    for number in count():
        event = Event(at=0.0, actor="child", action="write", subject=f"{name}-{number}")

        def pair(tx: Transaction, event: Event = event) -> None:
            audit.record(tx, event)
            audit.record(tx, event)

        store.write_now(pair)
        os.write(1, f"{event.subject}\n".encode())


if __name__ == "__main__":
    opened = Store.open(sys.argv[1], Path(sys.argv[2]))
    for name in "abcd":
        threading.Thread(target=write_pairs, args=(opened, name)).start()
