"""One commit of one file, written without a checkout; its way to a remote, and into a checkout of the branch."""

import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reconciler.declare.git import TIMEOUT, GitFailed, Terms, asked, git
from reconciler.declare.source import blob_name
from reconciler.model.errors import ReconcilerError, UsageMistake

FETCHED = "refs/reconcile/fetched"
"""What the remote's branch named when it was asked last."""

NEW_MODE = "100644"
"""What a file is to Git that was not there before."""

NETWORK = (
    "protocol.allow=never",
    *(f"protocol.{name}.allow=always" for name in ("file", "git", "http", "https", "ssh")),
)
"""No other transport: some start programs that an address names."""

SIGNED_WITHIN = 300.0
"""Seconds in which a person has touched their key, or typed its passphrase."""

_SIGNATURE = re.compile(r"([^<>\n]*[^<>\s])\s*<([^<>\s]+)>")
_BUSY = ("cannot lock ref", "failed to lock", "failed to update ref", "incorrect old value", "reference already exists")
_SIGNING = r"^(gpg\.|user\.signingkey$|commit\.gpgsign$)"
_TRANSPORT = r"^(credential|http|url)\.|^core\.(sshcommand|askpass)$"


class PushRefused(ReconcilerError):
    """The remote does not take the commit; `patch` is what could not be pushed."""

    def __init__(self, remote: str, reason: str) -> None:
        super().__init__(f"{remote} does not take the commit: {reason}", "nothing was changed here")
        self.patch = ""


class NotSigned(ReconcilerError):
    """The person's program does not sign; nothing is written."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"Git does not sign the commit: {reason}",
            "nothing was changed; see that `git commit -S` works here, or leave --commit away and sign it by hand",
        )


@dataclass(frozen=True, slots=True)
class Signature:
    """Who a commit is by."""

    name: str
    mail: str

    @classmethod
    def parse(cls, text: str) -> "Signature":
        """Read `Name <mail>`; raises UsageMistake."""
        found = _SIGNATURE.fullmatch(text.strip())
        if found is None:
            raise UsageMistake(f"--author {text}: a name and an address are expected, such as 'Ada <ada@example.org>'")
        return cls(found[1], found[2])


@dataclass(frozen=True, slots=True)
class Credit:
    """What a commit says of itself: its message, who wrote it, who made it; it is signed by `signing`, or by nobody."""

    message: str
    author: Signature
    committer: Signature
    signing: "Signing | None" = None


@dataclass(frozen=True, slots=True)
class Signing:
    """The settings of Git by which a person signs, beside those of the repository."""

    settings: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Checkout:
    """A checkout of a branch: the repository's top, the space's `folder` in it, `refs/heads/…` and its commit."""

    top: Path
    folder: str
    branch: str
    head: str

    @classmethod
    def of(cls, root: Path) -> "Checkout":
        """Return the checkout that a space lies in; raises UsageMistake where it is none that can be committed to."""
        found = asked(root, "rev-parse", "--show-toplevel")
        if found.status:
            raise UsageMistake(f"{root} is in no repository", "leave --commit and --push out, or make it one: git init")
        top = Path(found.output.decode(errors="surrogateescape").rstrip("\n"))
        branch = asked(root, "symbolic-ref", "--quiet", "HEAD")
        if branch.status:
            raise UsageMistake(f"no branch is checked out in {top}", "check one out: git switch BRANCH")
        head = asked(root, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
        if head.status:
            raise UsageMistake(f"{top} holds no commit yet", "commit the declarations first")
        folder = "" if root == top else root.relative_to(top).as_posix()
        return cls(top, folder, branch.output.decode().strip(), head.output.decode().strip())

    @property
    def short(self) -> str:
        """The branch as people call it."""
        return self.branch.removeprefix("refs/heads/")

    def path(self, file: str) -> str:
        """Return the way from the repository's top to a file of the space."""
        return f"{self.folder}/{file}" if self.folder else file

    def refuse_changes(self, path: str, wanted: bytes) -> None:
        """Raise UsageMistake where a file has changes of its own, beside those that lead to `wanted`.

        A file that the commit does not have may be missing.
        """
        listed = git(self.top, "ls-files", "-z", "--stage", "--", f":(literal){path}").decode().split()
        staged = listed[1:3] or ["", "0"]
        fine = {_entry(self.top, self.head, path)[1], blob_name(wanted)}
        if staged[1:] != ["0"] or staged[0] not in fine or self._cleaned(path) not in fine:
            hint = "commit or undo them first, or leave --commit and --push out"
            raise UsageMistake(f"{path} has changes that are not committed, and they would go with this one", hint)

    def move(self, commit: str, path: str) -> None:
        """Let the branch and the index follow to a commit that changes one file, which is written already."""
        mode, blob = _entry(self.top, commit, path)
        git(self.top, "update-index", "--add", "--cacheinfo", f"{mode},{blob},{path}")
        self._advance(commit)

    def follow(self, commit: str, path: str) -> bool:
        """Let branch, index and files follow to a later commit; False, and they stay, where changes are in the way.

        What `path` holds may be that commit's already.
        """
        mode, blob = _entry(self.top, commit, path)
        if blob and self._cleaned(path) == blob:
            git(self.top, "update-index", "--add", "--cacheinfo", f"{mode},{blob},{path}")
        if asked(self.top, "read-tree", "-m", "-u", self.head, commit).status:
            return False
        self._advance(commit)
        return True

    def _cleaned(self, path: str) -> str:
        """Return the name that Git would give to what a file holds now; empty where there is none."""
        try:
            content = (self.top / path).read_bytes()
        except FileNotFoundError:
            return ""
        return git(self.top, "hash-object", f"--path={path}", "--stdin", given=content).decode().strip()

    def _advance(self, commit: str) -> None:
        git(self.top, "update-ref", "-m", "reconcile: write back", self.branch, commit, self.head)

    def remotes(self) -> list[str]:
        """Return the names of the remotes that Git knows here."""
        return git(self.top, "remote").decode().split()

    def upstream(self, remote: str | None) -> tuple[str, str]:
        """Return the remote, and what the branch is called there; raises UsageMistake where there is no such remote."""
        configured = _setting(self.top, f"branch.{self.short}.remote")
        name = remote or configured or "origin"
        known = self.remotes()
        if name not in known:
            raise UsageMistake(
                f'there is no remote "{name}"', f"git knows {', '.join(known) or 'none'}; name one with --remote"
            )
        merged = _setting(self.top, f"branch.{self.short}.merge") if name == configured else ""
        return name, merged or self.branch


