"""The lead: the one node whose engine may write, renewed by a thread of its own while the engine stands."""

import asyncio
import re
import secrets
import socket
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import NoReturn, Self

from reconciler.model.errors import Conflict, Deposed, ReconcilerError, StateUnreadable, UsageMistake
from reconciler.server.binding import address_of
from reconciler.server.state.place import Place
from reconciler.server.state.times import stamp
from reconciler.store import leadership
from reconciler.store.database import Transaction
from reconciler.store.dialects import is_address
from reconciler.store.directory import DataDirectory
from reconciler.store.leadership import RENEW_EACH, TTL, Leader, Node
from reconciler.store.reader import look
from reconciler.store.writer import Store

LOOK_SECONDS = 1.0
"""Between two looks whether the lead is lost."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:\[\]-]{0,99}")


class Led(Conflict):
    """Another node leads."""

    def __init__(self, leader: Leader) -> None:
        super().__init__(
            f"the node {leader.node.name} leads this state since {stamp(leader.since)}",
            f"run the command on that node; if it is dead, another may lead after {TTL:g} s",
        )
        self.leader = leader


class Lead:
    """The right to write: its loss is found by every write, and by who waits for `lost`."""

    def __init__(self, store: Store, node: Node, epoch: int) -> None:
        self.node = node
        self._store = store
        self._epoch = epoch
        self._renewed = time.monotonic()
        self._deposed: Deposed | None = None
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lead", daemon=True)
        self._thread.start()

    @classmethod
    def take(cls, store: Store, node: Node) -> Self:
        """Lead from now on; from here every write of `store` fails with Deposed once another node leads. Raises Led."""
        taken = store.write_now(lambda tx: leadership.take(tx, node, time.time()))
        if isinstance(taken, Leader):
            raise Led(taken)
        lead = cls(store, node, taken)
        store.guarded_by(lead.guard)
        return lead

    def guard(self, tx: Transaction) -> None:
        """Begin a transaction; raises Deposed. One that is due renews, for the thread's turn may come late among many."""
        now = time.monotonic()
        if now - self._renewed < RENEW_EACH:
            leadership.check(tx, self._epoch)
            return
        leadership.renew(tx, self._epoch, time.time())
        self._renewed = now

    async def lost(self) -> NoReturn:
        """Wait until another node leads; raises Deposed then."""
        while True:
            if self._deposed is not None:
                raise self._deposed
            await asyncio.sleep(LOOK_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the lead back, unless it is lost or the state is out of reach."""
        self._ends.set()
        self._thread.join()
        if self._deposed is None and not isinstance(error, Deposed | StateUnreadable):
            with suppress(ReconcilerError):  # then it runs out by itself
                self._store.write_now(lambda tx: leadership.release(tx, self._epoch))

    def _renew(self) -> None:
        """Renew until the end; a state that is out of reach now may be there again next time."""
        while self._deposed is None and not self._ends.wait(RENEW_EACH):
            try:
                self._store.write_now(lambda tx: leadership.renew(tx, self._epoch, time.time()))
            except Deposed as deposed:
                self._deposed = deposed
            except ReconcilerError:
                continue


def node_of(files: DataDirectory, name: str = "") -> Node:
    """Return the node whose files these are, under a name; the caller has their lock. Raises StateUnreadable."""
    try:
        if not files.node.exists():
            beside = files.node.with_name("node.new")
            beside.write_text(secrets.token_hex(16) + "\n")
            beside.replace(files.node)
        return Node(name or socket.gethostname(), files.node.read_text().strip())
    except OSError as error:
        raise StateUnreadable(
            f"the file {files.node} cannot be used: {error.strerror}",
            "make it readable and its directory writable for the user who runs this",
        ) from error


def default_name(agents: str | None) -> str:
    """Name a node after its host and, where agents call, the port."""
    return f"{socket.gethostname()}:{address_of(agents)[1]}" if agents is not None else socket.gethostname()


def checked_name(text: str) -> str:
    """Return the name of a node; raises UsageMistake where it is none."""
    if not NAME.fullmatch(text):
        raise UsageMistake(
            f'"{text}" is no name of a node',
            "a name has up to 100 letters, digits, dots, colons, dashes, underscores and brackets",
        )
    return text


def other_leader(place: Place) -> Leader | None:
    """Return the node that leads a state on PostgreSQL, unless it is this one; raises StateUnreadable.

    Elsewhere the lock of the files decides, and there is no other.
    """
    if not is_address(place.data):
        return None
    found = look(place.data, leadership.TABLE, lambda tx: leadership.leader(tx, time.time()))
    own = node_of(place.files).files if place.files.node.exists() else ""
    return found if found is not None and found.node.files != own else None
