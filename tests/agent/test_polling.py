"""A polling agent as a program: how it is enrolled, connects, comes back, and what it does not do."""

import asyncio
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from reconciler.agent import settings
from reconciler.execute.link import WorkerLink
from reconciler.execute.logs import LogStore
from reconciler.protocol import messages
from reconciler.protocol.session import Connected
from reconciler.protocol.tickets import Exited, Secrets, TicketId
from tests.agent.installation import Answering, Authority, Server, installed, thumbprint_of, until
from tests.agent.worker import News, specification

pytestmark = pytest.mark.end_to_end  # an agent is started in each, and often waited for


class Linked:
    """A worker that is reached over TLS, and what it reported."""

    def __init__(self, directory: Path, server: Server) -> None:
        self.news = News()
        self.logs = LogStore(directory / "logs")
        self.carrier = Answering(server)
        self.link = WorkerLink("web-01", self.carrier, self.logs, directory / "blobs", self.news, ping_interval=1.0)

    def begin(self, script: str) -> TicketId:
        offer = specification(script)
        self.link.offer(offer)
        self.link.start(offer.ticket, Secrets())
        return offer.ticket

    def text(self) -> str:
        return b"".join(record.data for _, record in self.logs.records(TicketId("t1"))).decode()


@asynccontextmanager
async def linked(directory: Path, server: Server) -> AsyncIterator[Linked]:
    linked = Linked(directory, server)
    task = asyncio.create_task(linked.link.run())
    try:
        yield linked
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_an_enrolled_agent_connects_with_its_identity_and_says_who_it_is(tmp_path: Path) -> None:
    async with installed(tmp_path) as (authority, server, agent):
        document = await agent.enrolled(server, authority)
        await agent.start()
        peer = await server.peer()
        hello = await peer.greet()
        assert f'thumbprints: ["{peer.thumbprint}"]' in document
        assert f"subscription: {hello.subscription}\n" in document
        assert hello.capabilities["isolation.none"] == ""
        assert hello.capabilities["bash"].startswith("5.")
        assert (await peer.hear(Connected)).reports == {}
        await agent.logged("connected server=127.0.0.1:")


async def test_a_server_with_another_key_is_told_nothing(tmp_path: Path) -> None:
    async with installed(tmp_path) as (authority, server, agent):
        await agent.enrolled(server, authority)
        port = server.port
        await server.close()
        stranger = authority.new_server("stranger")
        impostor = Server(authority, "stranger")
        await impostor.open(port)
        await agent.start()
        peer = await impostor.peer()
        assert await peer.rest() == b""
        await agent.logged(f"it is {thumbprint_of(stranger)}, trusted is {thumbprint_of(authority.server)}")
        await impostor.close()


async def test_an_agent_whose_certificate_the_server_does_not_know_says_so(tmp_path: Path) -> None:
    async with installed(tmp_path) as (authority, server, agent):
        await agent.enrolled(server, authority)
        other = Authority(tmp_path / "other")
        replaced = Server(other)
        port = server.port
        await server.close()
        await replaced.open(port)
        settings.keep_trust(str(agent.state), other.trust())
        await agent.start()
        await agent.logged("it may not know this agent's certificate")
        await replaced.close()


