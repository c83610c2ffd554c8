"""Programs that give secrets take their time, fail now and then, and hold up nobody but the step that waits for them."""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from reconciler.execute import grounds, searches
from reconciler.model.live import AttemptState, StepState, TaskId, TaskState
from reconciler.protocol.tickets import Running, TicketId, TicketReport
from reconciler.server.orders.decisions import Decision, carry_out_decision
from reconciler.store import attempts
from reconciler.store.writer import Store
from tests.execute.test_dispatch import PATIENCE
from tests.execute.test_leasing import Stage, engine, queue, state, step, worker

SECRET = {"env": {"PW": "${{ vars.PW }}"}}
BESIDE = {"start": "withPrevious"}
AWAITED = "it waits for the value of PW from the command sh"
FAILED = "the value of PW cannot be had from the command sh: it ended with exit code 3"


@dataclass(frozen=True, slots=True)
class Vault:
    """A program that gives a secret when the test lets it; it says in files as what it runs, and how often it ran."""

    folder: Path

    def variable(self, name: str = "PW", does: str = ":") -> dict[str, object]:
        script = f"cd {self.folder}; echo $$ >>{name}.asked; {does}; cat {name}.gate; echo hunter2-hunter2"
        os.mkfifo(self.folder / f"{name}.gate")
        return {"name": name, "type": "sensitive", "value": {"command": ["sh", "-c", script]}}

    def pids(self, name: str = "PW") -> list[int]:
        file = self.folder / f"{name}.asked"
        return [int(line) for line in file.read_text().split()] if file.exists() else []

    async def asked(self, times: int = 1, name: str = "PW") -> None:
        await until(lambda: len(self.pids(name)) == times)

    async def open(self, name: str = "PW") -> None:
        """Let the program that waits go on; it is there."""
        await asyncio.to_thread((self.folder / f"{name}.gate").write_text, "")

    async def gone(self, pid: int) -> None:
        await until(lambda: not Path(f"/proc/{pid}").exists())


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110 - a program wakes nobody
            await asyncio.sleep(0.01)


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(tmp_path)


def cancel(stage: Stage) -> None:
    stage.store.write_now(lambda tx: carry_out_decision(tx, Decision("cancel", "1", "ada")))
    stage.dispatcher.wake()


def numbers(store: Store) -> list[int]:
    return [one.number for one in store.read_now(lambda tx: attempts.attempts(tx, TaskId(1)))]


def secrets_of(stage: Stage, name: str) -> dict[str, str] | None:
    """Return what the order to start an attempt brings, None where there is none."""
    one = stage.live()[name]
    found = stage.dispatcher._grounds.links[one.worker]._desires[TicketId(one.ticket)].secrets
    return dict(found.environment) if found is not None else None


async def test_steps_beside_one_that_waits_for_its_secret_run_and_take_the_only_slot(
    tmp_path: Path, vault: Vault
) -> None:
    async with state(tmp_path) as store:
        worker(store, "w1", slots=1)
        queue(store, "a", step("one", **SECRET), step("two", **BESIDE), variables=[vault.variable()])
        async with engine(store, tmp_path) as stage:
            await stage.until_run("1:two")
            await stage.until_waits(1, "one", AWAITED)
            await vault.asked()
            stage.add("b", step("work"))
            await stage.end("1:two")
            await stage.until_run("2:work")
            await vault.open()
            await stage.until_waits(1, "one", "no worker of the pool default has room for it: w1 runs 1 of 1 attempts")
            await stage.end("2:work")
            await stage.until_run("1:one")
            assert secrets_of(stage, "1:one") == {"PW": "hunter2-hunter2"}


async def test_a_step_that_waits_for_several_secrets_names_the_first(tmp_path: Path, vault: Vault) -> None:
    async with state(tmp_path) as store:
        worker(store, "w1")
        both = {"env": {"A": "${{ vars.PW }}", "B": "${{ vars.KEY }}"}}
        queue(store, "a", step("one", **both), variables=[vault.variable(), vault.variable("KEY")])
        async with engine(store, tmp_path) as stage:
            await stage.until_waits(1, "one", f"{AWAITED.replace('PW', 'KEY')} (and 1 more)")
            await asyncio.gather(vault.open(), vault.open("KEY"))
            await stage.until_run("1:one")
            assert secrets_of(stage, "1:one") == {"A": "hunter2-hunter2", "B": "hunter2-hunter2"}


