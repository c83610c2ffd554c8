"""The adversary: what may go wrong before each event, and two ways to look for schedules that break a guarantee."""

import random
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from shutil import rmtree

from tests.simulation.ticket_world import World
from tests.simulation.witness import Broken, Play

QUICK = Path("/dev/shm")
"""A file system in memory: the disks here are models, and need no real one."""

LONG = 100.0
"""Seconds of a cut after which attempts were given up: the policy says one minute."""

SLOW = 20.0
"""Seconds after which each end takes the other for dead."""

SECONDS_MAX = 6
"""Second faults that are tried after each first one where a bug is hunted."""

WALK_FAULTS = 6
"""Faults of one random walk."""

PLAYS: Mapping[str, Play] = {
    "plain": Play(),
    "retried": Play(exits=(1, 0), pieces=(b"only\n",)),
    "repeatable": Play(repeats_lost=True, pieces=(b"only\n",)),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong, where it can."""

    can: Callable[[World, list[str]], bool]
    act: Callable[[World], object]


def _stands(world: World, names: list[str]) -> bool:
    return world.line is not None and not world.line.is_cut


def _serves(world: World, names: list[str]) -> bool:
    return world.engine is not None


def _writes(world: World, names: list[str]) -> bool:
    return world.engine is not None and bool(world.loop.jobs)


def _works(world: World, names: list[str]) -> bool:
    return any(each.next for each in world.supervisors)


FAULTS: Mapping[str, Fault] = {
    "drop >": Fault(lambda world, _: world.under_way(">"), lambda world: world.drop(">")),
    "drop <": Fault(lambda world, _: world.under_way("<"), lambda world: world.drop("<")),
    "double >": Fault(lambda world, _: world.under_way(">"), lambda world: world.double(">")),
    "double <": Fault(lambda world, _: world.under_way("<"), lambda world: world.double("<")),
    "cut": Fault(_stands, lambda world: world.cut()),
    "cut, agent unaware": Fault(_stands, lambda world: world.cut(agent_knows=False)),
    "cut, server unaware": Fault(_stands, lambda world: world.cut(server_knows=False)),
    "long cut": Fault(_stands, lambda world: world.cut(seconds=LONG)),
    "server killed": Fault(_serves, lambda world: world.kill_server()),
    "server killed after a write": Fault(_writes, lambda world: world.kill_server(after_next=True)),
    "server loses power": Fault(_serves, lambda world: world.kill_server(power=True)),
    "agent killed": Fault(lambda world, _: world.agent is not None, World.kill_agent),
    "agent killed, supervisors stall": Fault(
        lambda world, names: world.agent is not None and _works(world, names),
        lambda world: (world.kill_agent(), world.stall())[-1],
    ),
    "death at a sync": Fault(lambda world, _: world.agent is not None, World.die_at_next_sync),
    "supervisor killed": Fault(_works, World.kill_supervisor),
    "reboot": Fault(lambda world, _: world.agent is not None, World.reboot),
    "cancel": Fault(lambda world, _: world.is_cancellable, World.cancel),
    "second first": Fault(lambda _, names: len(names) > 1, World.happen_second),
    "nobody acts": Fault(lambda world, _: True, lambda world: world.wait(SLOW)),
}

Schedule = tuple[tuple[int, str], ...]
"""Faults, each with the number of the event that it comes before."""


@dataclass
class Placed:
    """Interferes by a schedule, and notes what else could have gone wrong after its last fault."""

    schedule: Schedule
    notes: bool = False
    possible: list[tuple[int, str]] = field(default_factory=list)

    async def __call__(self, world: World, point: int, names: list[str]) -> bool:
        last = max((at for at, _ in self.schedule), default=-1)
        for at, name in self.schedule:
            if at == point and FAULTS[name].can(world, names):
                await _act(world, name)
        if self.notes and point > last:
            self.possible += [(point, name) for name, fault in FAULTS.items() if fault.can(world, names)]
        return point < last


@dataclass
class Walk:
    """Interferes at random, so many times, and notes how."""

    chance: random.Random
    left: int
    kinds: Collection[str] = tuple(FAULTS)
    done: list[tuple[int, str]] = field(default_factory=list)

    async def __call__(self, world: World, point: int, names: list[str]) -> bool:
        if self.left and self.chance.random() < 0.15:
            able = [name for name in self.kinds if FAULTS[name].can(world, names)]
            if not able:
                return True
            name = self.chance.choice(able)
            self.done.append((point, name))
            self.left -= 1
            await _act(world, name)
        return self.left > 0


async def _act(world: World, name: str) -> None:
    world.log.append(f"{world.clock.now:.3f} !! {name}")
    acting = FAULTS[name].act(world)
    if acting is not None:
        await acting  # type: ignore[misc]  # either nothing or a coroutine


@dataclass(frozen=True, slots=True)
class Found:
    """A breach: what broke, by which schedule, and the whole story."""

    breach: Broken
    play: str
    schedule: Schedule
    log: tuple[str, ...]

    def __str__(self) -> str:
        faults = "; ".join(f"before event {at}: {name}" for at, name in self.schedule)
        return "\n".join([f"{self.breach}", f"{self.play}: {faults}", *self.log])


def replayed(play: str, schedule: Schedule) -> Found | None:
    """Run a schedule; return its breach."""
    return _lived(play, Placed(schedule), lambda: schedule)


def extended(play: str, schedule: Schedule = ()) -> list[Schedule]:
    """Return every placement of one more fault after those of a schedule."""
    placed = Placed(schedule, notes=True)
    _lived(play, placed, lambda: schedule)
    return [(*schedule, place) for place in placed.possible]


def explored(play: str, schedules: Iterable[Schedule]) -> Iterator[Found]:
    """Run schedules and yield the breaches."""
    for schedule in schedules:
        found = replayed(play, schedule)
        if found is not None:
            yield found


def walked(play: str, seed: int, faults: int, kinds: Collection[str] = tuple(FAULTS)) -> Found | None:
    """Run with many random faults of some kinds; return the breach."""
    walk = Walk(random.Random(seed), faults, kinds)
    return _lived(play, walk, lambda: tuple(walk.done))


def hunted(play: str, kinds: Collection[str], guarantee: str, runs_max: int) -> Found | None:
    """Look for a breach of a guarantee by faults of some kinds: none, each one, some pairs, then walks, so many runs in all."""
    runs = islice(_hunt(play, kinds), runs_max)
    return next((found for found in runs if found is not None and found.breach.guarantee == guarantee), None)


def _hunt(play: str, kinds: Collection[str]) -> Iterator[Found | None]:
    yield replayed(play, ())
    ones = [schedule for schedule in extended(play) if schedule[-1][1] in kinds]
    for schedule in ones:
        yield replayed(play, schedule)
    chance = random.Random(0)
    for one in chance.sample(ones, len(ones)):
        seconds = [schedule for schedule in extended(play, one) if schedule[-1][1] in kinds]
        for schedule in chance.sample(seconds, min(SECONDS_MAX, len(seconds))):
            yield replayed(play, schedule)
    for seed in count():
        yield walked(play, seed, WALK_FAULTS, kinds)


def _lived(play: str, interfere: Placed | Walk, schedule: Callable[[], Schedule]) -> Found | None:
    with _world(play) as world:
        try:
            world.run(interfere)
        except Broken as breach:
            return Found(breach, play, schedule(), tuple(world.log))
        except Exception as error:
            error.add_note(str(Found(Broken("none", "an end failed"), play, schedule(), tuple(world.log))))
            raise
    return None


@contextmanager
def _world(play: str) -> Iterator[World]:
    folder = Path(tempfile.mkdtemp(prefix="ticket-world-", dir=QUICK if QUICK.is_dir() else None))
    try:
        yield World(folder, PLAYS[play])
    finally:
        rmtree(folder, ignore_errors=True)


def story(play: str, schedule: Schedule) -> list[str]:
    """Return the events of a run that breaks nothing."""
    with _world(play) as world:
        world.run(Placed(schedule))
    return world.log
