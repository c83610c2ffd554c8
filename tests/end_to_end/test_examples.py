"""The examples, as a reader would run them: the real command, real processes, a real web server."""

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "examples"
BIN = Path(sys.executable).parent
SPACES = sorted(
    {path.parent.name for path in EXAMPLES.glob("*/*.yaml") if "apiVersion: reconciler/" in path.read_text()}
)
BACKUP_KEY = "a-key-that-nobody-may-read"

pytestmark = pytest.mark.end_to_end


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files and says nothing about it."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


@dataclass(frozen=True, slots=True)
class Repository:
    """A working copy of an example in Git, and the environment of the person who works in it."""

    folder: Path
    environment: dict[str, str]

    def run(self, *command: str, expect: int = 0) -> str:
        """Run a command, insist on its exit code, and return what it printed."""
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False, timeout=100
        )
        output = done.stdout + done.stderr
        assert done.returncode == expect, f"{' '.join(command)} exits {done.returncode}\n{output}"
        return output

    def reconcile(self, *arguments: str, expect: int = 0) -> str:
        return self.run("reconcile", *arguments, expect=expect)

    def release(self, version: str) -> None:
        """Commit the next release of the bookshop."""
        self.run("git", "apply", str(EXAMPLES / "releases" / f"{version}.patch"))
        self.run("git", "commit", "--quiet", "--all", "--message", version)


def repository_of(example: str, folder: Path, **environment: str) -> Repository:
    inherited = {
        key: value for key, value in os.environ.items() if not key.startswith(("GIT_", "RECONCILE_", "BOOKSHOP_"))
    }
    own = {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "HOME": str(folder),
        "NO_COLOR": "1",
        "GIT_CONFIG_NOSYSTEM": "1",
        **{f"GIT_{who}_{what}": f"{what}@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }
    repository = Repository(folder / "repository", inherited | own | environment)
    shutil.copytree(EXAMPLES / example, repository.folder)
    repository.run("git", "init", "--quiet", "--initial-branch=main")
    repository.run("git", "add", "--all")
    repository.run("git", "commit", "--quiet", "--message", "first")
    return repository


@dataclass(frozen=True, slots=True)
class Bookshop:
    """The bookshop's repository, and the files that its deployment makes."""

    repository: Repository
    files: Path

    def page(self) -> str:
        return (self.files / "site" / "index.html").read_text()

    def database(self) -> tuple[int, list[tuple[object, ...]]]:
        """Return the version of the database and its books."""
        with closing(sqlite3.connect(self.files / "bookshop.db")) as database:
            ((version,),) = database.execute("PRAGMA user_version").fetchall()
            return version, database.execute("SELECT * FROM book ORDER BY year").fetchall()


@pytest.fixture
def bookshop(tmp_path: Path) -> Iterator[Bookshop]:
    files = tmp_path / "files"
    (files / "site").mkdir(parents=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=files / "site"))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Bookshop(
        repository_of(
            "bookshop",
            tmp_path,
            BOOKSHOP_ROOT=str(files),
            BOOKSHOP_URL=f"http://127.0.0.1:{server.server_port}/",
            BOOKSHOP_BACKUP_KEY=BACKUP_KEY,
        ),
        files,
    )
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("example", SPACES)
def test_every_example_validates_and_plans(example: str, tmp_path: Path) -> None:
    repository = repository_of(example, tmp_path)
    assert "no errors." in repository.reconcile("validate")
    assert re.search(r"^Plan: ", repository.reconcile("plan", "--detailed-exitcode", expect=2), re.MULTILINE)


def test_the_quickstart_says_hello_once_per_release(tmp_path: Path) -> None:
    repository = repository_of("quickstart", tmp_path)
    repository.reconcile("apply", "--auto-approve", expect=5)
    repository.reconcile("apply", "--auto-approve", "--new-state")
    assert "Hello, world!" in repository.reconcile("logs", "1")
    assert re.search(r"^No changes\.", repository.reconcile("plan", "--detailed-exitcode"), re.MULTILINE)

    deployment = repository.folder / "deployment.yaml"
    deployment.write_text(deployment.read_text().replace("1.0.0", "1.1.0"))
    repository.reconcile("apply", "--auto-approve")
    assert "release 1.1.0 is being prepared" in repository.reconcile("logs", "2")


def test_the_bookshop_goes_forward_fails_safely_and_comes_back(bookshop: Bookshop) -> None:
    shop = bookshop.repository
    shop.reconcile("apply", "--auto-approve", "--new-state")
    assert bookshop.database() == (
        1,
        [
            ("Emma", "Jane Austen", 1815),
            ("Frankenstein", "Mary Shelley", 1818),
            ("Frankenstein", "Mary Shelley", 1831),
            ("Middlemarch", "George Eliot", 1871),
        ],
    )
    assert "4 books, release 1.0.0" in bookshop.page()

    shop.release("1.1.0")
    shop.reconcile("apply", "--auto-approve")
    assert "Mary Shelley, 1818, £95" in bookshop.page()
    before = bookshop.database()
    assert before[0] == 2

    shop.release("2.0.0")
    assert "UNIQUE constraint failed: book.title" in shop.reconcile("apply", "--auto-approve", expect=6)
    assert bookshop.database() == before, "the migration that had worked is undone as well"
    assert "release 1.1.0" in bookshop.page()
    shop.reconcile("apply", "--auto-approve", expect=6)

    shop.run("git", "revert", "--no-edit", "HEAD")
    shop.reconcile("apply", "--auto-approve")
    assert bookshop.database() == before
    assert re.search(r"^No changes\.", shop.reconcile("plan", "--detailed-exitcode"), re.MULTILINE)


def test_the_backup_is_kept_and_its_key_is_nowhere_in_clear(bookshop: Bookshop) -> None:
    shop = bookshop.repository
    shop.reconcile("apply", "--auto-approve", "--new-state")
    log = shop.reconcile("logs", "1")
    assert "signed with ********" in log
    kept = {path: path.read_bytes() for path in (shop.folder / ".reconcile").rglob("*") if path.is_file()}
    artifacts = [content for path, content in kept.items() if "blobs" in path.parts]
    assert any(content.startswith(b"SQLite format 3\0") for content in artifacts)
    assert [path for path, content in kept.items() if BACKUP_KEY.encode() in content] == []


def test_the_bookshop_asks_first_where_its_deployment_says_so(bookshop: Bookshop) -> None:
    shop = bookshop.repository
    with (shop.folder / "deployment.yaml").open("a") as deployment:
        deployment.write("  variables: {Approval: required}\n")
    shop.reconcile("apply", "--auto-approve", "--new-state", expect=7)
    assert not (bookshop.files / "bookshop.db").exists()
    shop.reconcile("approve", "1")
    shop.reconcile("apply", "--auto-approve")
    assert "release 1.0.0" in bookshop.page()


def test_the_demo_plays_to_its_end_and_leaves_nothing_behind(tmp_path: Path) -> None:
    environment = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}", "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        ["bash", EXAMPLES / "demo.sh"], env=environment, capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "That was the whole of it." in done.stdout
    assert list(tmp_path.iterdir()) == []
