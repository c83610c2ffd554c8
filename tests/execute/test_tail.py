"""The tail of a log: it goes on where it was shown last, though journals come in pieces that end anywhere."""

from dataclasses import dataclass
from pathlib import Path

from reconciler.execute.grounds import Grounds
from reconciler.execute.logs import LogStore
from reconciler.execute.tail import Tail
from reconciler.execute.watching import Printed, Sighting
from reconciler.model.live import Slot, Task, TaskId, TaskState
from reconciler.protocol.journal import Kind, Level, Record, encoded
from reconciler.protocol.tickets import TicketId
from reconciler.store.keys import sealer
from reconciler.store.writer import Store

TICKET = TicketId("1-1-1-aaaa")
TASK = Task(TaskId(1), "shop", Slot("shop", "production"), "1", "digest", "pin", "revision", TaskState.RUNNING)
JOURNAL = b"".join(encoded(Record(Kind.STDOUT, Level.INFO, 0, text)) for text in (b"one", b"two", b"three"))
IN_THE_SECOND = len(JOURNAL) // 2


@dataclass
class Shown:
    """Keeps what is printed."""

    reads_output = True
    text: bytes = b""

    def see(self, sighting: Sighting) -> None:
        assert isinstance(sighting, Printed)
        self.text += sighting.record.data


def grounds_in(folder: Path, store: Store, shown: Shown) -> Grounds:
    key = store.write_now(lambda tx: sealer(tx, folder / "key", given=False))
    return Grounds(store, LogStore(folder / "logs"), folder / "blobs", folder, key, shown)


async def test_a_tail_that_begins_within_a_record_goes_on_with_that_record(tmp_path: Path) -> None:
    shown = Shown()
    with Store.open(str(tmp_path), tmp_path) as store:
        grounds = grounds_in(tmp_path, store, shown)
        grounds.logs.append(TICKET, 0, JOURNAL[:IN_THE_SECOND])
        tail = Tail(TASK, grounds)
        await tail.resume(TICKET, 0, "Work")
        grounds.logs.append(TICKET, IN_THE_SECOND, JOURNAL[IN_THE_SECOND:])
        tail.end(TICKET)
    assert shown.text == b"twothree"


def test_what_is_no_journal_is_shown_no_further(tmp_path: Path) -> None:
    shown = Shown()
    with Store.open(str(tmp_path), tmp_path) as store:
        grounds = grounds_in(tmp_path, store, shown)
        tail = Tail(TASK, grounds)
        tail.begin(TICKET, 0, "Work")
        for piece in (JOURNAL, b"?" * 100, JOURNAL):
            grounds.logs.append(TICKET, grounds.logs.received(TICKET), piece)
            tail.show(TICKET)
    assert shown.text == b"onetwothree"
