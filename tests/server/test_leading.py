"""One node leads; its lead is lost when another takes it, and what ran beside it is settled without being started again."""

import asyncio
import json
from pathlib import Path

import pytest

from reconciler.model.errors import Deposed, UsageMistake
from reconciler.model.live import Attempt, AttemptState, Slot, StepRun, StepState, TaskState
from reconciler.schedule.fleet import BUILTIN
from reconciler.schedule.requests import Claim
from reconciler.server.engine.engine import Engine, open_engine
from reconciler.server.engine.leading import Lead, Led, checked_name, default_name, node_of
from reconciler.server.engine.settling import settle_in
from reconciler.server.state.place import place_of
from reconciler.store import attempts, audit, claims, leadership, tasks
from reconciler.store.database import Transaction
from reconciler.store.directory import DataDirectory
from reconciler.store.leadership import Node
from reconciler.store.writer import Store

OTHER = Node("omaha", "files of omaha")
STEP = {"name": "Work", "script": {"syntax": "sh", "body": "true"}}
LOCK = "mutex/db"


def live_step(engine: Engine, **fields: object) -> Attempt:
    """Let the one step of a task run on the built-in worker, with a lock that it holds alone."""
    project = {"process": [{**STEP, **fields}]}
    deployment = {"project": "shop", "environment": "test", "release": "1"}
    text = json.dumps({"space": "s", "deployment_name": "d", "deployment": deployment, "project": project, "root": "/"})

    def work(tx: Transaction) -> Attempt:
        slot, pin = Slot("shop", "test"), tasks.pin(tx, text)
        task = tasks.queue(tx, deployment="d", slot=slot, release="1", digest="d", pin=pin, revision="r", at=1.0)
        tasks.put_steps(tx, [StepRun(task.id, 0, "work", "Work")])
        tasks.set_state(tx, task.id, TaskState.RUNNING, "", 1.0)
        tasks.set_step(tx, task.id, 0, StepState.RUNNING, reason="", at=1.0)
        attempt = Attempt("t1", task.id, 0, 1, BUILTIN, 1, AttemptState.GRANTED, "{}")
        claims.claim(tx, "t1", [Claim(LOCK, alone=True), Claim("worker/built-in")], {})
        attempts.grant(tx, [(attempt, "")])
        leadership.set_built_in(tx, OTHER)
        return attempt

    return engine.store.write_now(work)


async def settled(folder: Path, **fields: object) -> tuple[StepRun, Attempt, dict[str, list[Claim]]]:
    async with open_engine(place_of(str(folder), None, None)) as engine:
        before = live_step(engine, **fields)
        await settle_in(engine)
        await settle_in(engine)  # once more, as after a kill
        engine.store.write_now(lambda tx: leadership.set_built_in(tx, Node("tulsa", "files of tulsa")))
        await settle_in(engine)  # after a third node: what was left is still that of the first
        store = engine.store
        assert store.read_now(leadership.left) == {"t1": OTHER.files}
        told = [event.subject for event in store.read_now(audit.events) if event.action == "lead"]
        assert told == [f"Node/{engine.lead.node.name}"] * 2
        found = store.read_now(lambda tx: attempts.attempt(tx, "t1"))
        assert found is not None
        return store.read_now(lambda tx: tasks.step(tx, before.task, 0)), found, store.read_now(claims.held)


async def test_what_runs_on_the_built_in_worker_of_another_node_is_lost_and_keeps_its_locks(tmp_path: Path) -> None:
    run, attempt, held = await settled(tmp_path)
    assert attempt.state is AttemptState.LOST
    assert run.state is StepState.LOST
    assert run.reason == (
        "it ran on the built-in worker of the node omaha, which leads no longer; whether the script runs or has done its "
        "work is unknown until that node leads again"
    )
    assert held == {"t1": [Claim(LOCK, alone=True)]}


async def test_it_is_tried_again_only_where_the_step_says_so(tmp_path: Path) -> None:
    run, attempt, _ = await settled(tmp_path, retry={"attempts": 2, "backoff": "1s", "onWorkerLost": True})
    assert attempt.state is AttemptState.LOST
    assert run.state is StepState.RUNNING
    assert run.reason.startswith("attempt 1 of 2: it ran on the built-in worker of the node omaha, ")


async def test_a_lead_that_another_took_is_lost_in_every_write_and_to_who_waits(tmp_path: Path) -> None:
    async with open_engine(place_of(str(tmp_path), None, None)) as engine:
        engine.store.guarded_by(lambda tx: None)
        engine.store.write_now(lambda tx: tx.execute("UPDATE leadership SET epoch = epoch + 1, node = 'omaha'"))
        engine.store.guarded_by(lambda tx: leadership.check(tx, 1))
        with pytest.raises(Deposed):
            await engine.store.write(lambda tx: None)
        async with asyncio.timeout(2 * leadership.RENEW_EACH + 5):
            with pytest.raises(Deposed, match="the node omaha has taken the lead"):
                await engine.lead.lost()


def test_a_store_that_writes_without_end_renews_its_lead_by_that(tmp_path: Path) -> None:
    with Store.open(str(tmp_path), tmp_path) as store, Lead.take(store, OTHER) as lead:
        store.write_now(lambda tx: tx.execute("UPDATE leadership SET until = 1"))
        assert store.read_now(lambda tx: leadership.leader(tx, 2.0)) is None
        lead._renewed -= leadership.RENEW_EACH
        store.write_now(lambda tx: None)
        assert store.read_now(lambda tx: leadership.leader(tx, 2.0)) is not None


async def test_an_engine_that_ends_gives_the_lead_back(tmp_path: Path) -> None:
    place = place_of(str(tmp_path), None, None)
    async with open_engine(place) as engine:
        epoch = engine.store.read_now(lambda tx: leadership.leader(tx, 0.0))
    with Store.open(place.data, tmp_path) as store:
        assert epoch is not None
        assert store.read_now(lambda tx: leadership.leader(tx, epoch.since)) is None


def test_who_leads_is_named_with_since_when(tmp_path: Path) -> None:
    with Store.open(str(tmp_path), tmp_path) as store, Lead.take(store, OTHER), pytest.raises(Led) as refused:
        Lead.take(store, Node("tulsa", "files of tulsa"))
    assert refused.value.message.startswith("the node omaha leads this state since 20")
    assert refused.value.hint == "run the command on that node; if it is dead, another may lead after 15 s"
    assert refused.value.exit_code == 3


def test_a_node_is_known_by_its_files(tmp_path: Path) -> None:
    one, two = DataDirectory(tmp_path / "one"), DataDirectory(tmp_path / "two")
    one.create()
    two.create()
    assert node_of(one, "a").files == node_of(one, "b").files != node_of(two, "a").files


def test_a_node_has_a_name_that_can_be_read(tmp_path: Path) -> None:
    assert checked_name("omaha-1.example.org:10943") == "omaha-1.example.org:10943"
    assert default_name("127.0.0.1:10943").endswith(":10943")
    with pytest.raises(UsageMistake) as refused:
        checked_name("two words")
    assert refused.value.message == '"two words" is no name of a node'
