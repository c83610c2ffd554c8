"""Scripts that are not to run without the server: who ends them, when, and what is told when it is back."""

# ruff: noqa: ASYNC110 - the tests look at files and processes of others, which tell nobody

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from reconciler.agent.directory import ShimClaim, TicketDirectory
from reconciler.agent.silence import Silence, now
from reconciler.execute.link import WorkerLink
from reconciler.execute.logs import LogStore
from reconciler.protocol.journal import Kind
from reconciler.protocol.tickets import CutOff, Exited, Secrets, TicketId
from tests.agent.installation import Agent, Answering, Server, installed
from tests.agent.test_ticket_life import until_written
from tests.agent.worker import PATIENCE, News, running, specification

pytestmark = pytest.mark.end_to_end  # an agent is started in most, and waited for

SILENCE = 3.0  # seconds; the server is asked each half of one
KILLED = (
    "the server was not heard; the script and its children are killed, so that nothing of it runs after "
    "3 s of silence\n"
)
WITNESS = """
witness=$PWD/witness
trap 'echo told' TERM
(setsid sh -c 'trap "" TERM; while :; do date +%s.%N > '$witness'.child; sleep 0.05; done') &
while :; do date +%s.%N > $witness.script || true; sleep 0.05 || true; done
"""


def test_silence_is_counted_from_what_was_last_answered() -> None:
    silence = Silence(now() - 100.0, 0.0)
    assert silence.grace() is None, "it does not matter to this script"
    silence.bound(600.0)
    assert silence.grace() is None
    silence.bound(104.0)
    left = silence.grace()
    assert left is not None
    assert 3.0 < left <= 4.0, "it is told before the time is over"
    silence.hear(now() - 50.0, 5.0)
    assert silence.grace() is None
    silence.hear(now() - 70.0, 5.0)
    assert silence.grace() is None, "an older word does not set it back"
    silence.bound(10.0)
    assert silence.seconds_max == 15.0, "never less than three intervals, after which either end hangs up"
    assert silence.grace() == 0.0
    silence.hear(now() + 1000.0, 5.0)
    silence.bound(8.0)
    assert silence.grace() is None
    silence.hear(now() - 1.0, 0.0)
    assert silence.seconds_max == 8.0


class Linked:
    """A polling worker, the link to it, which can be cut and set up again, and what it reported."""

    def __init__(self, directory: Path, server: Server) -> None:
        self.directory = directory
        self.server = server
        self.news = News()
        self.logs = LogStore(directory / "logs")
        self.carrier = Answering(server)
        self.link = WorkerLink("web-01", self.carrier, self.logs, directory / "blobs", self.news, ping_interval=0.5)

    def begin(self, script: str, **spec: object) -> TicketId:
        offer = specification(script, **spec)
        self.link.offer(offer)
        self.link.start(offer.ticket, Secrets())
        return offer.ticket

    @property
    def work(self) -> Path:
        return self.directory / "agent" / "tickets" / "t1" / "work"

    def said(self, kind: Kind) -> str:
        records = self.logs.records(TicketId("t1"))
        return b"".join(record.data for _, record in records if record.kind is kind).decode()


@asynccontextmanager
async def cut_off(linked: Linked) -> AsyncIterator[None]:
    """Let no byte through to the agent while the block lasts, as behind a server that was killed."""
    port = linked.server.port
    await linked.server.close()
    linked.carrier.cut()
    try:
        yield
    finally:
        await linked.server.open(port)


@asynccontextmanager
async def linked(directory: Path, server: Server) -> AsyncIterator[Linked]:
    found = Linked(directory, server)
    task = asyncio.create_task(found.link.run())
    try:
        yield found
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def a_witness(directory: Path, silence_max: float | None) -> AsyncIterator[tuple[Linked, Agent, TicketId]]:
    """Run the witness on an enrolled agent."""
    async with installed(directory) as (authority, server, agent):
        await agent.enrolled(server, authority)
        await agent.start()
        async with linked(directory, server) as worker:
            ticket = worker.begin(WITNESS, silence_max=silence_max)
            await until_written(worker.work / "witness.script")
            await until_written(worker.work / "witness.child")
            try:
                yield worker, agent, ticket
            finally:
                await until_ended(worker, ticket)


async def until_ended(worker: Linked, ticket: TicketId) -> None:
    worker.link.cancel(ticket, 0.0)
    await worker.news.until(lambda: worker.news.finals[ticket])


