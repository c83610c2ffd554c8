"""Bugs planted in single functions of both ends, to see that the adversary finds each of them."""

import os
from collections.abc import Callable
from dataclasses import dataclass

from reconciler.agent import attempt, durable, life
from reconciler.agent.custody import Custody
from reconciler.agent.directory import TicketDirectory
from reconciler.agent.life import Life
from reconciler.agent.output import JournalWriter
from reconciler.agent.tombstones import Tombstones
from reconciler.execute import task_run
from reconciler.execute.conversation import Conversation
from reconciler.execute.dispatch import Dispatcher
from reconciler.execute.logs import LogStore
from reconciler.protocol.objects import dumped
from reconciler.protocol.tickets import Cancelled, Ended, Final, Running


@dataclass(frozen=True, slots=True)
class Plant:
    """One function made faulty: which guarantee breaks, in which play, and by which kinds of faults."""

    guarantee: str
    owner: object
    name: str
    faulty: Callable[..., object]
    kinds: tuple[str, ...]
    play: str = "plain"


def _claim_by_rename(directory: int, name: str, data: bytes) -> bool:
    os.symlink(data, b"claim.new", dir_fd=directory)
    os.rename("claim.new", name, src_dir_fd=directory, dst_dir_fd=directory)
    os.fsync(directory)
    return True


def _claim_unsynced(directory: int, name: str, data: bytes) -> bool:
    try:
        os.symlink(data, os.fsencode(name), dir_fd=directory)
    except FileExistsError:
        return False
    return True


async def _durable_at_once(self: LogStore, ticket: str, length: int | None = None) -> int:
    return self.received(ticket)


_finished = Dispatcher.finished


async def _forgotten_first(self: Dispatcher, worker: str, final: Final) -> None:
    self._grounds.links[worker].forget(final.ticket)
    await _finished(self, worker, final)


async def _given_up_for_ever(self: Dispatcher, worker: str, final: Final) -> None:
    if self._run_of(worker, final.ticket) is not None:
        await _finished(self, worker, final)
    else:
        self._grounds.links[worker].forget(final.ticket)


def _lock_open(self: TicketDirectory, patience: float) -> int:
    return os.open("lock", os.O_RDWR | os.O_CREAT, 0o600, dir_fd=self.descriptor)


_append = LogStore.append


def _append_anywhere(self: LogStore, ticket: str, offset: int, data: bytes, **bounds: int) -> int:
    return _append(self, ticket, self.received(ticket), data, **bounds)


_cancel = Custody.cancel


def _cancelled_at_once(self: Custody, ticket: str, grace: float) -> None:
    found = self._lives.get(ticket)
    if found is not None and isinstance(found.state, Running):
        self._ended(found, Final(found.ticket, Cancelled(), *life._measured(found.directory)))
    else:
        _cancel(self, ticket, grace)


_reports = Custody.reports


def _reports_of_the_living(self: Custody) -> list[object]:
    return [report for report in _reports(self) if not isinstance(report.state, Ended)]


_tried_again = task_run.tried_again


def _tried_again_on_silence(outcome: object, retry: object, number: int) -> float | None:
    return _tried_again(outcome, retry.model_copy(update={"on_worker_lost": True}), number)


def _fill_unsynced(descriptor: int, final: Final) -> None:
    os.lseek(descriptor, 0, os.SEEK_SET)
    durable.write_all(descriptor, dumped(final))


async def _as_told(self: Conversation, final: Final) -> Final:
    return final


def _nothing(*_: object) -> None:
    """Do nothing."""


PLANTS: dict[str, Plant] = {
    "the claim is made by a rename": Plant(
        "G2",
        durable,
        "claim",
        _claim_by_rename,
        ("cancel", "agent killed, supervisors stall"),
    ),
    "the claim is not synced": Plant("G10", durable, "claim", _claim_unsynced, ("reboot",)),
    "acknowledged before it is durable": Plant("G4", LogStore, "durable", _durable_at_once, ("server loses power",)),
    "forgotten before it is recorded": Plant(
        "G5", Dispatcher, "finished", _forgotten_first, ("server killed", "second first")
    ),
    "the end of what was given up is not recorded": Plant(
        "G10", Dispatcher, "finished", _given_up_for_ever, ("long cut",)
    ),
    "nobody takes the lock": Plant("G5", TicketDirectory, "lock", _lock_open, ("agent killed, supervisors stall",)),
    "the offset of log bytes is not looked at": Plant(
        "G4", LogStore, "append", _append_anywhere, ("double <", "drop <")
    ),
    "a rewind is ignored": Plant("G10", Life, "rewind", _nothing, ("cut",)),
    "no tombstone is written": Plant("G1", Tombstones, "add", _nothing, ("double >",)),
    "cancelled is said without proof": Plant("G6", Custody, "cancel", _cancelled_at_once, ("cancel",)),
    "the inventory leaves out what ended": Plant(
        "G10", Custody, "reports", _reports_of_the_living, ("cut", "agent killed")
    ),
    "silence is taken for an end": Plant("G2", task_run, "tried_again", _tried_again_on_silence, ("long cut",)),
    "the ending is not synced": Plant("G5", attempt, "fill_exit", _fill_unsynced, ("reboot",)),
    "the journal is not synced": Plant("G10", JournalWriter, "sync", _nothing, ("reboot", "long cut")),
    "a lost attempt's log is what the worker has left": Plant("G10", Conversation, "_as_held", _as_told, ("reboot",)),
}
