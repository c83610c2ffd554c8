"""What a seed makes of a fleet: machines in pools, tasks of several projects, and what their scripts do."""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from reconciler.model.live import LiveObject, Slot
from reconciler.model.pinned import Pinned
from reconciler.model.spec import Address, Position
from reconciler.model.work import Step

POLICY = {"connection": {"lostAfter": "1m"}, "default": True}
POOLS = ("east", "west", "north")
ZONES = ("a", "b")
LATEST = 20.0
"""Seconds after which nothing more is declared or queued by a commit of the play itself."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A worker as it is declared."""

    name: str
    pools: tuple[str, ...]
    slots: int | None
    zone: str
    drain_cancels: bool

    @property
    def document(self) -> LiveObject:
        """The worker as it was applied."""
        spec: dict[str, object] = {
            "endpoint": {"polling": {"subscription": f"poll://{self.name}", "thumbprints": ["SHA256:x"]}},
            "pools": list(self.pools),
        }
        if self.slots is not None:
            spec["slots"] = self.slots
        if self.drain_cancels:
            spec["drain"] = {"deadline": "4s", "then": "cancel"}
        return declared("Worker", self.name, spec, {"labels": {"zone": self.zone}})


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool as it is declared."""

    name: str
    attempts_max: int | None
    round_robin: bool

    @property
    def document(self) -> LiveObject:
        """The pool as it was applied."""
        spec: dict[str, object] = {"default": self.name == POOLS[0]}
        if self.attempts_max is not None:
            spec["maxConcurrentAttempts"] = self.attempts_max
        if self.round_robin:
            spec["selection"] = "roundRobin"
        return declared("WorkerPool", self.name, spec, {})


@dataclass(frozen=True, slots=True)
class Conduct:
    """What the attempts of a step do, one after the other; the last one repeats."""

    exits: tuple[int, ...]
    seconds: float
    pieces: tuple[bytes, ...]

    def exit_of(self, number: int) -> int:
        """Return the exit code of an attempt."""
        return self.exits[min(number, len(self.exits)) - 1]


@dataclass(frozen=True)
class Order:
    """A task that somebody queues at a moment, and the conduct of its steps."""

    at: float
    slot: Slot
    priority: int
    content: str
    conducts: tuple[Conduct, ...]

    def recapped(self, cap: int) -> "Order":
        """Return it with another `leaseCap` of all its steps."""
        content = json.loads(self.content)
        for step in content["project"]["process"]:
            step["location"]["leaseCap"] = cap
        return replace(self, content=Pinned.model_validate_json(json.dumps(content)).canonical())

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """The steps as the engine reads them."""
        return Pinned.parse(self.content).project.process

    @cached_property
    def tag(self) -> str:
        """What its task has alone as long as it runs."""
        tag = Pinned.parse(self.content).project.concurrency_tag
        return tag or f"{self.slot.project}/{self.slot.environment}/"


@dataclass(frozen=True)
class Play:
    """All that is decided before anything happens; task 1 is the first order."""

    machines: tuple[Machine, ...]
    pools: tuple[Pool, ...]
    orders: tuple[Order, ...]

    def conduct(self, task: int, step: int) -> Conduct:
        """Say what a step's scripts do."""
        return self.orders[task - 1].conducts[step]

    def step(self, task: int, step: int) -> Step:
        """Return a step."""
        return self.orders[task - 1].steps[step]


def declared(kind: str, name: str, spec: Mapping[str, object], metadata: Mapping[str, object]) -> LiveObject:
    """Return an object as it was applied."""
    address, position = Address(kind, name), Position("space.yaml", 1)
    return LiveObject(address, json.dumps(spec), json.dumps(metadata), "digest", position, "revision")


def play_of(seed: int) -> Play:
    """Draw a fleet and its work."""
    chance = random.Random(f"play {seed}")
    return _narrow(chance) if chance.random() < 0.25 else _wide(chance)


def _wide(chance: random.Random) -> Play:
    names = POOLS[: chance.randint(1, 3)]
    machines = tuple(_machine(chance, number, names) for number in range(chance.randint(max(2, len(names)), 5)))
    pools = tuple(Pool(name, chance.choice((None, None, 2, 3)), chance.random() < 0.3) for name in names)
    found = [_order(chance, names, first=index < 3) for index in range(chance.randint(3, 6))]
    return Play(machines, pools, tuple(sorted(found, key=lambda order: order.at)))


