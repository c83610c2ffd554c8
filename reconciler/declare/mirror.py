"""A bare mirror of one ref of a remote repository: what is fetched is shallow and without large files, and never checked out."""

import os
import re
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from reconciler.declare import tunnel
from reconciler.declare.git import Commands, Terms, asked, git
from reconciler.model.errors import ReconcilerError

TIP = "refs/reconciler/tip"  # what the ref named when it was fetched last
KEPT = "refs/reconciler/applied"  # what was carried out last, so that descent from it can be shown
LARGE = "1m"  # files from this size on are fetched only where they are declarations, or a declaration names them
SLOWEST = 1_000  # bytes a second; a transfer that is slower for `STALLED` seconds has failed
STALLED = 30  # seconds
LOGIN_FILE = "RECONCILER_LOGIN_FILE"  # in the environment of git alone
LOGIN_NAME = "RECONCILER_LOGIN_NAME"
PYTHON = "RECONCILER_PYTHON"
SCP_LIKE = re.compile(r"[A-Za-z0-9._-]+@([A-Za-z0-9._-]+):(?!/)[^:]+")
"""`NAME@HOST:PATH`, as ssh's own copying program has it."""

ALWAYS = ("--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--no-auto-gc")
NEGOTIATING_NOTHING = ("fetch.negotiationAlgorithm=noop",)  # what is here says nothing of what was left out
LEFT_BEHIND = ("objects/pack/tmp_*", "*.lock", "refs/**/*.lock", "objects/*.lock", "objects/info/**/*.lock")
HTTP_STATUS = re.compile(r"The requested URL returned error: (\d{3})")
SSH_PORT = 22
SHA256_DIGITS = 64  # of an object's name where the repository is not of SHA-1
ASKING = f"""#!/bin/sh
case "$1" in
Username*) printf '%s\\n' "${LOGIN_NAME}" ;;
*) cat "${LOGIN_FILE}" ;;
esac
"""


class FetchFailed(ReconcilerError):
    """What the remote holds cannot be had now."""


@dataclass(frozen=True, slots=True)
class Login:
    """How a remote is reached: files that hold what is secret, and what it is known by."""

    username: str = ""
    password_file: Path | None = None
    ssh_key: Path | None = None
    known_hosts: Path | None = None
    certificates: Path | None = None
    proxy: str = ""


@dataclass(frozen=True, slots=True)
class Remote:
    """One ref of one repository: `refs/heads/…`, `refs/tags/…`, or a whole commit's name; `timeout` in seconds."""

    url: str
    ref: str
    login: Login = Login()
    timeout: float = 60.0

    @property
    def is_pinned(self) -> bool:
        """Is it one commit, which never moves?"""
        return not self.ref.startswith("refs/")


