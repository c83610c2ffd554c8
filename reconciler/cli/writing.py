"""Commands that change what Git declares: the options that they share, and how they say what was written."""

import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.following import after_commit, after_push, after_writing, refuse_unsigned
from reconciler.cli.output import note
from reconciler.model.errors import UsageMistake
from reconciler.server.state.place import Place

if TYPE_CHECKING:  # `drain --live` needs nothing of it
    from reconciler.server.forge.commits import Checkout, Credit
    from reconciler.server.forge.writeback import Declaration, Published, Rewritten, Wish

Command = Callable[..., int]
SHORT = 12
"""Letters of a commit's name that are shown."""


@dataclass(frozen=True, slots=True)
class Manner:
    """What is done with a change: written into the file, only printed, committed, or pushed as well."""

    print_only: bool
    commits: bool
    pushes: bool
    remote: str | None
    message: str
    author: str | None
    sign: bool | None
    """As was asked for; None is as the person's settings of Git say."""

    @property
    def is_given(self) -> bool:
        """Was any of it asked for?"""
        given = self.author is not None or self.sign is not None
        return self.print_only or self.commits or bool(self.message) or given


@dataclass(frozen=True, slots=True)
class Undertaking:
    """A wish in the words of the command that has it: `subject` for the log, and the arguments to type it again."""

    wish: "Wish | Declaration"
    subject: str
    arguments: tuple[str, ...]
    reason: str

    @property
    def line(self) -> str:
        """Return the first line of a commit's message."""
        reason = " ".join(self.reason.split())
        return f"{self.subject}: {reason}" if reason else self.subject


def writing(function: Command) -> Command:
    """Add --print, --commit, --push and what goes with them; the function gets them as `manner`."""

    @wraps(function)
    def wrapper(
        *,
        print_: bool,
        commit: bool,
        message: str,
        author: str | None,
        sign: bool | None,
        push: bool,
        remote: str | None,
        **others: Any,
    ) -> int:
        if print_ and (commit or push):
            raise UsageMistake("--print writes nothing, so --commit and --push do not go with it")
        if (message or author is not None or sign is not None) and not (commit or push):
            raise UsageMistake("--message, --author and --sign are a commit's", "give --commit or --push with them")
        if remote is not None and not push:
            raise UsageMistake("--remote says where to push", "give --push with it")
        return function(manner=Manner(print_, commit or push, push, remote, message, author, sign), **others)

    options = (
        click.option("--print", "print_", is_flag=True, help="Print the patch and write nothing."),
        click.option("--commit", is_flag=True, help="Commit the file, and nothing else."),
        click.option("-m", "--message", metavar="TEXT", default="", help="The first line of the commit's message."),
        click.option("--author", metavar="'NAME <MAIL>'", help="Who the commit is by.  [default: as Git knows you]"),
        click.option("--sign/--no-sign", default=None, help="Sign it as git does.  [default: as commit.gpgsign says]"),
        click.option("--push", is_flag=True, help="Commit on top of what the remote has, and push that commit."),
        click.option("--remote", metavar="NAME", help="Where to push.  [default: the branch's own, or origin]"),
    )
    command: Command = wrapper
    for option in reversed(options):
        command = option(command)
    return command


def reasoned(function: Command) -> Command:
    """Add --reason."""
    return click.option("--reason", metavar="TEXT", default="", help="Why; stands in the commit's message.")(function)


def write_back(place: Place, undertaking: Undertaking, manner: Manner) -> int:
    """Change the file that declares the object, as wanted; the patch goes to stdout, the rest to stderr."""
    from reconciler.cli.loading import SHOWN_MAX, show
    from reconciler.server.forge.commits import PushRefused
    from reconciler.server.forge.writeback import Faulty, PushedOut

    if (place.root / "HEAD").is_file() and (place.root / "objects").is_dir():
        raise UsageMistake(f"{place.root} is a bare repository: there is no file to change", "run this in a checkout")
    try:
        if manner.commits:
            return _commit(place, undertaking, manner)
        return _write(place, undertaking, manner)
    except Faulty as error:
        show(error.loaded, limit=SHOWN_MAX)
        raise
    except (PushRefused, PushedOut) as error:
        click.echo(error.patch, nl=False)
        raise


