"""`serve`: the engine kept running, with the branch that it follows, the agents' port, and health over HTTP."""

import asyncio
import signal
from dataclasses import dataclass

from reconciler.server.binding import bound
from reconciler.server.configuration import Configuration
from reconciler.server.engine import open_engine
from reconciler.server.following import Follower, checked_out
from reconciler.server.http import serve_http
from reconciler.server.place import Place
from reconciler.server.voice import Voice


@dataclass(frozen=True, slots=True)
class Service:
    """One server: where it works, what it may do, and where it listens."""

    place: Place
    configuration: Configuration
    voice: Voice
    agents: str | None
    http: str | None
    new_state: bool = False
    adopt: bool = False

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT; running scripts go on under their supervisors.

        Raises GitFailed where there is no commit to follow, UsageMistake where an address cannot be had, and what the
        engine fails with.
        """
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopping.set)
        checked_out(self.place.root)
        agents = bound(self.agents) if self.agents is not None else None
        http = bound(self.http) if self.http is not None else None
        async with (
            open_engine(self.place) as engine,
            engine.running(
                self.voice, self.configuration, agents=agents, secret_rules=self.configuration.secrets.rules()
            ) as running,
        ):
            follower = Follower(engine, running, self.voice, new_state=self.new_state, adopt=self.adopt)
            running.carry(follower.run())
            if http is not None:
                running.carry(serve_http(follower, http))
            self.voice.say("serving", space=str(self.place.root), agents=self.agents or "", http=self.http or "")
            waits = [asyncio.create_task(stopping.wait()), asyncio.create_task(running.failure())]
            done, others = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for other in others:
                other.cancel()
            for task in done:
                task.result()
            running.dispatcher.stop_starting()
            self.voice.say("stopping")
