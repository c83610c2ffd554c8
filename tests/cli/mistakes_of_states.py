"""What can be wrong with a state, a key, a database or a repository, one case for each sentence."""

import sqlite3
from pathlib import Path
from tempfile import TemporaryDirectory

from psycopg import OperationalError, errors

from reconciler.declare.git import TIMEOUT, GitEnded, GitFailed, GitSlow, blobs
from reconciler.declare.source import ENTRIES_MAX, _records, open_tree
from reconciler.model.live import Attempt, AttemptState, TaskId
from reconciler.model.spec import Address
from reconciler.server.engine.leading import Lead
from reconciler.store import attempts, leadership, leases, objects
from reconciler.store.blobs import put_blob, read_blob
from reconciler.store.directory import DataDirectory, EngineLock
from reconciler.store.keys import Sealer
from reconciler.store.leadership import Node
from reconciler.store.postgres import PostgresDatabase
from reconciler.store.sqlite import SqliteDatabase
from reconciler.store.writer import Store
from tests.cli.said import Said, applied, cases, explained, raised, shop, told
from tests.cli.workplace import ENVIRONMENT, command
from tests.store.conftest import without_rights

OMAHA = Node("omaha", "files of omaha")


def no_address_of_a_database(folder: Path) -> Said:
    return told(shop(folder).run("plan", "--data", "postgresql://host/db?nonsense=1", "--files", folder))


def a_database_that_does_not_answer(folder: Path) -> Said:
    return explained(postgres().explain(OperationalError("connection failed: Connection refused\n\tIs it running?")))


def a_database_kept_by_another_node(folder: Path) -> Said:
    return explained(postgres().explain(errors.LockNotAvailable("canceling statement due to lock timeout")))


def a_database_on_a_full_disk(folder: Path) -> Said:
    return explained(postgres().explain(errors.DiskFull("could not extend file")))


def a_database_that_is_read_only(folder: Path) -> Said:
    return explained(postgres().explain(errors.ReadOnlySqlTransaction("cannot execute INSERT")))


def a_database_of_somebody_else(folder: Path) -> Said:
    return explained(postgres().explain(errors.InsufficientPrivilege("permission denied for schema public")))


def postgres() -> PostgresDatabase:
    return PostgresDatabase("postgresql://ada@db.example.org:5433/deployments")


def no_driver(folder: Path) -> Said:
    """Let a package that cannot be imported stand for one that is not installed."""
    (folder / "psycopg.py").write_text("raise ImportError('No module named psycopg')\n")
    more = {"PYTHONPATH": str(folder)}
    arguments = ("plan", "--data", "postgresql://host/db", "--files", folder)
    return told(command(*arguments, folder=shop(folder).root, more=more))


def another_node_leads(folder: Path) -> Said:
    from tests.postgres import postgres_server

    place = shop(folder)
    with postgres_server() as server:
        address = server.new_database()
        with Store.open(address, folder / "elsewhere") as store, Lead.take(store, OMAHA):
            return told(place.run("apply", "--auto-approve", "--new-state", "--data", address, "--files", folder / "f"))


def another_node_has_taken_the_lead(folder: Path) -> Said:
    with applied(folder).store() as store:
        store.write_now(lambda tx: leadership.take(tx, OMAHA, 0.0))
        return raised(lambda: store.write_now(lambda tx: leadership.check(tx, 0)))


def steps_left_on_another_node(folder: Path) -> Said:
    place = applied(folder)
    with place.store() as store:
        attempt = Attempt("t-2", TaskId(1), 0, 2, "built-in", 1, AttemptState.GRANTED, "{}")
        store.write_now(lambda tx: attempts.grant(tx, [(attempt, "")]))
        store.write_now(lambda tx: leadership.set_built_in(tx, OMAHA))
    place.release("2")
    return told(place.run("apply", "--auto-approve"))


