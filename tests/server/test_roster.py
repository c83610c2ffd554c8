"""The roster: links follow what is declared, revoked and left; a copy of a machine is refused."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from reconciler.execute.carriers import Connection
from reconciler.execute.counts import Counts
from reconciler.execute.dispatch import Dispatcher
from reconciler.execute.grounds import Grounds
from reconciler.execute.logs import LogStore
from reconciler.execute.polling import PollingCarrier
from reconciler.execute.watching import Unwatched
from reconciler.model.live import Attempt, AttemptState, LiveObject, Slot, StepRun, TaskId
from reconciler.model.spec import Address
from reconciler.model.trust import Revocation
from reconciler.protocol.messages import Hello
from reconciler.protocol.session import AgentSession, ServerSession
from reconciler.server.configuration import EMBEDDED
from reconciler.server.engine.roster import Roster
from reconciler.server.trust.authority import Authority
from reconciler.store import attempts, enrolment, leaving, objects, tasks
from reconciler.store.database import Transaction
from reconciler.store.writer import Store
from tests.server.parties import NOW, Installation, live, polling_worker

FIRST, SECOND, THIRD = ("SHA256:" + letter * 42 + "A" for letter in "abc")


@dataclass(frozen=True, slots=True)
class Office:
    """A roster on a store of its own."""

    here: Installation
    roster: Roster
    grounds: Grounds

    async def declare(self, *found: LiveObject) -> None:
        self.here.store.write_now(lambda tx: (objects.put_many(tx, found), objects.next_serial(tx)))
        await self.roster.look(start=False)


@asynccontextmanager
async def office(folder: Path) -> AsyncIterator[Office]:
    here = Installation(folder)
    grounds = Grounds(here.store, LogStore(folder / "logs"), folder / "blobs", folder, here.sealer, Unwatched())
    authority = await Authority.open(here.store, here.sealer, NOW)
    roster = Roster(grounds, Dispatcher(grounds), authority, EMBEDDED, Counts())
    try:
        yield Office(here, roster, grounds)
    finally:
        for entry in roster._entries.values():
            if entry.task is not None:
                entry.task.cancel()
                await asyncio.gather(entry.task, return_exceptions=True)
        here.store.close()


async def call(store: str, boot: str, thumbprint: str = FIRST) -> Connection:
    """Return a connection whose agent has greeted."""
    reader, writer = await asyncio.open_connection(sock=_pair())
    session = ServerSession(5.0)
    session.receive(AgentSession(Hello((1,), store, boot, 1, 0)).outgoing())
    return Connection(reader, writer, session, thumbprint, "10.0.0.5")


_KEPT: list[socket.socket] = []
"""The agents' ends, open as long as the tests run."""


def _pair() -> socket.socket:
    ours, theirs = socket.socketpair()
    _KEPT.append(theirs)
    return ours


def live_attempt(store: Store, worker: str) -> None:
    """Let an attempt live on a worker."""
    attempt = Attempt("t1", TaskId(1), 0, 1, worker, 1, AttemptState.GRANTED, "{}")

    def work(tx: Transaction) -> None:
        pin = tasks.pin(tx, "{}")
        slot = Slot("shop", "test")
        tasks.queue(tx, deployment="d", slot=slot, release="1", digest="d", pin=pin, revision="r", at=NOW)
        tasks.put_steps(tx, [StepRun(TaskId(1), 0, "work", "Work")])
        attempts.grant(tx, [(attempt, "")])

    store.write_now(work)


async def test_links_follow_what_is_declared(tmp_path: Path) -> None:
    async with office(tmp_path) as place:
        await place.declare(polling_worker("w1", "poll://worker-1", FIRST))
        link = place.grounds.links["w1"]
        assert place.roster.declared[FIRST].worker == "w1"
        await place.declare(
            polling_worker("w1", "poll://worker-1", FIRST, SECOND), polling_worker("w2", "poll://worker-2", THIRD)
        )
        assert place.grounds.links["w1"] is link
        assert set(place.roster.declared) == {FIRST, SECOND, THIRD}
        place.here.store.write_now(lambda tx: (objects.remove(tx, Address("Worker", "w1")), objects.next_serial(tx)))
        await place.roster.look(start=False)
        assert set(place.grounds.links) == {"w2"}


