"""The controller: what becomes of a commit, and what is said of it, in good weather and in bad."""

import asyncio
import random
import time
from dataclasses import replace
from pathlib import Path

import pytest
from watchfiles import Change

from reconciler.declare.mirror import Mirror, Remote
from reconciler.model.following import ConditionType, SourceState, Verdict
from reconciler.model.live import TaskState
from reconciler.model.text import Removals
from reconciler.server.controller import controller
from reconciler.server.orders.orders import DecidePlan, Resume, Suspend
from reconciler.server.planning.drifting import drift, load_applied
from reconciler.server.sources.policy import Policy
from reconciler.server.sources.sources import Fetched
from reconciler.server.space_service import declared_below
from reconciler.store import audit, following, objects, tasks
from tests.server.following import (
    PATIENCE,
    PROJECT,
    SPACE,
    Followed,
    followed,
    small_disk,
    until,
)


async def ready(here: Followed) -> None:
    """Look until the space is as declared."""
    async with asyncio.timeout(PATIENCE):
        while not (await here.condition(ConditionType.READY)).status:
            await here.controller.turn()
            await asyncio.sleep(0.02)


async def test_a_commit_becomes_reality(tmp_path: Path) -> None:
    async with followed(tmp_path) as here:
        commit = here.repository.pools("linux")
        await here.look()
        assert await here.pools() == {"linux"}
        condition = await here.condition(ConditionType.READY)
        assert (condition.status, condition.reason, condition.revision) == (True, "Applied", commit)
        assert condition.message == f"everything is as {commit[:12]} declares it"
        judged = await here.controller.engine.store.read(following.commits)
        assert [(each.revision, each.author, each.subject, each.verdict) for each in judged] == [
            (commit, "Ann <ann@example.com>", "Pools linux", Verdict.APPLIED)
        ]
        events = await here.controller.engine.store.read(audit.events)
        assert {event.actor for event in events if event.revision == commit} == {"Ann <ann@example.com>"}


async def test_a_deployment_runs_to_its_end_before_the_space_is_ready(tmp_path: Path) -> None:
    async with followed(tmp_path, Policy(new_state=True)) as here:
        here.repository.shop(PROJECT.format(body="sleep 0.3"))
        await here.look()
        assert (await here.condition(ConditionType.RECONCILING)).reason == "Deploying"
        assert not (await here.condition(ConditionType.READY)).status
        await ready(here)
        assert (await here.condition(ConditionType.RECONCILING)).message == "nothing is under way"


async def test_a_task_that_asks_a_person_is_under_way_and_said_to_wait(tmp_path: Path) -> None:
    async with followed(tmp_path, Policy(new_state=True)) as here:
        here.repository.shop(ASKING)
        await here.look()
        async with asyncio.timeout(PATIENCE):
            while (await here.condition(ConditionType.RECONCILING)).message != "1 task under way; 1 waits for a person":
                await here.controller.turn()
                await asyncio.sleep(0.02)
        whole = await here.condition(ConditionType.READY)
        assert (whole.status, whole.reason) == (False, "AwaitingAnswers")
        stalled = await here.condition(ConditionType.STALLED)
        assert (stalled.status, stalled.message) == (False, "only questions of tasks wait for a person")


async def test_a_deployment_that_fails_stalls_until_a_commit_mends_it(tmp_path: Path) -> None:
    async with followed(tmp_path, Policy(new_state=True)) as here:
        here.repository.shop(PROJECT.format(body="exit 3"))
        await here.look()
        async with asyncio.timeout(PATIENCE):
            while await here.reason() != "DeploymentFailed":
                await here.controller.turn()
                await asyncio.sleep(0.02)
        stalled = await here.condition(ConditionType.STALLED)
        assert stalled.status
        assert stalled.message == (
            'Deployment/shop-live failed at release 1 (task 1: "Work" failed: exit code 3); '
            "repeat it with: reconcile retry 1"
        )
        store, place = here.controller.engine.store, here.controller.engine.place
        live, source = await store.read(lambda tx: (objects.live_state(tx), following.source(tx)))
        differs = drift(place, load_applied(place, live, source), live, source)
        assert differs.failed == (stalled.message,)
        here.repository.shop(PROJECT.format(body="true"), "2")
        await here.look()
        await ready(here)


