"""Forgotten tickets: no tombstone, no removal; tombstones share a sync, and directories wait for an idle moment."""

from pathlib import Path

from reconciler.agent.forgotten import LEFT_MAX, TOGETHER_MAX, Forgotten
from reconciler.agent.tombstones import Tombstones
from reconciler.protocol.tickets import TicketId

TICKETS = [TicketId(f"t{number}") for number in range(TOGETHER_MAX)]


def forgotten(folder: Path) -> tuple[Forgotten, Tombstones]:
    (folder / "tickets").mkdir()
    tombstones = Tombstones(str(folder / "tombstones"))
    return Forgotten(str(folder / "tickets"), tombstones), tombstones


def test_a_ticket_waits_for_others_to_be_buried_with(tmp_path: Path) -> None:
    found, tombstones = forgotten(tmp_path)
    for ticket in TICKETS[:-1]:
        found.add(ticket)
        assert found.bury() == []
    assert found.patience() is not None
    found.add(TICKETS[-1])
    assert found.bury() == TICKETS
    assert all(ticket in tombstones for ticket in TICKETS)
    assert all(ticket in Tombstones(str(tmp_path / "tombstones")) for ticket in TICKETS)


def test_all_are_buried_at_once_when_the_server_has_gone(tmp_path: Path) -> None:
    found, tombstones = forgotten(tmp_path)
    found.add(TICKETS[0])
    assert found.bury(at_once=True) == TICKETS[:1]
    assert TICKETS[0] in tombstones
    assert found.patience() is None


def test_what_has_no_tombstone_is_not_let_go_of(tmp_path: Path) -> None:
    found, tombstones = forgotten(tmp_path)
    (tmp_path / "tombstones").rmdir()
    (tmp_path / "tombstones").touch()
    found.add(TICKETS[0])
    assert found.bury(at_once=True) == []
    assert TICKETS[0] not in tombstones
    (tmp_path / "tombstones").unlink()
    (tmp_path / "tombstones").mkdir()
    assert found.bury(at_once=True) == TICKETS[:1]


def test_directories_go_one_at_a_time_until_they_are_too_many(tmp_path: Path) -> None:
    found, _ = forgotten(tmp_path)
    names = [TicketId(f"t{number}") for number in range(LEFT_MAX + 1)]
    for name in names:
        (tmp_path / "tickets" / name).mkdir()
        found.leave(name)
    assert not (tmp_path / "tickets" / names[0]).exists()
    assert found.patience() == 0.0
    assert found.remove_one()
    assert sum(1 for _ in (tmp_path / "tickets").iterdir()) == LEFT_MAX - 1
