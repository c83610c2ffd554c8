"""A real PostgreSQL server of our own: a child process on a private loopback port, gone when it is closed."""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from time import monotonic, sleep

import psycopg

START_SECONDS = 120  # a cold and busy disk took 80; a warm one takes 0.3
ACCOUNT = "postgres"  # the server refuses to run as root


class PostgresServer:
    """A server that tests may stop, kill and start again; its data survive that."""

    def __init__(self, folder: Path, *, durable: bool = False) -> None:
        self._data = folder / "data"
        self._folder = folder
        self._programs = _programs()
        self._durable = durable
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = count(1)

    @property
    def pid(self) -> int:
        """The id of the postmaster."""
        assert self._process is not None, "the server runs"
        return self._process.pid

    def initialise(self) -> None:
        """Make the cluster."""
        if os.geteuid() == 0:
            shutil.chown(self._folder, ACCOUNT, ACCOUNT)
        options = ("--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-locale", "--no-sync")
        subprocess.run(
            [self._programs / "initdb", "-D", self._data, *options],
            **account(),
            cwd=self._folder,
            check=True,
            capture_output=True,
        )

    def start(self) -> None:
        """Start the server and wait until it answers."""
        assert self._process is None, "the server does not run"
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "on" if self._durable else "off",
            "max_connections": "50",
            "shared_buffers": "32MB",
        }
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(self._programs / "postgres", "-D", self._data, "-p", str(self._port)),
                    *(f"--{name}={value}" for name, value in settings.items()),
                ],
                **account(),
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._wait()

    def kill(self) -> None:
        """Kill the server as a crash does; its other processes follow by themselves."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Stop the server at once but cleanly: clients are cut off, transactions rolled back."""
        self._end(signal.SIGINT)

    def new_database(self) -> str:
        """Make an empty database and return its address."""
        name = f"store_{next(self._numbers)}"
        with psycopg.connect(self.address("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.address(name)

    def address(self, database: str) -> str:
        """Return the address of `database`."""
        return f"postgresql://postgres@127.0.0.1:{self._port}/{database}"

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()
            self._process = None

    def _wait(self) -> None:
        deadline = monotonic() + START_SECONDS
        while True:
            assert self._process is not None
            try:
                psycopg.connect(self.address("postgres")).close()
                return
            except psycopg.OperationalError:
                log = (self._folder / "log").read_text(errors="replace")
                assert self._process.poll() is None, f"PostgreSQL ended while starting:\n{log}"
                assert monotonic() < deadline, f"PostgreSQL did not start in {START_SECONDS} s:\n{log}"
            sleep(0.02)  # between looks at something that has a deadline


@contextmanager
def postgres_server(*, durable: bool = False) -> Iterator[PostgresServer]:
    """Run a server; `durable` ones keep to the disk what they promise, which costs time."""
    folder = Path(tempfile.mkdtemp(prefix="reconciler-postgres-"))  # not under pytest's own, which is closed to others
    server = PostgresServer(folder, durable=durable)
    try:
        server.initialise()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


def _programs() -> Path:
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/postgres"),
        key=lambda path: int(re.sub(r"\D", "", path.parent.parent.name) or 0),
    )
    assert found, "PostgreSQL is not installed: apt-get install -y --no-install-recommends postgresql"
    return found[-1].parent


def account() -> dict[str, str | list[str]]:
    """Say under whose account a server is started, as arguments of a process."""
    return {"user": ACCOUNT, "group": ACCOUNT, "extra_groups": []} if os.geteuid() == 0 else {}


def free_port() -> int:
    """Return a port of the loopback that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
