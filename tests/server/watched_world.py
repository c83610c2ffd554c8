"""A real server of many spaces, one for each bad day, and all the places in which people see how one stands."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.server.forge.forges import DESCRIPTION_MAX
from tests.chaos.fleet import free_port
from tests.chaos.processes import until
from tests.cli.workplace import RECONCILE, environment, reconcile
from tests.server.awkward_host import AwkwardHost, awkward_host
from tests.server.following import POOL, Repository
from tests.server.listening_forge import ListeningForge, listening

SPACE = "apiVersion: reconciler/v1\nkind: Space\nmetadata: {name: %s}\nspec: %s\n"
SOURCE = """
[[source]]
space = "{name}"
url = "{url}"
poll = "1s"
timeout = "5s"
{settings}
[source.forge]
kind = "github"
repository = "ann/{name}"
token_file = "{folder}/forge-token"
api_url = "{forge}"
"""
ROLES = ("--role", "viewer", "--role", "auditor", "--role", "deployer", "--space", "*")

Said = tuple[str, str]
"""A word and a sentence: a reason or a verdict, and why."""


@dataclass
class Watched:
    """One space of the server: its repository, and what is seen of it."""

    name: str
    repository: Repository
    world: "World"
    settings: str = ""
    by_https: bool = False
    token: str = ""

    def declare(self, spec: str = "{}", **files: str) -> str:
        """Commit the space with these files and no other."""
        for file in self.repository.root.glob("*.yaml"):
            file.unlink()
        self.repository.write("reconcile.yaml", SPACE % (self.name, spec))
        for name, text in files.items():
            self.repository.write(f"{name}.yaml", text)
        return self.repository.commit()

    def pools(self, *names: str, spec: str = "{}") -> str:
        """Commit the space with these pools."""
        return self.declare(spec, **{name: POOL.format(name=name) for name in names})

    def enrol(self, worker: str, pool: str) -> str:
        """Start an agent of the space; return the document that declares it."""
        token = self.run("token", "create", "--worker", worker, "--pool", pool)
        program = (sys.executable, "-m", "reconciler.agent")
        at = ("--state", str(self.world.folder / worker))
        document = subprocess.run(
            [*program, "enrol", *at, "--server", f"127.0.0.1:{self.world.agents}", "--token-file", "-"],
            input=token, capture_output=True, text=True, check=True, env=environment(),
        ).stdout  # fmt: skip
        with (self.world.folder / f"{worker}.log").open("wb") as log:
            self.world.working.append(subprocess.Popen([*program, "run", *at], stderr=log, env=environment()))
        return document

    @property
    def data(self) -> Path:
        return self.world.data / self.name

    @property
    def source(self) -> str:
        root = self.repository.root
        return self.world.host.address(root) if self.by_https else f"file://{root}"

    @property
    def named(self) -> str:
        """What the configuration says of the source beside its address."""
        login = f'login = {{ca_file = "{self.world.host.certificate}"}}\n' if self.by_https else ""
        return login + self.settings

    # What is seen.

    def run(self, *arguments: str | Path) -> str:
        """Run a command beside the state."""
        return reconcile(*arguments, "--data", self.data).expect(0).out

    def at_server(self, *arguments: str | Path) -> str:
        """Run a command of somebody who has a token and nothing else."""
        file = self.world.folder / f"{self.name}-token"
        file.write_text(self._bearer())
        named = ("--server", self.world.url, "--token-file", file, "--space", self.name)
        return reconcile(*arguments, *named).expect(0).out

    def get(self, path: str, method: str = "GET") -> object:
        """Ask the API for something of the space."""
        request = urllib.request.Request(
            f"{self.world.url}/api/v1/spaces/{self.name}{path}",
            headers={"Authorization": f"Bearer {self._bearer()}"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def _bearer(self) -> str:
        self.token = self.token or self.run("access", "create", "watcher", *ROLES).strip()
        return self.token

    def status(self) -> Mapping[str, object]:
        found = json.loads(self.run("status", "--json"))
        assert isinstance(found, dict)
        return found

    def ready(self) -> Said:
        return _ready(self.status()["conditions"])

    def stands(self, reason: str, revision: str) -> bool:
        """Is this the reason of Ready, of that commit?"""
        (found,) = [each for each in _records(self.status()["conditions"]) if each["type"] == "Ready"]
        return (found["reason"], found["revision"]) == (reason, revision)

    def conditions(self, commit: str) -> Mapping[str, Said]:
        """Return reason and sentence of Ready, by the place where they are read."""
        reason, sentence = self.ready()
        words = [line for line in self.run("status").splitlines() if line.startswith("Ready ")]
        standing = self.get(f"/commits/{commit}/standing")
        assert isinstance(standing, dict)
        return {
            "status": (reason, sentence),
            "status in words": _worded(words),
            "status --server": _ready(json.loads(self.at_server("status", "--json"))["conditions"]),
            "status --server in words": _worded(
                [line for line in self.at_server("status").splitlines() if line.startswith("Ready ")]
            ),
            "GET status": _ready(_field(self.get("/status"), "conditions")),
            "GET conditions": _ready(_field(self.get("/conditions"), "conditions")),
            "GET standing": (reason, str(standing["message"])),
        }

    def events(self, subject: str) -> Mapping[str, Sequence[Said]]:
        """Return outcome and detail of the events of a subject, by the place where it is read."""
        printed = ("events", "--json", "--subject", subject)
        found = {
            "events": _printed(self.run(*printed)),
            "events --server": _printed(self.at_server(*printed)),
            "GET events": _records(_field(self.get(f"/events?subject={subject}"), "items")),
        }
        return {
            place: [(str(each["outcome"]), str(each["detail"])) for each in events] for place, events in found.items()
        }

    def verdict(self, commit: str) -> Said:
        """Return what became of a commit, as the API tells."""
        items = _records(_field(self.get("/commits"), "items"))
        return next((str(each["verdict"]), str(each["reason"])) for each in items if each["revision"] == commit)

    def told(self, commit: str) -> Said:
        """Return the state and description that the forge was told last of a commit."""
        path = f"/repos/ann/{self.name}/statuses/{commit}"
        bodies = [each.body for each in self.world.forge.asked if each.path == path]
        return (bodies[-1]["state"], bodies[-1]["description"]) if bodies and isinstance(bodies[-1], dict) else ("", "")

    def plan(self) -> str:
        """Return the name of the plan that waits for a person, "" where none does."""
        plans = _records(self.status()["plans"])
        return str(plans[0]["name"]) if plans else ""


@dataclass
class World:
    """A server, the host of some of its sources, its forge, and its spaces."""

    folder: Path
    forge: ListeningForge
    host: AwkwardHost
    spaces: dict[str, Watched] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    agents: int = field(default_factory=free_port)
    """Where the agents of the space call that has any."""
    working: "list[subprocess.Popen[bytes]]" = field(default_factory=list)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def gate(self) -> Path:
        """What a step of the agent waits for; made when the world ends."""
        return self.folder / "gate"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def space(self, name: str, settings: str = "", *, by_https: bool = False) -> Watched:
        """Make a space with a repository of its own."""
        made = Watched(name, Repository(self.folder / name), self, settings, by_https)
        self.spaces[name] = made
        return made

    @contextmanager
    def served(self) -> Iterator[None]:
        """Serve the spaces while the context stands."""
        (self.folder / "forge-token").write_text("planted-token\n")
        text = "".join(
            SOURCE.format(name=name, url=each.source, settings=each.named, folder=self.folder, forge=self.forge.url)
            for name, each in self.spaces.items()
        )
        (self.folder / "server.toml").write_text(f"[http]\nrate = 1000\nburst = 100000\n{text}")
        options = ("--data", self.data, "--config", self.folder / "server.toml", "--new-state")
        with (self.folder / "server.log").open("wb") as log:
            server = subprocess.Popen(
                [RECONCILE, "serve", *options, "--http", f"127.0.0.1:{self.port}"],
                stdout=log, stderr=log, env=environment(), cwd=self.folder,
            )  # fmt: skip
        try:
            until(lambda: self._answers(server), "the server")
            yield
        finally:
            self.gate.touch()
            for process in [*self.working, server]:
                process.terminate()
            for process in self.working:
                process.wait(60)
            assert server.wait(60) == 0, self.log()[-4000:]

    def _answers(self, server: "subprocess.Popen[bytes]") -> bool:
        assert server.poll() is None, self.log()[-4000:]
        try:
            return bool(urllib.request.urlopen(f"{self.url}/readyz", timeout=10).status == 200)
        except OSError:
            return False

    def log(self) -> str:
        return (self.folder / "server.log").read_text()


@contextmanager
def world(folder: Path) -> Iterator[World]:
    """Have a forge and a host of Git while the context stands."""
    with listening() as forge, awkward_host(folder) as host:
        yield World(folder, forge, host)


def short(sentence: str) -> str:
    """Return a sentence as a forge is told it."""
    return sentence if len(sentence) <= DESCRIPTION_MAX else f"{sentence[: DESCRIPTION_MAX - 1]}…"


def _field(found: object, name: str) -> object:
    assert isinstance(found, dict)
    return found[name]


def _records(found: object) -> list[dict[str, object]]:
    assert isinstance(found, list)
    return found


def _printed(text: str) -> list[dict[str, object]]:
    """Return the events that `events --json` has printed."""
    return [each for each in map(json.loads, text.splitlines()) if each["type"] == "event"]


def _ready(conditions: object) -> Said:
    found = next((each for each in _records(conditions) if each["type"] == "Ready"), None)
    return (str(found["reason"]), str(found["message"])) if found is not None else ("", "")


def _worded(lines: Sequence[str]) -> Said:
    """Read `Ready False, REASON: SENTENCE`."""
    (line,) = lines
    reason, _, sentence = line.partition(", ")[2].partition(": ")
    return reason, sentence