async def test_a_file_that_does_not_parse_changes_nothing(tmp_path: Path) -> None:
    async with followed(tmp_path) as here:
        here.repository.pools("linux", "windows")
        await here.look()
        here.repository.write("pool-linux.yaml", "kind: [\n")
        here.repository.git("rm", "--quiet", "--cached", "pool-windows.yaml")
        (here.repository.root / "pool-windows.yaml").unlink()
        here.repository.commit()
        await here.look()
        assert await here.pools() == {"linux", "windows"}
        condition = await here.condition(ConditionType.STALLED)
        assert condition.reason == "Invalid"
        assert condition.message.startswith("1 error in the declarations, the first at pool-linux.yaml:")
        mended = here.repository.pools("linux", "windows")
        await here.look()
        assert (await here.condition(ConditionType.READY)).revision == mended
        assert await here.reason() == "Applied"


async def test_a_file_that_was_cut_removes_nothing(tmp_path: Path) -> None:
    async with followed(tmp_path) as here:
        here.repository.pools("linux", "windows", "mac", "bsd")
        await here.look()
        here.repository.write("pool-linux.yaml", "apiVersion:\n")
        here.repository.commit()
        await here.look()
        assert await here.pools() == {"linux", "windows", "mac", "bsd"}
        condition = await here.condition(ConditionType.STALLED)
        assert condition.reason == "Invalid"
        assert condition.message == (
            "1 error in the declarations, the first at pool-linux.yaml:1: WorkerPool/linux was applied from this file, "
            "and no document of ours is left in it (bring it back, or delete the file)"
        )


async def test_removals_over_the_budget_wait_for_a_person(tmp_path: Path) -> None:
    async with followed(tmp_path) as here:
        here.repository.pools("a", "b", "c", "d")
        await here.look()
        commit = here.repository.pools("a")
        await here.look()
        assert await here.pools() == {"a", "b", "c", "d"}
        assert await here.reason() == "AwaitingApproval"
        (proposal,) = await here.controller.engine.store.read(following.proposals)
        assert (proposal.revision, proposal.summary) == (commit, "3 to remove")
        condition = await here.condition(ConditionType.STALLED)
        assert condition.message == (
            f"it takes more away than the space allows by itself; approve it with: reconcile approve {proposal.name}"
        )
        said = await here.order(DecidePlan("ann@desk", proposal.name, "approve", ""))
        assert said == f"approved {proposal.name} of {commit[:12]}: 3 to remove"
        await here.look()
        assert await here.pools() == {"a"}
        assert await here.reason() == "Applied"
        assert await here.controller.engine.store.read(following.proposals) == []


async def test_a_plan_that_was_rejected_is_refused_until_another_commit(tmp_path: Path) -> None:
    async with followed(tmp_path) as here:
        here.repository.pools("a", "b", "c", "d")
        await here.look()
        here.repository.pools("a")
        await here.look()
        (proposal,) = await here.controller.engine.store.read(following.proposals)
        await here.order(DecidePlan("ann@desk", proposal.name, "reject", "keep them"))
        await here.look()
        assert await here.pools() == {"a", "b", "c", "d"}
        condition = await here.condition(ConditionType.STALLED)
        assert (condition.reason, condition.message) == (
            "Refused",
            f"ann@desk rejected {proposal.name}: keep them",
        )
        here.repository.pools("a", "b", "c", "d", "e")
        await here.look()
        assert await here.reason() == "Applied"


async def test_a_plan_that_was_rejected_may_be_approved_after_all(tmp_path: Path) -> None:
    async with followed(tmp_path) as here:
        here.repository.pools("a", "b", "c", "d")
        await here.look()
        here.repository.pools("a")
        await here.look()
        (proposal,) = await here.controller.engine.store.read(following.proposals)
        await here.order(DecidePlan("ann@desk", proposal.name, "reject", "keep them"))
        here.repository.commit("Ask again")
        await here.look()
        assert await here.reason() == "Refused"
        await here.order(DecidePlan("ann@desk", proposal.name, "approve", "let them go"))
        await here.look()
        assert (await here.reason(), await here.pools()) == ("Applied", {"a"})


async def test_nobody_approves_beyond_the_ceiling_of_the_server(tmp_path: Path) -> None:
    async with followed(tmp_path, Policy(removals_max=Removals("2"))) as here:
        here.repository.pools("a", "b", "c", "d")
        await here.look()
        here.repository.pools("a")
        await here.look()
        assert await here.reason() == "Refused"
        assert await here.controller.engine.store.read(following.proposals) == []
        message = (await here.condition(ConditionType.STALLED)).message
        sentence = "this plan removes 3 of 4 WorkerPools and the server's removals_max 2 allows 2, whoever approves it"
        assert sentence in message
        assert "--max-removals" not in message


