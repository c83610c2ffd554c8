"""What may go wrong in a fleet, and what people may do meanwhile; each says what it did, or nothing where it cannot."""

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.model.errors import Conflict
from reconciler.server.orders.decisions import Decision, carry_out_decision
from reconciler.server.orders.draining import carry_out_drain
from reconciler.server.orders.orders import Drain, Undrain
from reconciler.store import objects
from tests.simulation.fleet_host import Host
from tests.simulation.fleet_node import Node

if TYPE_CHECKING:
    from tests.simulation.fleet_world import FleetWorld

LONG = 63.0, 66.0, 100.0
"""Seconds of cuts after which attempts were given up: the policy says one minute. Some end while the next attempt lives."""

Fault = Callable[["FleetWorld", random.Random], str]


def _host(world: "FleetWorld", chance: random.Random, can: Callable[[Host], bool]) -> Host | None:
    able = [host for host in world.hosts.values() if can(host)]
    return chance.choice(able) if able else None


def _cut(*seconds: float, **who: bool) -> Fault:
    def act(world: "FleetWorld", chance: random.Random) -> str:
        host = _host(world, chance, lambda host: host.stands)
        if host is None:
            return ""
        host.cut(seconds=chance.choice(seconds or (0.0,)), **who)
        return f"{host.name} until {host.unreachable_until:.1f}"

    return act


def _hold_up(world: "FleetWorld", chance: random.Random) -> str:
    host = _host(world, chance, lambda host: host.stands)
    if host is None:
        return ""
    host.held_up_until = world.clock.now + chance.choice((0.3, 3.0, 12.0, 40.0))
    return f"{host.name} until {host.held_up_until:.1f}"


def _double(world: "FleetWorld", chance: random.Random) -> str:
    host = _host(world, chance, lambda host: host.line is not None and bool(host.line.to_agent or host.line.to_server))
    if host is None:
        return ""
    host.double()
    return host.name


def _kill_agent(world: "FleetWorld", chance: random.Random) -> str:
    host = _host(world, chance, lambda host: host.agent is not None)
    if host is None:
        return ""
    if chance.random() < 0.5:
        host.stalls_until = world.clock.now + 1.0
    host.kill_agent()
    return host.name


def _die_at_sync(world: "FleetWorld", chance: random.Random) -> str:
    host = _host(world, chance, lambda host: host.agent is not None)
    if host is None:
        return ""
    host.dies = True
    return host.name


def _kill_supervisor(world: "FleetWorld", chance: random.Random) -> str:
    host = _host(world, chance, lambda host: any(each.next for each in host.supervisors))
    if host is None:
        return ""
    chance.choice([each for each in host.supervisors if each.next]).die()
    host.stir()
    return host.name


def _reboot(world: "FleetWorld", chance: random.Random) -> str:
    host = _host(world, chance, lambda host: host.agent is not None)
    if host is None:
        return ""
    host.reboot(chance.choice((2.0, 30.0, *LONG)))
    return host.name


def _node(world: "FleetWorld", chance: random.Random, can: Callable[[Node], bool]) -> Node | None:
    able = [node for node in world.nodes if can(node)]
    return chance.choice(able) if len(able) > 1 else next(iter(able), None)


def _kill_server(*, after_next: bool = False, power: bool = False) -> Fault:
    def act(world: "FleetWorld", chance: random.Random) -> str:
        def can(node: Node) -> bool:
            return node.engine is not None and not (after_next and (not node.loop.jobs or not node.runs or node.is_cut))

        node = _node(world, chance, can)
        if node is None:
            return ""
        node.kill(after_next=after_next, power=power)
        return "the server" + world.at(node)

    return act


def _slow_disk(world: "FleetWorld", chance: random.Random) -> str:
    node = _node(world, chance, lambda node: True)
    assert node is not None
    node.slow_until = world.clock.now + chance.choice((0.1, 1.0, 5.0))
    return f"until {node.slow_until:.1f}{world.at(node)}"


def _jump(world: "FleetWorld", chance: random.Random) -> str:
    seconds = chance.choice((-20.0, -1.0, 1.0, 90.0, 3600.0))
    world.clock.ahead += seconds
    return f"{seconds:g} s"


def _pause(world: "FleetWorld", chance: random.Random) -> str:
    seconds = chance.choice((3.0, 30.0))
    world.clock.now += seconds
    return f"{seconds:g} s"


def _cancel(world: "FleetWorld", chance: random.Random) -> str:
    able = [task.number for task in world.witness.rows.tasks.values() if not task.state.ended and not task.cancel_by]
    if not able:
        return ""
    task = chance.choice(able)
    world.commit(lambda tx: carry_out_decision(tx, Decision("cancel", str(task), "ada")))
    return f"task {task}"


def _drain(world: "FleetWorld", chance: random.Random) -> str:
    worker, seconds = chance.choice(list(world.hosts)), chance.choice((3.0, 15.0, 40.0))
    order = Drain("ada", worker, "new memory", seconds)
    world.commit(lambda tx: carry_out_drain(tx, order, world.clock.time()))
    return f"{worker} for {seconds:g} s"


def _undrain(world: "FleetWorld", chance: random.Random) -> str:
    worker = chance.choice(list(world.hosts))
    try:
        world.commit(lambda tx: carry_out_drain(tx, Undrain("ada", worker), world.clock.time()))
    except Conflict:
        return ""
    return worker


def _resize(world: "FleetWorld", chance: random.Random) -> str:
    worker, slots = chance.choice(list(world.machines)), chance.choice((1, 1, 2, 4))
    world.resized(f"worker/{worker}")
    world.machines[worker] = replace(world.machines[worker], slots=slots)
    world.commit(lambda tx: objects.put(tx, world.machines[worker].document))
    return f"{worker} has {slots} slots"


