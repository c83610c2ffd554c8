"""Machines of our own: network namespaces on two bridges, with links that a test cuts; all gone when the test ends.

server ─┬─ web          outer, 10.87.1.0/24
        └─ proxy ─ db   inner, 10.87.2.0/24: from db no way but the proxy leads out
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.fleet import Machine

PREFIX = "reconcile-test"
"""Namespaces are named by it and by the process that made them, so that what a killed test left is found."""

OUTER, INNER = "10.87.1", "10.87.2"
LEGS = (("server", OUTER, 1), ("web", OUTER, 2), ("proxy", OUTER, 3), ("proxy", INNER, 3), ("db", INNER, 4))
CUTS = ("unplugged", "dropped", "reset", "blackholed")


@dataclass(frozen=True, slots=True)
class Network:
    """Four machines and the switches between them."""

    name: str

    def machine(self, host: str, net: str = OUTER) -> Machine:
        """Return a machine, with its address in one of the two nets."""
        number = next(number for name, prefix, number in LEGS if (name, prefix) == (host, net))
        return Machine(f"{net}.{number}", ("ip", "netns", "exec", self.namespace(host)))

    def namespace(self, host: str) -> str:
        return f"{self.name}-{host}"

    @contextmanager
    def cut(self, how: str) -> Iterator[None]:
        """Cut the server off, in one of the ways in which networks do that, until the context ends."""
        begin, end = {
            "unplugged": (self._port("down"), self._port("up")),
            "dropped": (self._rule("-I", "DROP"), self._rule("-D", "DROP")),
            "reset": (self._rule("-I", *RESET), self._rule("-D", *RESET)),
            "blackholed": (self._route("add"), self._route("del")),
        }[how]
        ip(*begin)
        try:
            yield
        finally:
            ip(*end)

    def _port(self, state: str) -> tuple[str, ...]:
        return ("-n", self.namespace("switch"), "link", "set", f"server-{OUTER[-1]}", state)

    def _rule(self, verb: str, *target: str) -> tuple[str, ...]:
        return (*self._in_server, "iptables", verb, "INPUT", "-i", "to-1", "-p", "tcp", "-j", *target)

    def _route(self, verb: str) -> tuple[str, ...]:
        return ("-n", self.namespace("server"), "route", verb, "blackhole", f"{OUTER}.2/31")

    @property
    def _in_server(self) -> tuple[str, ...]:
        return ("netns", "exec", self.namespace("server"))

    def build(self) -> None:
        """Make the namespaces, bridge them and give them their addresses."""
        switch = self.namespace("switch")
        for host in ("switch", *{host: None for host, _, _ in LEGS}):
            ip("netns", "add", self.namespace(host))
            ip("-n", self.namespace(host), "link", "set", "lo", "up")
        for net in (OUTER, INNER):
            ip("-n", switch, "link", "add", f"bridge-{net[-1]}", "type", "bridge")
            ip("-n", switch, "link", "set", f"bridge-{net[-1]}", "up")
        for host, net, number in LEGS:
            port, leg, there = f"{host}-{net[-1]}", f"to-{net[-1]}", self.namespace(host)
            ip("-n", switch, "link", "add", port, "type", "veth", "peer", "name", leg, "netns", there)
            ip("-n", switch, "link", "set", port, "master", f"bridge-{net[-1]}", "up")
            ip("-n", there, "address", "add", f"{net}.{number}/24", "dev", leg)
            ip("-n", there, "link", "set", leg, "up")

    def remove(self) -> None:
        """Delete the namespaces; their links go with them."""
        for host in ("switch", *{host: None for host, _, _ in LEGS}):
            with suppress(subprocess.CalledProcessError):
                ip("netns", "delete", self.namespace(host))


RESET = ("REJECT", "--reject-with", "tcp-reset")


@contextmanager
def network() -> Iterator[Network]:
    """Give a network that nobody else uses, and what is left of those whose makers were killed goes."""
    for left in _abandoned():
        left.remove()
    made = Network(f"{PREFIX}-{os.getpid()}")
    try:
        made.build()
        yield made
    finally:
        made.remove()


def obstacle() -> str | None:
    """Say why no namespaces can be had here, or None if they can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    probe = Network(f"{PREFIX}-{os.getpid()}-probe")
    try:
        ip("netns", "add", probe.name)
    except FileNotFoundError:
        return "the command ip is missing; install iproute2"
    except subprocess.CalledProcessError as error:
        return f"no network namespace can be made here: {error.stderr.strip()}"
    ip("netns", "delete", probe.name)
    return None


def ip(*arguments: str) -> str:
    """Run the command of that name; raises CalledProcessError."""
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout


def _abandoned() -> Iterator[Network]:
    found = {line.split()[0].rpartition("-")[0] for line in ip("netns", "list").splitlines()}
    for name in sorted(name for name in found if name.startswith(f"{PREFIX}-")):
        maker = name.removeprefix(f"{PREFIX}-").partition("-")[0]
        if not Path("/proc", maker).exists():
            yield Network(name)
