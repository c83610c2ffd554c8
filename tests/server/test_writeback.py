"""What Git declares is changed by one commit of one file: in a bare repository, against others, and against a remote's no."""

import subprocess
from pathlib import Path

import pytest

from reconciler.declare.editing import Assigned
from reconciler.declare.git import Terms
from reconciler.declare.source import open_tree
from reconciler.model.errors import Conflict, UsageMistake
from reconciler.model.spec import Address
from reconciler.server.forge.commits import NETWORK, Checkout, Credit, PushRefused, Signature
from reconciler.server.forge.writeback import PUSHES_MAX, Faulty, PushedOut, Wish, commit, publish, rewritten, write
from tests.cli.workplace import POOL, worker
from tests.declare.repository import Repository

ADA = Signature("Ada", "ada@example.org")
CREDIT = Credit("Drain worker-1: disk swap\n", ADA, Signature("Server", "server@example.org"))
DRAIN = Wish(Address("Worker", "worker-1"), (Assigned(("state",), "draining", "enabled", ("pools",)),))
TERMS = Terms(NETWORK)
MAIN = ("origin", "refs/heads/main")
DRAINED = worker("worker-1", "blue").replace("spec: {", "spec: {state: draining, ")


class Pair:
    """A bare repository with declarations, and two that were cloned from it: a bare one of ours, and another's."""

    def __init__(self, root: Path, folder: str = "") -> None:
        self.remote = root / "remote.git"
        subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(self.remote)], check=True)
        self.other = Repository(root / "other")
        self.prefix = f"{folder}/" if folder else ""
        self.other.write(f"{self.prefix}pool.yaml", POOL % "blue")
        self.other.write(f"{self.prefix}worker.yaml", worker("worker-1", "blue"))
        self.other.commit()
        self.other.git("remote", "add", "origin", str(self.remote))
        self.other.git("push", "-q", "-u", "origin", "main")
        self.ours = root / "ours.git"
        subprocess.run(["git", "clone", "-q", "--bare", str(self.remote), str(self.ours)], check=True)

    def shown(self, name: str) -> str:
        """Return a file of the remote's branch."""
        path = f"main:{self.prefix}{name}"
        return subprocess.run(["git", "show", path], cwd=self.remote, capture_output=True, check=True).stdout.decode()

    def log(self) -> list[str]:
        """Return the first lines of the remote's commits, the newest first."""
        done = subprocess.run(["git", "log", "--format=%s"], cwd=self.remote, capture_output=True, check=True)
        return done.stdout.decode().splitlines()

    def hook(self, name: str, script: str) -> None:
        """Let the remote run a script before it takes a push."""
        file = self.remote / "hooks" / name
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


def test_a_bare_repository_is_enough(pair: Pair) -> None:
    done = publish(pair.ours, "", MAIN, DRAIN, credit=CREDIT, terms=TERMS)
    assert done.commit is not None
    assert pair.shown("worker.yaml") == DRAINED
    assert pair.log() == ["Drain worker-1: disk swap", "a change"]
    facts = ["git", "show", "-s", "--format=%an <%ae>, %cn <%ce>", "main"]
    said = subprocess.run(facts, cwd=pair.remote, capture_output=True, check=True).stdout.decode()
    assert said == "Ada <ada@example.org>, Server <server@example.org>\n"
    heads = subprocess.run(["git", "rev-parse", "main"], cwd=pair.ours, capture_output=True, check=True).stdout.decode()
    assert heads.strip() == done.base, "no branch here moved"


def test_a_space_in_a_folder_of_it_is_found(tmp_path: Path) -> None:
    pair = Pair(tmp_path, "infra/eu")
    done = publish(pair.ours, "infra/eu", MAIN, DRAIN, credit=CREDIT, terms=TERMS)
    assert pair.shown("worker.yaml") == DRAINED
    assert done.rewritten.patch.startswith("diff --git a/infra/eu/worker.yaml b/infra/eu/worker.yaml\n")


