"""A space that a test writes, the real command working on it, and a witness outside that sees every start of a step."""

import json
import os
import pty
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from reconciler.execute.logs import LogStore
from reconciler.model.live import Attempt, OutputValue, StepRun, StoredArtifact, Task, TaskId
from reconciler.protocol.journal import Kind
from reconciler.protocol.tickets import TicketId
from reconciler.store import attempts, results, tasks
from reconciler.store.database import Transaction
from reconciler.store.reader import open_for_reading
from tests.chaos.processes import PATIENCE, Family, until

BIN = Path(sys.executable).parent
AUTO = ("apply", "--auto-approve", "--new-state")
T = TypeVar("T")

Fields = dict[str, Any]


def step(name: str, body: str = "", **fields: Any) -> Fields:
    """Declare a bash step that tells the witness of each start; the field names are those of the documents."""
    syntax = fields.pop("syntax", "bash")
    return {"name": name, "script": {"syntax": syntax, "body": body}, **fields}


def gate(name: str = "go") -> str:
    """Return the shell text that waits until the test opens a gate."""
    return f'until [ -e "$GATES/{name}" ]; do sleep 0.02; done\n'


@dataclass(frozen=True, slots=True)
class Apply:
    """A command that runs beside the test."""

    process: "subprocess.Popen[bytes]"
    printed: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait(self, expect: int = 0) -> str:
        """Wait for its end, insist on its exit code and return what it printed."""
        code = self.process.wait(timeout=PATIENCE)
        text = self.text()
        assert code == expect, f"it exits {code}\n{text}"
        return text

    def text(self) -> str:
        return self.printed.read_text(errors="replace")

    def kill(self) -> None:
        """Kill this process alone, as the out-of-memory killer would, and see it dead."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.process.wait(timeout=PATIENCE)


@dataclass(frozen=True, slots=True)
class Space:
    """A repository with one project, what its steps have witnessed, and the state of its applies."""

    home: Path
    environment: dict[str, str]

    @classmethod
    def bare(cls, home: Path, **environment: str) -> "Space":
        """Make the directories; no file is there yet."""
        for name in ("repository", "gates", "printed"):
            (home / name).mkdir(parents=True)
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("GIT_", "RECONCILE_"))}
        own = {"PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(home), "NO_COLOR": "1", "GIT_CONFIG_NOSYSTEM": "1"}
        return cls(home, inherited | own | environment)

    @classmethod
    def empty(cls, home: Path, **environment: str) -> "Space":
        """Declare what every space of a test has: its name and one environment."""
        space = cls.bare(home, **environment)
        space.write("reconcile", {"kind": "Space", "metadata": {"name": "test"}, "spec": {}})
        space.write("environment", {"kind": "Environment", "metadata": {"name": "production"}, "spec": {}})
        return space

    @property
    def folder(self) -> Path:
        return self.home / "repository"

    @property
    def data(self) -> Path:
        return self.folder / ".reconcile"

    @property
    def family(self) -> Family:
        return Family(self.home)

    # Declaring.

    def write(self, file: str, *documents: Fields) -> None:
        """Write documents; JSON is YAML."""
        texts = [json.dumps({"apiVersion": "reconciler/v1", **document}) for document in documents]
        (self.folder / f"{file}.yaml").write_text("\n---\n".join(texts))

    def declare(self, *process: Fields, project: str = "shop", release: str = "1", **deployment: Any) -> None:
        """Declare a project of these steps and its deployment; scripts find WITNESS, GATES and STEP."""
        variables = deployment.pop("project_variables", [])
        spec = {"process": [self._witnessed(one) for one in process], "variables": variables}
        self.write(f"{project}-project", {"kind": "Project", "metadata": {"name": project}, "spec": spec})
        self.deploy(release, project=project, **deployment)

    def deploy(self, release: str, *, project: str = "shop", **deployment: Any) -> None:
        """Declare which release is wished."""
        wish = {"project": project, "release": release, "environment": "production", **deployment}
        self.write(f"{project}-deployment", {"kind": "Deployment", "metadata": {"name": project}, "spec": wish})

    def remove(self, file: str) -> None:
        (self.folder / f"{file}.yaml").unlink()

    def _witnessed(self, declared: Fields) -> Fields:
        if "script" not in declared:
            return declared
        script = declared["script"]
        start = {
            "python": "import os; print(os.environ['STEP'], file=open(os.environ['WITNESS'], 'a'))\n",
        }.get(script["syntax"], 'echo "$STEP" >> "$WITNESS"\n')
        marks = {"WITNESS": str(self.home / "witness"), "GATES": str(self.home / "gates"), "STEP": declared["name"]}
        return {
            **declared,
            "script": {**script, "body": start + script["body"]},
            "env": {**marks, **declared.get("env", {})},
        }

    # Acting.

    def start(self, *arguments: str) -> Apply:
        """Start a command of ours without a terminal."""
        return self.run_beside("reconcile", *arguments)

    def run_beside(self, *command: str) -> Apply:
        """Start any program beside the test."""
        printed = self._printed()
        with printed.open("wb") as file:
            process = subprocess.Popen(
                command, cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, stdout=file,
                stderr=subprocess.STDOUT,
            )  # fmt: skip
        return Apply(process, printed)

    def start_on_terminal(self, *arguments: str) -> Apply:
        """Start a command on a terminal, where a person can be asked."""
        printed = self._printed()
        ours, theirs = pty.openpty()
        with printed.open("wb") as file:
            process = subprocess.Popen(
                ["reconcile", *arguments], cwd=self.folder, env=self.environment, stdin=theirs, stdout=theirs,
                stderr=file, start_new_session=True,
            )  # fmt: skip
        os.close(theirs)
        threading.Thread(target=_drain, args=(ours,), daemon=True).start()
        return Apply(process, printed)

    def reconcile(self, *arguments: str, expect: int = 0) -> str:
        """Run a command to its end."""
        return self.start(*arguments).wait(expect)

    def apply(self, expect: int = 0) -> str:
        return self.reconcile(*AUTO, expect=expect)

    def open(self, name: str = "go") -> None:
        """Open a gate."""
        (self.home / "gates" / name).touch()

    def _printed(self) -> Path:
        folder = self.home / "printed"
        return folder / str(len(list(folder.iterdir())))

    # Looking.

    def starts(self) -> Counter[str]:
        """Return how often each step has started, as the witness saw it."""
        try:
            return Counter((self.home / "witness").read_text().splitlines())
        except FileNotFoundError:
            return Counter()

    def until_started(self, name: str) -> None:
        until(lambda: self.starts()[name], f'the start of "{name}"')

    def read(self, work: Callable[[Transaction], T], nothing: T) -> T:
        """Read the state beside a live engine; `nothing` where there is none yet."""
        readers = open_for_reading(str(self.data)) if self.data.is_dir() else None
        if readers is None:
            return nothing
        with readers:
            return readers.read_now(work)

    def tasks(self) -> list[Task]:
        """Return all tasks, the oldest first."""
        return self.read(lambda tx: list(reversed(tasks.tasks(tx))), [])

    def task(self, number: int = 1) -> Task:
        return self.tasks()[number - 1]

    def runs(self, task: int = 1) -> dict[str, StepRun]:
        """Return the step runs of a task by their names."""
        return {run.name: run for run in self.read(lambda tx: tasks.steps(tx, TaskId(task)), [])}

    def states(self, task: int = 1) -> dict[str, str]:
        """Return the state of each step of a task."""
        return {name: run.state.value for name, run in self.runs(task).items()}

    def attempts(self, task: int = 1) -> list[Attempt]:
        return self.read(lambda tx: attempts.attempts(tx, TaskId(task)), [])

    def outputs(self, task: int = 1) -> list[OutputValue]:
        return self.read(lambda tx: results.outputs(tx, TaskId(task), None), [])

    def artifacts(self, task: int = 1) -> list[StoredArtifact]:
        return self.read(lambda tx: results.artifacts(tx, TaskId(task)), [])

    def log(self, ticket: str, *kinds: Kind) -> bytes:
        """Return what an attempt printed."""
        records = LogStore(self.data / "logs").records(TicketId(ticket))
        return b"".join(record.data for _, record in records if record.kind in (kinds or (Kind.STDOUT, Kind.STDERR)))

    def kept_bytes(self) -> Iterator[tuple[Path, bytes]]:
        """Yield every file of the state."""
        for path in sorted(self.data.rglob("*")):
            if path.is_file():
                yield path, path.read_bytes()


@contextmanager
def space_in(home: Path, **environment: str) -> Iterator[Space]:
    """Give an empty space; whatever its applies have started is ended."""
    space = Space.empty(home, **environment)
    try:
        yield space
    finally:
        space.family.end()


def _drain(terminal: int) -> None:
    with suppress(OSError):  # the other end was closed
        while os.read(terminal, 65536):
            pass
    os.close(terminal)
