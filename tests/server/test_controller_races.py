"""What happens to the controller between two of its steps: people decide, the state moves, the mirror goes."""

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from reconciler.declare.cache import ParseCache
from reconciler.declare.load import Loaded
from reconciler.execute.secrets import SecretRules
from reconciler.model.errors import UsageMistake
from reconciler.model.following import Why
from reconciler.model.live import LiveState
from reconciler.model.spec import Address
from reconciler.plan.planner import Options
from reconciler.server.answers.reasons import BECAUSE, reasons
from reconciler.server.configuration import EMBEDDED
from reconciler.server.controller import controller
from reconciler.server.orders.orders import DecidePlan, Resume, Suspend
from reconciler.server.planning.machines import Alone
from reconciler.server.planning.planning import Check, Planned, plan_space
from reconciler.server.sources.policy import Policy
from reconciler.server.sources.sources import Fetched
from reconciler.server.space_service import Followed, SpaceService
from reconciler.server.state.times import stamp
from reconciler.server.voice import Voice
from reconciler.store import audit, following, objects, tasks
from reconciler.store.database import Transaction
from reconciler.store.writer import Store
from tests.server.following import DEPLOYMENT, ENVIRONMENT, PATIENCE, SPACE, followed
from tests.server.following import Followed as Here

SELDOM = Policy(poll=3600.0)


@dataclass(frozen=True, slots=True)
class Meanwhile(Fetched):
    """A source while whose commit is read something else happens."""

    happens: Callable[[], None] = lambda: None

    def load(self, revision: str, live: LiveState, cache: ParseCache) -> Loaded:
        """Read the commit, and let it happen."""
        loaded = Fetched.load(self, revision, live, cache)
        self.happens()
        return loaded


def meanwhile(here: Here, happens: Callable[[], None]) -> None:
    """Let something happen, once, while the next commit is read."""
    plain = here.controller.source
    assert isinstance(plain, Fetched)

    def once() -> None:
        here.controller.source = plain
        happens()

    here.controller.source = Meanwhile(
        plain.mirror, plain.space, plain.folder, plain.signers, plain.keyrings, happens=once
    )


def without_pool_a(tx: Transaction) -> None:
    """Remove a pool behind Git's back."""
    objects.remove(tx, next(address for address in objects.all_objects(tx) if address == ("WorkerPool", "a")))
    objects.next_serial(tx)


async def mended(here: Here) -> None:
    """Take turns until all is as declared."""
    async with asyncio.timeout(PATIENCE):
        while await here.pools() != {"a", "b"} or await here.reason() != "Applied":
            await here.controller.turn()
            await asyncio.sleep(0.02)


async def test_a_suspension_that_comes_while_a_commit_is_judged_holds_it(tmp_path: Path) -> None:
    async with followed(tmp_path) as here:
        here.repository.pools("a")
        await here.look()
        here.repository.pools("a", "b")
        loop = asyncio.get_running_loop()
        suspended = here.order(Suspend("ann@desk", "a freeze", 3600.0))
        meanwhile(here, lambda: asyncio.run_coroutine_threadsafe(suspended, loop).result(PATIENCE))
        await here.look()
        assert await here.pools() == {"a"}
        assert await here.reason() == "Suspended"
        await here.order(Resume("ann@desk"))
        await here.controller.turn()
        assert await here.pools() == {"a", "b"}


@pytest.mark.parametrize("again", [False, True], ids=["nothing-to-do", "carried-out"])
async def test_a_state_that_moves_while_a_commit_is_judged_is_judged_again(tmp_path: Path, *, again: bool) -> None:
    async with followed(tmp_path, SELDOM) as here:
        here.repository.pools("a", "b")
        await here.look()
        if again:
            here.repository.pools("a", "b", "c")
        else:
            here.repository.commit("Nothing")
        meanwhile(here, lambda: here.controller.engine.store.write_now(without_pool_a))
        await here.look()
        await here.controller.turn()
        assert await here.pools() == {"a", "b"} | ({"c"} if again else set())


WORKER = """\
apiVersion: reconciler/v1
kind: Worker
metadata: {name: db-1}
spec: {pools: [a], endpoint: {listening: {host: db-1.example.com, port: 10944, thumbprints: ["SHA256:%s"]}}}
""" % ("A" * 43)


async def test_a_machine_that_another_space_takes_while_a_commit_is_judged_is_refused(tmp_path: Path) -> None:
    class Late(Alone):
        async def take(self, store: Store, planned: Planned) -> str:
            return "it is taken"

    async with followed(tmp_path) as here:
        here.controller.claims = Late()
        here.repository.pools("a")
        await here.look()
        assert await here.pools() == set()
        assert (await here.reason(), here.controller.machines) == ("Refused", {})


async def test_the_machines_of_a_space_are_known_before_any_is_judged(tmp_path: Path) -> None:
    async with followed(tmp_path) as here:
        here.repository.write("worker.yaml", WORKER)
        here.repository.pools("a")
        await here.look()
        assert await here.reason() == "Applied"
        place, source = here.place, here.controller.source
    service = SpaceService(place, Followed(source, SELDOM), EMBEDDED, Voice(), None, "node-a")
    async with service.locked():
        assert service.machines == {"db-1.example.com:10944": Address("Worker", "db-1")}