async def test_a_space_may_want_every_plan_approved(tmp_path: Path) -> None:
    async with followed(tmp_path) as here:
        here.repository.pools("a", spec="{approval: manual}")
        await here.look()
        assert await here.reason() == "AwaitingApproval"  # the first commit is judged by its own settings
        (proposal,) = await here.controller.engine.store.read(following.proposals)
        await here.order(DecidePlan("ann@desk", proposal.name, "approve", ""))
        await here.look()
        assert await here.pools() == {"a"}
        here.repository.pools("a", "b", spec="{approval: manual}")
        await here.look()
        (second,) = await here.controller.engine.store.read(following.proposals)
        assert second.summary == "1 to add"
        here.repository.pools(
            "a", "b", "c", spec="{approval: manual}"
        )  # a later commit takes the place of the plan that waits
        await here.look()
        (third,) = await here.controller.engine.store.read(following.proposals)
        assert third.summary == "2 to add"
        assert await here.pools() == {"a"}


async def test_a_history_that_was_rewritten_removes_nothing_until_told_so(tmp_path: Path) -> None:
    async with followed(tmp_path) as here:
        base = here.repository.pools("a", "b", "c", "d", "e")
        here.repository.pools("a", "b", "c", "d", "e", "f")
        await here.look()
        here.repository.git("reset", "--quiet", "--hard", base)
        await here.look()
        assert await here.pools() == {"a", "b", "c", "d", "e", "f"}
        assert await here.reason() == "AwaitingApproval"
        (proposal,) = await here.controller.engine.store.read(following.proposals)
        assert (await here.condition(ConditionType.STALLED)).message == (
            "the commit does not descend from the one carried out last, and the plan removes 1 object; "
            f"approve it with: reconcile approve {proposal.name}"
        )
        await here.order(DecidePlan("ann@desk", proposal.name, "approve", "it was a mistake"))
        await here.look()
        assert await here.pools() == {"a", "b", "c", "d", "e"}


async def test_a_rewritten_history_that_only_adds_is_carried_out(tmp_path: Path) -> None:
    async with followed(tmp_path) as here:
        base = here.repository.pools("a")
        here.repository.commit("Nothing")
        await here.look()
        here.repository.git("reset", "--quiet", "--hard", base)
        here.repository.pools("a", "b")
        await here.look()
        assert await here.pools() == {"a", "b"}


async def test_a_source_that_cannot_be_read_changes_nothing_and_is_said(tmp_path: Path) -> None:
    async with followed(tmp_path) as here:
        commit = here.repository.pools("a")
        await here.look()
        (tmp_path / "repository").rename(tmp_path / "elsewhere")
        await here.look()
        ready_now = await here.condition(ConditionType.READY)
        assert (ready_now.status, ready_now.reason) == (False, "SourceUnreadable")
        assert (await here.condition(ConditionType.RECONCILING)).status
        assert await here.pools() == {"a"}
        (tmp_path / "elsewhere").rename(tmp_path / "repository")
        await here.look()
        ready_again = await here.condition(ConditionType.READY)
        assert (ready_again.status, ready_again.revision) == (True, commit)


async def test_looks_that_find_nothing_new_are_recorded_each_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with followed(tmp_path) as here:

        async def looked() -> SourceState:
            await here.look()
            found = await here.controller.engine.store.read(following.source)
            assert found is not None
            return found

        here.repository.pools("a")
        first = await looked()
        assert await looked() == first
        monkeypatch.setattr(controller, "SEEN_EACH", 0.0)
        last = await looked()
        assert last.looked_at > first.looked_at
        assert replace(last, looked_at=first.looked_at) == first


async def test_a_mirror_that_breaks_is_fetched_anew(tmp_path: Path) -> None:
    async with followed(tmp_path) as here:
        here.repository.pools("a")
        await here.look()
        commit = here.repository.pools("a", "b")
        await asyncio.to_thread(here.controller.source.head)
        root = here.place.files.root / "mirror" / "trees.git"
        for pack in (root / "objects").rglob("*"):
            if pack.is_file():
                pack.unlink()
        await here.look()
        assert (await here.condition(ConditionType.READY)).revision == commit
        assert await here.pools() == {"a", "b"}