def test_what_the_remote_declares_already_is_not_pushed(pair: Pair) -> None:
    publish(pair.ours, "", MAIN, DRAIN, credit=CREDIT, terms=TERMS)
    done = publish(pair.ours, "", MAIN, DRAIN, credit=CREDIT, terms=TERMS)
    assert done.commit is None
    assert len(pair.log()) == 2


def test_what_others_pushed_before_stays(pair: Pair) -> None:
    pair.other.write("worker.yaml", "# Ours since March.\n" + worker("worker-1", "blue") + "# Its end.\n")
    pair.other.commit()
    pair.other.git("push", "-q")
    publish(pair.ours, "", MAIN, DRAIN, credit=CREDIT, terms=TERMS)
    assert pair.shown("worker.yaml") == f"# Ours since March.\n{DRAINED}# Its end.\n"


def test_a_branch_that_moves_while_it_is_pushed_gets_the_change_on_top_of_that(pair: Pair) -> None:
    pair.hook("pre-receive", moving(times=2))
    publish(pair.ours, "", MAIN, DRAIN, credit=CREDIT, terms=TERMS)
    assert pair.log() == ["Drain worker-1: disk swap", "a rival", "a rival", "a change"]
    assert pair.shown("worker.yaml") == DRAINED


def moving(times: int) -> str:
    """Return a hook that moves the branch so often, each time when a push was begun."""
    return f"""
echo . >> moved
[ $(wc -l < moved) -gt {times} ] && exit 0
env -i PATH="$PATH" GIT_AUTHOR_NAME=r GIT_AUTHOR_EMAIL=r@x GIT_COMMITTER_NAME=r GIT_COMMITTER_EMAIL=r@x sh -c '
git update-ref refs/heads/main $(git commit-tree -p main -m "a rival" "main^{{tree}}")'"""


def test_a_branch_that_moves_every_time_is_left_after_some_tries(pair: Pair) -> None:
    pair.hook("pre-receive", moving(times=100))
    with pytest.raises(PushedOut) as caught:
        publish(pair.ours, "", MAIN, DRAIN, credit=CREDIT, terms=TERMS)
    assert caught.value.message == "origin moved on 5 times while this was pushed; nothing was changed"
    assert caught.value.hint == "run the command again"
    assert "spec: {state: draining, " in caught.value.patch
    assert pair.log() == ["a rival"] * PUSHES_MAX + ["a change"]


def test_a_remote_that_refuses_says_why_and_is_asked_once(pair: Pair) -> None:
    pair.hook("pre-receive", "echo asked >> asked; echo 'main is protected'; exit 1")
    with pytest.raises(PushRefused) as caught:
        publish(pair.ours, "", MAIN, DRAIN, credit=CREDIT, terms=TERMS)
    assert caught.value.message == "origin does not take the commit: main is protected"
    assert caught.value.hint == "nothing was changed here"
    assert caught.value.patch.startswith("diff --git a/worker.yaml b/worker.yaml\n")
    assert (pair.remote / "asked").read_text() == "asked\n"
    assert pair.log() == ["a change"]


def test_a_remote_that_is_gone_is_named_without_its_credentials(pair: Pair) -> None:
    subprocess.run(["git", "config", "remote.origin.url", "http://ada:secret@127.0.0.1:1/x"], cwd=pair.ours, check=True)
    with pytest.raises(UsageMistake) as caught:
        publish(pair.ours, "", MAIN, DRAIN, credit=CREDIT, terms=TERMS)
    assert caught.value.message.startswith("origin does not give refs/heads/main: ")
    assert "secret" not in caught.value.message


def test_a_program_as_transport_is_not_started(pair: Pair, tmp_path: Path) -> None:
    trap = f"ext::touch {tmp_path}/sprung"
    subprocess.run(["git", "config", "remote.origin.url", trap], cwd=pair.ours, check=True)
    with pytest.raises(UsageMistake, match="transport 'ext' not allowed"):
        publish(pair.ours, "", MAIN, DRAIN, credit=CREDIT, terms=TERMS)
    assert not (tmp_path / "sprung").exists()


