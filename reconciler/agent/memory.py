"""What the agent remembers of itself: who its state directory is, how often it started, the highest epoch seen."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from reconciler.agent import durable
from reconciler.protocol.objects import dumped, loaded


@dataclass(frozen=True)
class Memory:
    """The content of the file `memory`; `store` names the directory for ever."""

    store: str
    incarnation: int = 0
    epoch: int = 0


def woken(state: str) -> Memory:
    """Read the memory under `state`, or begin one, and count this start; durable when this returns."""
    try:
        with open(os.path.join(state, "memory"), "rb") as file:
            memory = loaded(Memory, file.read())
    except FileNotFoundError:
        memory = Memory(os.urandom(8).hex())
    memory = replace(memory, incarnation=memory.incarnation + 1)
    keep(state, memory)
    return memory


def keep(state: str, memory: Memory) -> None:
    """Make `memory` durable."""
    descriptor = os.open(state, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        durable.replace(descriptor, "memory", dumped(memory))
    finally:
        os.close(descriptor)


def remember(state: str, memory: Memory, epoch: int) -> Memory:
    """Return `memory` with the epoch of the session that begins; durable when this returns."""
    memory = replace(memory, epoch=epoch)
    keep(state, memory)
    return memory
