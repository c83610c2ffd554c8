"""A task that was answered takes its place again: in its turn, at rest until then, over restarts too."""

from pathlib import Path

from reconciler.execute.records import task_facts
from reconciler.model.live import StepState, TaskId, TaskState
from reconciler.protocol.tickets import Running, TicketId, TicketReport
from reconciler.server.orders.decisions import Decision, carry_out_decision
from reconciler.store.writer import Store
from tests.execute.test_leasing import Stage, declare, engine, queue, state, step, worker

ASK: dict[str, object] = {"name": "ask", "manual": {"instructions": "Go on?"}}
FULL = "it was answered, and waits for its turn: one task runs already, as many as may"


def approve(stage: Stage, task: int) -> None:
    stage.store.write_now(lambda tx: carry_out_decision(tx, Decision("approve", str(task), "ada")))
    stage.dispatcher.wake()


async def answered_beside_another(stage: Stage, *process: dict[str, object]) -> None:
    """Bring task 1 to where it is answered and waits for its place, which task 2 has taken."""
    stage.add("a", ASK, *process)
    await stage.until(lambda: stage.state(1) is TaskState.AWAITING_INTERVENTION)
    stage.add("b", step("work"))
    await stage.until(lambda: "2:work" in stage.live())
    approve(stage, 1)


def one_at_a_time(store: Store) -> None:
    declare(store, "Space", "s", taskQuota=1)
    worker(store, "w1")


async def test_an_answered_task_rests_until_its_place_is_free_whatever_is_due(tmp_path: Path) -> None:
    async with state(tmp_path) as store:
        one_at_a_time(store)
        retried = step("work", start="withPrevious", retry={"attempts": 3, "backoff": "1s"})
        async with engine(store, tmp_path) as stage:
            stage.add("a", ASK, retried)
            await stage.until(lambda: "1:work" in stage.live())
            stage.add("b", step("work"))
            await stage.until_run("1:work", "2:work")
            approve(stage, 1)
            await stage.until(lambda: stage.reason(1) == FULL)
            assert stage.state(1) is TaskState.RUNNING
            await stage.end("1:work", 1)
            run = stage.dispatcher._runs[TaskId(1)]
            run._due[1] = 0.0
            assert not await run._move()
            assert run._patience() > 0.0
            await stage.end("2:work")
            await stage.until_run("1:work")
            assert stage.reason(1) == ""
            await stage.end("1:work")
            await stage.until(lambda: stage.state(1) is TaskState.SUCCEEDED)


async def test_who_was_answered_first_goes_on_first_however_often_it_looks(tmp_path: Path) -> None:
    async with state(tmp_path) as store:
        one_at_a_time(store)
        async with engine(store, tmp_path) as stage:
            for number, project in ((1, "a"), (2, "b")):
                stage.add(project, ASK, step("work"))
                await stage.until(lambda number=number: stage.state(number) is TaskState.AWAITING_INTERVENTION)
            stage.add("c", step("work"))
            await stage.until_run("3:work")
            approve(stage, 1)
            await stage.until(lambda: stage.reason(1) == FULL)
            approve(stage, 2)
            await stage.until(lambda: stage.state(2) is TaskState.RUNNING and bool(stage.reason(2)))
            assert not await stage.dispatcher._runs[TaskId(1)]._move()
            await stage.end("3:work")
            await stage.until_run("1:work")
            await stage.end("1:work")
            await stage.until_run("2:work")


async def test_an_answered_task_asks_for_its_place_again_after_a_restart(tmp_path: Path) -> None:
    async with state(tmp_path) as store:
        one_at_a_time(store)
        async with engine(store, tmp_path) as stage:
            await answered_beside_another(stage, step("work"))
            await stage.until(lambda: stage.reason(1) == FULL)
            other = stage.live()["2:work"]
        reports = {"w1": [TicketReport(TicketId(other.ticket), Running())]}
        async with engine(store, tmp_path, reports) as stage:
            stage.add("c", step("work"))
            await stage.until(lambda: stage.reason(3) != "")
            await stage.until_run("2:work")
            assert stage.reason(1) == FULL
            await stage.end("2:work")
            await stage.until_run("1:work")
            await stage.end("1:work")
            await stage.until_run("3:work")


async def test_an_answered_task_that_has_gone_on_keeps_its_place_over_a_restart(tmp_path: Path) -> None:
    async with state(tmp_path) as store:
        one_at_a_time(store)
        queue(store, "a", ASK, step("work"))
        async with engine(store, tmp_path) as stage:
            await stage.until(lambda: stage.state(1) is TaskState.AWAITING_INTERVENTION)
            approve(stage, 1)
            await stage.until_run("1:work")
            one = stage.live()["1:work"]
        reports = {"w1": [TicketReport(TicketId(one.ticket), Running())]}
        async with engine(store, tmp_path, reports) as stage:
            stage.add("b", step("work"))
            await stage.until(lambda: stage.reason(2) == "one task runs already, as many as may")
            await stage.until_run("1:work")


async def test_a_task_that_waits_for_its_place_can_be_cancelled(tmp_path: Path) -> None:
    async with state(tmp_path) as store:
        one_at_a_time(store)
        async with engine(store, tmp_path) as stage:
            await answered_beside_another(stage, step("work"))
            await stage.until(lambda: stage.reason(1) == FULL)
            stage.store.write_now(lambda tx: carry_out_decision(tx, Decision("cancel", "1", "ada")))
            stage.dispatcher.wake()
            await stage.until(lambda: stage.state(1) is TaskState.CANCELLED)
            assert stage.step(1, "work").state is StepState.CANCELLED
            stage.add("c", step("work"))
            await stage.end("2:work")
            await stage.until_run("3:work")


async def test_a_task_that_nobody_asked_never_waits_for_a_place_that_it_has(tmp_path: Path) -> None:
    async with state(tmp_path) as store:
        one_at_a_time(store)
        queue(store, "a", step("one"), step("two"))
        async with engine(store, tmp_path) as stage:
            await stage.until_run("1:one")
            await stage.end("1:one")
            await stage.until_run("1:two")
            sealer = stage.dispatcher._grounds.sealer
            assert store.read_now(task_facts(TaskId(1), sealer)).answered_at is None
