"""A controller over a real engine and a real repository, whose looks the test takes one by one."""

import asyncio
import io
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from reconciler.declare.mirror import Mirror, Remote
from reconciler.declare.signatures import Signers
from reconciler.execute.secrets import SecretRules
from reconciler.model.following import Condition, ConditionType
from reconciler.model.live import LiveState, Task, TaskId
from reconciler.server.configuration import EMBEDDED
from reconciler.server.controller.controller import Controller
from reconciler.server.engine.control import Request, decide
from reconciler.server.engine.engine import open_engine
from reconciler.server.sources.policy import Policy
from reconciler.server.sources.sources import Fetched
from reconciler.server.state.place import Place
from reconciler.server.voice import Voice
from reconciler.store import following, objects, tasks
from reconciler.store.directory import DataDirectory

PATIENCE = 20.0  # seconds; a test that waits longer has failed
SPACE = "apiVersion: reconciler/v1\nkind: Space\nmetadata: {{name: shop}}\nspec: {spec}\n"
POOL = "apiVersion: reconciler/v1\nkind: WorkerPool\nmetadata: {{name: {name}}}\nspec: {{}}\n"
ENVIRONMENT = "apiVersion: reconciler/v1\nkind: Environment\nmetadata: {name: live}\nspec: {}\n"
PROJECT = """\
apiVersion: reconciler/v1
kind: Project
metadata: {{name: shop}}
spec:
  process:
    - name: Work
      location: {{runOn: server}}
      script: {{syntax: sh, body: '{body}'}}
"""
DEPLOYMENT = """\
apiVersion: reconciler/v1
kind: Deployment
metadata: {{name: shop-live}}
spec: {{project: shop, environment: live, release: "{release}"}}
"""


BY_ITSELF = Policy()


class Repository:
    """What is committed somewhere else."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("config", "uploadpack.allowFilter", "true")

    def git(self, *arguments: str) -> str:
        scrubbed = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        who = ("-c", "user.name=Ann", "-c", "user.email=ann@example.com", "-c", "commit.gpgSign=false")
        command = ["git", *who, *arguments]
        return subprocess.run(
            command, cwd=self.root, env=scrubbed, check=True, capture_output=True, text=True
        ).stdout.strip()

    def write(self, name: str, text: str) -> None:
        (self.root / name).write_text(text)

    def commit(self, message: str = "Change", *options: str) -> str:
        self.git("add", "--all", ".")
        self.git("commit", "--quiet", "--allow-empty", *options, "--message", message)
        return self.git("rev-parse", "HEAD")

    def shop(self, project: str, release: str = "1") -> str:
        """Commit a space that deploys a release by the process of `project`."""
        self.write("reconcile.yaml", SPACE.format(spec="{}"))
        self.write("env.yaml", ENVIRONMENT)
        self.write("project.yaml", project)
        self.write("deployment.yaml", DEPLOYMENT.format(release=release))
        return self.commit(f"Release {release}")

    def pools(self, *names: str, spec: str = "{}") -> str:
        """Commit a space with these pools and no other."""
        for file in self.root.glob("pool-*.yaml"):
            file.unlink()
        self.write("reconcile.yaml", SPACE.format(spec=spec))
        for name in names:
            self.write(f"pool-{name}.yaml", POOL.format(name=name))
        return self.commit(f"Pools {', '.join(names)}")


@dataclass
class Followed:
    """A controller, its repository, and what it said."""

    controller: Controller
    repository: Repository
    place: Place
    said: io.StringIO = field(default_factory=io.StringIO)

    async def look(self) -> None:
        """Let the controller look at its source now, and do what follows."""
        self.controller.wake()
        await self.controller.turn()

    async def live(self) -> LiveState:
        return await self.controller.engine.store.read(objects.live_state)

    async def pools(self) -> set[str]:
        live = await self.live()
        return {address.name for address in live.objects if address.kind == "WorkerPool"}

    async def condition(self, kind: ConditionType) -> Condition:
        return (await self.controller.engine.store.read(following.conditions))[kind]

    async def reason(self) -> str:
        """Return the reason of Ready."""
        return (await self.condition(ConditionType.READY)).reason

    async def task(self, number: int) -> Task:
        return await self.controller.engine.store.read(lambda tx: tasks.task(tx, TaskId(number)))

    async def order(self, order: Request) -> str:
        """Have an order carried out as the control socket does."""
        return (await asyncio.to_thread(decide, self.place, order)).message


@asynccontextmanager
async def followed(
    folder: Path,
    policy: Policy = BY_ITSELF,
    *,
    signers: Signers | None = None,
    path: str = "",
    secrets: SecretRules | None = None,
) -> AsyncIterator[Followed]:
    """Follow a new repository in `folder`, or the one that is there; `secrets` are what committers may name."""
    root = folder / "repository"
    repository = Repository.__new__(Repository) if root.exists() else Repository(root)
    repository.root = root
    data = DataDirectory(folder / "data")
    place = Place(data.root, str(data.root), data)
    remote = Remote(f"file://{root}", "refs/heads/main")
    source = Fetched(Mirror(data.root / "mirror", remote), "shop", path, signers, data.root / "keyrings")
    said = io.StringIO()
    voice = Voice("text", said)
    async with open_engine(place) as engine, engine.running(voice, EMBEDDED, secret_rules=secrets) as running:
        yield Followed(Controller(engine, running, source, voice, policy), repository, place, said)


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """A disk of its own at a folder."""

    folder: Path

    def grow(self, size: int) -> None:
        """Give it so many bytes."""
        subprocess.run(["mount", "-o", f"remount,size={size}", str(self.folder)], check=True)


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[SmallDisk]:
    """Mount a disk of so many bytes at `folder` while the context stands; what was there is hidden."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


async def until(holds: Callable[[], object]) -> None:
    """Wait for what nothing tells, looking now and then; fails when patience ends."""
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)
