"""What a person does after a change of Git: it depends on whether a server follows the branch."""

import os
import shlex
from typing import TYPE_CHECKING

from reconciler.cli.options import SERVER, standing_desk
from reconciler.cli.output import note
from reconciler.model.errors import ReconcilerError, UsageMistake
from reconciler.server.state.place import Place
from reconciler.store.dialects import is_address

if TYPE_CHECKING:  # a change of a file alone starts without them
    from reconciler.cli.desk import Desk
    from reconciler.model.following import SourceState
    from reconciler.server.forge.commits import Checkout


def after_writing(place: Place, commit: str) -> str:
    """Say what follows when a file was changed; `commit` is the command that commits it, empty outside of Git."""
    if not commit:
        return "reconcile plan"
    if os.environ.get(SERVER):
        return f"{commit} && git push"
    return commit if _is_followed(place) else f"{commit} && reconcile plan"


def after_commit(place: Place, commit: str, *, remotes: bool) -> str:
    """Say what follows when the change was committed here."""
    if os.environ.get(SERVER):
        return f"git push && {_wait(commit)}"
    if _is_followed(place):
        return _wait(commit)
    return "git push" if remotes else "reconcile plan"


def after_push(place: Place, commit: str) -> str:
    """Say what follows when the remote has it, and the checkout too."""
    if os.environ.get(SERVER) or _is_followed(place):
        return _wait(commit)
    if is_address(place.data) or place.files.state.exists():
        return "reconcile plan"
    return f"{_wait(commit)} --server URL"


def next_engine(desk: "Desk") -> str:
    """Return the command that goes on with the tasks of a state where no engine runs."""
    return "reconcile apply" if desk.source() is None else "reconcile serve"


def refuse_unsigned(place: Place, checkout: "Checkout") -> None:
    """Raise UsageMistake where the server that the environment names takes from this branch only what is signed."""
    if not os.environ.get(SERVER):
        return
    try:
        source = standing_desk(place).source()
    except ReconcilerError as error:
        note(f"Warning: whether the server asks for signatures is not known: {error.message}")
        return
    if source is not None and _asks_for_signatures(source, checkout.branch):
        raise UsageMistake(
            f"the server carries out signed commits of {checkout.short} alone, and Git is not set to sign",
            "give --sign, or set it: git config commit.gpgsign true",
        )


def _asks_for_signatures(source: "SourceState", branch: str) -> bool:
    return source.signatures == "commit" and source.ref == branch


def _is_followed(place: Place) -> bool:
    """Say whether a server follows this repository with the state that lies in it."""
    try:
        return standing_desk(place).source() is not None
    except ReconcilerError:  # a state that cannot be read is told by what reads it
        return False


def _wait(commit: str) -> str:
    return shlex.join(("reconcile", "wait", "--commit", commit[:12]))
