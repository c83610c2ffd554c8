"""What can be wrong with an audit and with what is asked of it, one case for each sentence."""

import sqlite3
from pathlib import Path

from reconciler.store import audit
from reconciler.store.chain import Head
from tests.cli.said import Said, applied, cases, raised, told
from tests.cli.workplace import Workplace, reconcile


def tampered(folder: Path, statement: str) -> Workplace:
    """Make a state of which somebody changed the database by hand."""
    place = applied(folder)
    with sqlite3.connect(place.data / "state.db") as connection:
        connection.execute(statement)
    connection.close()
    return place


def verified(folder: Path, statement: str) -> Said:
    return told(reconcile("audit", "verify", "-C", tampered(folder, statement).root))


def an_event_that_was_changed(folder: Path) -> Said:
    return verified(folder, "UPDATE events SET actor = 'eve' WHERE id = 3")


def an_event_that_was_removed(folder: Path) -> Said:
    return verified(folder, "DELETE FROM events WHERE id = 3")


def an_event_with_a_flipped_bit(folder: Path) -> Said:
    return verified(folder, "UPDATE events SET detail = CAST(X'E16461' AS TEXT) WHERE id = 3")


def an_exported_file_that_a_server_is_to_verify(folder: Path) -> Said:
    (folder / "audit.jsonl").write_text("")
    return told(reconcile("audit", "verify", folder / "audit.jsonl", "--server", "http://127.0.0.1:1"))


def an_audit_that_does_not_know_its_end(folder: Path) -> Said:
    return verified(folder, "DELETE FROM heads")


def an_audit_with_two_writers(folder: Path) -> Said:
    with applied(folder).store() as store:
        return raised(lambda: store.write_now(lambda tx: audit._move(tx, Head(1, "f"), Head(2, "e"))))


def a_file_that_is_no_export(folder: Path) -> Said:
    (folder / "shopping").write_text("milk\n")
    return told(reconcile("audit", "verify", folder / "shopping"))


def an_audit_since_no_time(folder: Path) -> Said:
    return told(reconcile("audit", "list", "-C", applied(folder).root, "--since", "soon"))


CASES = cases(vars())