def what_tells_a_node_cannot_be_read(folder: Path) -> Said:
    place = shop(folder)
    (place.data / "node").mkdir(parents=True)
    return told(place.run("apply", "--auto-approve"))


def a_second_attempt(folder: Path) -> Said:
    with applied(folder).store() as store:
        first, second = (
            Attempt(f"t-{number}", TaskId(1), 0, number, "built-in", 1, AttemptState.GRANTED, "{}") for number in (2, 3)
        )
        store.write_now(lambda tx: attempts.grant(tx, [(first, "")]))
        return raised(lambda: store.write_now(lambda tx: attempts.grant(tx, [(second, "")])))


def a_lease_given_back(folder: Path) -> Said:
    with applied(folder).store() as store:
        return raised(lambda: store.write_now(lambda tx: leases.check(tx, "apply", 1)))


def a_lease_taken_over(folder: Path) -> Said:
    with applied(folder).store() as store:
        store.write_now(lambda tx: leases.acquire(tx, "apply", "ada@elsewhere", 60.0, 0.0))
        return raised(lambda: store.write_now(lambda tx: leases.check(tx, "apply", 1)))


def a_rename_onto_another(folder: Path) -> Said:
    old, new = Address("Environment", "test"), Address("Environment", "more")
    place = shop(folder)
    place.write("more.yaml", ENVIRONMENT % "more")
    place.apply()
    with place.store() as store:
        return raised(lambda: store.write_now(lambda tx: objects.rename(tx, old, new)))


def a_state_of_a_newer_version(folder: Path) -> Said:
    place = applied(folder)
    with sqlite3.connect(place.data / "state.db") as connection:
        connection.execute("UPDATE reconciler_schema SET version = 999")
    connection.close()
    return told(place.run("status"))


def a_database_of_another_program(folder: Path) -> Said:
    place = shop(folder)
    place.data.mkdir()
    with sqlite3.connect(place.data / "state.db") as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.close()
    return told(place.run("status"))


def no_database(folder: Path) -> Said:
    place = shop(folder)
    place.data.mkdir()
    (place.data / "state.db").write_text("a shopping list " * 100)
    return told(place.run("status"))


def a_state_below_a_file(folder: Path) -> Said:
    (folder / "file").touch()
    return told(shop(folder).run("status", "--data", folder / "file" / "data"))


def a_damaged_database(folder: Path) -> Said:
    return sqlite(folder, sqlite3.SQLITE_CORRUPT, "database disk image is malformed")


def a_full_disk(folder: Path) -> Said:
    return sqlite(folder, sqlite3.SQLITE_FULL, "database or disk is full")


def a_database_that_cannot_be_written(folder: Path) -> Said:
    return sqlite(folder, sqlite3.SQLITE_READONLY, "attempt to write a readonly database")


def a_disk_that_fails(folder: Path) -> Said:
    return sqlite(folder, sqlite3.SQLITE_IOERR, "disk I/O error")


def a_database_kept_by_another_program(folder: Path) -> Said:
    return sqlite(folder, sqlite3.SQLITE_BUSY, "database is locked")


def sqlite(folder: Path, code: int, words: str) -> Said:
    error = sqlite3.OperationalError(words)
    error.sqlite_errorcode = code
    return explained(SqliteDatabase(folder / "state.db").explain(error))


def a_data_directory_below_a_file(folder: Path) -> Said:
    (folder / "file").touch()
    return told(shop(folder).run("apply", "--auto-approve", "--data", folder / "file" / "data"))


def a_lock_that_is_none(folder: Path) -> Said:
    place = shop(folder)
    (place.data / "lock").mkdir(parents=True)
    return told(place.run("apply", "--auto-approve"))


def another_engine(folder: Path) -> Said:
    place = applied(folder)
    with EngineLock.take(DataDirectory(place.data)):
        return told(place.run("apply", "--auto-approve"))


