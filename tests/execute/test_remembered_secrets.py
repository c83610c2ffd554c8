"""Secrets that steps were given stay masked in what later steps print, also when another engine begins these."""

from pathlib import Path

import pytest

from reconciler.execute.endings import NO_LOG
from reconciler.model.live import StepState, TaskState
from reconciler.protocol.tickets import Exited, Final, Output, TicketId
from reconciler.server.orders.decisions import Decision, carry_out_decision
from reconciler.store.writer import Store
from tests.execute.test_leasing import Stage, engine, queue, state, step, worker

SECRET = "hunter2-hunter2"
PW = {"name": "PW", "type": "sensitive", "value": {"env": "SECRET_OF_ONE"}}
ASK: dict[str, object] = {"name": "ask", "manual": {"instructions": "Go on?"}}


def queue_one_that_puts_it_out(store: Store) -> None:
    shows = {"env": {"URL": "${{ steps.one.output.url }}"}}
    given = {"env": {"PW": "${{ vars.PW }}"}}
    queue(store, "a", step("one", **given), ASK, step("three", **shows), variables=[PW])


async def ask(stage: Stage) -> None:
    """Let the first step put a secret out in a text that is not secret, and come to the question."""
    await stage.until_run("1:one")
    one = stage.live()["1:one"]
    outputs = (Output("url", f"db://u:{SECRET}@h"),)
    await stage.dispatcher.finished(one.worker, Final(TicketId(one.ticket), Exited(0), 0, NO_LOG, outputs))
    await stage.until(lambda: stage.state(1) is TaskState.AWAITING_INTERVENTION)


def approve(stage: Stage) -> None:
    stage.store.write_now(lambda tx: carry_out_decision(tx, Decision("approve", "1", "ada")))
    stage.dispatcher.wake()


def masks(stage: Stage, name: str) -> tuple[str, ...]:
    one = stage.live()[name]
    secrets = stage.dispatcher._grounds.links[one.worker]._desires[TicketId(one.ticket)].secrets
    assert secrets is not None
    return secrets.masks


@pytest.mark.parametrize("restarts", [False, True])
async def test_what_a_step_was_given_is_masked_in_later_ones_whichever_engine_begins_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, restarts: bool
) -> None:
    monkeypatch.setenv("SECRET_OF_ONE", SECRET)
    async with state(tmp_path) as store:
        worker(store, "w1")
        queue_one_that_puts_it_out(store)
        async with engine(store, tmp_path) as stage:
            await ask(stage)
            if not restarts:
                approve(stage)
                await stage.until_run("1:three")
                assert masks(stage, "1:three") == (SECRET,)
        if restarts:
            async with engine(store, tmp_path) as stage:
                approve(stage)
                await stage.until_run("1:three")
                assert masks(stage, "1:three") == (SECRET,)


async def test_a_step_fails_whose_output_could_show_a_secret_that_cannot_be_had_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_ONE", SECRET)
    async with state(tmp_path) as store:
        worker(store, "w1")
        queue_one_that_puts_it_out(store)
        async with engine(store, tmp_path) as stage:
            await ask(stage)
        monkeypatch.delenv("SECRET_OF_ONE")
        async with engine(store, tmp_path) as stage:
            approve(stage)
            await stage.until(lambda: stage.state(1) is TaskState.FAILED)
            assert stage.step(1, "three").state is StepState.FAILED
            assert stage.step(1, "three").reason == (
                "the value of PW cannot be had from the environment variable SECRET_OF_ONE: it is not set;"
                ' "one" was given it, and what "three" prints is to be masked'
            )
