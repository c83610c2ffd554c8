"""Which node leads: one engine writes at a time, under an epoch that rises, and a deposed one's writes fail.

Every transaction that writes is the only one of its moment, on both dialects, so a look at the epoch at its beginning
holds to its end. `now` is in seconds on the caller's clock; PostgreSQL takes its own instead, the same for all nodes.
"""

from dataclasses import dataclass

from reconciler.model.errors import Deposed
from reconciler.store.database import Transaction

TTL = 15.0
"""Seconds that the lead outlives its last renewal."""

RENEW_EACH = 5.0
"""Seconds between renewals: three fit into the lead."""

TABLE = "leadership"
"""Where this is not yet there, nobody leads."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node: its name for people, and what tells its files from those of all others."""

    name: str
    files: str


@dataclass(frozen=True, slots=True)
class Leader:
    """Which node leads, since when, under which epoch."""

    node: Node
    epoch: int
    since: float


def leader(tx: Transaction, now: float) -> Leader | None:
    """Return who leads; None where the last one has given the lead back, or was not heard for `TTL` seconds."""
    row = tx.one("SELECT node, files, epoch, since, until FROM leadership")
    assert row is not None, "the row is made with its table"
    name, files, epoch, since, until = row
    return Leader(Node(name, files), epoch, since) if until > tx.now(now) else None


def take(tx: Transaction, node: Node, now: float) -> int | Leader:
    """Lead from now on and return the epoch, or say who leads.

    Who has the lock of a node's files knows that a former engine on these files is dead, and does not wait for it.
    """
    found = leader(tx, now)
    if found is not None and found.node.files != node.files:
        return found
    present = tx.now(now)
    row = tx.one(
        "UPDATE leadership SET node = ?, files = ?, epoch = epoch + 1, since = ?, until = ? RETURNING epoch",
        *(node.name, node.files, present, present + TTL),
    )
    assert row is not None
    return int(row[0])


def check(tx: Transaction, epoch: int) -> None:
    """Raise Deposed unless `epoch` is the last one; one that ran out and that nobody took still leads."""
    row = tx.one("SELECT epoch, node FROM leadership")
    assert row is not None
    if row[0] != epoch:
        raise Deposed(
            f"the node {row[1]} has taken the lead, so nothing more is written from here",
            "running steps go on; the node that leads follows them",
        )


def renew(tx: Transaction, epoch: int, now: float) -> None:
    """Lead for `TTL` seconds from now; raises Deposed where another node leads."""
    check(tx, epoch)
    tx.execute("UPDATE leadership SET until = ?", tx.now(now) + TTL)


def release(tx: Transaction, epoch: int) -> None:
    """Give the lead back, so that another node need not wait; raises Deposed where it leads already."""
    check(tx, epoch)
    tx.execute("UPDATE leadership SET until = 0")


# The built-in worker: each node has its own, and all have one name.


def built_in(tx: Transaction) -> Node:
    """Return the node on whose built-in worker attempts run; one without a name before the first."""
    row = tx.one("SELECT built_in_node, built_in_files FROM leadership")
    assert row is not None
    return Node(*row)


def set_built_in(tx: Transaction, node: Node) -> None:
    """Let attempts on the built-in worker be this node's from now on."""
    tx.execute("UPDATE leadership SET built_in_node = ?, built_in_files = ?", node.name, node.files)


def leave(tx: Transaction, ticket: str, node: Node) -> None:
    """Record that only `node` can tell how an attempt on its built-in worker ends."""
    tx.execute("INSERT INTO left_attempts (ticket, node, files) VALUES (?, ?, ?)", ticket, node.name, node.files)


def left(tx: Transaction) -> dict[str, str]:
    """Return the tickets that were left with a node's built-in worker, and what tells that node's files."""
    return dict(tx.all("SELECT ticket, files FROM left_attempts"))