def a_blob_that_cannot_be_written(folder: Path) -> Said:
    with TemporaryDirectory(prefix="reconciler-test-") as closed:  # pytest's own is closed to other accounts
        Path(closed).chmod(0o555)
        with without_rights():
            return raised(lambda: put_blob(Path(closed), "ab" * 32, b"x"))


def a_file_in_the_place_of_blobs(folder: Path) -> Said:
    (folder / "blobs").write_text("")
    return raised(lambda: put_blob(folder / "blobs", "ab" * 32, b"x"))


def a_blob_that_is_gone(folder: Path) -> Said:
    return raised(lambda: read_blob(folder, "ab" * 32))


def a_missing_key(folder: Path) -> Said:
    place = applied(folder)
    (place.data / "key").unlink()
    return told(place.run("apply", "--auto-approve"))


def another_key(folder: Path) -> Said:
    place, other = applied(folder / "one"), applied(folder / "two")
    (other.data / "key").rename(place.data / "key")
    return told(place.run("apply", "--auto-approve"))


def an_open_key(folder: Path) -> Said:
    place = applied(folder)
    (place.data / "key").chmod(0o644)
    return told(place.run("apply", "--auto-approve"))


def no_key_of_ours(folder: Path) -> Said:
    place = applied(folder)
    (place.data / "key").write_text("-----BEGIN PRIVATE KEY-----\n")
    return told(place.run("apply", "--auto-approve"))


def a_key_that_cannot_be_read(folder: Path) -> Said:
    place = applied(folder)
    (place.data / "key").unlink()
    (place.data / "key").mkdir(mode=0o700)
    return told(place.run("apply", "--auto-approve"))


def a_key_that_cannot_be_made(folder: Path) -> Said:
    from reconciler.store.keys import sealer

    with Store.open(str(folder / "data"), folder / "data") as store:
        return raised(lambda: store.write_now(lambda tx: sealer(tx, folder / "missing" / "key")))


def a_value_of_a_newer_form(folder: Path) -> Said:
    return raised(lambda: Sealer(b"k" * 32).unseal(b"\x02" + b"x" * 40, "output", 1))


def a_value_of_another_key(folder: Path) -> Said:
    return raised(lambda: Sealer(b"k" * 32).unseal(Sealer(b"o" * 32).seal("x", "output", 1), "output", 1))


def a_value_of_another_row(folder: Path) -> Said:
    return raised(lambda: Sealer(b"k" * 32).unseal(Sealer(b"k" * 32).seal("x", "output", 2), "output", 1))


def no_such_folder(folder: Path) -> Said:
    return raised(lambda: open_tree(folder / "missing"))


def too_many_files(folder: Path) -> Said:
    return raised(lambda: _records(b"\0" * (ENTRIES_MAX + 1)))


def no_such_commit(folder: Path) -> Said:
    return told(shop(folder).run("plan", "--rev", "v9"))


def a_broken_repository(folder: Path) -> Said:
    place = shop(folder)
    (place.root / ".git" / "index").write_bytes(b"garbage")
    return told(place.run("plan"))


def a_commit_with_a_hole(folder: Path) -> Said:
    place = shop(folder)
    return raised(lambda: list(blobs(place.root, ["0" * 40])))


def a_repository_of_another_account(folder: Path) -> Said:
    return raised(lambda: _failing("detected dubious ownership in repository"))


def _failing(said: str) -> None:
    raise GitFailed(("ls-files",), f"fatal: {said}")


def a_fetch_that_the_server_does_not_wait_for(folder: Path) -> Said:
    ended = GitEnded("fetch")
    return Said(ended.message, ended.hint)


def a_slow_disk(folder: Path) -> Said:
    slow = GitSlow("ls-files")
    assert f"{TIMEOUT:g} s" in slow.message
    return Said(slow.message, slow.hint)


def no_git(folder: Path) -> Said:
    return told(shop(folder).process("plan", PATH="/nowhere"))


CASES = cases(vars())