class Mirror:
    """The mirror of one remote in the folder `path`, which may be deleted at any time."""

    def __init__(self, path: Path, remote: Remote) -> None:
        self.remote = remote
        self._commands = Commands()
        self._trees = _Bare(path / "trees.git", remote, self._commands)
        self._history = _Bare(path / "history.git", remote, self._commands)  # commits alone, where descent is in doubt
        self._history_in_use = threading.Lock()  # a plan is judged beside the head
        self._named = remote.ref if remote.is_pinned else ""  # what the ref named at the last look

    @property
    def root(self) -> Path:
        """Return the repository that commits are read from."""
        return self._trees.path

    def look(self) -> str:
        """Ask which object the ref names at the remote; raises FetchFailed, GitSlow and GitEnded."""
        if self.remote.is_pinned:
            return self.remote.ref
        for name, _, ref in (line.partition("\t") for line in self._listed()):
            if ref == self.remote.ref:  # git lists every ref that ends like ours
                self._named = name
                return name
        raise FetchFailed(f"{self.remote.url} has no {self.remote.ref}", "name another branch or tag")

    def _listed(self) -> list[str]:
        self._trees.prepare()
        return self._trees.asked("ls-remote", "--quiet", "--refs", "origin", self.remote.ref).splitlines()

    def fetch(self) -> str:
        """Fetch what the ref names now and return its commit; raises FetchFailed, GitSlow and GitEnded."""
        if not self._trees.is_sound():
            self.drop()
        self._fetch_into(self._trees, self._fetch_trees)
        commit = self._trees.commit(TIP)
        if commit is None:
            raise FetchFailed(f"{self.remote.ref} of {self.remote.url} names no commit", "name another branch or tag")
        return commit

    def _fetch_trees(self) -> None:
        self._trees.prepare(self._named)
        depth = () if self._trees.commit(TIP) else ("--depth=1",)
        self._trees.fetch(f"--filter=blob:limit={LARGE}", *depth)

    def _fetch_into(self, bare: "_Bare", fetch: Callable[[], None]) -> None:
        """Fetch, and all anew where the remote answers and the fetch fails: what is here may be what stands against it."""
        try:
            fetch()
        except FetchFailed:
            if bare.is_empty() or not self._answers():
                raise
            bare.drop()
            fetch()

    def _answers(self) -> bool:
        """Say whether the remote still has the ref, as far as it lists it; raises FetchFailed where it does not answer."""
        return bool(self._listed()) or self.remote.is_pinned

    def complete(self, blobs: Sequence[str]) -> None:
        """Fetch files that were left out, or everything of the head from a host that hands out no single files.

        Raises FetchFailed, GitSlow and GitEnded.
        """
        try:
            self._trees.fetch_blobs(blobs)
        except FetchFailed:
            if not self._answers():
                raise
            self._trees.drop()
            self._trees.prepare(self._named)
            self._trees.fetch("--depth=1")

    def end(self) -> None:
        """End what is under way with the remote; nothing begins any more."""
        self._commands.end()

    def tip(self) -> str:
        """Return the object that was fetched last: a commit, or the tag that names it; "" before any."""
        answer = (
            asked(self.root, "rev-parse", "--verify", "--quiet", "--end-of-options", TIP) if self._is_there else None
        )
        return answer.output.decode().strip() if answer is not None else ""

    def commit(self) -> str | None:
        """Return the commit that was fetched last, None where it is not here."""
        return self._trees.commit(TIP) if self._is_there else None

    def holds(self, commit: str) -> bool:
        """Is everything of a commit here that is fetched?"""
        return self._is_there and self._trees.is_whole(commit)

    def keep(self, commit: str) -> None:
        """Keep a commit, since it was carried out: the next ones are compared with it."""
        self._trees.keep(commit)
        with self._history_in_use:
            if self._history.has(commit):
                self._history.keep(commit)

    def between(self, last: str, commit: str, commits_max: int) -> tuple[Path, list[str]] | None:
        """Return where the history lies, and all commits that `commit` has in it and `last` has not, the oldest first.

        Of more than `commits_max` it returns one more than that. None where nobody knows what `last` has.
        Raises FetchFailed and GitSlow.
        """
        if not (self._history.has(last) and self._history.has(commit)):
            self._fetch_history()
        if not self._history.has(commit):
            raise FetchFailed(f"{self.remote.ref} names {commit[:12]} no longer", "it is fetched anew")
        if not self._history.has(last):
            return None
        return self._history.path, self._history.commits(last, commit, commits_max + 1)

    def descends(self, commit: str, ancestor: str) -> bool:
        """Is `ancestor` in the history of `commit`? The commits before it are fetched where that is not known.

        Raises FetchFailed and GitSlow.
        """
        if commit == ancestor or self._trees.is_ancestor(ancestor, commit):
            return True
        self._fetch_history()
        return self._history.is_ancestor(ancestor, commit)

    def _fetch_history(self) -> None:
        with self._history_in_use:
            self._fetch_into(self._history, self._fetch_commits)

    def _fetch_commits(self) -> None:
        self._history.prepare(self.tip())
        self._history.fetch("--filter=tree:0")

    def drop(self) -> None:
        """Throw the mirror away: it is fetched anew."""
        self._trees.drop()
        self._history.drop()

    @property
    def _is_there(self) -> bool:
        return self.root.is_dir()


