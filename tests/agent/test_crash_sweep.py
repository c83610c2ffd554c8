"""A crash sweep: agent, nursery and shims are killed at seeded moments, and the promises hold each time."""

import asyncio
import contextlib
import os
import random
import signal
from pathlib import Path

import pytest

from reconciler.agent.processes import descendants
from reconciler.protocol.tickets import Exited, Lost
from tests.agent.worker import Worker, running

pytestmark = pytest.mark.end_to_end  # real processes, and many of them

TICKETS = 12


@pytest.mark.parametrize("seed", range(4))
async def test_no_kill_of_agent_or_nursery_starts_a_script_twice_or_loses_its_exit(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    async with running(tmp_path) as worker:
        for number in range(TICKETS):
            ticket = worker.begin(script(tmp_path, number), ticket=f"t{number}")
            await asyncio.sleep(chance.uniform(0, 0.03))
            kill_one(chance.choice([[agent(worker)], supervisors(worker)]), chance)
            final = await worker.final(ticket)
            assert final.ending == Exited(number)
            assert worker.text(ticket) == f"line {number}\n"
            assert (tmp_path / f"witness{number}").read_text() == "started\n"


@pytest.mark.parametrize("seed", range(4))
async def test_a_killed_shim_never_leads_to_a_second_start_nor_to_a_wrong_exit(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    async with running(tmp_path) as worker:
        for number in range(TICKETS):
            ticket = worker.begin(script(tmp_path, number), ticket=f"t{number}")
            await asyncio.sleep(chance.uniform(0, 0.03))
            claim = worker.ticket_path(ticket) / "claim"
            with contextlib.suppress(FileNotFoundError):
                kill_one([int(os.readlink(claim).split('"pid":')[1].split(",")[0])], chance)
            final = await worker.final(ticket)
            witness = tmp_path / f"witness{number}"
            if witness.exists():
                assert witness.read_text() in {"", "started\n"}, "never twice; swept before it wrote, maybe"
            assert final.ending == Exited(number) or isinstance(final.ending, Lost)


def script(directory: Path, number: int) -> str:
    return f"echo started >> {directory}/witness{number}; echo line {number}; sleep 0.01; exit {number}"


def agent(worker: Worker) -> int | None:
    return worker.carrier.agent_pid


def supervisors(worker: Worker) -> list[int | None]:
    """Return the nursery: the agent's one child."""
    pid = agent(worker)
    below = descendants(pid) if pid is not None else set()
    return [process for process in below if parent(process) == pid]


def parent(pid: int) -> int | None:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return None


def kill_one(pids: list[int | None], chance: random.Random) -> None:
    alive = [pid for pid in pids if pid is not None]
    if alive:
        with contextlib.suppress(ProcessLookupError):
            os.kill(chance.choice(alive), signal.SIGKILL)
