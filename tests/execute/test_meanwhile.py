"""What happens while a step is prepared: its task is cancelled, its worker leaves, and nothing starts that should not."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from reconciler.execute.leasing import Leasing
from reconciler.model.live import StepState, TaskId, TaskState
from reconciler.model.spec import Address
from reconciler.protocol.tickets import TicketId
from reconciler.schedule.fleet import Fleet, Member, Pool
from reconciler.schedule.requests import Claim, Grant, Needs, Request, RequestId
from reconciler.server.orders.decisions import Decision, carry_out_decision
from reconciler.store import attempts, objects
from reconciler.store.writer import Store
from tests.execute.test_dispatch import PATIENCE
from tests.execute.test_leasing import Stage, declare, engine, queue, state, step, worker

EAST = {"location": {"runOn": "workerPool", "pool": "east"}}
SECRET = {"env": {"PW": "${{ vars.PW }}"}}


@dataclass(frozen=True, slots=True)
class Vault:
    """A program that gives a secret when the test wants it to; after `free` answers."""

    folder: Path
    free: int = 0

    @property
    def variable(self) -> dict[str, object]:
        given = "".join(f"[ -e free{number} ] || {{ touch free{number}; exit; }}; " for number in range(self.free))
        waits = "touch asked; while [ ! -e open ]; do sleep 0.02; done"
        script = f"cd {self.folder}; echo hunter2-hunter2; {given}{waits}"
        return {"name": "PW", "type": "sensitive", "value": {"command": ["sh", "-c", script]}}

    async def asked(self) -> None:
        async with asyncio.timeout(PATIENCE):
            while not (self.folder / "asked").exists():  # noqa: ASYNC110 - a file wakes nobody
                await asyncio.sleep(0.01)

    def open(self) -> None:
        (self.folder / "open").touch()


def cancel(store: Store) -> None:
    store.write_now(lambda tx: carry_out_decision(tx, Decision("cancel", "1", "ada")))


def granted(store: Store) -> int:
    return len(store.read_now(lambda tx: attempts.attempts(tx, TaskId(1))))


@pytest.mark.parametrize("is_told", [True, False])
async def test_a_task_that_is_cancelled_while_a_secret_is_awaited_starts_nothing_more(
    tmp_path: Path, *, is_told: bool
) -> None:
    vault = Vault(tmp_path)
    async with state(tmp_path) as store:
        worker(store, "w1")
        queue(store, "a", step("one", **SECRET), step("two"), variables=[vault.variable])
        async with engine(store, tmp_path) as stage:
            await vault.asked()
            cancel(store)
            if is_told:
                stage.dispatcher.wake()
            vault.open()
            await stage.until(lambda: stage.state(1) is TaskState.CANCELLED)
            assert [run.state for run in stage.steps(1)] == [StepState.CANCELLED, StepState.CANCELLED]
            assert granted(store) == 0


async def test_a_task_that_is_cancelled_while_a_retry_is_prepared_ends(tmp_path: Path) -> None:
    vault = Vault(tmp_path, free=1)
    async with state(tmp_path) as store:
        worker(store, "w1")
        retried = step("one", retry={"attempts": 2, "backoff": "1s"}, **SECRET)
        queue(store, "a", retried, variables=[vault.variable])
        async with engine(store, tmp_path) as stage:
            await stage.until_run("1:one")
            await stage.end("1:one", 1)
            await vault.asked()
            cancel(store)
            stage.dispatcher.wake()
            vault.open()
            await stage.until(lambda: stage.state(1) is TaskState.CANCELLED)
            assert stage.step(1, "one").reason == "the task was cancelled"
            assert granted(store) == 1


async def test_an_engine_that_stops_while_a_secret_is_awaited_starts_nothing_more(tmp_path: Path) -> None:
    vault = Vault(tmp_path)
    async with state(tmp_path) as store:
        worker(store, "w1")
        queue(store, "a", step("one", **SECRET), variables=[vault.variable])
        async with engine(store, tmp_path) as stage:
            await vault.asked()
            stage.dispatcher.stop_starting()
            vault.open()
            run = stage.dispatcher._runs[TaskId(1)]
            async with asyncio.timeout(PATIENCE):
                while not run._rests:  # noqa: ASYNC110 - who rests tells nobody
                    await asyncio.sleep(0.01)
            assert granted(store) == 0
            assert run._patience() > 0.0
        async with engine(store, tmp_path) as stage:
            await stage.until_run("1:one")


def remove(stage: Stage) -> None:
    stage.store.write_now(lambda tx: objects.remove(tx, Address("Worker", "w1")))


def disable(stage: Stage) -> None:
    worker(stage.store, "w1", state="disabled")


def move(stage: Stage) -> None:
    worker(stage.store, "w1", pool="east")


@pytest.mark.parametrize("change", [remove, disable, move])
async def test_a_step_whose_worker_can_take_it_no_more_when_its_secret_is_there_goes_to_another(
    tmp_path: Path, change: Callable[[Stage], None]
) -> None:
    vault = Vault(tmp_path)
    async with state(tmp_path) as store:
        declare(store, "WorkerPool", "east")
        worker(store, "w1")
        worker(store, "w2")
        queue(store, "a", step("one", **SECRET), variables=[vault.variable])
        async with engine(store, tmp_path) as stage:
            await vault.asked()
            change(stage)
            stage.dispatcher.wake()
            vault.open()
            assert await stage.until_run("1:one") == {"1:one": "w2"}


async def test_a_step_whose_only_worker_leaves_while_its_secret_is_awaited_does_not_run_on_the_server(
    tmp_path: Path,
) -> None:
    vault = Vault(tmp_path)
    async with state(tmp_path) as store:
        declare(store, "WorkerPool", "east")
        worker(store, "w1", pool="east")
        queue(store, "a", step("one", **SECRET, **EAST), variables=[vault.variable])
        async with engine(store, tmp_path) as stage:
            await vault.asked()
            remove(stage)
            stage.dispatcher.wake()
            vault.open()
            await stage.until(lambda: stage.state(1) is TaskState.FAILED)
            assert stage.step(1, "one").reason == "the pool east has no workers"
            assert granted(store) == 0


async def test_what_was_granted_before_its_worker_left_and_taken_after_does_not_run_on_the_server(
    tmp_path: Path,
) -> None:
    async with state(tmp_path) as store:
        declare(store, "WorkerPool", "east")
        worker(store, "w1", pool="east", slots=1)
        async with engine(store, tmp_path) as stage:
            for number, project in ((1, "a"), (2, "b")):
                stage.add(project, step("one", **EAST))
                await stage.until(lambda number=number: bool(stage.steps(number) and stage.steps(number)[0].reason))
            await stage.until_run("1:one")
            remove(stage)
            stage.dispatcher._grounds.fleet.changed()  # it is read when the second step asks, and not before
            await stage.end("1:one")
            await stage.until(lambda: stage.state(2) is TaskState.FAILED)
            assert stage.step(2, "one").reason == "the pool east has no workers"


def fleet(*names: str) -> Fleet:
    workers = {name: Member(name, ("p",), "polling", expected=True, slots=1) for name in names}
    return Fleet({"p": Pool("p", workers=names)}, workers)


def test_what_was_granted_and_not_taken_is_given_back_when_its_worker_has_left() -> None:
    leasing, wake = Leasing(), asyncio.Event()
    leasing.follow(fleet("w1"))
    first, second = (
        Request(RequestId(f"task/{number}/work#1"), "p", 1.0, number, Needs(pool="p"), (Claim("pool/p"),))
        for number in (1, 2)
    )
    running = leasing.place(first, wake)
    assert isinstance(running, Grant)
    leasing.bind(running, TicketId("1"))
    assert not isinstance(leasing.place(second, wake), Grant)
    leasing.release(TicketId("1"))
    assert wake.is_set()
    leasing.follow(fleet("w2"))
    found = leasing.place(second, wake)
    assert isinstance(found, Grant)
    assert found.machine == "w2"


async def test_a_worker_without_a_link_is_new_or_has_left_and_both_are_told_apart(tmp_path: Path) -> None:
    async with state(tmp_path) as store:
        declare(store, "WorkerPool", "east")
        worker(store, "w1", pool="east")
        async with engine(store, tmp_path) as stage:
            link = stage.dispatcher._grounds.links.pop("w1")
            stage.add("a", step("one", **EAST))
            await stage.until_waits(1, "one", "w1 was registered just now and is not linked yet")
            remove(stage)
            queue(store, "b", step("one", **EAST))
            stage.dispatcher._wake.set()  # the fleet that it knows is the one of before
            await stage.until(lambda: stage.state(2) is TaskState.FAILED)
            assert stage.step(2, "one").reason == "the pool east has no workers"
            stage.dispatcher._grounds.links["w1"] = link
