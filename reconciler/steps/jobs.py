"""What steps are rendered to: something a worker runs, or something a person is asked."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ScriptJob:
    """A script with all it needs; the script's file and `arguments` follow `interpreter` in the argument vector.

    `secret_environment` is kept apart: it travels with the order to run alone and is never stored.
    """

    language: str
    interpreter: tuple[str, ...]
    script: str
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    secret_environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    artifacts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ManualJob:
    """A question to a person of one of `teams` (none: anybody's)."""

    instructions: str
    teams: tuple[str, ...] = ()
    block_concurrent: bool = False


Job = ScriptJob | ManualJob