async def test_a_suspension_holds_commits_until_it_ends(tmp_path: Path) -> None:
    async with followed(tmp_path) as here:
        here.repository.pools("a")
        await here.look()
        await here.order(Suspend("ann@desk", "a freeze", 3600.0))
        here.repository.pools("a", "b")
        await here.look()
        assert await here.pools() == {"a"}
        condition = await here.condition(ConditionType.STALLED)
        assert condition.reason == "Suspended"
        assert condition.message.startswith("suspended by ann@desk until 2")
        assert condition.message.endswith("Z: a freeze; end it with: reconcile resume")
        assert await here.order(Resume("ann@desk")) == "resumed: the head is judged again"
        await here.look()
        assert await here.pools() == {"a", "b"}


async def test_a_suspension_ends_by_itself(tmp_path: Path) -> None:
    async with followed(tmp_path) as here:
        here.repository.pools("a")
        await here.order(Suspend("ann@desk", "a moment", 0.3))
        await here.look()
        assert await here.pools() == set()
        async with asyncio.timeout(PATIENCE):
            while await here.pools() != {"a"}:
                await here.controller.turn()
                await asyncio.sleep(0.05)


async def test_what_was_changed_behind_gits_back_is_put_right(tmp_path: Path) -> None:
    async with followed(tmp_path) as here:
        here.repository.pools("a", "b")
        await here.look()
        await here.controller.engine.store.write(_behind_gits_back)
        await here.look()
        assert await here.pools() == {"a", "b"}
        assert await here.reason() == "Applied"


async def test_drift_may_only_be_reported(tmp_path: Path) -> None:
    async with followed(tmp_path) as here:
        here.repository.pools("a", "b", spec="{drift: report}")
        await here.look()
        await here.controller.engine.store.write(_behind_gits_back)
        await here.look()
        assert await here.pools() == {"b"}
        condition = await here.condition(ConditionType.STALLED)
        assert (condition.reason, condition.message) == (
            "Drifted",
            "WorkerPool/a differs from what was applied last, and the space only reports that; see: reconcile drift",
        )
        here.repository.pools("a", "b", "c", spec="{drift: report}")
        await here.look()
        assert await here.pools() == {"a", "b", "c"}  # a new commit is carried out whole


async def test_drift_may_be_ignored(tmp_path: Path) -> None:
    async with followed(tmp_path) as here:
        here.repository.pools("a", "b", spec="{drift: ignore}")
        await here.look()
        await here.controller.engine.store.write(_behind_gits_back)
        await here.look()
        assert await here.pools() == {"b"}
        assert await here.reason() == "Applied"


def _behind_gits_back(tx) -> None:
    gone = next(address for address in objects.all_objects(tx) if address == ("WorkerPool", "a"))
    objects.remove(tx, gone)
    objects.next_serial(tx)


async def test_a_hundred_commits_end_on_the_last(tmp_path: Path) -> None:
    async with followed(tmp_path, Policy(poll=0.05)) as here:
        here.repository.pools("p0")
        following_it = asyncio.create_task(here.controller.run())
        last = ""
        for number in range(1, 100):
            here.repository.write("pool-p0.yaml", f"# {number}\n" + (here.repository.root / "pool-p0.yaml").read_text())
            last = await asyncio.to_thread(here.repository.commit, f"Number {number}")
        await until(lambda: here.controller.revision == last)
        following_it.cancel()
        judged = await here.controller.engine.store.read(following.commits)
        assert judged[0].revision == last
        assert judged[0].verdict.is_good


async def test_an_empty_state_asks_before_it_runs_what_never_ran(tmp_path: Path) -> None:
    async with followed(tmp_path) as here:
        here.repository.shop(PROJECT.format(body="true"))
        await here.look()
        (proposal,) = await here.controller.engine.store.read(following.proposals)
        assert (await here.condition(ConditionType.STALLED)).message == (
            "the live state is empty and 1 deployment would run for the first time; "
            f"approve it with: reconcile approve {proposal.name}"
        )
        await here.order(DecidePlan("ann@desk", proposal.name, "approve", ""))
        await here.look()
        await ready(here)
        assert len(await here.controller.engine.store.read(tasks.last_tasks)) == 1


