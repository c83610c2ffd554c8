"""`serve`: the spaces of a server, each with its engine and controller, and one address where all answer over HTTP."""

import asyncio
import signal
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial

from reconciler.model.errors import UsageMistake
from reconciler.server.binding import bound
from reconciler.server.configuration import Configuration
from reconciler.server.planning.machines import Beside
from reconciler.server.sources.policy import Policy
from reconciler.server.sources.sources import CheckedOut, WorkingTree
from reconciler.server.space_service import Followed, SpaceService
from reconciler.server.standby import first_of
from reconciler.server.state.place import Place
from reconciler.server.voice import Voice
from reconciler.store.addresses import parted
from reconciler.store.dialects import is_address

NEVER = 1e9
"""Seconds between two looks at what says itself that it has changed."""

Pages = Callable[[Sequence[SpaceService], Configuration, socket.socket, Voice], Awaitable[None]]
"""Answers over HTTP on a bound socket, until cancelled; what goes wrong there is told."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line of `serve` says beside the configuration."""

    agents: str | None
    http: str | None
    node: str
    new_state: bool = False
    adopt: bool = False
    dev: bool = False


@dataclass(frozen=True, slots=True)
class Service:
    """A server: the spaces that it serves, and where it answers."""

    spaces: Sequence[SpaceService]
    http: str | None
    voice: Voice
    configuration: Configuration

    async def run(self, pages: Pages) -> None:
        """Serve until SIGTERM or SIGINT, `pages` over HTTP; running scripts go on under their supervisors.

        Raises ReconcilerError where there is nothing to follow, UsageMistake where an address cannot be had, Conflict
        where another engine works on these files, and what an engine fails with.
        """
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopping.set)
        async with AsyncExitStack() as stack:
            for space in self.spaces:
                await stack.enter_async_context(space.locked())
                stack.callback(space.followed.source.end)  # a fetch under way is not waited for
            for space in self.spaces:
                space.check()
            http = bound(self.http) if self.http is not None else None
            web = [pages(self.spaces, self.configuration, http, self.voice)] if http is not None else []
            await first_of(stopping.wait(), *(space.hold() for space in self.spaces), *web)


def service_of(place: Place, configuration: Configuration, voice: Voice, wishes: Wishes) -> Service:
    """Return the server that a configuration describes: its sources, or the repository of `place` where it names none.

    Raises UsageMistake where they make no sense together, GitFailed where there is no commit to follow.
    """
    if configuration.source and wishes.dev:
        raise UsageMistake("--dev watches the working tree of -C, and the configuration names sources")
    if configuration.source:
        spaces = _fetched(place, configuration, voice, wishes)
    else:
        spaces = [_here(place, configuration, voice, wishes)]
    for space in spaces:
        others = [other for other in spaces if other is not space]
        if others:
            space.claims = Beside(space, others, partial(_learn_machines, others) if is_address(place.data) else None)
    if wishes.http is not None:
        configuration.http.check(wishes.http)
    return Service(spaces, wishes.http, voice, configuration)


def _learn_machines(spaces: Sequence[SpaceService]) -> None:
    for space in spaces:
        space.learn_machines()


def _here(place: Place, configuration: Configuration, voice: Voice, wishes: Wishes) -> SpaceService:
    policy = Policy(new_state=wishes.new_state, adopt=wishes.adopt)
    if wishes.dev:
        followed = Followed(WorkingTree(place.root), replace(policy, poll=NEVER), watched=place.root)
    else:
        followed = Followed(CheckedOut(place.root), policy)
        followed.source.head()  # there is a commit to follow
    return SpaceService(place, followed, configuration, voice, wishes.agents, wishes.node)


def _fetched(place: Place, configuration: Configuration, voice: Voice, wishes: Wishes) -> list[SpaceService]:
    sources = configuration.source
    if is_address(place.data) and (named := parted(place.data).space):
        raise UsageMistake(
            f"--data names the state of the space {named}, and the configuration names sources",
            "name the database alone: each source has a state of its own in it",
        )
    if len(sources) > 1 and wishes.agents is not None:
        raise UsageMistake(
            "--agents is the address of one space, and the configuration names several",
            "give each [[source]] its own: agents = HOST:PORT",
        )
    spaces = []
    for settings in sources:
        here = place.of(settings.space)
        policy = settings.policy(new_state=wishes.new_state, adopt=wishes.adopt)
        followed = Followed(settings.source(here.root), policy, settings)
        voice_of = voice.about(space=settings.space)
        spaces.append(
            SpaceService(here, followed, configuration, voice_of, settings.agents or wishes.agents, wishes.node)
        )
    return spaces
