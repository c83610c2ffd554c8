"""What the operator of a server decided for one space."""

from dataclasses import dataclass

from reconciler.model.text import Removals

LOOK_SECONDS = 1.0
"""Between two looks at a repository on this disk."""

ALL = Removals("100%")


@dataclass(frozen=True, slots=True)
class Policy:
    """How a source is followed: `poll` is in seconds between two looks, `removals_max` holds whoever approves a plan."""

    poll: float = LOOK_SECONDS
    new_state: bool = False
    adopt: bool = False
    removals_max: Removals = ALL