def write_commit(repository: Path, base: str, path: str, content: bytes, credit: Credit) -> str:
    """Write a commit that follows `base` and has another content in one file, or one more; return its name.

    No ref moves.
    """
    blob = git(repository, "hash-object", "-w", "--stdin", given=content).decode().strip()
    mode = _entry(repository, base, path)[0] or NEW_MODE
    with tempfile.TemporaryDirectory(prefix="reconcile-") as folder:
        terms = Terms(environment={"GIT_INDEX_FILE": str(Path(folder) / "index")})
        git(repository, "read-tree", base, terms=terms)
        git(repository, "update-index", "--add", "--cacheinfo", f"{mode},{blob},{path}", terms=terms)
        tree = git(repository, "write-tree", "--missing-ok", terms=terms).decode().strip()
    signing = credit.signing
    terms = Terms(
        environment=_credit(credit) | (_as_variables(signing.settings) if signing is not None else {}),
        timeout=SIGNED_WITHIN if signing is not None else TIMEOUT,
    )
    arguments = ("commit-tree", *(("-S",) if signing is not None else ()), "-p", base, "-F", "-", tree)
    made = asked(repository, *arguments, terms=terms, given=credit.message.encode(errors="replace"))
    if made.status and signing is not None:
        raise NotSigned(_reason(made.said))
    if made.status:
        raise GitFailed(arguments, made.said)
    return made.output.decode().strip()


def fetched(repository: Path, remote: str, ref: str, terms: Terms) -> str:
    """Fetch a branch and return its commit; raises UsageMistake where the remote does not give it."""
    always = ("--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--no-auto-gc")
    answer = asked(repository, "fetch", *always, "--end-of-options", remote, f"+{ref}:{FETCHED}", terms=terms)
    if answer.status:
        raise UsageMistake(f"{remote} does not give {ref}: {_reason(answer.said)}", f"try: git fetch {remote}")
    return git(repository, "rev-parse", "--verify", "--quiet", f"{FETCHED}^{{commit}}").decode().strip()


