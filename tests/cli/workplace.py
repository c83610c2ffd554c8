"""A repository and the command line in it, run in this process or as the real command."""

import io
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from reconciler.cli.main import run
from reconciler.model.following import SourceState
from reconciler.store import following
from reconciler.store.writer import Store
from tests.declare.repository import Repository

RECONCILE = Path(sys.executable).parent / "reconcile"
SECONDS_MAX = 60.0  # for one command; the longest takes one or two


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command ended with and printed."""

    code: int
    out: str
    err: str

    def expect(self, code: int) -> "Outcome":
        """Insist on the exit code."""
        assert self.code == code, f"exit {self.code}, not {code}\n{self.out}\n{self.err}"
        return self


def reconcile(*arguments: str | Path) -> Outcome:
    """Run the command line in this process, without a terminal."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run([str(argument) for argument in arguments])
    return Outcome(int(code), out.getvalue(), err.getvalue())


def environment(**more: str) -> dict[str, str]:
    """Return a person's environment without what the machine's owner may have set."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("GIT_", "RECONCILE_", "NO_COLOR"))}
    return kept | more


def command(
    *arguments: str | Path,
    folder: Path,
    stdin: str = "",
    more: Mapping[str, str] | None = None,
    through: tuple[str, ...] = (),
) -> Outcome:
    """Run the real command as a process of its own, with `more` in its environment, started by `through`."""
    done = subprocess.run(
        [*through, RECONCILE, *arguments], cwd=folder, env=environment(**(more or {})), input=stdin,
        capture_output=True, text=True, check=False, timeout=SECONDS_MAX,
    )  # fmt: skip
    return Outcome(done.returncode, done.stdout, done.stderr)


ENVIRONMENT = """\
apiVersion: reconciler/v1
kind: Environment
metadata: {name: %s}
spec: {}
"""
PROJECT = """\
apiVersion: reconciler/v1
kind: Project
metadata: {name: %s}
spec:
  environments: [test]
  process:
    - name: Work
      script: {syntax: sh, body: "%s"}
"""
DEPLOYMENT = """\
apiVersion: reconciler/v1
kind: Deployment
metadata: {name: %s}
spec: {project: %s, environment: test, release: "%s"}
"""
POOL = """\
apiVersion: reconciler/v1
kind: WorkerPool
metadata: {name: %s}
spec: {}
"""
WORKER = """\
apiVersion: reconciler/v1
kind: Worker
metadata: {name: %s}
spec: {pools: [%s], endpoint: {polling: {subscription: "poll://%s", thumbprints: ["SHA256:%sA"]}}}
"""
MANUAL = """\
    - name: Ask
      manual: {instructions: "Is it right?"}
"""


def worker(name: str, pool: str) -> str:
    """Declare a polling worker whose identity follows from its name."""
    return WORKER % (name, pool, name, (name.replace("-", "") * 42)[:42])


class Workplace(Repository):
    """A repository with commands run in it; its state is its own `.reconcile`."""

    def run(self, verb: str, *arguments: str | Path) -> Outcome:
        """Run a command on this repository, in this process."""
        return reconcile(verb, "-C", self.root, *arguments)

    def apply(self, *arguments: str | Path, expect: int = 0) -> Outcome:
        """Apply without asking, deployments that never ran included."""
        return self.run("apply", "--auto-approve", "--new-state", *arguments).expect(expect)

    def process(self, verb: str, *arguments: str | Path, stdin: str = "", **more: str) -> Outcome:
        """Run the real command in the repository."""
        return command(verb, *arguments, folder=self.root, stdin=stdin, more=more)

    def declare_shop(self, body: str = "echo done", release: str = "1") -> None:
        """Declare an environment, a project of one step and its deployment."""
        self.write("environment.yaml", ENVIRONMENT % "test")
        self.write("project.yaml", PROJECT % ("shop", body))
        self.write("deployment.yaml", DEPLOYMENT % ("shop-test", "shop", release))

    def release(self, number: str) -> None:
        """Declare another release of the shop."""
        self.write("deployment.yaml", DEPLOYMENT % ("shop-test", "shop", number))

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.root / ".reconcile"

    def store(self) -> Store:
        """Open the state for writing, as an engine would."""
        return Store.open(str(self.data), self.data)

    def follow(self) -> None:
        """Leave the state as a server leaves it that follows this repository."""
        seen = SourceState(str(self.root), "HEAD", "", self.git("rev-parse", "HEAD"))
        with self.store() as store:
            store.write_now(lambda tx: following.see_source(tx, seen))
