"""Troubles of an installation, drawn by chance: killed and halted processes, bad weather on the links, a person who cancels."""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from tests.chaos.fleet import Agent
from tests.chaos.processes import Process
from tests.chaos.rounds import Round
from tests.chaos.weather import Weather, any_sky

PAUSE_MAX = 0.7  # seconds between two troubles: a round without any takes some three
LASTS_MAX = 1.5  # seconds
LASTS_LONG = 17.0  # seconds: longer than the silence after which a session is over
LONG_ONE_IN = 20
DISK_LOST = 0.3  # of the machines that crash
TROUBLES_MAX = 7  # in one round

Victims = Callable[[Agent], list[Process]]


@dataclass(slots=True)
class Storm:
    """The troubles of one round; what does not heal by itself is made good when its time has come."""

    round: Round
    weather: Weather
    chance: Random
    _cures: list[tuple[float, Callable[[], object]]] = field(default_factory=list)
    _down: set[str] = field(default_factory=set)

    def rage(self) -> None:
        """Bring trouble until the task has ended or it is enough, and make everything good."""
        for _ in range(self.chance.randint(1, TROUBLES_MAX)):
            until = time.monotonic() + self.chance.uniform(0, PAUSE_MAX)
            while (left := until - time.monotonic()) > 0:
                self._heal()
                time.sleep(min(left, 0.05))
            task = self.round.task
            if task is not None and task.state.ended:
                break
            self.bring_one()
        while self._cures:
            self._heal()
            time.sleep(0.02)
        self.weather.clear()

    def _heal(self) -> None:
        now = time.monotonic()
        due = [cure for cure in self._cures if cure[0] <= now]
        self._cures = [cure for cure in self._cures if cure[0] > now]
        for _, cure in due:
            cure()

    def _later(self, cure: Callable[[], object]) -> None:
        is_long = self.chance.randrange(LONG_ONE_IN) == 0
        seconds = LASTS_LONG if is_long else self.chance.uniform(0, LASTS_MAX)
        self._cures.append((time.monotonic() + seconds, cure))

    def bring_one(self) -> None:
        """Draw one trouble and bring it; nothing where it cannot be brought at this moment."""
        kinds: list[tuple[int, Callable[[], str | None]]] = [
            (8, self._sky),
            (4, self._disconnect),
            (1, self._replay),
            (4, self._kill_server),
            (4, self._kill_agent),
            (2, lambda: self._kill("nursery killed", Agent.nursery)),
            (1, lambda: self._kill("shim killed", Agent.shims)),
            (1, lambda: self._kill("script killed", Agent.scripts)),
            (4, self._halt),
            (1, self._reboot),
            (1, self._cancel),
        ]
        weights = [weight for weight, _ in kinds]
        name = self.chance.choices([bring for _, bring in kinds], weights)[0]()
        if name is not None:
            self.round.troubles.append(name)

    def _agent(self) -> Agent:
        return self.chance.choice(list(self.round.fleet.agents.values()))

    # The network.

    def _sky(self) -> str:
        proxy = self.chance.choice(self.weather.proxies)
        name, sky = any_sky(self.chance)
        self.weather.do(lambda: proxy.change(sky))
        self._later(self.weather.clear)
        return name

    def _disconnect(self) -> str:
        proxy = self.chance.choice(self.weather.proxies)
        name, act = self.chance.choice([("connection reset", proxy.cut), ("connection closed", proxy.close)])
        self.weather.do(act)
        return name

    def _replay(self) -> str:
        self.weather.replay(self.chance.choice(self.weather.proxies))
        return "connection replayed"

    # Processes.

    def _kill_server(self) -> str | None:
        fleet = self.round.fleet
        if "server" in self._down:
            return None
        self._down.add("server")
        fleet.kill_server()
        self._later(lambda: (self._down.discard("server"), fleet.start_server()))
        return "server killed"

    def _kill_agent(self) -> str | None:
        agent = self._agent()
        if agent.name in self._down:
            return None
        agent.kill()
        self._start_later(agent)
        return "agent killed"

    def _start_later(self, agent: Agent) -> None:
        self._down.add(agent.name)
        self._later(lambda: (self._down.discard(agent.name), agent.start()))

    def _kill(self, name: str, victims: Victims) -> str | None:
        found = victims(self._agent())
        if not found:
            return None
        self.chance.choice(found).signal()
        return name

    def _halt(self) -> str | None:
        """Stop a process for a while, as a machine does that swaps or is moved."""
        agent, server = self._agent(), self.round.fleet.server
        kinds: dict[str, list[Process]] = {
            "server": [Process(server.pid, 0, "")] if server and "server" not in self._down else [],
            "agent": [Process(agent.process.pid, 0, "")] if agent.process and agent.name not in self._down else [],
            "nursery": agent.nursery(),
            "shim": agent.shims(),
            "script": agent.scripts(),
        }
        name = self.chance.choice(list(kinds))
        if not kinds[name]:
            return None
        victim = self.chance.choice(kinds[name])
        victim.signal(signal.SIGSTOP)
        self._later(lambda: victim.signal(signal.SIGCONT))
        return f"{name} halted"

    def _reboot(self) -> str | None:
        """End everything on one machine at once, sometimes with its disk."""
        agent = self._agent()
        if agent.name in self._down:
            return None
        loses_disk = self.chance.random() < DISK_LOST
        agent.crash(loses_disk=loses_disk)
        self._start_later(agent)
        return "disk lost" if loses_disk else "machine rebooted"

    # People.

    def _cancel(self) -> str | None:
        task, server = self.round.task, self.round.fleet.server
        if task is None or "server" in self._down or server is None:
            return None
        self.round.fleet.space.start("cancel", str(task.id)).process.wait()
        return "cancelled"
