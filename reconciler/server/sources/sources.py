"""Where a controller's commits come from: a branch that is checked out here, a remote that is fetched, a working tree."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from reconciler.declare.cache import ParseCache
from reconciler.declare.files import files_of_objects
from reconciler.declare.git import BlobsMissing, GitFailed, git, missing
from reconciler.declare.load import Loaded, load
from reconciler.declare.mirror import FetchFailed, Mirror
from reconciler.declare.names import WHOLE
from reconciler.declare.signatures import Signers, Unsigned, check_every, signed_by
from reconciler.model.errors import ReconcilerError, Refused, UsageMistake
from reconciler.model.live import Binding, LiveState
from reconciler.server.planning.planning import binding_of, check_binding, files_of

EVERY_MAX = 10_000
"""Commits whose signatures are judged together: each takes some 10 ms."""

ROUNDS_MAX = 4
"""Of reading a commit: its settings, its declarations, and what they name may each have files that are fetched apart."""


@dataclass(frozen=True, slots=True)
class Authorship:
    """Who made a commit, and the first line of what they say of it."""

    author: str
    subject: str


class Source(Protocol):
    """Where commits come from; every method may wait for a disk or a network, and none is called by two at once."""

    @property
    def url(self) -> str:
        """Name the repository for people."""

    @property
    def ref(self) -> str:
        """Name what is followed of it."""

    @property
    def folder(self) -> str:
        """Name the folder of it that is the space, "" where the whole is."""

    @property
    def signatures(self) -> str:
        """Say what has to be signed: `commit`, `tag`, or nothing."""

    def head(self) -> str:
        """Return what is to be judged now; raises ReconcilerError where that cannot be had."""

    def signer(self, revision: str) -> str:
        """Return who signed it, "" where nobody need; raises Unsigned."""

    def check_since(self, last: str, revision: str) -> None:
        """Raise Unsigned where a commit since `last`, the one carried out last, has to be signed and is not."""

    def load(self, revision: str, live: LiveState, cache: ParseCache) -> Loaded:
        """Read and check a commit; raises ReconcilerError where it cannot be read."""

    def binding(self, loaded: Loaded) -> Binding:
        """Return what a state is bound to that follows this source."""

    def check(self, loaded: Loaded, live: LiveState) -> None:
        """Raise Conflict or Refused where the state belongs to another space or repository."""

    def descends(self, revision: str, ancestor: str) -> bool:
        """Is `ancestor` in the history of a commit? False where that cannot be shown."""

    def authorship(self, revision: str) -> Authorship:
        """Return who made a commit."""

    def applied(self, revision: str) -> None:
        """Take that a commit was carried out."""

    def end(self) -> None:
        """End what waits for a network, from any thread: whoever follows stops."""


def authorship_in(root: Path, revision: str) -> Authorship:
    """Return who made a commit of a repository; nobody where git cannot tell."""
    try:
        said = git(root, "log", "-1", "--no-show-signature", "--format=%an <%ae>%n%s", "--end-of-options", revision)
    except ReconcilerError:
        return Authorship("", "")
    author, _, subject = said.decode(errors="replace").rstrip("\n").partition("\n")
    return Authorship(author[:200], subject[:200])


@dataclass(frozen=True, slots=True)
class CheckedOut:
    """The branch that is checked out in a repository on this disk; whoever moves it decides, backwards too."""

    root: Path

    @property
    def url(self) -> str:
        """Name the folder."""
        return str(self.root)

    @property
    def ref(self) -> str:
        """Name what is followed."""
        return "HEAD"

    @property
    def folder(self) -> str:
        """Name nothing: git finds its way from the folder itself."""
        return ""

    @property
    def signatures(self) -> str:
        """Ask for none: who may write here may do anything here."""
        return ""

    def head(self) -> str:
        """Return the commit that is checked out; raises GitFailed where there is none."""
        return git(self.root, "rev-parse", "--verify", "--end-of-options", "HEAD^{commit}").decode().strip()

    def signer(self, revision: str) -> str:
        """Look at no signature."""
        return ""

    def check_since(self, last: str, revision: str) -> None:
        """Look at none here either."""

    def load(self, revision: str, live: LiveState, cache: ParseCache) -> Loaded:
        """Read the commit."""
        return load(self.root, rev=revision, cache=cache, live_paths=files_of(live))

    def binding(self, loaded: Loaded) -> Binding:
        """Bind to the first commit of the repository."""
        return binding_of(loaded)

    def check(self, loaded: Loaded, live: LiveState) -> None:
        """Compare the first commits."""
        check_binding(loaded, live)

    def descends(self, revision: str, ancestor: str) -> bool:
        """Take every commit: that which is checked out is what should be."""
        return True

    def authorship(self, revision: str) -> Authorship:
        """Ask the repository."""
        return authorship_in(self.root, revision)

    def applied(self, revision: str) -> None:
        """Keep nothing: the repository does."""

    def end(self) -> None:
        """End nothing: no network is waited for."""


@dataclass(frozen=True, slots=True)
class WorkingTree(CheckedOut):
    """The files of a working tree as they are, committed or not: for trying things out."""

    @property
    def ref(self) -> str:
        """Name what is followed."""
        return "the working tree"

    def head(self) -> str:
        """Return the commit, or the digest of a tree that differs from it."""
        from reconciler.declare.source import open_tree

        return open_tree(self.root).revision

    def load(self, revision: str, live: LiveState, cache: ParseCache) -> Loaded:
        """Read the files."""
        return load(self.root, cache=cache, live_paths=files_of(live))


@dataclass(frozen=True, slots=True)
class Fetched:
    """A ref of a remote repository, read from its mirror; of `folder` alone where one is named."""

    mirror: Mirror
    space: str
    """The name that the space must have."""
    folder: str
    signers: Signers | None
    keyrings: Path

    @property
    def url(self) -> str:
        """Name the repository, and the folder in it."""
        return f"{self.mirror.remote.url}{f'//{self.folder}' if self.folder else ''}"

    @property
    def ref(self) -> str:
        """Name the branch, the tag or the commit."""
        return self.mirror.remote.ref

    @property
    def signatures(self) -> str:
        """Say what the server's configuration asks for."""
        return self.signers.of if self.signers is not None else ""

    def head(self) -> str:
        """Ask the remote, fetch if it has moved, and return the commit; raises FetchFailed, GitSlow and GitEnded."""
        with _on_our_files():
            if self.mirror.look() == self.mirror.tip() and (commit := self.mirror.commit()) is not None:
                return commit
            return self.mirror.fetch()

    def signer(self, revision: str) -> str:
        """Judge the signature by the server's own keys: that of the commit, or of the tag that names it.

        Raises FetchFailed where the mirror has another one, SignersUnreadable where it cannot be told who may sign.
        """
        if self.signers is None:
            return ""
        with _on_our_files():
            return self._signer(self.signers, revision)

    def _signer(self, signers: Signers, revision: str) -> str:
        if signers.of == "commit":
            return signed_by(self.mirror.root, revision, signers, self.keyrings)
        if self.mirror.commit() != revision:
            raise FetchFailed(f"{self.ref} names {revision[:12]} no longer", "it is fetched anew")
        tag = self.ref.removeprefix("refs/tags/")
        return signed_by(self.mirror.root, self.mirror.tip(), signers, self.keyrings, tag)

    def check_since(self, last: str, revision: str) -> None:
        """Judge each commit that the head has and the last one has not, merged ones too, where the operator says so.

        Before a commit was carried out there is none to count from. Raises FetchFailed and GitSlow.
        """
        if self.signers is None or not self.signers.every or not WHOLE.fullmatch(last) or last == revision:
            return
        with _on_our_files():
            self._check_since(self.signers, last, revision)

    def _check_since(self, signers: Signers, last: str, revision: str) -> None:
        between = self.mirror.between(last, revision, EVERY_MAX)
        if between is None:
            raise Unsigned(
                f"{revision[:12]} does not descend from {last[:12]}, which was carried out last, and where they part "
                "is not known here, so it cannot be told which commits have to be signed",
                "push a commit that descends from it, or take `every` away until this one is carried out",
            )
        root, commits = between
        if len(commits) > EVERY_MAX:
            raise Unsigned(
                f"more than {EVERY_MAX} commits came since {last[:12]}, which was carried out last",
                "follow one in between first: commit = NAME",
            )
        check_every(root, commits, last, signers, self.keyrings)

    def load(self, revision: str, live: LiveState, cache: ParseCache) -> Loaded:
        """Read the commit from the mirror, which is thrown away where it is broken.

        Of the files that were left out those are fetched that are declarations, or that a declaration names.
        """
        with _on_our_files():
            for _ in range(ROUNDS_MAX):
                try:
                    return self._loaded(revision, live, cache)
                except BlobsMissing as error:
                    left_out = error
                self.mirror.complete(left_out.names)
            self.mirror.drop()
            raise left_out

    def _loaded(self, revision: str, live: LiveState, cache: ParseCache) -> Loaded:
        try:
            loaded = load(self.mirror.root, rev=revision, folder=self.folder, cache=cache, live_paths=files_of(live))
            self._check_files(loaded)
        except BlobsMissing as error:
            if error.names:
                raise
            self.mirror.drop()
            raise
        except GitFailed:
            self.mirror.drop()
            raise
        except UsageMistake as error:
            if self.mirror.holds(revision):
                raise
            self.mirror.drop()
            raise FetchFailed(f"the mirror has lost {revision[:12]}", "it is fetched anew") from error
        return loaded

    def _check_files(self, loaded: Loaded) -> None:
        """Raise BlobsMissing where a file that is read later, such as a script, was left out of what is fetched."""
        declared = loaded.desired.objects.values() if loaded.desired is not None else ()
        entries = [loaded.tree.paths.get(file) for file in files_of_objects(declared)]
        names = [entry.blob for entry in entries if entry is not None and entry.blob is not None]
        if left_out := missing(self.mirror.root, names):
            raise BlobsMissing.of(("cat-file",), left_out[0], left_out)

    def binding(self, loaded: Loaded) -> Binding:
        """Bind to the address: a mirror does not know the first commit."""
        assert loaded.desired is not None, "what is bound was loaded"
        return Binding(loaded.desired.name, "", self.url)

    def check(self, loaded: Loaded, live: LiveState) -> None:
        """Compare the spaces; the address was chosen by the server's own configuration, and history is judged apart."""
        assert loaded.desired is not None, "what is checked was loaded"
        if loaded.desired.name != self.space:
            raise Refused(
                f'the server follows it as the space "{self.space}", and the commit declares "{loaded.desired.name}"',
                "give the space its name back, or follow it under another name",
            )

    def descends(self, revision: str, ancestor: str) -> bool:
        """Look in the mirror, and at the remote's history where the mirror does not know."""
        with _on_our_files():
            return self.mirror.descends(revision, ancestor)

    def authorship(self, revision: str) -> Authorship:
        """Ask the mirror."""
        return authorship_in(self.mirror.root, revision)

    def applied(self, revision: str) -> None:
        """Keep the commit in the mirror, so that descent from it can be shown."""
        with _on_our_files():
            self.mirror.keep(revision)

    def end(self) -> None:
        """End what is under way with the remote; nothing begins any more."""
        self.mirror.end()


@contextmanager
def _on_our_files() -> Iterator[None]:
    """Raise FetchFailed where the server's own files, such as the mirror, stand in the way: that may pass."""
    try:
        yield
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        raise FetchFailed(
            f"the server's own files of this source cannot be used: {what}",
            "let the server's account make folders and files there, and move away what is in the way",
        ) from error