def _cap(world: "FleetWorld", chance: random.Random) -> str:
    pool, most = chance.choice(list(world.pools)), chance.choice((None, 1, 2))
    world.resized(f"pool/{pool}")
    world.pools[pool] = replace(world.pools[pool], attempts_max=most)
    world.commit(lambda tx: objects.put(tx, world.pools[pool].document))
    return f"{pool} takes {most} attempts"


def _move(world: "FleetWorld", chance: random.Random) -> str:
    """Let a worker join one more pool; nobody leaves one, so that no pool is empty."""
    worker, pool = chance.choice(list(world.machines)), chance.choice(list(world.pools))
    machine = world.machines[worker]
    world.machines[worker] = replace(machine, pools=tuple(sorted({*machine.pools, pool})))
    world.commit(lambda tx: objects.put(tx, world.machines[worker].document))
    return f"{worker} joins {pool}"


FAULTS: Mapping[str, Fault] = {
    "cut": _cut(),
    "cut, agent unaware": _cut(agent_knows=False),
    "cut, server unaware": _cut(server_knows=False),
    "long cut": _cut(*LONG),
    "long cut, server unaware": _cut(*LONG, server_knows=False),
    "held up": _hold_up,
    "doubled": _double,
    "agent killed": _kill_agent,
    "death at a sync": _die_at_sync,
    "supervisor killed": _kill_supervisor,
    "reboot": _reboot,
    "server killed": _kill_server(),
    "server killed after a write": _kill_server(after_next=True),
    "server loses power": _kill_server(power=True),
    "slow disk": _slow_disk,
    "clock jumps": _jump,
    "nobody acts": _pause,
    "cancel": _cancel,
    "drain": _drain,
    "drain ends": _undrain,
    "slots change": _resize,
    "cap changes": _cap,
    "a worker joins a pool": _move,
}


def _leave(world: "FleetWorld", chance: random.Random) -> str:
    """Let a worker leave a pool that has others, and stay in another one."""
    able = [
        (machine, pool)
        for machine in world.machines.values()
        for pool in machine.pools
        if len(machine.pools) > 1 and sum(pool in other.pools for other in world.machines.values()) > 1
    ]
    if not able:
        return ""
    machine, pool = chance.choice(able)
    world.left[machine.name, pool] = world.clock.now
    world.machines[machine.name] = replace(machine, pools=tuple(each for each in machine.pools if each != pool))
    world.commit(lambda tx: objects.put(tx, world.machines[machine.name].document))
    return f"{machine.name} leaves {pool}"


def _swap(world: "FleetWorld", chance: random.Random) -> str:
    """Let a worker join a pool and leave its other ones, where they have others."""
    joined = _move(world, chance)
    return f"{joined}, {_leave(world, chance)}"


def _cap_leases(world: "FleetWorld", chance: random.Random) -> str:
    """Commit another `leaseCap`: it holds for tasks that are queued later, which pin what they were queued with."""
    cap = chance.choice((0, 1, 1, 2))
    return f"{world.recap(cap)} tasks to come have {cap}"


SHORT_OR_LONG = 3.0, 12.0, 16.0, 20.0, 25.0, 40.0, 100.0
"""Seconds of pauses and cuts: a lead lasts for 15, a session for 24 without a sign of life, the store tries for 30."""


def _leads(node: Node) -> bool:
    return node.engine is not None and node.runs and not node.is_cut


def _writes(node: Node) -> bool:
    return _leads(node) and any(job.what == "write" for job in node.loop.jobs)


def _pause_server(can: Callable[[Node], bool], *, after_write: bool = False) -> Fault:
    def act(world: "FleetWorld", chance: random.Random) -> str:
        node = _node(world, chance, can)
        if node is None:
            return ""
        node.pause(chance.choice(SHORT_OR_LONG), after_write=after_write)
        return f"{node.name} until {node.paused_until:.1f}"

    return act


def _cut_store(can: Callable[[Node], bool], *, after_write: bool = False) -> Fault:
    def act(world: "FleetWorld", chance: random.Random) -> str:
        node = _node(world, chance, can)
        if node is None:
            return ""
        node.cut(chance.choice(SHORT_OR_LONG), after_write=after_write)
        return f"{node.name} until {node.cut_until:.1f}"

    return act


def _stop_server(world: "FleetWorld", chance: random.Random) -> str:
    node = _node(world, chance, _leads)
    if node is None:
        return ""
    node.stop(chance.choice((1.0, 20.0)))
    return f"{node.name} until {node.up_from:.1f}"


NODE_FAULTS: Mapping[str, Fault] = {
    "server paused": _pause_server(lambda node: node.runs),
    "server paused before a write": _pause_server(_writes),
    "server paused after a write": _pause_server(_writes, after_write=True),
    "store out of reach": _cut_store(lambda node: node.runs and not node.is_cut),
    "store out of reach before a write": _cut_store(_writes),
    "store out of reach in a commit": _cut_store(_writes, after_write=True),
    "server ends": _stop_server,
}
"""What may go wrong beside that where several servers share one store."""

COMMITS: Mapping[str, Fault] = {
    "a worker leaves a pool": _leave,
    "a worker changes its pool": _swap,
    "leaseCap changes": _cap_leases,
}
"""What people commit in the middle of a run beside that."""

SEVERAL = (*FAULTS, *COMMITS, *NODE_FAULTS, *NODE_FAULTS, *NODE_FAULTS)
"""The kinds of faults of several servers: half of what goes wrong is about them."""