async def test_so_many_programs_are_asked_at_a_time_and_no_more(
    tmp_path: Path, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grounds, "SEARCHES_MAX", 1)
    async with state(tmp_path) as store:
        worker(store, "w1")
        second = step("two", env={"KEY": "${{ vars.KEY }}"}, **BESIDE)
        queue(store, "a", step("one", **SECRET), second, variables=[vault.variable(), vault.variable("KEY")])
        async with engine(store, tmp_path) as stage:
            await vault.asked()
            await stage.until_waits(1, "two", AWAITED.replace("PW", "KEY"))
            assert vault.pids("KEY") == []
            await vault.open()
            await stage.until_run("1:one")
            await vault.asked(name="KEY")
            await vault.open("KEY")
            await stage.until_run("1:one", "1:two")


async def test_a_cancelled_task_waits_for_no_program_which_is_killed(tmp_path: Path, vault: Vault) -> None:
    async with state(tmp_path) as store:
        worker(store, "w1")
        queue(store, "a", step("one", **SECRET), step("two", **BESIDE), variables=[vault.variable()])
        async with engine(store, tmp_path) as stage:
            await vault.asked()
            await stage.until_run("1:two")
            cancel(stage)
            await vault.gone(vault.pids()[0])
            await stage.until(lambda: stage.step(1, "one").state is StepState.CANCELLED)
            assert stage.state(1) is TaskState.CANCELLING
            await stage.end("1:two")
            await stage.until(lambda: stage.state(1) is TaskState.CANCELLED)


async def test_an_engine_that_ends_leaves_no_program_behind(tmp_path: Path, vault: Vault) -> None:
    async with state(tmp_path) as store:
        worker(store, "w1")
        queue(store, "a", step("one", **SECRET), variables=[vault.variable()])
        async with engine(store, tmp_path) as stage:
            await stage.until_waits(1, "one", AWAITED)
            await vault.asked()
        await vault.gone(vault.pids()[0])
        async with engine(store, tmp_path) as stage:
            await vault.asked(2)
            await vault.open()
            await stage.until_run("1:one")


FAILS_ONCE = "[ -e failed ] || { touch failed; exit 3; }"


async def test_a_secret_that_cannot_be_had_once_costs_an_attempt(tmp_path: Path, vault: Vault) -> None:
    async with state(tmp_path) as store:
        worker(store, "w1")
        retried = step("one", retry={"attempts": 3, "backoff": "1s"}, **SECRET)
        queue(store, "a", retried, variables=[vault.variable(does=FAILS_ONCE)])
        async with engine(store, tmp_path) as stage:
            await stage.until_waits(1, "one", f"attempt 1 of 3: {FAILED}; the next one in 1 s")
            assert stage.step(1, "one").state is StepState.WAITING
            await vault.asked(2)
            await vault.open()
            await stage.until_run("1:one")
            assert numbers(store) == [2]
            await stage.end("1:one", 1)
            await vault.asked(3)
            await vault.open()
            await stage.until_run("1:one")
            await stage.end("1:one", 1)
            await stage.until(lambda: stage.state(1) is TaskState.FAILED)
            assert stage.step(1, "one").reason == "exit code 1"
            assert numbers(store) == [2, 3]


async def test_a_secret_that_cannot_be_had_at_all_fails_its_step_after_as_many_attempts(
    tmp_path: Path, vault: Vault
) -> None:
    async with state(tmp_path) as store:
        worker(store, "w1")
        retried = step("one", retry={"attempts": 2, "backoff": "100ms"}, **SECRET)
        queue(store, "a", retried, step("undo", condition="failure"), variables=[vault.variable(does="exit 3")])
        async with engine(store, tmp_path) as stage:
            await stage.until_run("1:undo")
            assert (stage.step(1, "one").state, stage.step(1, "one").reason) == (StepState.FAILED, FAILED)
            assert len(vault.pids()) == 2


