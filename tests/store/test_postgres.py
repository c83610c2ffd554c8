"""PostgreSQL may restart, break a connection in mid-commit, or refuse: nothing is lost, doubled or left unsaid."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from reconciler.model.errors import StateUnreadable
from reconciler.model.live import Event
from reconciler.store import audit, postgres
from reconciler.store.database import Transaction
from reconciler.store.reader import open_for_reading
from reconciler.store.writer import Store
from tests.postgres import PostgresServer, postgres_server

pytestmark = pytest.mark.end_to_end  # real processes, and many of them

EVENT = Event(1.0, "ann", "update", "Worker/a")


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server(durable=True) as running:
        yield running


class CuttingProxy:
    """Forwards connections; once armed, it cuts one at its COMMIT: before that arrived, or before its answer did.

    Armed with "for good", it lets nobody through afterwards.
    """

    def __init__(self, target: str) -> None:
        address = urlsplit(target)
        self._target = (address.hostname, address.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        self.address = f"postgresql://{address.username}@127.0.0.1:{port}{address.path}?sslmode=disable"
        self.armed: str | None = None
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            upstream = socket.create_connection(self._target)
            threading.Thread(target=self._forward, args=(client, upstream), daemon=True).start()
            threading.Thread(target=self._answer, args=(upstream, client), daemon=True).start()

    def _forward(self, client: socket.socket, upstream: socket.socket) -> None:
        while data := _received(client):
            if self.armed and b"COMMIT" in data:
                how, self.armed = self.armed, None
                self.cuts += 1
                if how == "for good":  # before the client knows, or it may be back while the door still stands open
                    self._listener.shutdown(socket.SHUT_RDWR)
                client.shutdown(socket.SHUT_RDWR)
                if how != "before":
                    upstream.sendall(data)
                else:
                    upstream.shutdown(socket.SHUT_RDWR)
                return
            upstream.sendall(data)

    def _answer(self, upstream: socket.socket, client: socket.socket) -> None:
        try:
            while data := _received(upstream):
                client.sendall(data)
            client.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # the client was cut


def _received(source: socket.socket) -> bytes:
    try:
        return source.recv(65536)
    except OSError:
        return b""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_connection_that_breaks_in_mid_commit_neither_loses_nor_doubles(
    server: PostgresServer, tmp_path: Path, when: str
) -> None:
    proxy = CuttingProxy(server.new_database())
    with Store.open(proxy.address, tmp_path) as store:
        for number in range(5):
            proxy.armed = when
            assert store.write_now(lambda tx: audit.record(tx, EVENT)) == number + 1
            assert proxy.cuts == number + 1
        assert [event.id for event in store.read_now(audit.events)] == [1, 2, 3, 4, 5]
    proxy.close()


def test_what_may_have_been_committed_is_not_done_again(
    server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "pauses", lambda: iter([0.01] * 3))
    data = server.new_database()
    proxy = CuttingProxy(data)
    with Store.open(proxy.address, tmp_path) as store:
        proxy.armed = "for good"
        with pytest.raises(StateUnreadable) as refused:
            store.write_now(lambda tx: audit.record(tx, EVENT))
    where = f"PostgreSQL at {urlsplit(proxy.address).hostname}:{urlsplit(proxy.address).port}{urlsplit(data).path}"
    assert refused.value.message == (
        f"{where} went away in the middle of a commit and has not come back, so whether it arrived is unknown"
    )
    assert refused.value.hint == "look at what is recorded once it is back, before anything is done again"
    with Store.open(data, tmp_path) as store:
        assert [event.id for event in store.read_now(audit.events)] == [1]
    proxy.close()


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_restart_of_the_database_is_waited_for(server: PostgresServer, tmp_path: Path, end: str) -> None:
    with Store.open(server.new_database(), tmp_path) as store:
        store.write_now(lambda tx: audit.record(tx, EVENT))
        assert len(store.read_now(audit.events)) == 1
        getattr(server, end)()
        starting = threading.Thread(target=server.start)
        starting.start()
        assert store.write_now(lambda tx: audit.record(tx, EVENT)) == 2
        starting.join()
        assert len(store.read_now(audit.events)) == 2


def test_a_new_reader_waits_for_a_restart_too(server: PostgresServer, tmp_path: Path) -> None:
    with Store.open(server.new_database(), tmp_path) as store:
        server.stop()
        starting = threading.Thread(target=server.start)
        starting.start()
        assert store.read_now(audit.events) == []
        starting.join()


def test_a_function_that_hides_an_error_is_not_taken_for_committed(server: PostgresServer, tmp_path: Path) -> None:
    def hide(tx: Transaction) -> None:
        try:
            tx.execute("INSERT INTO no_such_table VALUES (1)")
        except Exception:  # noqa: BLE001 - the mistake that is tested
            return

    with Store.open(server.new_database(), tmp_path) as store:
        with pytest.raises(Exception, match="a statement had failed and its error was not passed on"):
            store.write_now(hide)
        assert store.write_now(lambda tx: audit.record(tx, EVENT)) == 1


def test_a_server_that_is_not_there_is_named_without_the_password(tmp_path: Path) -> None:
    address = "postgresql://ann:hunter2@127.0.0.1:1/state"
    with pytest.raises(StateUnreadable) as refused:
        Store.open(address, tmp_path)
    with pytest.raises(StateUnreadable) as refused_to_read:
        open_for_reading(address)
    assert refused.value.message.startswith("PostgreSQL at 127.0.0.1:1/state cannot be used: connection ")
    assert refused.value.hint == "check that the server runs, and the host, database and user in --data"
    for error in (refused.value, refused_to_read.value):
        assert "hunter2" not in f"{error.message} {error.hint}"


def test_a_database_that_is_not_there_is_named(server: PostgresServer, tmp_path: Path) -> None:
    with pytest.raises(StateUnreadable, match='database "nowhere" does not exist'):
        Store.open(server.address("nowhere"), tmp_path)


def test_an_address_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StateUnreadable) as refused:
        Store.open("postgresql://localhost:5432/state?speed=high", tmp_path)
    assert refused.value.message.startswith("--data is not the address of a PostgreSQL database: ")
    assert refused.value.hint == "write it as postgresql://USER@HOST:PORT/DATABASE"


def test_a_user_who_may_not_write_is_told(server: PostgresServer, tmp_path: Path) -> None:
    address = server.new_database()
    with Store.open(address, tmp_path) as store:
        store.write_now(lambda tx: tx.execute("CREATE ROLE guest LOGIN"))
    with pytest.raises(StateUnreadable, match="refuses: permission denied") as refused:
        Store.open(address.replace("postgres@", "guest@"), tmp_path)
    assert refused.value.hint == "make this user the owner of the database"