def _narrow(chance: random.Random) -> Play:
    """One machine that everybody wants: some of them for themselves, the others side by side."""
    machines = (Machine("w0", POOLS[:1], chance.choice((2, 3)), ZONES[0], drain_cancels=False),)
    found = []
    for project in ("shop", "bank", "mail"):
        count = chance.randint(4, 6)
        alone = chance.randrange(count) if project == "shop" else -1
        steps: list[dict[str, object]] = [
            _step(index, {"location": _location(POOLS[0])} | ({"isolation": "exclusive"} if index == alone else {}))
            for index in range(count)
        ]
        conducts = tuple(Conduct((0,), chance.choice((1.0, 1.5, 2.3) * 4 + (130.0,)), ()) for _ in steps)
        found.append(_ordered(chance.choice((0.0, 1.0)), Slot(project, "live"), steps, conducts))
    return Play(machines, (Pool(POOLS[0], None, round_robin=False),), tuple(sorted(found, key=lambda order: order.at)))


def _machine(chance: random.Random, number: int, pools: tuple[str, ...]) -> Machine:
    home, other = pools[number % len(pools)], chance.choice(pools)
    members = tuple(sorted({home, other})) if chance.random() < 0.3 else (home,)
    return Machine(
        f"w{number}", members, chance.choice((1, 1, 2, 3, None)), chance.choice(ZONES), chance.random() < 0.3
    )


def _order(chance: random.Random, pools: tuple[str, ...], *, first: bool) -> Order:
    slot = Slot(chance.choice(("shop", "bank", "mail")), chance.choice(("test", "live")))
    count = chance.choice((2, 2, 3, 3, 4, 6))
    steps = [_step(index, _traits(chance, index, pools)) for index in range(count)]
    at = 0.0 if first else round(chance.uniform(0.0, LATEST), 1)
    tag = "release" if chance.random() < 0.2 else None
    priority, conducts = chance.choice((0, 0, 0, 5)), tuple(_conduct(chance) for _ in steps)
    return _ordered(at, slot, steps, conducts, priority=priority, tag=tag)


def _traits(chance: random.Random, index: int, pools: tuple[str, ...]) -> dict[str, object]:
    traits: dict[str, object] = {
        "location": _location(
            chance.choice(pools), chance.choice((0, 0, 1, 2)), chance.choice(("package", "task", "none"))
        ),
        "retry": {
            "attempts": chance.choice((1, 1, 2, 3)),
            "backoff": chance.choice(("1s", "3s")),
            "onWorkerLost": chance.random() < 0.3,
        },
        "condition": chance.choice(("success", "success", "success", "success", "always", "failure")),
    }
    if index and chance.random() < 0.4:
        traits["start"] = "withPrevious"
    if chance.random() < 0.2:
        traits["isolation"] = "exclusive"
    if chance.random() < 0.35:
        traits["mutex"] = {"name": chance.choice(("x", "y")), "scope": chance.choice(("machine", "pool", "space"))}
    if chance.random() < 0.1:
        traits["spread"] = chance.choice(("worker", "zone"))
    if chance.random() < 0.1:
        traits["onDisconnect"] = "hold"
    return traits


def _location(pool: str, lease_cap: int = 0, affinity: str = "package") -> dict[str, object]:
    return {"runOn": "workerPool", "pool": pool, "leaseCap": lease_cap, "affinity": affinity}


def _step(index: int, traits: Mapping[str, object]) -> dict[str, object]:
    return {"name": f"s{index}", "script": {"syntax": "sh", "body": ":"}, **traits}


def _conduct(chance: random.Random) -> Conduct:
    exits = chance.choice(((0,), (0,), (0,), (0,), (1, 0), (1,)))
    pieces = chance.choice(((), (), (b"first\n",), (b"first\n", b"second\n")))
    return Conduct(exits, chance.choice((0.0, 0.0, 0.5, 0.5, 2.0, 2.0, 6.0, 6.0, 130.0)), pieces)


def _ordered(
    at: float,
    slot: Slot,
    steps: list[dict[str, object]],
    conducts: tuple[Conduct, ...],
    *,
    priority: int = 0,
    tag: str | None = None,
) -> Order:
    project: dict[str, object] = {"process": steps, "maxParallelSteps": 3}
    if tag is not None:
        project["concurrencyTag"] = tag
    deployment = {"project": slot.project, "release": "1", "environment": slot.environment, "priority": priority}
    pinned = {"space": "s", "deploymentName": f"{slot.project}-{slot.environment}", "deployment": deployment}
    content = Pinned.model_validate_json(json.dumps({**pinned, "project": project})).canonical()
    return Order(at, slot, priority, content, conducts)
