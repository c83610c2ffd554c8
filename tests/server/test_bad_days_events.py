"""What no commit, no task and no person has done is in the audit, too: a source that cannot be read, drift that is reported."""

import shutil
from pathlib import Path

from reconciler.model.following import ConditionType
from reconciler.model.live import ActorKind, Event
from reconciler.model.spec import Address
from reconciler.store import audit, objects
from reconciler.store.database import Transaction
from tests.server.following import Followed, followed


async def told(here: Followed) -> list[Event]:
    """Return the events about the space itself."""
    return await here.controller.engine.store.read(lambda tx: audit.events(tx, subject="space"))


def behind_gits_back(tx: Transaction) -> None:
    objects.remove(tx, Address("WorkerPool", "a"))
    objects.next_serial(tx)


async def test_a_source_that_cannot_be_read_is_told_once_and_so_is_its_end(tmp_path: Path) -> None:
    async with followed(tmp_path) as here:
        commit = here.repository.pools("a")
        await here.look()
        assert await told(here) == []
        (tmp_path / "repository").rename(tmp_path / "elsewhere")
        await here.look()
        sentence = (await here.condition(ConditionType.READY)).message
        (tmp_path / "repository").mkdir()
        here.repository.git("init", "--quiet", "--initial-branch=main")
        await here.look()  # it fails in another way: there is no branch
        assert (await here.condition(ConditionType.READY)).message != sentence
        (began,) = await told(here)
        assert (began.action, began.outcome, began.detail, began.revision) == ("look", "unreadable", sentence, commit)
        assert began.kind == ActorKind.CONTROLLER
        shutil.rmtree(tmp_path / "repository")
        (tmp_path / "elsewhere").rename(tmp_path / "repository")
        await here.look()
        assert [(event.outcome, event.detail) for event in (await told(here))[1:]] == [
            ("done", "the source can be read again")
        ]


async def test_a_source_that_still_cannot_be_read_after_a_restart_is_not_told_again(tmp_path: Path) -> None:
    for _ in range(2):  # nothing was committed yet, so that there is no branch
        async with followed(tmp_path) as here:
            await here.look()
            assert [event.outcome for event in await told(here)] == ["unreadable"]


async def test_drift_that_is_only_reported_is_told_with_the_sentence_of_the_condition(tmp_path: Path) -> None:
    async with followed(tmp_path) as here:
        commit = here.repository.pools("a", "b", spec="{drift: report}")
        await here.look()
        await here.controller.engine.store.write(behind_gits_back)
        for _ in range(2):
            await here.look()
        sentence = (await here.condition(ConditionType.STALLED)).message
        (event,) = await told(here)
        assert (event.action, event.outcome, event.detail, event.revision) == ("reconcile", "drifted", sentence, commit)
