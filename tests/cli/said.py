"""What an error says, and the repositories in which mistakes are made."""

import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from reconciler.model.errors import ReconcilerError
from tests.cli.workplace import MANUAL, PROJECT, Outcome, Workplace


@dataclass(frozen=True, slots=True)
class Said:
    """An error as a person reads it."""

    message: str
    hint: str = ""

    def settled(self, folder: Path) -> str:
        """Return it as it stands on stderr, with a word for each thing that is the machine's own."""
        text = f"Error: {self.message}\n" + (f"  {self.hint}\n" if self.hint else "")
        text = re.sub(rf"\S+@{re.escape(socket.gethostname())}", "USER@HOST", text.replace(str(folder), "DIR"))
        text = text.replace(socket.gethostname(), "HOST")
        text = re.sub(r"this one (knows|reads) \d+", r"this one \1 N", text)  # rises with the product
        text = re.sub(r"since \d{4}-\d\d-\d\dT[\d:]+Z", "since TIME", text)
        return re.sub(r"/tmp/[\w/-]+", "DIR", re.sub(r"pid \d+", "pid PID", text))


def told(outcome: Outcome) -> Said:
    """Return what a command said at its end."""
    assert outcome.code not in {0, 255}, outcome
    message, _, hint = outcome.err.rpartition("Error: ")[2].rstrip("\n").rpartition("\n  ")
    return Said(message, hint) if message else Said(hint)


def raised(action: Callable[[], object]) -> Said:
    """Return what an action of ours raises, where no command leads to it in a moment."""
    with pytest.raises(ReconcilerError) as caught:
        action()
    return Said(caught.value.message, caught.value.hint)


def explained(error: Exception) -> Said:
    """Return the sentence that an error of a database was turned into."""
    assert isinstance(error, ReconcilerError), error
    return Said(error.message, error.hint)


def shop(folder: Path, body: str = "echo done") -> Workplace:
    place = Workplace(folder / "space")
    place.declare_shop(body)
    place.commit()
    return place


def applied(folder: Path) -> Workplace:
    place = shop(folder)
    place.apply()
    return place


def failed(folder: Path) -> Workplace:
    place = shop(folder, "exit 3")
    place.apply(expect=6)
    return place


def waiting(folder: Path) -> Workplace:
    place = shop(folder)
    place.write("project.yaml", PROJECT % ("shop", "true") + MANUAL)
    place.apply(expect=7)
    return place


Case = Callable[[Path], Said]
"""Makes one mistake in an empty folder and returns what is said."""


def cases(module: Mapping[str, object]) -> dict[str, Case]:
    """Return the cases of a module by their names, in its order."""
    return {
        name.replace("_", " "): value
        for name, value in module.items()
        if callable(value) and getattr(value, "__annotations__", None) == {"folder": Path, "return": Said}
    }
