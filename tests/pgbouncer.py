"""A real PgBouncer before a PostgreSQL server: it gives each transaction whichever server connection is free."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from urllib.parse import urlsplit

import psycopg

from tests.postgres import ACCOUNT, PostgresServer, account, free_port

START_SECONDS = 10
SETTINGS = """\
[databases]
* = host=127.0.0.1 port={server} user=postgres

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 10
min_pool_size = 0
max_client_conn = 500
server_lifetime = 5
"""


class Pooler:
    """The pooler's address of each database of a server."""

    def __init__(self, server: PostgresServer, port: int) -> None:
        self._server = server
        self._port = port

    def new_database(self) -> str:
        """Make an empty database and return its address behind the pooler."""
        return self.address(urlsplit(self._server.new_database()).path.lstrip("/"))

    def address(self, database: str) -> str:
        """Return the address of `database` behind the pooler."""
        return f"postgresql://postgres@127.0.0.1:{self._port}/{database}"


@contextmanager
def pooler(server: PostgresServer) -> Iterator[Pooler]:
    """Run PgBouncer in transaction mode before `server`."""
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    assert program is not None, "PgBouncer is not installed: apt-get install -y --no-install-recommends pgbouncer"
    folder = Path(tempfile.mkdtemp(prefix="reconciler-pgbouncer-"))
    port = free_port()
    (folder / "pgbouncer.ini").write_text(SETTINGS.format(server=urlsplit(server.address("postgres")).port, port=port))
    if os.geteuid() == 0:
        for path in (folder, folder / "pgbouncer.ini"):
            shutil.chown(path, ACCOUNT, ACCOUNT)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, "pgbouncer.ini"], **account(), cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        found = Pooler(server, port)
        _wait(process, found, folder / "log")
        yield found
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder)


def _wait(process: "subprocess.Popen[bytes]", found: Pooler, log: Path) -> None:
    deadline = monotonic() + START_SECONDS
    while True:
        try:
            psycopg.connect(found.address("postgres")).close()
            return
        except psycopg.OperationalError:
            text = log.read_text(errors="replace")
            assert process.poll() is None, f"PgBouncer ended while starting:\n{text}"
            assert monotonic() < deadline, f"PgBouncer did not start in {START_SECONDS} s:\n{text}"
        sleep(0.02)  # between looks at something that has a deadline