def test_a_change_that_would_make_an_error_is_refused_as_a_whole(pair: Pair) -> None:
    wish = Wish(DRAIN.address, (Assigned(("drain", "deadline"), "soon"),))
    with pytest.raises(Faulty) as caught:
        publish(pair.ours, "", MAIN, wish, credit=CREDIT, terms=TERMS)
    assert str(caught.value) == "the declarations would hold 1 error with this change; nothing was changed"
    assert pair.log() == ["a change"]


def test_hooks_signing_and_settings_of_people_do_not_come_in(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = pair.other.root
    for name in ("pre-commit", "commit-msg", "post-commit", "post-checkout", "reference-transaction", "pre-push"):
        hook = root / ".git" / "hooks" / name
        hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung-{name}\nexit 1\n")
        hook.chmod(0o755)
    pair.other.git("config", "commit.gpgSign", "true")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Mallory")
    commit(Checkout.of(root), root, DRAIN, credit=CREDIT)
    monkeypatch.undo()
    assert list(tmp_path.glob("sprung-*")) == []
    assert pair.other.git("log", "-1", "--format=%an: %s") == "Ada: Drain worker-1: disk swap"
    assert pair.other.git("status", "--porcelain") == ""


def test_what_is_staged_or_changed_elsewhere_stays_out_of_the_commit(pair: Pair) -> None:
    pair.other.write("staged.yaml", POOL % "green")
    pair.other.git("add", "staged.yaml")
    pair.other.write("pool.yaml", (POOL % "blue") + "# half a thought\n")
    pair.other.write("new.txt", "x")
    before = pair.other.git("status", "--porcelain")
    commit(Checkout.of(pair.other.root), pair.other.root, DRAIN, credit=CREDIT)
    assert pair.other.git("show", "--format=", "--name-only", "HEAD") == "worker.yaml"
    assert pair.other.git("status", "--porcelain") == before


def test_line_ends_that_git_translates_are_those_of_each_place(tmp_path: Path) -> None:
    place = Repository(tmp_path / "space")
    place.write(".gitattributes", "*.yaml text eol=crlf\n")
    place.write("pool.yaml", POOL % "blue")
    (place.root / "worker.yaml").write_bytes(worker("worker-1", "blue").replace("\n", "\r\n").encode())
    place.commit()
    commit(Checkout.of(place.root), place.root, DRAIN, credit=CREDIT)
    assert (place.root / "worker.yaml").read_bytes() == DRAINED.replace("\n", "\r\n").encode()
    assert place.git("cat-file", "blob", "HEAD:worker.yaml") == DRAINED.strip()
    assert place.git("status", "--porcelain") == ""


def test_a_file_keeps_its_mode_and_is_never_half_written(pair: Pair) -> None:
    root, file = pair.other.root, pair.other.root / "worker.yaml"
    file.chmod(0o640)
    change = rewritten(open_tree(root), DRAIN)
    write(root, change)
    assert file.read_text() == DRAINED
    assert file.stat().st_mode & 0o7777 == 0o640
    file.write_text("# by somebody else\n")
    with pytest.raises(Conflict) as caught:
        write(root, change)
    assert caught.value.message == "worker.yaml was changed meanwhile; nothing was written"
    assert file.read_text() == "# by somebody else\n"
    assert [path.name for path in root.iterdir() if path.name.startswith(".worker")] == []


@pytest.mark.parametrize(
    "name", ["plain.yaml", "with a space.yaml", 'a "quote".yaml', "größe.yaml", "back\\slash.yaml"]
)
@pytest.mark.parametrize(
    "content", [DRAINED, DRAINED.rstrip("\n"), DRAINED.replace("\n", "\r\n")], ids=["LF", "no end", "CRLF"]
)
def test_git_applies_the_patch(tmp_path: Path, name: str, content: str) -> None:
    place = Repository(tmp_path / "space")
    place.write("pool.yaml", POOL % "blue")
    (place.root / name).write_bytes(content.replace("state: draining", "state: enabled").encode())
    place.commit()
    change = rewritten(open_tree(place.root), DRAIN)
    subprocess.run(["git", "apply", "--index", "-"], cwd=place.root, input=change.patch.encode(), check=True)
    assert (place.root / name).read_bytes() == content.encode()