class _Bare:
    """A bare repository whose one remote is `origin`."""

    def __init__(self, path: Path, remote: Remote, commands: Commands) -> None:
        self.path = path
        self._remote = remote
        self._commands = commands

    def prepare(self, named: str = "") -> None:
        """Make an empty one where there is none of this remote, in one step; with names like `named`, if that is given."""
        source = f"{self._remote.url} {self._remote.ref}"
        facts = {"sha1": f"{source}\n", "sha256": f"{source} sha256\n"}
        kind = "sha256" if len(named) == SHA256_DIGITS else "sha1"
        marker = self.path / "source"
        if marker.exists() and marker.read_text() in ((facts[kind],) if named else facts.values()):
            return
        self.drop()
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = self.path.with_name(f".{self.path.name}.new")
        shutil.rmtree(new, ignore_errors=True)
        git(self.path.parent, "init", "--quiet", "--bare", "--template=", f"--object-format={kind}", str(new))
        git(new, "config", "remote.origin.url", self._remote.url)
        asking = new / "asking"
        asking.write_text(ASKING)
        asking.chmod(0o700)
        (new / "source").write_text(facts[kind])
        new.rename(self.path)

    def drop(self) -> None:
        """Delete it."""
        shutil.rmtree(self.path, ignore_errors=True)

    def fetch(self, *options: str) -> None:
        """Fetch the ref as TIP, and tidy up."""
        self._sweep()
        shallow = "--update-shallow"  # git leaves out silently what a remote that is shallow itself has at its edge
        self.asked("fetch", *ALWAYS, shallow, *options, "origin", f"+{self._remote.ref}:{TIP}")
        self.asked("gc", "--quiet", "--auto")

    def fetch_blobs(self, names: Sequence[str]) -> None:
        """Fetch these objects, as git does by itself where it may reach a remote."""
        self._sweep()
        given = "".join(f"{name}\n" for name in names).encode()
        self.asked("fetch", *ALWAYS, "--filter=blob:none", "--stdin", "origin", given=given)

    def keep(self, commit: str) -> None:
        """Have KEPT name a commit."""
        self._sweep()
        git(self.path, "update-ref", KEPT, commit)

    def commit(self, name: str) -> str | None:
        """Return the commit that a ref of ours names, None where it names none."""
        answer = asked(self.path, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
        return None if answer.status else answer.output.decode().strip()

    def has(self, commit: str) -> bool:
        """Is a commit here, whatever of its files is?"""
        return self.path.is_dir() and asked(self.path, "cat-file", "-e", f"{commit}^{{commit}}").status == 0

    def commits(self, last: str, commit: str, most: int) -> list[str]:
        """Return the newest commits that one has and the other has not, the oldest of them first."""
        order = ("--topo-order", "--reverse", f"--max-count={most}")
        return git(self.path, "rev-list", *order, "--end-of-options", commit, f"^{last}").decode().split()

    def is_empty(self) -> bool:
        """Was nothing fetched yet?"""
        return not any((self.path / name).exists() for name in ("shallow", "packed-refs", "refs/reconciler"))

    def is_sound(self) -> bool:
        """Is everything there that was fetched last? Where nothing was, nothing is missing."""
        if not (self.path / "refs").is_dir() or asked(self.path, "show-ref", "--quiet", TIP).status:
            return True
        return self.is_whole(TIP)

    def is_whole(self, commit: str) -> bool:
        """Is everything of a commit here, but for what the remote keeps for us?"""
        options = ("--objects", "--quiet", "--missing=allow-promisor", "--max-count=1", "--end-of-options")
        return asked(self.path, "rev-list", *options, commit).status == 0

    def is_ancestor(self, ancestor: str, commit: str) -> bool:
        """Is one commit in the history of the other, as far as it is here?"""
        return asked(self.path, "merge-base", "--is-ancestor", ancestor, commit).status == 0

    def asked(self, *arguments: str, given: bytes | None = None) -> str:
        """Run a command that may speak with the remote and return its output; raises FetchFailed, GitSlow and GitEnded."""
        settings = (*_settings(self._remote.login), *(NEGOTIATING_NOTHING if given is not None else ()))
        terms = Terms(settings, dict(self._variables()), self._remote.timeout, self._commands)
        answer = asked(self.path, *arguments, terms=terms, given=given)
        if answer.status:
            raise FetchFailed(f"{self._remote.url}: {_reason(answer.said)}")
        return answer.output.decode(errors="replace")

    def _sweep(self) -> None:
        """Remove what commands that were killed have left, parts of packs and locks: nobody but us writes here."""
        for pattern in LEFT_BEHIND:
            for left in self.path.glob(pattern):
                left.unlink(missing_ok=True)

    def _variables(self) -> Iterator[tuple[str, str]]:
        login = self._remote.login
        if login.password_file is not None:
            yield LOGIN_FILE, str(login.password_file)
            yield LOGIN_NAME, login.username
            yield "GIT_ASKPASS", str(self.path / "asking")
        yield "GIT_SSH_COMMAND", " ".join(_ssh(login))
        if login.proxy and (host := host_by_ssh(self._remote.url)):
            yield tunnel.PROXY, login.proxy
            yield tunnel.TARGET, host
            yield PYTHON, sys.executable
            yield "SHELL", "/bin/sh"  # which ssh starts the tunnel with
        yield "HOME", str(self.path)  # neither a .netrc nor a .ssh of whoever runs the server


def _settings(login: Login) -> Iterator[str]:
    yield "protocol.allow=never"
    yield from (f"protocol.{name}.allow=always" for name in ("https", "http", "ssh", "file"))
    yield from ("core.askPass=", "credential.helper=", "fetch.fsckObjects=true", "gc.autoDetach=false")
    yield from (f"http.lowSpeedLimit={SLOWEST}", f"http.lowSpeedTime={STALLED}", "http.followRedirects=false")
    if login.certificates is not None:
        yield f"http.sslCAInfo={login.certificates}"
    if login.proxy:
        yield f"http.proxy={login.proxy}"


def _ssh(login: Login) -> Iterator[str]:
    known = login.known_hosts or os.devnull
    yield from ("ssh", "-F", os.devnull, "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes")
    yield from ("-o", f"UserKnownHostsFile={_quoted(known)}", "-o", f"GlobalKnownHostsFile={os.devnull}")
    yield from ("-o", f"ConnectTimeout={STALLED}", "-o", f"ServerAliveInterval={STALLED}")
    if login.proxy:
        yield from ("-o", _quoted(f'ProxyCommand="${PYTHON}" -P -m {tunnel.__name__}'))
    if login.ssh_key is not None:
        yield from ("-o", "IdentitiesOnly=yes", "-i", _quoted(login.ssh_key))


def host_by_ssh(url: str) -> str:
    """Return `HOST:PORT` of an address that is reached by ssh, IPv6 in brackets; "" for any other. Raises ValueError."""
    if "://" not in url:
        found = SCP_LIKE.fullmatch(url)
        return f"{found[1]}:{SSH_PORT}" if found is not None else ""
    parts = urlsplit(url)
    if parts.scheme != "ssh" or not parts.hostname:
        return ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{host}:{parts.port or SSH_PORT}"


def _quoted(path: Path | str) -> str:
    """Return a word as git's shell takes it for ssh."""
    return "'" + str(path).replace("'", "'\\''") + "'"


def _reason(said: str) -> str:
    """Return the line that says what is wrong: git's, or ssh's where git only says that it could not read.

    A status of HTTP is said in one way, whichever of git's requests has met it.
    """
    if status := HTTP_STATUS.search(said):
        return f"its host answers with the status {status[1]}"
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    verdicts = [place for place, line in enumerate(lines) if line.startswith(("fatal:", "error:"))]
    if not verdicts:
        return lines[-1] if lines else "it said nothing"
    if found := next((line for line in lines if line.startswith(tunnel.SAYS)), ""):
        return found.removeprefix(tunnel.SAYS)  # ssh says only that it was closed
    first = verdicts[0]
    if "Could not read from remote repository" in lines[first] and first > 0:
        return lines[first - 1]
    return lines[first].removeprefix("fatal: ").removeprefix("error: ")
