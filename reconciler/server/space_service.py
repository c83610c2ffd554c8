"""One space of a server: its state, its source, its engine while this node leads, and the controller that it runs."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from watchfiles import DefaultFilter, awatch

from reconciler.model.errors import StateUnreadable, UsageMistake
from reconciler.model.spec import Address
from reconciler.server.binding import bound
from reconciler.server.configuration import Configuration
from reconciler.server.controller.controller import Controller
from reconciler.server.engine.engine import leading_engine
from reconciler.server.forge.herald import Herald
from reconciler.server.planning.machines import Alone, Claims, machines
from reconciler.server.sources.policy import Policy
from reconciler.server.sources.settings import SourceTable
from reconciler.server.sources.sources import Source
from reconciler.server.standby import Post, first_of
from reconciler.server.state.looking import looking
from reconciler.server.state.place import Place
from reconciler.server.voice import Voice
from reconciler.store import counters, objects
from reconciler.store.dialects import is_address
from reconciler.store.directory import EngineLock
from reconciler.store.leadership import Node

MACHINES_SECONDS = 2.0
"""Between two looks at the machines of a space that another node leads."""


@dataclass(frozen=True, slots=True)
class Followed:
    """What of a repository is followed, how, and under which settings of the operator; `watched` is a tree on this disk."""

    source: Source
    policy: Policy
    settings: SourceTable | None = None
    watched: Path | None = None


@dataclass(slots=True)
class SpaceService:
    """One space that this process serves; `agents` is where its polling agents call."""

    place: Place
    followed: Followed
    configuration: Configuration
    voice: Voice
    agents: str | None
    node: str
    claims: Claims = field(default_factory=Alone)
    post: Post = field(init=False)
    _machines: Mapping[str, Address] = field(default_factory=dict)
    """What the workers and targets that are in the state are reached by, as far as that was read."""
    _serial: int = -1
    """Of the state that they were read of."""

    @property
    def machines(self) -> Mapping[str, Address]:
        """Return what the workers and targets that were carried out last are reached by."""
        controller = self.post.controller
        return controller.machines if controller is not None else self._machines

    @property
    def name(self) -> str:
        """Return the name of the space; "" before it is known."""
        if self.followed.settings is not None:
            return self.followed.settings.space
        return self.post.controller.space if self.post.controller is not None else ""

    def check(self) -> None:
        """Say now what cannot work later; raises ReconcilerError."""
        if self.agents is not None:
            bound(self.agents).close()  # nobody can call before this node leads

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """Own the files while the context stands; raises Conflict where another engine does."""
        self.place.files.create()
        with EngineLock.take(self.place.files):
            self.post = Post(self.place, self.voice, self.node)
            await asyncio.to_thread(self._read_machines)
            yield

    async def hold(self) -> None:
        """Lead whenever nobody else does, until cancelled; the files are locked already."""
        waits = [self.post.hold(self._lead)]
        if is_address(self.place.data):
            waits.append(self._know_machines())
        await first_of(*waits)

    async def _lead(self, node: Node) -> None:
        """Run the engine until cancelled; raises Led, Deposed, UsageMistake, and what the engine fails with."""
        async with leading_engine(self.place, node) as engine:
            agents = bound(self.agents) if self.agents is not None else None
            rules = self.configuration.secrets.rules()
            async with engine.running(self.voice, self.configuration, agents=agents, secret_rules=rules) as running:
                followed = self.followed
                herald = self._herald()
                live = await engine.store.read(objects.all_objects)
                controller = Controller(
                    *(
                        engine,
                        running,
                        followed.source,
                        self.voice,
                        followed.policy,
                        self.claims,
                        herald,
                    ),
                    machines=dict(machines(live)),
                )
                running.carry(controller.run())
                if herald is not None:
                    running.carry(herald.run())
                if followed.watched is not None:
                    running.carry(_watch(followed.watched, self.place.files.root, controller))
                self.post.controller = controller
                self.voice.say(
                    "serving",
                    source=followed.source.url,
                    ref=followed.source.ref,
                    node=node.name,
                    agents=self.agents or "",
                )
                try:
                    await running.failure()
                except Exception as error:
                    self.voice.warn("failed", reason=str(error))  # the others are stopped before it is raised on
                    raise
                finally:
                    running.dispatcher.stop_starting()
                    self.voice.say("stopping")

    async def _know_machines(self) -> None:
        """Keep up with what another node carries out, until cancelled: the spaces that lead here may not claim it."""
        while True:
            await asyncio.sleep(MACHINES_SECONDS)
            await asyncio.to_thread(self.learn_machines)

    def learn_machines(self) -> None:
        """Read what another node has carried out; what this one has, it knows."""
        if self.post.controller is None:
            self._read_machines()

    def _read_machines(self) -> None:
        """Read what workers and targets are reached by; a state that is broken or out of reach changes nothing."""
        try:
            with looking(self.place) as state:
                serial = state.read_now(lambda tx: counters.last_number(tx, "serial"))
                if serial != self._serial:
                    self._machines, self._serial = dict(machines(state.read_now(objects.all_objects))), serial
        except (UsageMistake, StateUnreadable):  # the engine tells more of it
            return

    def _herald(self) -> Herald | None:
        """Return who tells the forge that the configuration names, if any; raises UsageMistake."""
        settings = self.followed.settings
        if settings is None or settings.forge is None:
            return None
        named = settings.forge
        try:
            forge = named.forge()
        except OSError as error:
            raise UsageMistake(f"{named.token_file}: {error.strerror}") from None
        return Herald(forge, self.voice, named.context or f"reconcile/{settings.space}", named.target_url)


async def _watch(root: Path, state: Path, controller: Controller) -> None:
    """Let the controller look whenever a file of a working tree has changed; what it writes itself is no change."""
    async for _ in awatch(root, watch_filter=declared_below(state)):
        controller.wake()


def declared_below(state: Path) -> DefaultFilter:
    """Return what tells changes of declarations from those that an engine makes in its state, which may lie beside them."""
    return DefaultFilter(ignore_paths=[state])