def _write(place: Place, undertaking: Undertaking, manner: Manner) -> int:
    from reconciler.declare.source import open_tree
    from reconciler.server.forge.writeback import rewritten, write
    from reconciler.server.state.place import folder_in_repository

    folder = folder_in_repository(place.root)
    change = rewritten(open_tree(place.root), undertaking.wish, folder=folder, cache=_cache(place))
    _tell_left(undertaking, change)
    if not change.differs:
        note(f"{change.position} says so already; nothing was changed.")
        return 0
    click.echo(change.patch, nl=False)
    if manner.print_only:
        return 0
    write(place.root, change)
    path = os.path.relpath(place.root / change.file)
    commit = f"git commit -m {shlex.quote(undertaking.line)} -- {shlex.quote(path)}" if _is_in_git(place) else ""
    if commit and change.before is None:
        commit = f"git add -- {shlex.quote(path)} && {commit}"
    note(f"wrote {path}\nNext: {after_writing(place, commit)}")
    return 0


def _commit(place: Place, undertaking: Undertaking, manner: Manner) -> int:
    from reconciler.server.forge import commits, writeback

    checkout = commits.Checkout.of(place.root)
    credit, cache = _credit(checkout, undertaking, manner), _cache(place)
    if credit.signing is None and manner.sign is None:
        refuse_unsigned(place, checkout)
    if not manner.pushes:
        done = writeback.commit(checkout, place.root, undertaking.wish, credit=credit, cache=cache)
        following = after_commit(place, done.commit or done.base, remotes=bool(checkout.remotes()))
        return _told(
            undertaking, done, f"committed it to {checkout.short}", f"{checkout.short} says so already", following
        )
    remote = checkout.upstream(manner.remote)
    terms = commits.persons_terms(place.root)
    done, followed = writeback.push(
        checkout, place.root, remote, undertaking.wish, credit=credit, terms=terms, cache=cache
    )
    there = f"{remote[0]}/{remote[1].removeprefix('refs/heads/')}"
    following = after_push(place, done.commit or done.base) if followed else "git pull"
    return _told(undertaking, done, f"pushed it to {there}", f"{there} says so already", following)


def _told(undertaking: Undertaking, done: "Published", made: str, already: str, following: str) -> int:
    _tell_left(undertaking, done.rewritten)
    if done.commit is None:
        note(f"{already}: {done.rewritten.position}")
    else:
        click.echo(done.rewritten.patch, nl=False)
        note(f"{made} as {done.commit[:SHORT]}")
    note(f"Next: {following}")
    return 0


def _tell_left(undertaking: Undertaking, change: "Rewritten") -> None:
    """Say what an agent's document has and the repository has otherwise."""
    from reconciler.declare.enrolled import left_alone
    from reconciler.server.forge.writeback import Declaration

    wish = undertaking.wish
    if isinstance(wish, Declaration) and change.former is not None:
        for name in left_alone(wish.enrolled, change.former):
            note(f"{change.position}: {name} stays as it is; the document says it otherwise.")
        if wish.file not in {None, change.file}:
            note(f"{change.position}: it is declared there already, so --file is of no use.")


def _credit(checkout: "Checkout", undertaking: Undertaking, manner: Manner) -> "Credit":
    from reconciler.server.forge.commits import Credit, Signature, persons_signature, persons_signing

    known = persons_signature(checkout.top)
    author = known if manner.author is None else Signature.parse(manner.author)
    if author is None:
        raise UsageMistake(
            "Git does not know who you are, and a commit has an author",
            "say it with --author 'NAME <MAIL>', or: git config user.name NAME && git config user.email MAIL",
        )
    command = shlex.join(("reconcile", *undertaking.arguments))
    message = f"{manner.message or undertaking.line}\n\n{command}\n"
    return Credit(message, author, known or author, persons_signing(checkout.top, manner.sign))


def _cache(place: Place) -> Path | None:
    return place.cache if place.cache.is_dir() else None


def _is_in_git(place: Place) -> bool:
    return any((folder / ".git").exists() for folder in (place.root, *place.root.parents))