async def test_a_session_goes_on_unless_the_way_to_the_worker_changes(tmp_path: Path) -> None:
    def listening(host: str, *thumbprints: str, pool: str = "pool") -> LiveObject:
        endpoint = {"listening": {"host": host, "thumbprints": thumbprints}}
        return live("Worker", "w1", json.dumps({"endpoint": endpoint, "pools": [pool]}))

    async with office(tmp_path) as place:
        await place.declare(listening("db1", FIRST))
        carrier = place.roster._entries["w1"].carrier
        await place.declare(listening("db1", FIRST, SECOND))
        await place.declare(listening("db1", SECOND, pool="other"))
        assert place.roster._entries["w1"].carrier is carrier
        assert set(place.roster.declared) == {SECOND}
        await place.declare(listening("db2", SECOND))
        assert place.roster._entries["w1"].carrier is not carrier
        await place.declare(polling_worker("w1", "poll://worker-1", SECOND))
        assert isinstance(place.roster._entries["w1"].carrier, PollingCarrier)


async def test_a_revoked_identity_holds_no_more_whatever_is_declared(tmp_path: Path) -> None:
    async with office(tmp_path) as place:
        await place.declare(polling_worker("w1", "poll://worker-1", FIRST, SECOND))
        revocation = Revocation(FIRST, "w1", "stolen", "ann", NOW)
        place.here.store.write_now(lambda tx: enrolment.revoke(tx, revocation))
        await place.roster.look(start=False)
        assert set(place.roster.declared) == {SECOND}
        assert place.roster.config("w1").thumbprints == (SECOND,)


async def test_a_worker_that_left_is_spoken_with_until_its_last_attempt_has_ended(tmp_path: Path) -> None:
    async with office(tmp_path) as place:
        former = polling_worker("w1", "poll://worker-1", FIRST)
        await place.declare(former)
        live_attempt(place.here.store, "w1")
        assert place.here.store.write_now(lambda tx: leaving.keep(tx, "w1", former.spec))
        place.here.store.write_now(lambda tx: (objects.remove(tx, former.address), objects.next_serial(tx)))
        await place.declare(polling_worker("heir", "poll://worker-1", FIRST))
        assert set(place.grounds.links) == {"w1", "heir"}
        assert place.roster.declared[FIRST].worker == "w1"
        place.here.store.write_now(
            lambda tx: attempts.ended(tx, [attempts.Ended("t1", "{}", NOW, log_length=0, log_digest="")])
        )
        await place.roster.look(start=False)
        assert set(place.grounds.links) == {"heir"}
        assert place.roster.declared[FIRST].worker == "heir"
        assert place.here.store.write_now(leaving.forget_gone) == 1


async def test_nobody_speaks_with_a_machine_under_its_new_name_before_it_is_done_under_the_former(
    tmp_path: Path,
) -> None:
    async with office(tmp_path) as place:
        former = polling_worker("w1", "poll://worker-1", FIRST)
        await place.declare(former)
        live_attempt(place.here.store, "w1")
        assert place.here.store.write_now(lambda tx: leaving.keep(tx, "w1", former.spec))
        place.here.store.write_now(lambda tx: (objects.remove(tx, former.address), objects.next_serial(tx)))
        await place.declare(polling_worker("heir", "poll://worker-1", FIRST))

        async def spoken_with() -> set[str]:
            await place.roster.look()
            return {name for name, entry in place.roster._entries.items() if entry.task is not None}

        assert await spoken_with() == {"w1"}
        place.here.store.write_now(
            lambda tx: attempts.ended(tx, [attempts.Ended("t1", "{}", NOW, log_length=0, log_digest="")])
        )
        assert await spoken_with() == {"heir"}


async def test_a_copy_of_a_machine_is_refused_while_the_first_one_lives(tmp_path: Path) -> None:
    async with office(tmp_path) as place:
        await place.declare(polling_worker("w1", "poll://worker-1", FIRST))
        carrier = place.roster._entries["w1"].carrier
        assert place.roster.take("w1", await call("store", "boot")) is None
        first = await carrier.open()
        refusal = place.roster.take("w1", await call("copy", "boot"))
        assert refusal is not None
        assert refusal.code == "duplicate"
        assert refusal.text == (
            "another machine (10.0.0.5) is connected as w1: two must not share one identity; "
            "enrol this one under a name of its own"
        )
        assert place.roster.take("w1", await call("store", "boot")) is None, "the same machine may call again"
        assert first.writer.is_closing()
        await carrier.open()
        await carrier.close()
        assert place.roster.take("w1", await call("copy", "boot")) is None, "the first one is gone"


async def test_one_that_is_declared_to_listen_is_not_to_call(tmp_path: Path) -> None:
    async with office(tmp_path) as place:
        refusal = place.roster.take("nobody", await call("store", "boot"))
        assert refusal is not None
        assert refusal.text == "the worker nobody is declared as one that listens: it is not to call"