def shim_of(worker: Linked, ticket: TicketId) -> int:
    directory = TicketDirectory(str(worker.directory / "agent" / "tickets"), ticket)
    try:
        claim = directory.claim()
        assert isinstance(claim, ShimClaim)
        return claim.pid
    finally:
        directory.close()


async def until_stopped(work: Path) -> float:
    """Wait until nobody writes any more, and return when the last one did, in seconds since the epoch."""
    files = [work / "witness.script", work / "witness.child"]
    last = 0.0
    async with asyncio.timeout(PATIENCE):
        while time.time() < last + 1.0 or not last:
            with suppress(FileNotFoundError):  # the ticket has ended, and its directory is gone
                last = max(file.stat().st_mtime for file in files)
            await asyncio.sleep(0.01)
    return last


async def test_what_is_cut_off_is_stopped_in_time_and_told_when_the_server_is_back(tmp_path: Path) -> None:
    async with a_witness(tmp_path, SILENCE) as (worker, _, ticket):
        async with cut_off(worker):
            cut_at = time.time()
            stopped_at = await until_stopped(worker.work)
            assert cut_at + SILENCE / 3 < stopped_at < cut_at + SILENCE + 0.5
        await worker.news.until(lambda: worker.news.finals[ticket])
        assert worker.news.finals[ticket][0].ending == CutOff()
        assert worker.said(Kind.SYSTEM) == KILLED
        assert "told" in worker.said(Kind.STDOUT)


async def test_the_script_is_stopped_though_its_agent_is_dead(tmp_path: Path) -> None:
    async with a_witness(tmp_path, SILENCE) as (worker, agent, ticket):
        async with cut_off(worker):
            cut_at = time.time()
            await agent.stop(signal.SIGKILL)
            stopped_at = await until_stopped(worker.work)
            assert cut_at + SILENCE / 3 < stopped_at < cut_at + SILENCE + 0.5
        await agent.start()
        await worker.news.until(lambda: worker.news.finals[ticket])
        assert worker.news.finals[ticket][0].ending == CutOff()
        assert worker.said(Kind.SYSTEM) == KILLED


async def test_the_script_is_stopped_though_its_agent_hangs(tmp_path: Path) -> None:
    async with a_witness(tmp_path, SILENCE) as (worker, agent, ticket):
        assert agent.process is not None
        agent.process.send_signal(signal.SIGSTOP)
        held_at = time.time()
        stopped_at = await until_stopped(worker.work)
        assert stopped_at < held_at + SILENCE + 0.5
        agent.process.send_signal(signal.SIGCONT)
        await worker.news.until(lambda: worker.news.finals[ticket])
        assert worker.news.finals[ticket][0].ending == CutOff()


async def test_the_next_agent_speaks_for_the_server_again(tmp_path: Path) -> None:
    async with a_witness(tmp_path, 8.0) as (worker, agent, ticket):
        sessions = len(worker.news.sessions)
        await agent.stop(signal.SIGKILL)
        await agent.start()
        await worker.news.until(lambda: len(worker.news.sessions) > sessions)
        began_at = time.time()
        async with asyncio.timeout(PATIENCE):
            while (worker.work / "witness.script").stat().st_mtime < began_at + 8.5:
                await asyncio.sleep(0.05)
        assert not worker.news.finals[ticket]


@pytest.mark.parametrize("silence_max", [None, 600.0])
async def test_what_may_go_on_goes_on(tmp_path: Path, silence_max: float | None) -> None:
    async with a_witness(tmp_path, silence_max) as (worker, agent, ticket):
        async with cut_off(worker):
            cut_at = time.time()
            await agent.stop(signal.SIGKILL)
            async with asyncio.timeout(PATIENCE):
                while (worker.work / "witness.child").stat().st_mtime < cut_at + SILENCE + 1.0:
                    await asyncio.sleep(0.05)
        await agent.start()
        sessions = len(worker.news.sessions)
        await worker.news.until(lambda: len(worker.news.sessions) > sessions)
        assert not worker.news.finals[ticket]
        assert worker.said(Kind.SYSTEM) == ""


async def test_a_server_that_is_heard_is_enough_however_long_it_lasts(tmp_path: Path) -> None:
    async with running(tmp_path, ping_interval=0.2) as worker:
        final = await worker.run("for i in $(seq 30); do sleep 0.1; done; exit 4", silence_max=1.0)
        assert final.ending == Exited(4)
        assert worker.text("t1", Kind.SYSTEM) == ""