async def test_a_script_runs_on_while_the_connection_is_cut_and_its_log_is_whole(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with installed(tmp_path) as (authority, server, agent):
        await agent.enrolled(server, authority)
        await agent.start()
        async with linked(tmp_path, server) as worker:
            ticket = worker.begin(
                f"for i in $(seq 300); do echo line $i; done; until [ -e {gate} ]; do sleep 0.02; done; echo end"
            )
            await worker.news.until(lambda: "line 300\n" in worker.text())
            for sessions in (2, 3):
                worker.carrier.cut()
                await worker.news.until(lambda sessions=sessions: len(worker.news.sessions) == sessions)
            gate.touch()
            await worker.news.until(lambda: worker.news.finals[ticket])
            assert worker.news.finals[ticket][0].ending == Exited(0)
            assert worker.text() == "".join(f"line {i}\n" for i in range(1, 301)) + "end\n"
            epochs = [epoch for epoch, _ in worker.news.sessions]
            assert epochs == sorted(set(epochs))


async def test_what_ends_while_nobody_listens_is_told_in_the_next_session(tmp_path: Path) -> None:
    gate, done = tmp_path / "gate", tmp_path / "done"
    async with installed(tmp_path) as (authority, server, agent):
        await agent.enrolled(server, authority)
        await agent.start()
        async with linked(tmp_path, server) as worker:
            ticket = worker.begin(f"until [ -e {gate} ]; do sleep 0.02; done; echo alone; touch {done}; exit 4")
            await worker.news.until(lambda: "Running" in worker.news.states[ticket])
            port = server.port
            await server.close()
            worker.carrier.cut()
            gate.touch()
            await until(done.exists)
            await server.open(port)
            await worker.news.until(lambda: worker.news.finals[ticket])
            assert worker.news.finals[ticket][0].ending == Exited(4)
            assert worker.text() == "alone\n"


async def test_sigterm_ends_the_agent_with_a_goodbye_and_leaves_the_script(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with installed(tmp_path) as (authority, server, agent):
        await agent.enrolled(server, authority)
        await agent.start()
        async with linked(tmp_path, server) as worker:
            ticket = worker.begin(f"until [ -e {gate} ]; do sleep 0.02; done; exit 3")
            await worker.news.until(lambda: "Running" in worker.news.states[ticket])
            begun = time.monotonic()
            assert await agent.stop() == 0
            assert time.monotonic() - begun < 2
            await worker.news.until(lambda: worker.news.reasons)
            assert worker.news.reasons[0] == "the agent said goodbye: the agent is stopped"
            gate.touch()
            await agent.start()
            await worker.news.until(lambda: worker.news.finals[ticket])
            assert worker.news.finals[ticket][0].ending == Exited(3)


async def test_a_refusal_is_a_sentence_and_is_not_repeated_in_the_log(tmp_path: Path) -> None:
    async with installed(tmp_path) as (authority, server, agent):
        await agent.enrolled(server, authority)
        await agent.start()
        for _ in range(3):
            peer = await server.peer()
            await peer.hear(messages.Hello)
            peer.reject("undeclared", "no Worker bears this identity")
        await (await server.peer()).greet()
        await agent.logged("connected server")
        assert agent.log().count("disconnected") == 1
        assert "no Worker bears this identity; commit the Worker document" in agent.log()


async def test_an_agent_stays_away_as_long_as_the_server_asks_for(tmp_path: Path) -> None:
    async with installed(tmp_path) as (authority, server, agent):
        await agent.enrolled(server, authority)
        await agent.start()
        peer = await server.peer()
        await peer.hear(messages.Hello)
        peer.reject("busy", "come back later", retry_after=1.5)
        refused = time.monotonic()
        await server.peer()
        assert time.monotonic() - refused >= 1.4


async def test_the_next_server_is_called_where_one_does_not_answer(tmp_path: Path) -> None:
    async with installed(tmp_path) as (authority, server, agent):
        gone = Server(authority)
        await gone.open()
        await agent.enrolled(server, authority, "--server", gone.address)
        await gone.close()
        await agent.start()
        for _ in range(3):
            peer = await server.peer()
            await peer.greet()
            peer.close()


async def test_a_server_that_talks_nonsense_does_not_end_the_agent(tmp_path: Path) -> None:
    async with installed(tmp_path) as (authority, server, agent):
        await agent.enrolled(server, authority)
        await agent.start()
        peer = await server.peer()
        await peer.hear(messages.Hello)
        peer.writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await peer.rest()
        await agent.logged("warning disconnected")
        assert await agent.stop() == 0


async def test_a_silent_server_is_left_after_three_intervals(tmp_path: Path) -> None:
    async with installed(tmp_path) as (authority, server, agent):
        await agent.enrolled(server, authority)
        await agent.start()
        peer = await server.peer()
        await peer.greet()  # which says that a ping is due each second
        await (await server.peer()).greet()
        await agent.logged("the server was silent for 3 s")


async def test_the_watchdog_hears_the_loop_and_scripts_never_see_its_socket(tmp_path: Path) -> None:
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(10)
    async with installed(tmp_path) as (authority, server, agent):
        await agent.enrolled(server, authority)
        agent.environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"}
        await agent.start()
        heard: list[str] = []
        while heard.count("WATCHDOG=1") < 3:
            heard.append((await asyncio.to_thread(manager.recv, 4096)).decode())
        assert heard[0] == "READY=1"
        await agent.stop(signal.SIGINT)
    manager.close()