def pushed(repository: Path, commit: str, remote: str, ref: str, terms: Terms) -> bool:
    """Push a commit, never by force; False where the branch has moved on. Raises PushRefused."""
    arguments = ("push", "--porcelain", "--no-verify", "--end-of-options", remote, f"{commit}:{ref}")
    answer = asked(repository, *arguments, terms=terms)
    if answer.status == 0:
        return True
    told = [line.split("\t")[-1] for line in answer.output.decode(errors="replace").splitlines() if line[:1] == "!"]
    words = " ".join(told)
    if words.startswith("[rejected]") or any(busy in words for busy in _BUSY):
        return False
    raise PushRefused(remote, _reason(answer.said) or words)


def is_ancestor(repository: Path, ancestor: str, commit: str) -> bool:
    """Say whether a commit is in the history of another, or is that one."""
    return asked(repository, "merge-base", "--is-ancestor", ancestor, commit).status == 0


def persons_signature(root: Path) -> Signature | None:
    """Return who the person is to Git, by the repository's settings or by their own; None where that is not said."""
    own = dict(_own_settings(root, r"^user\.(name|email)$"))
    name = _setting(root, "user.name") or own.get("user.name", "")
    mail = _setting(root, "user.email") or own.get("user.email", "")
    return Signature(name, mail) if name and mail else None


def persons_terms(root: Path) -> Terms:
    """Return how a person reaches remotes: their own settings for that, and no others of theirs."""
    return Terms(NETWORK, _as_variables(_own_settings(root, _TRANSPORT)))


def persons_signing(root: Path, wanted: bool | None) -> Signing | None:
    """Return how a person signs, where that is `wanted`, or else as `commit.gpgsign` says; None where nothing signs.

    The repository's own settings come first.
    """
    own = [(key, value) for key, value in _own_settings(root, _SIGNING) if not _setting(root, key)]
    said = _setting(root, "commit.gpgsign") or dict(own).get("commit.gpgsign", "false")
    if wanted is None:
        wanted = said.lower() not in {"false", "no", "off", "0"}
    return Signing(tuple(own)) if wanted else None


def _as_variables(settings: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return settings as variables: as arguments everybody on the machine could read them."""
    variables = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (key, value) in enumerate(settings):
        variables |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return variables


def _own_settings(root: Path, pattern: str) -> list[tuple[str, str]]:
    """Return the settings of the person that runs this, in Git's order."""
    home = Path.home()
    shared = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "git" / "config"
    found = []
    for file in (shared, home / ".gitconfig"):
        if file.is_file():
            answer = asked(root, "config", "--file", str(file), "--includes", "--null", "--get-regexp", pattern)
            entries = answer.output.decode(errors="surrogateescape").split("\0")[:-1]
            found += [(key, value) for key, _, value in (entry.partition("\n") for entry in entries)]
    return found


def _setting(root: Path, name: str) -> str:
    answer = asked(root, "config", "--get", name)
    return answer.output.decode(errors="surrogateescape").rstrip("\n") if answer.status == 0 else ""


def _entry(repository: Path, commit: str, path: str) -> tuple[str, str]:
    """Return mode and blob of a file in a commit; empty where it is not there."""
    listed = git(repository, "ls-tree", "-z", "--full-tree", commit, "--", f":(literal){path}").decode(
        errors="surrogateescape"
    )
    facts = listed.partition("\t")[0].split(" ")
    return (facts[0], facts[2]) if len(facts) == 3 else ("", "")


def _credit(credit: Credit) -> dict[str, str]:
    return {
        "GIT_AUTHOR_NAME": credit.author.name,
        "GIT_AUTHOR_EMAIL": credit.author.mail,
        "GIT_COMMITTER_NAME": credit.committer.name,
        "GIT_COMMITTER_EMAIL": credit.committer.mail,
    }


def _reason(said: str) -> str:
    """Return what the other end, or else git, gives as the reason; an address keeps no credentials."""
    lines = [line.strip() for line in re.sub(r"://[^/\s@]+@", "://", said).splitlines()]
    remote = [line.removeprefix("remote:").strip() for line in lines if line.startswith("remote:")]
    ours = [
        line.removeprefix("fatal: ").removeprefix("error: ") for line in lines if line.startswith(("fatal:", "error:"))
    ]
    return " ".join([line for line in remote if line] or ours[:1])[:500]
