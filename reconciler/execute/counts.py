"""What the engine counts of its agents, for metrics; whoever shows them reads these numbers."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Counts:
    """Numbers that only rise since this engine started."""

    sessions: int = 0
    heartbeats: int = 0
    log_bytes: int = 0
    handshakes: int = 0
    shed: int = 0
    """Connections that were closed unfinished, because newer ones came."""
    failed_handshakes: int = 0
    rejects: Counter[str] = field(default_factory=Counter)
    """By the code of the REJECT, or the kind of breach."""
    removed: Counter[str] = field(default_factory=Counter)
    """What retention has removed, by what it was."""