async def test_a_task_that_is_cancelled_between_two_such_attempts_ends(tmp_path: Path, vault: Vault) -> None:
    async with state(tmp_path) as store:
        worker(store, "w1")
        retried = step("one", retry={"attempts": 2, "backoff": "1h"}, **SECRET)
        queue(store, "a", retried, variables=[vault.variable(does="exit 3")])
        async with engine(store, tmp_path) as stage:
            await stage.until_waits(1, "one", f"attempt 1 of 2: {FAILED}; the next one in 3600 s")
            assert 3_590.0 < stage.dispatcher._runs[TaskId(1)]._patience() <= 3_600.0
            cancel(stage)
            await stage.until(lambda: stage.state(1) is TaskState.CANCELLED)
            assert stage.step(1, "one").reason == "the task was cancelled"


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ({"source": "vault", "key": "shop/db"}, "the source vault, key shop/db: no source of this name is configured"),
        ({"env": "SECRET_OF_NOBODY"}, "the environment variable SECRET_OF_NOBODY: it is not set"),
        (
            {"command": ["no-such-program"]},
            "the command no-such-program: it cannot be started (No such file or directory)",
        ),
    ],
)
async def test_a_mistake_is_not_tried_again(tmp_path: Path, source: dict[str, object], problem: str) -> None:
    async with state(tmp_path) as store:
        worker(store, "w1")
        retried = step("one", retry={"attempts": 3, "backoff": "1h"}, **SECRET)
        queue(store, "a", retried, variables=[{"name": "PW", "type": "sensitive", "value": source}])
        async with engine(store, tmp_path) as stage:
            await stage.until(lambda: stage.state(1) is TaskState.FAILED)
            assert stage.step(1, "one").reason == f"the value of PW cannot be had from {problem}"