async def test_what_stands_against_a_plan_just_now_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = True

    def planned(
        loaded: Loaded, live: LiveState, options: Options, *, check: Check, secret_rules: SecretRules | None
    ) -> Planned:
        found = plan_space(loaded, live, options, check=check, secret_rules=secret_rules)
        if not busy:
            return found
        held = tuple(replace(change, refusal="it is at work", refused_now=True) for change in found.plan.changes)
        return replace(found, plan=replace(found.plan, changes=held))

    monkeypatch.setattr(controller, "plan_space", planned)
    monkeypatch.setattr(controller, "RETRY_SECONDS", (0.05, 0.05))
    async with followed(tmp_path, SELDOM) as here:
        here.repository.pools("a", "b")
        await here.look()
        assert await here.reason() == "Refused"
        busy = False
        await mended(here)


async def test_a_mirror_that_is_deleted_between_two_looks_is_fetched_anew(tmp_path: Path) -> None:
    async with followed(tmp_path, SELDOM) as here:
        here.repository.pools("a", "b")
        await here.look()
        shutil.rmtree(here.place.files.root / "mirror")
        await here.controller.engine.store.write(without_pool_a)
        await mended(here)


async def test_a_mirror_that_breaks_between_two_looks_is_fetched_anew(tmp_path: Path) -> None:
    async with followed(tmp_path, SELDOM) as here:
        here.repository.pools("a", "b")
        await here.look()
        for pack in (here.place.files.root / "mirror" / "trees.git" / "objects").rglob("*"):
            if pack.is_file():
                pack.unlink()
        await here.controller.engine.store.write(without_pool_a)
        await mended(here)


async def test_a_plan_that_waits_no_longer_cannot_be_approved(tmp_path: Path) -> None:
    async with followed(tmp_path) as here:
        whole = here.repository.pools("a", "b", "c", "d")
        await here.look()
        here.repository.pools("a")
        await here.look()
        (proposal,) = await here.controller.engine.store.read(following.proposals)
        here.repository.git("reset", "--quiet", "--hard", whole)
        await here.look()
        assert await here.reason() == "Applied"
        with pytest.raises(UsageMistake) as caught:
            await here.order(DecidePlan("ann@desk", proposal.name, "approve", ""))
        assert caught.value.message == f"no plan {proposal.name} waits"


BY_FILE = """\
apiVersion: reconciler/v1
kind: Project
metadata: {name: shop}
spec:
  process:
    - {name: Work, location: {runOn: server}, script: {syntax: sh, file: run.sh}}
"""


async def test_what_was_approved_runs_no_other_script(tmp_path: Path) -> None:
    async with followed(tmp_path) as here:
        here.repository.write("reconcile.yaml", SPACE.format(spec="{}"))
        here.repository.write("env.yaml", ENVIRONMENT)
        here.repository.write("project.yaml", BY_FILE)
        here.repository.write("run.sh", "echo harmless")
        here.repository.write("deployment.yaml", DEPLOYMENT.format(release="1"))
        here.repository.commit()
        await here.look()
        (proposal,) = await here.controller.engine.store.read(following.proposals)
        await here.order(DecidePlan("ann@desk", proposal.name, "approve", ""))
        here.repository.write("run.sh", "echo something else")
        here.repository.commit()
        await here.look()
        assert await here.controller.engine.store.read(tasks.last_tasks) == {}
        assert await here.reason() == "AwaitingApproval"
        here.repository.write("run.sh", "echo harmless")
        here.repository.commit()
        await here.look()
        assert len(await here.controller.engine.store.read(tasks.last_tasks)) == 1
        said = {event.action: event for event in await here.controller.engine.store.read(audit.events)}
        assert said["approve"].subject == proposal.name
        assert said["approve"].plan == proposal.plan == said["apply"].plan, "the plan that `reconcile plan` shows"
        assert proposal.plan != proposal.digest


async def test_a_plan_that_waits_says_why(tmp_path: Path) -> None:
    async with followed(tmp_path) as here:
        store = here.controller.engine.store
        here.repository.pools("a", "b", "c", "d")
        await here.look()
        commit = here.repository.pools("a")
        await here.look()
        (proposal,) = await store.read(following.proposals)
        sentences = await store.read(lambda tx: list(reasons(tx, proposal.name)))
        assert sentences == [
            f"{proposal.name} is what the commit {commit[:12]} would change: 3 to remove",
            sentences[1],
            f"it waits for a person since {stamp(proposal.made_at)}, because {BECAUSE[Why.REMOVALS]}",
            f"see it with: reconcile plan {proposal.name}; decide with: reconcile approve {proposal.name}",
        ]
        assert sentences[1].startswith("that commit is by ")
        await here.order(DecidePlan("ann@desk", proposal.name, "reject", "keep them"))
        sentences = await store.read(lambda tx: list(reasons(tx, proposal.name)))
        assert sentences[2].startswith("it was rejected by ann@desk at ")
        assert sentences[2].endswith(": keep them")
        assert sentences[3].endswith(": reject by ann@desk, done: keep them")


@pytest.mark.parametrize("cut", [0, 1, 11])
async def test_the_beginning_of_a_name_approves_nothing(tmp_path: Path, cut: int) -> None:
    async with followed(tmp_path) as here:
        here.repository.pools("a", "b", "c", "d")
        await here.look()
        here.repository.pools("a")
        await here.look()
        (proposal,) = await here.controller.engine.store.read(following.proposals)
        for name in (f"plan-{proposal.digest[:cut]}", proposal.digest[:cut]):
            with pytest.raises(UsageMistake) as caught:
                await here.order(DecidePlan("ann@desk", name, "approve", ""))
            assert caught.value.message == f"no plan {name} waits"
        (still,) = await here.controller.engine.store.read(following.proposals)
        assert still.decision == ""
