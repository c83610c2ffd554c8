"""What bounds attempts, through the engine and its store: locks, slots, leases, places of tasks; over restarts, too."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pytest

from reconciler.execute import dispatch
from reconciler.execute.dispatch import Dispatcher
from reconciler.execute.endings import NO_LOG
from reconciler.execute.grounds import Grounds
from reconciler.execute.link import WorkerLink
from reconciler.execute.logs import LogStore
from reconciler.execute.polling import PollingCarrier
from reconciler.model.live import Attempt, AttemptState, LiveObject, Slot, StepRun, StepState, TaskId, TaskState
from reconciler.model.pinned import Pinned
from reconciler.model.spec import Address, Position
from reconciler.protocol.messages import Hello
from reconciler.protocol.session import Connected
from reconciler.protocol.tickets import Exited, Final, Offered, Running, TicketId, TicketReport
from reconciler.schedule.explain import LOST
from reconciler.schedule.progress import NOBODY_FOR
from reconciler.schedule.requests import Claim
from reconciler.server.orders.decisions import Decision, carry_out_decision
from reconciler.store import attempts, claims, objects, tasks, worker_leases
from reconciler.store.keys import sealer
from reconciler.store.writer import Store
from tests.execute.test_dispatch import PATIENCE, Moves

BODY = {"script": {"syntax": "sh", "body": "true"}}


def step(name: str, **fields: object) -> dict[str, object]:
    return {"name": name, **BODY, **fields}


def queue(
    store: Store,
    project: str,
    *process: dict[str, object],
    environment: str = "production",
    variables: Sequence[dict[str, object]] = (),
) -> None:
    deployment = {"project": project, "release": "1", "environment": environment}
    pinned = {"space": "s", "deploymentName": project, "deployment": deployment, "project": {"process": process}}
    if variables:
        pinned["project"] = {"process": process, "variables": variables}
    content = Pinned.model_validate_json(json.dumps(pinned)).canonical()
    store.write_now(
        lambda tx: tasks.queue(
            tx,
            deployment=project,
            slot=Slot(project, environment),
            release="1",
            digest="d",
            pin=tasks.pin(tx, content),
            revision="r",
            at=time.time(),
        )
    )


def declare(store: Store, kind: str, name: str, **spec: object) -> None:
    found = LiveObject(Address(kind, name), json.dumps(spec), "{}", "digest", Position("space.yaml", 1), "revision")
    store.write_now(lambda tx: objects.put(tx, found))


def worker(store: Store, name: str, *, pool: str = "default", **more: object) -> None:
    endpoint = {"polling": {"subscription": f"poll://{name}", "thumbprints": ["SHA256:x"]}}
    declare(store, "Worker", name, endpoint=endpoint, pools=[pool], **more)


@dataclass
class Stage:
    """An engine whose workers are the test."""

    store: Store
    dispatcher: Dispatcher
    moves: Moves

    def live(self) -> dict[str, Attempt]:
        """Return the attempts that have not ended, as `task:step`."""
        found = {}
        for task in self.store.read_now(tasks.unfinished):
            keys = [run.key for run in self.steps(task.id)]
            for one in self.store.read_now(lambda tx, task=task: attempts.attempts(tx, task.id)):
                if one.state in {AttemptState.GRANTED, AttemptState.RUNNING}:
                    found[f"{task.id}:{keys[one.step]}"] = one
        return found

    def steps(self, task: int) -> list[StepRun]:
        return self.store.read_now(lambda tx: tasks.steps(tx, TaskId(task)))

    def step(self, task: int, key: str) -> StepRun:
        return next(run for run in self.steps(task) if run.key == key)

    def state(self, task: int) -> TaskState:
        return self.store.read_now(lambda tx: tasks.task(tx, TaskId(task))).state

    def reason(self, task: int) -> str:
        return self.store.read_now(lambda tx: tasks.task(tx, TaskId(task))).reason

    async def until_run(self, *names: str) -> dict[str, str]:
        """Wait until exactly these are live and handed out; return their workers."""

        def holds() -> bool:
            live = self.live()
            return live.keys() == set(names) and all(
                self.dispatcher.owns(one.worker, TicketId(one.ticket)) for one in live.values()
            )

        await self.until(holds)
        return {name: one.worker for name, one in self.live().items()}

    def add(self, project: str, *process: dict[str, object]) -> None:
        """Queue a task while the engine runs: of tasks that begin together nobody says whose step asks first."""
        queue(self.store, project, *process)
        self.dispatcher.wake()

    async def end(self, name: str, code: int = 0) -> None:
        one = self.live()[name]
        await self.dispatcher.finished(one.worker, Final(TicketId(one.ticket), Exited(code), 0, NO_LOG))

    async def until_waits(self, task: int, key: str, reason: str) -> None:
        await self.until(lambda: any(run.key == key and run.reason == reason for run in self.steps(task)))

    async def until(self, holds) -> None:
        async with asyncio.timeout(PATIENCE):
            while not holds():
                await self.moves.next.wait()
                self.moves.next.clear()


@asynccontextmanager
async def engine(
    store: Store, folder: Path, reports: Mapping[str, list[TicketReport]] = MappingProxyType({})
) -> AsyncIterator[Stage]:
    """Run an engine on a state; all workers that it declares connect."""
    key = store.write_now(lambda tx: sealer(tx, folder / "key", given=False))
    moves = Moves()
    grounds = Grounds(store, LogStore(folder / "logs"), folder / "blobs", folder, key, moves)
    dispatcher = Dispatcher(grounds)
    names = list(store.read_now(lambda tx: objects.of_kind(tx, "Worker")))
    for name in names:
        grounds.links[name] = WorkerLink(name, PollingCarrier(), grounds.logs, folder / "blobs", dispatcher)
        grounds.links[name].silent_since = None
    await dispatcher.resume()
    for name in names:
        found = {report.ticket: report for report in reports.get(name, [])}
        await dispatcher.connected(name, Connected(Hello((1,), "store", "boot", 1, 0), 1, found), "10.0.0.5")
    running = asyncio.create_task(dispatcher.run())
    try:
        yield Stage(store, dispatcher, moves)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@asynccontextmanager
async def state(folder: Path) -> AsyncIterator[Store]:
    with Store.open(str(folder), folder) as store:
        yield store
        assert store.read_now(claims.mismatches) == [], "what is counted is what is claimed"


async def test_a_mutex_serialises_steps_of_different_tasks_and_holds_up_nobody_else(tmp_path: Path) -> None:
    async with state(tmp_path) as store:
        worker(store, "w1")
        queue(store, "shop", step("migrate", mutex={"name": "shop-db"}))
        async with engine(store, tmp_path) as stage:
            await stage.until_run("1:migrate")
            stage.add("till", step("migrate", mutex={"name": "shop-db"}))
            await stage.until_waits(2, "migrate", "the mutex shop-db is held by migrate of task 1")
            stage.add("web", step("report"))
            await stage.until_waits(2, "migrate", "the mutex shop-db is held by migrate of task 1")
            await stage.until_run("1:migrate", "3:report")
            assert store.read_now(lambda tx: claims.token(tx, stage.live()["1:migrate"].ticket, "mutex/shop-db")) == 1
            await stage.end("1:migrate")
            await stage.until_run("2:migrate", "3:report")
            spec = json.loads(stage.live()["2:migrate"].spec)
            assert spec["lease_tokens"] == {"mutex/shop-db": 2, "pool/default": 3, "worker/w1": 3}
            for name in ("2:migrate", "3:report"):
                await stage.end(name)
            await stage.until(lambda: not store.read_now(tasks.unfinished))
        assert store.read_now(claims.held) == {}
        assert store.read_now(worker_leases.leases) == []


async def test_the_name_of_a_mutex_is_rendered_and_its_scope_is_kept(tmp_path: Path) -> None:
    async with state(tmp_path) as store:
        declare(store, "WorkerPool", "east")
        for name, pool in (("w1", "default"), ("w2", "default"), ("e1", "east")):
            worker(store, name, pool=pool)
        east = {"location": {"runOn": "workerPool", "pool": "east"}}
        here = {"mutex": {"name": "disk", "scope": "machine"}}
        pool = {"mutex": {"name": "${{ environment }}", "scope": "pool"}}
        queue(store, "a", step("one", **here))
        queue(store, "b", step("two", **here))
        queue(store, "d", step("three", **pool))
        queue(store, "e", step("four", **pool, **east))
        async with engine(store, tmp_path) as stage:
            where = await stage.until_run("1:one", "2:two", "3:three", "4:four")
            holder = "one of task 1" if where["1:one"] == "w1" else "two of task 2"
            stage.add("c", step("five", **here))
            assert {where["1:one"], where["2:two"]} == {"w1", "w2"}
            await stage.until_waits(
                5,
                "five",
                f"no worker of the pool default has room for it: w1 has the mutex disk held by {holder} (and 1 more)",
            )
            held = {claim.resource for found in store.read_now(claims.held).values() for claim in found if claim.alone}
            assert {name for name in held if not name.startswith("tag/")} == {
                *("mutex/disk on w1", "mutex/disk on w2"),
                *("mutex/production of default", "mutex/production of east"),
            }


async def test_a_mutex_without_a_name_fails_its_step(tmp_path: Path) -> None:
    async with state(tmp_path) as store:
        worker(store, "w1")
        queue(store, "shop", step("migrate", mutex={"name": "${{ '' }}"}))
        async with engine(store, tmp_path) as stage:
            await stage.until(lambda: stage.state(1) is TaskState.FAILED)
            assert stage.step(1, "migrate").reason == "the name of its mutex is empty or holds what cannot be printed"


async def test_an_exclusive_script_runs_alone_and_is_not_overtaken(tmp_path: Path) -> None:
    async with state(tmp_path) as store:
        worker(store, "w1")
        queue(store, "a", step("work"))
        queue(store, "b", step("work"))
        async with engine(store, tmp_path) as stage:
            await stage.until_run("1:work", "2:work")
            stage.add("c", step("work", isolation="exclusive"))
            none = "no worker of the pool default has room for it: w1"
            await stage.until_waits(3, "work", f"{none} runs 2 attempts, and it would run alone")
            for number, project in ((4, "d"), (5, "e")):
                stage.add(project, step("work"))
                await stage.until_waits(number, "work", f"{none} is kept for one before it that would run alone")
            await stage.end("1:work")
            await stage.end("2:work")
            await stage.until_run("3:work")
            await stage.end("3:work")
            await stage.until_run("4:work", "5:work")


async def test_steps_of_a_task_stay_on_their_worker_and_tasks_take_the_one_with_the_fewest_leases(
    tmp_path: Path,
) -> None:
    async with state(tmp_path) as store:
        for name in ("w1", "w2"):
            worker(store, name)
        queue(store, "a", step("one"), step("two"))
        async with engine(store, tmp_path) as stage:
            await stage.until_run("1:one")
            stage.add("b", step("one"), step("two"))
            first = await stage.until_run("1:one", "2:one")
            assert set(first.values()) == {"w1", "w2"}
            assert stage.live()["2:one"].decision == (
                "it names no pool, so the default pool default is used; w2 has 0 leases, the fewest of 2 that have room;"
                " w1 has 1 lease"
            )
            await stage.end("1:one")
            await stage.end("2:one")
            second = await stage.until_run("1:two", "2:two")
            assert (second["1:two"], second["2:two"]) == (first["1:one"], first["2:one"])
            assert stage.step(1, "two").reason == (
                f"it names no pool, so the default pool default is used; task 1 leases {first['1:one']} already"
            )


async def test_lease_cap_spreads_the_steps_of_a_task(tmp_path: Path) -> None:
    async with state(tmp_path) as store:
        for name in ("w1", "w2", "w3"):
            worker(store, name)
        worker(store, "w4", state="disabled")
        capped = {"location": {"leaseCap": 2}, "start": "withPrevious"}
        queue(store, "a", *(step(name, **capped) for name in ("one", "two", "three", "four", "five")))
        async with engine(store, tmp_path) as stage:
            where = await stage.until_run(*(f"1:{name}" for name in ("one", "two", "three", "four", "five")))
            assert sorted(where.values()) == ["w1", "w1", "w2", "w2", "w3"]
            last = next(one for one in stage.live().values() if one.worker == "w3")
            assert last.decision.endswith(
                "w3 has 0 leases, the fewest of 3 that have room; w1 has 1 lease, w2 has 1 lease, w4 is disabled"
            )


async def test_a_pool_bounds_its_attempts(tmp_path: Path) -> None:
    async with state(tmp_path) as store:
        declare(store, "WorkerPool", "default", default=True, maxConcurrentAttempts=1)
        worker(store, "w1")
        worker(store, "w2")
        queue(store, "a", step("work"))
        async with engine(store, tmp_path) as stage:
            await stage.until_run("1:work")
            stage.add("b", step("work"))
            await stage.until_waits(2, "work", "the pool default runs as many attempts as it may, 1")
            await stage.until_run("1:work")
            await stage.end("1:work")
            await stage.until_run("2:work")


async def test_who_waits_for_busy_workers_waits_without_end_and_who_waits_for_nobody_fails(tmp_path: Path) -> None:
    async with state(tmp_path) as store:
        declare(store, "WorkerPool", "east")
        worker(store, "w1", slots=1)
        worker(store, "e1", pool="east", state="disabled")
        queue(store, "a", step("work"))
        async with engine(store, tmp_path) as stage:
            await stage.until_run("1:work")
            stage.add("b", step("work"))
            stage.add("c", step("work", location={"runOn": "workerPool", "pool": "east"}))
            nobody = "no worker of the pool east can take it: e1 is disabled"
            await stage.until_waits(2, "work", "no worker of the pool default has room for it: w1 runs 1 of 1 attempts")
            await stage.until_waits(3, "work", nobody)
            for number in (2, 3):
                places = stage.dispatcher._runs[TaskId(number)]._places
                places._nobody_since = {index: since - NOBODY_FOR for index, since in places._nobody_since.items()}
            stage.dispatcher.wake()
            await stage.until(lambda: stage.state(3) is TaskState.FAILED)
            assert stage.step(3, "work").reason == f"nobody could run it for 120 s: {nobody}"
            await stage.end("1:work")
            await stage.until_run("2:work")


async def test_what_was_held_is_held_after_a_restart(tmp_path: Path) -> None:
    async with state(tmp_path) as store:
        worker(store, "w1")
        worker(store, "w2")
        lock = {"mutex": {"name": "db"}}
        queue(store, "a", step("work", **lock), step("next"))
        async with engine(store, tmp_path) as stage:
            await stage.until_run("1:work")
            stage.add("b", step("work", **lock))
            await stage.until_waits(2, "work", "the mutex db is held by work of task 1")
            one = stage.live()["1:work"]
        reports = {one.worker: [TicketReport(TicketId(one.ticket), Running())]}
        async with engine(store, tmp_path, reports) as stage:
            await stage.until_run("1:work")
            stage.add("c", step("work", **lock))
            await stage.until_waits(3, "work", "the mutex db is held by work of task 1")
            await stage.end("1:work")
            where = await stage.until_run("1:next", "2:work")
            assert where["1:next"] == one.worker


async def test_an_abandoned_attempt_keeps_its_mutex_until_its_end_is_known_over_a_restart(tmp_path: Path) -> None:
    async with state(tmp_path) as store:
        worker(store, "w1", slots=1)
        queue(store, "a", step("work", mutex={"name": "db"}))
        async with engine(store, tmp_path) as stage:
            await stage.until_run("1:work")
            one = stage.live()["1:work"]
            run = stage.dispatcher._runs[TaskId(1)]
            store.write_now(lambda tx: carry_out_decision(tx, Decision("cancel", "1", "ada")))
            stage.dispatcher.wake()
            await stage.until(lambda: stage.state(1) is TaskState.CANCELLING)
            run._cancelled_at = 0.0
            stage.dispatcher.wake()
            await stage.until(lambda: stage.state(1) is TaskState.ABANDONED)
        assert store.read_now(claims.held) == {one.ticket: [Claim("mutex/db", alone=True)]}
        queue(store, "b", step("work", mutex={"name": "db"}))
        queue(store, "c", step("work"))
        reports = {"w1": [TicketReport(TicketId(one.ticket), Running())]}
        async with engine(store, tmp_path, reports) as stage:
            await stage.until_waits(2, "work", f"the mutex db is held by work of task 1{LOST.format(task=1)}")
            await stage.until_run("3:work")
            await stage.end("3:work")
            await stage.dispatcher.finished("w1", Final(TicketId(one.ticket), Exited(0), 0, NO_LOG))
            await stage.until_run("2:work")


async def test_a_task_that_was_answered_takes_its_place_before_those_that_are_queued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "LOOK_AGAIN", 10 * PATIENCE)  # nobody is found by looking again after a while
    async with state(tmp_path) as store:
        worker(store, "w1")
        ask = {"name": "ask", "manual": {"instructions": "Go on?"}}
        queue(store, "p0", ask, step("work"))
        for number in range(1, 8):
            queue(store, f"p{number}", step("work"))
        async with engine(store, tmp_path) as stage:
            await stage.until_run(*(f"{number}:work" for number in range(2, 7)))
            await stage.until(lambda: stage.reason(7) == "5 tasks run already, as many as may")
            store.write_now(lambda tx: carry_out_decision(tx, Decision("approve", "1", "ada")))
            stage.dispatcher.wake()
            await stage.until(lambda: stage.state(1) is TaskState.RUNNING)
            await stage.end("2:work")
            await stage.until_run("1:work", *(f"{number}:work" for number in range(3, 7)))


async def test_an_offer_that_was_never_heard_of_is_made_again_under_what_it_holds(tmp_path: Path) -> None:
    async with state(tmp_path) as store:
        worker(store, "w1")
        queue(store, "a", step("work", isolation="exclusive"))
        async with engine(store, tmp_path) as stage:
            await stage.until_run("1:work")
            one = stage.live()["1:work"]
        reports = {"w1": [TicketReport(TicketId(one.ticket), Offered())]}
        async with engine(store, tmp_path, reports) as stage:
            await stage.until_run("1:work")
            stage.add("b", step("work"))
            await stage.until_waits(
                2, "work", "no worker of the pool default has room for it: w1 runs work of task 1 alone"
            )
            await stage.until_run("1:work")
            assert stage.live()["1:work"].ticket == one.ticket


async def test_what_is_not_free_in_the_state_is_asked_for_again_and_loses_no_end(tmp_path: Path) -> None:
    async with state(tmp_path) as store:
        worker(store, "w1")
        queue(store, "other", step("work"))
        queue(store, "a", step("one"), step("two", mutex={"name": "db"}))
        async with engine(store, tmp_path) as stage:
            await stage.until_run("1:work", "2:one")
            stranger = stage.live()["1:work"].ticket
            store.write_now(lambda tx: claims.claim(tx, stranger, [Claim("mutex/db", alone=True)], {}))
            await stage.end(
                "2:one"
            )  # recorded though the grant of the next step, which it shared a write with, was not
            assert stage.step(2, "one").state is StepState.SUCCEEDED
            store.write_now(lambda tx: claims.loosen(tx, stranger, "mutex/db"))
            await stage.until_run("1:work", "2:two")


async def test_a_task_that_was_cancelled_in_the_queue_is_granted_no_turn(tmp_path: Path) -> None:
    async with state(tmp_path) as store:
        worker(store, "w1")
        queue(store, "a", step("work"))
        async with engine(store, tmp_path) as stage:
            await stage.until_run("1:work")
            stage.add("a", step("work"))
            await stage.until(lambda: stage.reason(2) == "task 1 of a in production has not ended")
            stage.add("a", step("work"))
            store.write_now(lambda tx: carry_out_decision(tx, Decision("cancel", "2", "ada")))
            stage.dispatcher.wake()
            await stage.end("1:work")
            await stage.until_run("3:work")
            assert stage.state(2) is TaskState.CANCELLED


async def test_a_step_that_is_asked_for_again_and_waits_for_the_same_rests(tmp_path: Path) -> None:
    async with state(tmp_path) as store:
        worker(store, "w1", slots=1)
        queue(store, "a", step("work"))
        async with engine(store, tmp_path) as stage:
            await stage.until_run("1:work")
            stage.add("b", step("work"))
            await stage.until_waits(2, "work", "no worker of the pool default has room for it: w1 runs 1 of 1 attempts")
            run = stage.dispatcher._runs[TaskId(2)]
            run._due[0] = 0.0  # as after a grant that the state did not take
            assert not await run._move()
            assert run._patience() > 0.0