async def test_a_secret_that_was_found_long_before_its_step_got_a_place_is_looked_for_again(
    tmp_path: Path, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with state(tmp_path) as store:
        worker(store, "w1", slots=1)
        queue(store, "a", step("other"))
        async with engine(store, tmp_path) as stage:
            await stage.until_run("1:other")
            queue(store, "b", step("one", **SECRET), step("two", **BESIDE), variables=[vault.variable()])
            stage.dispatcher.wake()
            await vault.asked()
            await vault.open()
            await stage.until_waits(2, "one", "no worker of the pool default has room for it: w1 runs 1 of 1 attempts")
            monkeypatch.setattr(searches, "FRESH", 0.0)
            await stage.end("1:other")
            await stage.until_waits(2, "one", AWAITED)
            await vault.asked(2)
            await stage.until_waits(2, "two", "no worker of the pool default has room for it: w1 runs 1 of 1 attempts")
            await vault.open()
            await stage.until_run("2:one")
            assert len(vault.pids()) == 2


def kept(store: Store, vault: Vault, *, fails: bool) -> None:
    """Queue a task whose step finds its secret too old when it is granted its place."""
    worker(store, "w1", slots=1)
    retried = step("one", retry={"attempts": 2, "backoff": "1h"}, **SECRET)
    does = "[ $(grep -c . PW.asked) = 1 ] || exit 3" if fails else ":"
    queue(store, "a", retried, variables=[vault.variable(does=does)])


@pytest.mark.parametrize("fails", [True, False])
async def test_the_place_that_is_kept_for_a_step_is_given_back_where_it_does_not_begin(
    tmp_path: Path, vault: Vault, monkeypatch: pytest.MonkeyPatch, *, fails: bool
) -> None:
    monkeypatch.setattr(searches, "FRESH", 0.0)
    async with state(tmp_path) as store:
        kept(store, vault, fails=fails)
        async with engine(store, tmp_path) as stage:
            await vault.asked()
            await vault.open()
            await vault.asked(2)
            if fails:
                await stage.until_waits(1, "one", f"attempt 1 of 2: {FAILED}; the next one in 3600 s")
            else:
                cancel(stage)
                await stage.until(lambda: stage.state(1) is TaskState.CANCELLED)
            stage.add("b", step("work"))
            await stage.until_run("2:work")


async def test_a_step_whose_kept_place_is_no_place_any_more_asks_anew(
    tmp_path: Path, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searches, "FRESH", 0.0)
    async with state(tmp_path) as store:
        kept(store, vault, fails=False)
        async with engine(store, tmp_path) as stage:
            await vault.asked()
            await vault.open()
            await vault.asked(2)
            monkeypatch.setattr(searches, "FRESH", 60.0)
            worker(store, "w1", slots=1, state="disabled")
            stage.dispatcher.wake()
            await vault.open()
            await stage.until_waits(1, "one", "no worker of the pool default can take it: w1 is disabled")
            worker(store, "w1", slots=1)
            stage.dispatcher.wake()
            await stage.until_run("1:one")
            assert len(vault.pids()) == 2


async def granted_and_not_sent(stage: Stage, vault: Vault) -> TicketReport:
    """Bring the first step to where it is offered to a worker, and return what that would report of it."""
    await vault.asked()
    await vault.open()
    await stage.until_run("1:one")
    one = stage.live()["1:one"]
    assert one.state is AttemptState.GRANTED
    return TicketReport(TicketId(one.ticket), Running())


async def test_an_engine_takes_up_its_tasks_before_a_program_gives_the_secret_of_what_it_offers_again(
    tmp_path: Path, vault: Vault
) -> None:
    async with state(tmp_path) as store:
        worker(store, "w1", slots=2)
        queue(store, "a", step("one", **SECRET), variables=[vault.variable()])
        async with engine(store, tmp_path) as stage:
            await granted_and_not_sent(stage, vault)
        async with engine(store, tmp_path) as stage:
            await vault.asked(2)
            stage.add("b", step("work"))
            await stage.until_run("1:one", "2:work")
            assert secrets_of(stage, "1:one") is None
            await vault.open()
            await until(lambda: secrets_of(stage, "1:one") == {"PW": "hunter2-hunter2"})


async def test_what_was_offered_again_and_turns_out_to_run_is_not_started(tmp_path: Path, vault: Vault) -> None:
    async with state(tmp_path) as store:
        worker(store, "w1")
        queue(store, "a", step("one", **SECRET), variables=[vault.variable()])
        async with engine(store, tmp_path) as stage:
            report = await granted_and_not_sent(stage, vault)
        async with engine(store, tmp_path, {"w1": [report]}) as stage:
            await vault.asked(2)
            await vault.open()
            await vault.gone(vault.pids()[1])
            assert secrets_of(stage, "1:one") is None
            await stage.end("1:one")
            await stage.until(lambda: stage.state(1) is TaskState.SUCCEEDED)


@pytest.mark.parametrize("ends", [True, False])
async def test_what_was_offered_again_waits_for_no_program_once_its_end_is_known_or_wanted(
    tmp_path: Path, vault: Vault, *, ends: bool
) -> None:
    async with state(tmp_path) as store:
        worker(store, "w1")
        queue(store, "a", step("one", **SECRET), variables=[vault.variable()])
        async with engine(store, tmp_path) as stage:
            await granted_and_not_sent(stage, vault)
        async with engine(store, tmp_path) as stage:
            await vault.asked(2)
            if ends:
                await stage.end("1:one")
            else:
                cancel(stage)
            await vault.gone(vault.pids()[1])
            if ends:
                await stage.until(lambda: stage.state(1) is TaskState.SUCCEEDED)


async def test_what_was_offered_again_and_gets_no_secret_is_withdrawn(tmp_path: Path, vault: Vault) -> None:
    async with state(tmp_path) as store:
        worker(store, "w1")
        fails = "[ $(grep -c . PW.asked) = 1 ] || exit 3"
        queue(store, "a", step("one", **SECRET), variables=[vault.variable(does=fails)])
        async with engine(store, tmp_path) as stage:
            await granted_and_not_sent(stage, vault)
        async with engine(store, tmp_path) as stage:
            await vault.asked(2)
            ticket = TicketId(stage.live()["1:one"].ticket)
            await until(lambda: stage.dispatcher._grounds.links["w1"]._desires[ticket].void)
            assert stage.dispatcher._runs[TaskId(1)]._again.take(ticket) == FAILED
