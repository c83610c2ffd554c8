"""What is deployed while processes are killed: the bookshop, and a workshop that has a little of everything."""

import re
import shutil
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from reconciler.store import audit
from tests.chaos.space import Space, space_in, step

BOOKSHOP = Path(__file__).parent.parent.parent / "examples" / "bookshop"
MOVING = re.compile(r"bookshop-\d{8}T\d+Z|http://127\.0\.0\.1:\d+")
"""What differs between two runs of the bookshop: the name of a backup, and the port of the web server."""


@dataclass(frozen=True, slots=True)
class Workload:
    """Something to deploy; `effects` is what it leaves in the world, `starts` how often each step starts."""

    space: Space
    starts: Counter[str]
    effects: Callable[[], object]

    def outcome(self) -> dict[str, object]:
        """Return all that a kill must not change; checks on the way that logs are whole."""
        space = self.space
        events = space.read(lambda tx: audit.events(tx, limit=1_000), [])
        return {
            "effects": self.effects(),
            "task": [(task.id, task.release, task.state) for task in space.tasks()],
            "steps": space.states(),
            "attempts": [(one.step, one.number, one.state) for one in space.attempts()],
            "logs": [self._log(one.ticket, one.log_length, one.log_digest) for one in space.attempts()],
            "outputs": [(one.step, one.name, self._still(one.value), one.sensitive) for one in space.outputs()],
            "artifacts": [(one.step, self._still(one.name), one.size, one.digest) for one in space.artifacts()],
            "audit": sorted(
                (event.action, event.subject, event.outcome) for event in events if event.action != "apply"
            ),
        }

    def _log(self, ticket: str, length: int, digest: str) -> str:
        path = self.space.data / "logs" / f"{ticket}.journal"
        journal = path.read_bytes() if path.exists() else b""
        assert (len(journal), sha256(journal).hexdigest()) == (length, digest), f"the log of {ticket} is not whole"
        return self._still(self.space.log(ticket).decode())

    def _still(self, text: str) -> str:
        return MOVING.sub("…", text.replace(str(self.space.home), "HOME"))


@contextmanager
def workshop(home: Path) -> Iterator[Workload]:
    """Deploy outputs plain and sensitive, an artifact, two steps side by side, a retry, and much that is printed."""
    with space_in(home) as space:
        space.declare(
            step(
                "Prepare",
                "set_output word abc; set_output --sensitive token open-sesame; seq 9 >a.txt",
                artifacts=["*"],
            ),
            step("Left", "for part in 1 2 3; do seq 1000; sleep 0.1; done"),
            step("Right", "sleep 0.2; seq 2000 >&2; echo $TOKEN", start="withPrevious", env=given("TOKEN", "token")),
            step("Flaky", '[ "$(grep -c Flaky "$WITNESS")" = 2 ]', retry={"attempts": 2, "backoff": "1s"}),
            step("Never", condition="failure"),
            step("Finish", 'sleep 0.2; echo "$WORD"', condition="always", env=given("WORD", "word")),
        )
        yield Workload(space, Counter(["Prepare", "Left", "Right", "Flaky", "Flaky", "Finish"]), lambda: None)


def given(variable: str, output: str) -> dict[str, str]:
    return {variable: "${{ steps.prepare.output." + output + " }}"}


class _Quiet(SimpleHTTPRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""


@contextmanager
def bookshop(home: Path) -> Iterator[Workload]:
    """Deploy the example as it is, but that its scripts tell the witness when they start."""
    files = home / "files"
    (files / "site").mkdir(parents=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=files / "site"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/"
    environment = {"BOOKSHOP_ROOT": str(files), "BOOKSHOP_URL": address, "BOOKSHOP_BACKUP_KEY": "open-sesame"}
    try:
        with space_in(home, **environment) as space:
            declare_bookshop(space)
            yield Workload(space, Counter(["backup", "migrate", "publish", "check"]), partial(_shop, files))
    finally:
        server.shutdown()
        server.server_close()


def declare_bookshop(space: Space) -> None:
    """Copy the example into a space, and let each of its scripts tell the witness."""
    shutil.rmtree(space.folder)
    shutil.copytree(BOOKSHOP, space.folder)
    witness = f"open({str(space.home / 'witness')!r}, 'a').write('NAME\\n')\n"
    for script in (space.folder / "scripts").iterdir():
        script.write_text(script.read_text().replace("\nimport", f"\n{witness.replace('NAME', script.stem)}import", 1))
    templates = space.folder / "templates.yaml"
    marked = "import os, sqlite3, step\n"
    assert marked in templates.read_text()
    templates.write_text(
        templates.read_text().replace(marked, f"{marked}        {witness.replace('NAME', 'migrate')}", 1)
    )


def _shop(files: Path) -> object:
    """Return what the bookshop is after its deployment: its database, its page, and its one signed backup."""
    with closing(sqlite3.connect(files / "bookshop.db")) as database:
        books = database.execute("SELECT * FROM book ORDER BY year").fetchall()
        version = database.execute("PRAGMA user_version").fetchall()
    backups = sorted((path.suffix, path.stat().st_size) for path in (files / "backups").iterdir())
    return books, version, (files / "site" / "index.html").read_text(), backups
