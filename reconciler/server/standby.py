"""A node of several: it stands by while another one leads, leads when nobody does, and stands by again when deposed."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from reconciler.model.errors import Deposed, ReconcilerError
from reconciler.server.controller.controller import Controller
from reconciler.server.engine.leading import Led, node_of, other_leader
from reconciler.server.state.place import Place
from reconciler.server.state.sealing import check_key
from reconciler.server.state.times import stamp
from reconciler.server.voice import Voice
from reconciler.store.dialects import is_address
from reconciler.store.keys import SEALS
from reconciler.store.leadership import Leader, Node
from reconciler.store.reader import look

LOOK_SECONDS = 1.0
"""Between two looks at who leads."""


@dataclass(slots=True)
class Post:
    """What a node does now; its files are locked by this process."""

    place: Place
    voice: Voice
    name: str
    leader: str = ""
    """Who leads where it stands by; "" while it leads or is about to."""
    controller: Controller | None = None
    """Its engine's, while it leads."""
    node: Node = field(init=False)

    def __post_init__(self) -> None:
        self.node = node_of(self.place.files, self.name)

    @property
    def role(self) -> str:
        """Say in a word what the node does."""
        return "leader" if self.controller is not None else "standby"

    async def hold(self, lead: Callable[[Node], Awaitable[None]]) -> None:
        """Run `lead` whenever nobody else leads, until cancelled; raises what it raises, and StateUnreadable at first.

        `lead` raises Led where another node was quicker, Deposed where one has taken over.
        """
        await asyncio.to_thread(self._check_key)
        while True:
            await self._until_free()
            self.leader = ""
            try:
                await lead(self.node)
            except Led as led:
                self._stand_by(led.leader)
            except Deposed as deposed:
                self.voice.warn("deposed", reason=deposed.message)
            finally:
                self.controller = None

    async def _until_free(self) -> None:
        while True:
            found: Leader | None
            try:
                found = await asyncio.to_thread(other_leader, self.place)
            except ReconcilerError as error:
                if not self.leader:
                    raise
                self.voice.warn("state is out of reach", reason=error.message)  # for the one that leads, too
                await asyncio.sleep(LOOK_SECONDS)
                continue
            if found is None:
                return
            self._stand_by(found)
            await asyncio.sleep(LOOK_SECONDS)

    def _stand_by(self, leader: Leader) -> None:
        if leader.node.name != self.leader:
            self.leader = leader.node.name
            self.voice.say("stands by", node=self.name, leader=self.leader, since=stamp(leader.since))

    def _check_key(self) -> None:
        """Raise StateUnreadable where this node could not read what the others have sealed."""
        if is_address(self.place.data):
            look(self.place.data, SEALS, lambda tx: check_key(tx, self.place.files))


async def first_of(*waits: Awaitable[object]) -> None:
    """Wait until one has ended, cancel the others and wait for them too; raises what the first one raised."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        ended = [task for task in tasks if task.done()]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in ended:
        task.result()
