"""Every dialect writes whole functions, one turn at a time, and tells each caller how its own ended."""

import asyncio
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.model.errors import StateUnreadable
from reconciler.model.live import Event
from reconciler.store import audit, counters
from reconciler.store.chain import Whole
from reconciler.store.database import Transaction
from reconciler.store.migrations import migrations
from reconciler.store.reader import open_for_reading
from reconciler.store.writer import Store
from tests.conformance.conftest import Place

ROOT = Path(__file__).parent.parent.parent


class Refusal(Exception):
    """What a function of these tests raises."""


def event(subject: str = "Worker/a") -> Event:
    return Event(at=1.5, actor="ann", action="update", subject=subject)


def refuse(tx: Transaction) -> None:
    audit.record(tx, event("refused"))
    raise Refusal("no")


def test_a_nul_in_a_text_costs_nobody_a_transaction(store: Store) -> None:
    text = 'a\0"\\,{b'

    def work(tx: Transaction) -> list[object]:
        tx.execute("INSERT INTO pins (digest, content) VALUES (?, ?)", "1", text)
        tx.many("INSERT INTO pins (digest, content) VALUES (?, ?)", [("2", "plain"), ("3", text)])
        tx.batch("INSERT INTO pins (digest, content) SELECT * FROM {rows}", ("text", "text"), [("4", text)])
        return [content for (content,) in tx.all("SELECT content FROM pins WHERE content <> ? ORDER BY digest", "\0")]

    first, plain, *others = store.write_now(work)
    assert first in {text, text.replace("\0", "\ufffd")}
    assert plain == "plain"
    assert others == [first, first]


def test_what_was_written_is_there_after_opening_again(place: Place) -> None:
    with place.open() as store:
        store.write_now(lambda tx: audit.record(tx, event()))
    with place.open() as store:
        assert [found.subject for found in store.read_now(audit.events)] == ["Worker/a"]


def test_a_function_that_raises_leaves_nothing(store: Store) -> None:
    with pytest.raises(Refusal, match="no"):
        store.write_now(refuse)
    assert store.read_now(audit.events) == []


async def test_in_a_group_only_the_function_that_raises_is_undone(store: Store) -> None:
    held, go = threading.Event(), threading.Event()

    def hold(_: Transaction) -> None:
        held.set()
        assert go.wait(30)

    first = asyncio.create_task(store.write(hold))
    await asyncio.to_thread(held.wait, 30)
    rest = [asyncio.create_task(store.write(refuse if n % 3 == 0 else _numbered(n))) for n in range(30)]
    await asyncio.sleep(0)  # each has submitted its function, so all are one group
    go.set()
    outcomes = await asyncio.gather(first, *rest, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes[1:]] == [Refusal if n % 3 == 0 else int for n in range(30)]
    found = {seen.subject for seen in await store.read(audit.events)}
    assert found == {f"Task/{n}" for n in range(30) if n % 3}


async def test_a_coroutine_that_stops_waiting_does_not_disturb_the_others(store: Store) -> None:
    given_up = asyncio.create_task(store.write(_numbered(1)))
    kept = asyncio.create_task(store.write(_numbered(2)))
    await asyncio.sleep(0)
    given_up.cancel()
    await kept
    found = {seen.subject for seen in await store.read(audit.events)}
    assert found == {"Task/1", "Task/2"}


def test_stores_that_write_at_once_take_turns(place: Place) -> None:
    place.open().close()

    def count_up() -> None:
        with place.open() as store:
            for _ in range(25):
                store.write_now(_read_then_write)

    threads = [threading.Thread(target=count_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with place.open() as store:
        assert store.read_now(lambda tx: counters.last_number(tx, "seen")) == 100


def test_stores_that_open_an_empty_place_at_once_agree(place: Place) -> None:
    failures: list[Exception] = []

    def open_once() -> None:
        try:
            place.open().close()
        except Exception as error:  # noqa: BLE001 - seen by the assertion below
            failures.append(error)

    threads = [threading.Thread(target=open_once) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_reader_sees_one_state_while_the_writer_goes_on(store: Store) -> None:
    def look(tx: Transaction) -> tuple[int, int]:
        before = len(audit.events(tx))
        store.write_now(lambda writing: audit.record(writing, event()))
        return before, len(audit.events(tx))

    assert store.read_now(look) == (0, 0)
    assert len(store.read_now(audit.events)) == 1


def test_a_place_without_a_state_reads_as_none(place: Place) -> None:
    assert open_for_reading(place.data) is None


def test_a_command_reads_what_a_live_engine_wrote(place: Place) -> None:
    with place.open() as store:
        store.write_now(lambda tx: audit.record(tx, event()))
        readers = open_for_reading(place.data)
        assert readers is not None
        with readers:
            assert len(readers.read_now(audit.events)) == 1


def test_a_reader_cannot_write(place: Place) -> None:
    place.open().close()
    readers = open_for_reading(place.data)
    assert readers is not None
    with readers, pytest.raises(StateUnreadable):
        readers.read_now(lambda tx: audit.record(tx, event()))


def test_a_newer_schema_is_refused_in_words(place: Place) -> None:
    with place.open() as store:
        where = store.where
        store.write_now(lambda tx: tx.execute("UPDATE reconciler_schema SET version = 99"))
    words = f"{where} was written by a newer reconciler (schema 99, this one knows {len(migrations())})"
    with pytest.raises(StateUnreadable) as refused:
        place.open()
    assert refused.value.message == words
    with pytest.raises(StateUnreadable) as refused:
        open_for_reading(place.data)
    assert refused.value.message == words


@pytest.mark.parametrize("seed", range(6))
def test_kill_9_in_the_middle_of_writes_leaves_whole_functions_and_loses_no_acknowledged_one(
    place: Place, seed: int
) -> None:
    place.open().close()
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.conformance.writes_pairs", place.data, place.files],
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert child.stdout is not None
    acknowledged = {child.stdout.readline().decode().strip() for _ in range(random.Random(seed).randint(1, 300))}
    child.kill()
    acknowledged |= {line.decode().strip() for line in child.stdout.readlines() if line.endswith(b"\n")}
    child.stdout.close()
    child.wait()
    with place.open() as store:
        found = store.read_now(lambda tx: audit.events(tx, limit=1_000_000))
        assert isinstance(store.read_now(audit.verify), Whole)
    subjects = [seen.subject for seen in found]
    assert subjects[::2] == subjects[1::2], "a function is there whole or not at all"
    assert acknowledged <= set(subjects)
    assert [seen.id for seen in found] == list(range(1, len(found) + 1))


def _numbered(n: int) -> Callable[[Transaction], int]:
    return lambda tx: audit.record(tx, event(f"Task/{n}"))


def _read_then_write(tx: Transaction) -> None:
    seen = counters.last_number(tx, "seen")
    tx.execute(
        "INSERT INTO counters (name, value) VALUES ('seen', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        seen + 1,
    )