async def test_another_space_on_the_same_state_is_refused(tmp_path: Path) -> None:
    async with followed(tmp_path) as here:
        here.repository.pools("a")
        await here.look()
        here.repository.write("reconcile.yaml", SPACE.format(spec="{}").replace("shop", "other"))
        here.repository.commit()
        await here.look()
        assert await here.pools() == {"a"}
        assert (await here.condition(ConditionType.READY)).message == (
            'the server follows it as the space "shop", and the commit declares "other" '
            "(give the space its name back, or follow it under another name)"
        )


async def test_the_state_may_move_to_another_address_of_the_same_history(tmp_path: Path) -> None:
    async with followed(tmp_path) as here:
        here.repository.pools("a")
        await here.look()
        here.repository.git("clone", "--quiet", "--bare", ".", str(tmp_path / "moved"))
        remote = Remote(f"file://{tmp_path}/moved", "refs/heads/main")
        here.controller.source = Fetched(Mirror(here.place.files.root / "mirror", remote), "shop", "", None, tmp_path)
        await here.look()
        assert await here.reason() == "Applied"


async def test_a_disk_that_is_full_while_fetching_changes_nothing(tmp_path: Path) -> None:
    async with followed(tmp_path) as here:
        commit = here.repository.pools("a")
        await here.look()
        mirror = here.place.files.root / "mirror"
        here.controller.source.mirror.drop()
        with small_disk(mirror, 1 << 20) as disk:
            for number in range(8):
                (here.repository.root / f"noise-{number}").write_bytes(random.Random(number).randbytes(500_000))
            commit = here.repository.pools("a", "b")
            await here.look()
            condition = await here.condition(ConditionType.READY)
            assert condition.reason == "SourceUnreadable"
            assert "No space left on device" in condition.message
            assert await here.pools() == {"a"}
            disk.grow(64 << 20)
            await here.look()
            assert (await here.condition(ConditionType.READY)).revision == commit
            assert await here.pools() == {"a", "b"}


async def test_calls_in_a_flood_are_one_look(tmp_path: Path) -> None:
    async with followed(tmp_path, Policy(poll=3600.0)) as here:
        here.repository.pools("a")
        looks = 0
        asked = Fetched.head

        def counted(source: Fetched) -> str:
            nonlocal looks
            looks += 1
            return asked(source)

        running = asyncio.create_task(here.controller.run())
        await until(lambda: here.controller.revision)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Fetched, "head", counted)
            for _ in range(1_000):
                here.controller.wake()
            commit = await asyncio.to_thread(here.repository.pools, "a", "b")
            here.controller.wake()
            await until(lambda: here.controller.revision == commit)
        running.cancel()
        assert 1 <= looks <= 3


async def test_a_clock_that_jumps_neither_ends_nor_lengthens_a_wait_for_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with followed(tmp_path, Policy(poll=3600.0)) as here:
        here.repository.pools("a")
        await here.look()
        now = time.time()
        for jump in (-86_400.0 * 365, 86_400.0 * 365):
            monkeypatch.setattr(time, "time", lambda jump=jump: now + jump)
            await here.controller.turn()
            assert await here.reason() == "Applied"
        here.repository.pools("a", "b")
        await here.look()
        assert await here.pools() == {"a", "b"}


ASKING = """\
apiVersion: reconciler/v1
kind: Project
metadata: {name: shop}
spec:
  process:
    - {name: Ask, manual: {instructions: "Go on?"}}
"""


async def test_a_fixing_commit_takes_the_place_of_one_that_waits_for_a_person(tmp_path: Path) -> None:
    async with followed(tmp_path, Policy(new_state=True)) as here:
        here.repository.shop(ASKING)
        await here.look()
        async with asyncio.timeout(PATIENCE):
            while (await here.task(1)).state is not TaskState.AWAITING_INTERVENTION:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.02)
        here.repository.shop(PROJECT.format(body="true"), "2")
        await here.look()
        await ready(here)
        assert [(await here.task(number)).state for number in (1, 2)] == [TaskState.CANCELLED, TaskState.SUCCEEDED]
        events = await here.controller.engine.store.read(audit.events)
        assert "superseded while it waited for a person: the deployment was edited" in {
            event.detail for event in events
        }


def test_what_the_engine_writes_itself_is_no_change_of_a_working_tree(tmp_path: Path) -> None:
    counts = declared_below(tmp_path / ".reconcile")
    assert counts(Change.modified, str(tmp_path / "pools" / "far.yaml"))
    for written in (".reconcile/state.db-wal", ".reconcile/logs/1-1-1.journal", ".git/index.lock"):
        assert not counts(Change.modified, str(tmp_path / written))
