"""The log store against the plainest account of it, whatever comes in which order and whenever the power is cut."""

import asyncio
import errno
import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from reconciler.execute import logs as store
from reconciler.execute.logs import LogGapError, LogStore, LogTooLongError
from reconciler.protocol.tickets import Digest, TicketId

TICKET = TicketId("t1")
PRINTED = Random(1).randbytes(600)
"""What the script prints; a worker sends it in any pieces, and again."""

Told = TypeVar("Told")


class Disk:
    """What of one folder a power cut leaves: bytes and names that were synced."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.is_full = False
        self._bytes: dict[int, int] = {}  # by inode
        self._names: set[str] = set()

    def sync(self, descriptor: int) -> None:
        """Take the place of fsync and fdatasync."""
        if self.is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        status = os.fstat(descriptor)
        self._bytes[status.st_ino] = status.st_size
        if status.st_ino == self.folder.stat().st_ino:
            self._names = set(os.listdir(self.folder))

    def cut(self, path: Path, share: float) -> None:
        """Lose what was not synced of a file, but for a share of it."""
        if path.name not in self._names and share < 0.5:
            path.unlink(missing_ok=True)
        elif path.exists():
            kept = min(self._bytes.get(path.stat().st_ino, 0), path.stat().st_size)
            os.truncate(path, kept + int(share * (path.stat().st_size - kept)))


class ALog(RuleBasedStateMachine):
    """One ticket's log in an engine that dies and comes back."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.disk = Disk(self.folder)
        patch.setattr(os, "fsync", self.disk.sync)
        patch.setattr(os, "fdatasync", self.disk.sync)
        self.loop = asyncio.new_event_loop()
        self.held = 0
        self.acknowledged = 0
        self.safe = 0
        """What a disk that fails in this engine's time cannot take from it."""

    @initialize()
    def open(self) -> None:
        self.logs = LogStore(self.folder)
        self.safe = self.held

    def teardown(self) -> None:
        self.logs.close(TICKET)
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        shutil.rmtree(self.folder)

    def wait(self, work: Awaitable[Told]) -> Told:
        async def soon() -> Told:
            async with asyncio.timeout(5):
                return await work

        return self.loop.run_until_complete(soon())

    # What workers send.

    @rule(back=st.one_of(st.just(0), st.integers(0, 80)), size=st.integers(1, 60))
    def append(self, back: int, size: int) -> None:
        offset = max(0, self.held - back)
        data = PRINTED[offset : offset + size]
        self.held = max(self.held, offset + len(data))
        assert self.logs.append(TICKET, offset, data) == self.held

    @rule(gap=st.integers(1, 40))
    def append_too_late(self, gap: int) -> None:
        with pytest.raises(LogGapError) as refused:
            self.logs.append(TICKET, self.held + gap, b"beyond")
        assert refused.value.length == self.held

    @rule(back=st.integers(0, 40))
    def append_too_much(self, back: int) -> None:
        offset = max(0, self.held - back)
        with pytest.raises(LogTooLongError):
            self.logs.append(TICKET, offset, PRINTED[offset : self.held] + b"x", bytes_max=self.held)

    # What the engine does with it.

    @rule()
    def commit(self) -> None:
        assert self.wait(self.logs.durable(TICKET)) == self.held
        self.acknowledged = self.safe = self.held

    @rule(size=st.integers(1, 60))
    def commit_while_more_comes(self, size: int) -> None:
        before = self.held

        async def both() -> tuple[int, int]:
            first = asyncio.ensure_future(self.logs.durable(TICKET))
            await asyncio.sleep(0)
            self.append(0, size)
            return await first, await self.logs.durable(TICKET)

        first, second = self.wait(both())
        assert before <= first <= second == self.held
        self.acknowledged = self.safe = self.held

    @rule()
    def commit_and_close(self) -> None:
        async def both() -> int:
            length = asyncio.ensure_future(self.logs.durable(TICKET))
            await asyncio.sleep(0)
            self.logs.close(TICKET)
            return await length

        length = self.wait(both())
        assert length <= self.held
        self.acknowledged = max(self.acknowledged, length)
        self.safe = self.held  # whoever opens it again takes it as it is

    @rule()
    def commit_on_a_full_disk(self) -> None:
        self.disk.is_full = True
        try:
            assert self.wait(self.logs.durable(TICKET)) == self.held
        except OSError:
            self.held = self.safe
        finally:
            self.disk.is_full = False
        self.safe = self.held

    @rule()
    def close(self) -> None:
        self.logs.close(TICKET)
        self.safe = self.held

    @rule()
    def rewind(self) -> None:
        self.logs.rewind(TICKET)
        self.held = self.acknowledged = self.safe = 0

    @rule(size=st.integers(1, 60))
    def digest(self, size: int) -> None:
        async def both() -> Digest:
            found = asyncio.ensure_future(self.logs.digest(TICKET))
            await asyncio.sleep(0)
            self.append(0, size)
            return await found

        before = sha256(PRINTED[: self.held]).hexdigest()
        assert self.wait(both()) in {before, sha256(PRINTED[: self.held]).hexdigest()}
        assert self.wait(self.logs.digest(TICKET)) == sha256(PRINTED[: self.held]).hexdigest()

    # What happens to it.

    @rule()
    def restart(self) -> None:
        self.logs.close(TICKET)
        self.open()

    @rule(share=st.floats(0, 1))
    def cut_the_power(self, share: float) -> None:
        self.logs.close(TICKET)
        path = self.logs.path(TICKET)
        self.disk.cut(path, share)
        self.held = path.stat().st_size if path.exists() else 0
        self.open()

    @invariant()
    def the_file_is_what_was_printed(self) -> None:
        path = self.folder / f"{TICKET}.journal"
        assert (path.read_bytes() if path.exists() else b"") == PRINTED[: self.held]

    @invariant()
    def nothing_acknowledged_is_lost(self) -> None:
        assert self.acknowledged <= self.held

    @rule()
    def look(self) -> None:
        assert self.logs.received(TICKET) == self.held


def run(patch: pytest.MonkeyPatch, examples: int, *phases: Phase) -> None:
    """Let the machine run; pieces are so small that reading a log takes several."""
    patch.setattr(store, "HASH_BYTES", 32)
    run_state_machine_as_test(
        lambda: ALog(patch),
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            deadline=None,
            database=None,
            phases=phases or tuple(Phase),
            derandomize=bool(phases),  # what was planted is found each time
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_no_order_of_events_loses_doubles_or_reorders_a_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, 100)


def _nothing(*_: object) -> None:
    """Leave out what should be done."""


def _synced_in_name_alone(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _written_but_for_a_byte(descriptor: int, data: bytes, offset: int) -> None:
    os.pwrite(descriptor, data[:-1], offset)


def _opened_as_if_empty(path: Path) -> object:
    return store._OpenLog(path, None, length=0)


def _hashed_from_the_beginning(path: Path, digest: "store.hashlib._Hash", start: int, end: int) -> None:
    digest.update(path.read_bytes()[:end])


async def _durable_at_once(logs: LogStore, ticket: TicketId) -> int:
    return logs.received(ticket)


def _rewound_in_memory(logs: LogStore, ticket: TicketId) -> None:
    logs.close(ticket)


def _closed_with_what_is_held(logs: LogStore, ticket: TicketId) -> None:
    log = logs._open.get(ticket)
    if log is not None:
        log.durable = log.length
    _CLOSE(logs, ticket)


def _dropped_to_nothing(logs: LogStore, ticket: TicketId, log: "store._OpenLog", error: OSError) -> None:
    log.durable = log.found = 0
    _GIVE_UP(logs, ticket, log, error)


def _appended_after_a_gap(
    logs: LogStore, ticket: TicketId, offset: int, data: bytes, *, bytes_max: int = 1 << 20
) -> int:
    return _APPEND(logs, ticket, min(offset, logs.received(ticket)), data, bytes_max=bytes_max)


def _appended_again(logs: LogStore, ticket: TicketId, offset: int, data: bytes, *, bytes_max: int = 1 << 20) -> int:
    if offset > logs.received(ticket):
        raise LogGapError(ticket, offset, logs.received(ticket))
    return _APPEND(logs, ticket, logs.received(ticket), data, bytes_max=bytes_max)


_CLOSE, _GIVE_UP, _APPEND = LogStore.close, LogStore._give_up, LogStore.append

BUGS: dict[str, tuple[object, str, Callable[..., object]]] = {
    "a write that stops early": (store, "_write_all", _written_but_for_a_byte),
    "no sync of the data": (store, "_sync", _synced_in_name_alone),
    "no sync of the names": (store, "_sync_directory", _nothing),
    "a log that counts as empty in the next engine": (store, "_opened", _opened_as_if_empty),
    "a log of the engine before that is hashed twice": (store, "_hash", _hashed_from_the_beginning),
    "an acknowledgement before the sync": (LogStore, "durable", _durable_at_once),
    "a rewind that leaves the file": (LogStore, "rewind", _rewound_in_memory),
    "a close that counts as a sync": (LogStore, "close", _closed_with_what_is_held),
    "a full disk that takes what was acknowledged": (LogStore, "_give_up", _dropped_to_nothing),
    "a piece that is taken after a gap": (LogStore, "append", _appended_after_a_gap),
    "a piece that is taken again": (LogStore, "append", _appended_again),
}


@pytest.mark.parametrize("name", BUGS)
def test_the_machine_finds(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where, what, bug = BUGS[name]
    monkeypatch.setattr(where, what, bug)
    with pytest.raises((AssertionError, pytest.fail.Exception, LogGapError)):
        run(monkeypatch, 200, Phase.generate)
