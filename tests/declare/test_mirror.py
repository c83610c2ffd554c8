"""A mirror holds what was fetched of one ref, shallow and without large files, and knows what descends from what."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from reconciler.declare.git import GitEnded, GitFailed, GitSlow
from reconciler.declare.load import load
from reconciler.declare.mirror import FetchFailed, Login, Mirror, Remote, host_by_ssh
from reconciler.model.errors import UsageMistake
from reconciler.model.spec import Address

POOL = "apiVersion: reconciler/v1\nkind: WorkerPool\nmetadata: {{name: {name}}}\nspec: {{}}\n"


class Upstream:
    """A repository somewhere else."""

    def __init__(self, root: Path, *options: str) -> None:
        self.root = root
        root.mkdir()
        self.git("init", "--quiet", "--initial-branch=main", *options)
        self.git("config", "uploadpack.allowFilter", "true")

    def git(self, *arguments: str) -> str:
        scrubbed = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        who = ("-c", "user.name=Ann", "-c", "user.email=ann@example.com", "-c", "commit.gpgSign=false")
        done = subprocess.run(
            ["git", *who, *arguments], cwd=self.root, env=scrubbed, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def commit(self, **pools: str) -> str:
        for name, folder in pools.items():
            path = self.root / folder / f"{name}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(POOL.format(name=name))
        self.git("add", ".")
        self.git("commit", "--quiet", "--allow-empty", "--message", f"Add {', '.join(pools)}")
        return self.git("rev-parse", "HEAD")

    @property
    def url(self) -> str:
        return f"file://{self.root}"


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    return Upstream(tmp_path / "upstream")


def mirror_of(upstream: Upstream, tmp_path: Path, ref: str = "refs/heads/main") -> Mirror:
    return Mirror(tmp_path / "mirror", Remote(upstream.url, ref))


def test_the_head_is_fetched_alone_and_read_without_a_checkout(upstream: Upstream, tmp_path: Path) -> None:
    upstream.commit(old=".")
    head = upstream.commit(new="deploy/pools", beside="elsewhere")
    mirror = mirror_of(upstream, tmp_path)
    assert mirror.look() == head
    assert mirror.fetch() == head
    assert (mirror.root / "shallow").read_text().split() == [head]
    loaded = load(mirror.root, rev=head, folder="deploy")
    assert loaded.desired is not None
    assert set(loaded.desired.objects) == {Address("WorkerPool", "new")}
    assert loaded.desired.revision == head
    assert [found.position.file for found in loaded.desired.objects.values()] == ["pools/new.yaml"]


def test_a_folder_that_is_not_there_is_an_error_and_no_empty_space(upstream: Upstream, tmp_path: Path) -> None:
    upstream.commit(one=".")
    mirror = mirror_of(upstream, tmp_path)
    head = mirror.fetch()
    with pytest.raises(UsageMistake) as caught:
        load(mirror.root, rev=head, folder="deploy")
    assert str(caught.value) == f'there is no folder "deploy" in the commit {head[:12]}'


def test_what_is_large_is_not_fetched(upstream: Upstream, tmp_path: Path) -> None:
    (upstream.root / "film").write_bytes(os.urandom(3 << 20))
    upstream.commit(one=".")
    mirror = mirror_of(upstream, tmp_path)
    mirror.fetch()
    assert sum(file.stat().st_size for file in mirror.root.rglob("*") if file.is_file()) < 1 << 20


def test_later_commits_are_known_to_descend(upstream: Upstream, tmp_path: Path) -> None:
    first = upstream.commit(one=".")
    mirror = mirror_of(upstream, tmp_path)
    mirror.fetch()
    mirror.keep(first)
    for name in ("two", "three"):
        upstream.commit(**{name: "."})
    last = mirror.fetch()
    assert mirror.descends(last, first)
    assert not mirror.descends(first, last)


def test_a_mirror_that_was_lost_learns_from_the_remote_what_descends(upstream: Upstream, tmp_path: Path) -> None:
    first = upstream.commit(one=".")
    for name in ("two", "three"):
        upstream.commit(**{name: "."})
    mirror = mirror_of(upstream, tmp_path)
    last = mirror.fetch()  # shallow: what came before is not here
    assert mirror.descends(last, first)


def test_a_branch_that_was_rewritten_does_not_descend(upstream: Upstream, tmp_path: Path) -> None:
    base = upstream.commit(one=".")
    applied = upstream.commit(two=".")
    mirror = mirror_of(upstream, tmp_path)
    mirror.fetch()
    mirror.keep(applied)
    upstream.git("reset", "--quiet", "--hard", base)
    rewritten = upstream.commit(three=".")
    assert mirror.fetch() == rewritten
    assert not mirror.descends(rewritten, applied)


def test_a_revert_after_history_was_asked_for_is_read_whole(upstream: Upstream, tmp_path: Path) -> None:
    upstream.commit(one=".")
    base = upstream.commit(two=".")
    mirror = mirror_of(upstream, tmp_path)
    applied = mirror.fetch()
    assert mirror.descends(applied, base)
    upstream.git("rm", "--quiet", "one.yaml")
    upstream.commit(three=".")
    mirror.fetch()
    upstream.commit(one=".")
    head = mirror.fetch()
    loaded = load(mirror.root, rev=head)
    assert loaded.desired is not None
    assert {address.name for address in loaded.desired.objects} == {"one", "two", "three"}


def test_a_tag_that_was_made_with_a_message_names_its_commit(upstream: Upstream, tmp_path: Path) -> None:
    head = upstream.commit(one=".")
    upstream.git("tag", "--annotate", "--message", "first", "v1")
    mirror = mirror_of(upstream, tmp_path, "refs/tags/v1")
    assert mirror.look() == upstream.git("rev-parse", "v1")
    assert mirror.fetch() == head
    assert mirror.tip() == upstream.git("rev-parse", "v1")


def test_a_commit_may_be_named_itself(upstream: Upstream, tmp_path: Path) -> None:
    first = upstream.commit(one=".")
    upstream.commit(two=".")
    mirror = mirror_of(upstream, tmp_path, first)
    assert mirror.look() == first
    assert mirror.fetch() == first


def test_another_address_begins_a_new_mirror(upstream: Upstream, tmp_path: Path) -> None:
    upstream.commit(one=".")
    mirror_of(upstream, tmp_path).fetch()
    other = Upstream(tmp_path / "other")
    head = other.commit(two=".")
    mirror = Mirror(tmp_path / "mirror", Remote(other.url, "refs/heads/main"))
    assert mirror.fetch() == head
    assert not mirror.descends(head, upstream.git("rev-parse", "main"))


def test_a_mirror_can_be_thrown_away_at_any_time(upstream: Upstream, tmp_path: Path) -> None:
    head = upstream.commit(one=".")
    mirror = mirror_of(upstream, tmp_path)
    mirror.fetch()
    mirror.drop()
    assert mirror.tip() == ""
    assert mirror.fetch() == head


def test_what_a_fetch_that_was_killed_left_goes_with_the_next(upstream: Upstream, tmp_path: Path) -> None:
    upstream.commit(one=".")
    mirror = mirror_of(upstream, tmp_path)
    mirror.fetch()
    left = mirror.root / "objects" / "pack" / "tmp_pack_left"
    left.parent.mkdir(exist_ok=True)
    left.write_bytes(b"part of a pack")
    mirror.fetch()
    assert not left.exists()


def test_a_branch_that_is_not_there_is_said(upstream: Upstream, tmp_path: Path) -> None:
    upstream.commit(one=".")
    with pytest.raises(FetchFailed) as caught:
        mirror_of(upstream, tmp_path, "refs/heads/mian").look()
    assert caught.value.message == f"{upstream.url} has no refs/heads/mian"
    assert caught.value.hint == "name another branch or tag"


def test_a_repository_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(FetchFailed) as caught:
        Mirror(tmp_path / "mirror", Remote(f"file://{tmp_path}/nowhere", "refs/heads/main")).look()
    assert (
        caught.value.message
        == f"file://{tmp_path}/nowhere: '{tmp_path}/nowhere' does not appear to be a git repository"
    )


def test_a_remote_that_hangs_is_given_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/shop.git"
        with pytest.raises(GitSlow) as caught:
            Mirror(tmp_path / "mirror", Remote(url, "refs/heads/main", timeout=0.5)).look()
    assert caught.value.message == "git ls-remote took longer than 0.5 s and was stopped"
    assert caught.value.hint == "is the other end reachable, and quick enough?"


def test_no_credential_of_whoever_runs_the_server_is_used(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper = tmp_path / "helper"
    asked = tmp_path / "asked"
    helper.write_text(f"#!/bin/sh\ntouch {asked}\n")
    helper.chmod(0o755)
    (tmp_path / ".gitconfig").write_text(f"[credential]\n\thelper = {helper}\n[core]\n\taskPass = {helper}\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_ASKPASS", str(helper))
    upstream.commit(one=".")
    mirror_of(upstream, tmp_path).fetch()
    assert not asked.exists()


def test_a_password_is_read_from_its_file_and_stands_in_no_argument(upstream: Upstream, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("s3cret-of-git\n")
    mirror = Mirror(
        tmp_path / "mirror", Remote(upstream.url, "refs/heads/main", Login(username="ann", password_file=secret))
    )
    upstream.commit(one=".")
    mirror.fetch()
    asking = mirror.root / "asking"
    told = {"RECONCILER_LOGIN_FILE": str(secret), "RECONCILER_LOGIN_NAME": "ann", "PATH": os.environ["PATH"]}
    for question, answer in (
        ("Username for 'https://x': ", "ann\n"),
        ("Password for 'https://ann@x': ", "s3cret-of-git\n"),
    ):
        done = subprocess.run([asking, question], env=told, capture_output=True, text=True, check=True)
        assert done.stdout == answer
    for file in mirror.root.rglob("*"):
        assert not file.is_file() or b"s3cret-of-git" not in file.read_bytes()


def test_a_branch_whose_name_ends_like_ours_is_not_ours(upstream: Upstream, tmp_path: Path) -> None:
    first = upstream.commit(one=".")
    upstream.git("branch", "a/refs/heads/main")
    mirror = mirror_of(upstream, tmp_path)
    assert mirror.look() == mirror.fetch() == first
    moved = upstream.commit(two=".")
    assert mirror.look() == moved
    upstream.git("branch", "--move", "main", "gone")
    with pytest.raises(FetchFailed) as caught:
        mirror.look()
    assert caught.value.message == f"{upstream.url} has no refs/heads/main"


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("ssh://git@git.example.com/shop.git", "git.example.com:22"),
        ("ssh://git.example.com:2222/shop.git", "git.example.com:2222"),
        ("ssh://git@[2001:db8::1]:2222/shop.git", "[2001:db8::1]:2222"),
        ("git@git.example.com:platform/shop.git", "git.example.com:22"),
        ("https://git.example.com/shop.git", ""),
        ("file:///srv/shop.git", ""),
        ("/srv/git@host:shop.git", ""),
    ],
)
def test_a_tunnel_leads_to_the_host_of_the_address(url: str, host: str) -> None:
    assert host_by_ssh(url) == host


def test_what_came_since_is_told_from_the_history_alone(upstream: Upstream, tmp_path: Path) -> None:
    first = upstream.commit(one=".")
    second, third = upstream.commit(two="."), upstream.commit(three=".")
    mirror = mirror_of(upstream, tmp_path)
    assert mirror.fetch() == third
    found = mirror.between(first, third, 10)
    assert found is not None
    assert found[1] == [second, third]
    assert mirror.between(first, third, 0) == (found[0], [third])
    assert mirror.between("0" * 40, third, 10) is None
    with pytest.raises(FetchFailed) as caught:
        mirror.between(first, "1" * 40, 10)
    assert caught.value.message == "refs/heads/main names 111111111111 no longer"
    assert not mirror.holds(first)


def test_a_mirror_that_is_not_there_is_said(upstream: Upstream, tmp_path: Path) -> None:
    head = upstream.commit(one=".")
    mirror = mirror_of(upstream, tmp_path)
    with pytest.raises(GitFailed) as caught:
        mirror.keep(head)
    assert caught.value.message == f"git update-ref failed: {mirror.root} is not there"
    assert not mirror.holds(head)


SLOW_SSH = """\
#!/bin/sh
for command; do :; done
eval "$command" | (dd bs=1 count=20000; exec sleep 600)
"""
"""Stands for ssh: the other end is this machine, and falls silent after 20,000 bytes."""


@contextmanager
def silent_remote(upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    """Begin a fetch that the remote never ends, and hand it over once its locks are taken."""
    (upstream.root / "noise").write_bytes(os.urandom(500_000))
    upstream.commit(one=".")
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "ssh").write_text(SLOW_SSH)
    (programs / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    mirror = Mirror(tmp_path / "mirror", Remote(f"ssh://host{upstream.root}", "refs/heads/main"))
    with ThreadPoolExecutor(1) as pool:
        fetching = pool.submit(mirror.fetch)
        lock = mirror.root / "shallow.lock"
        while not lock.exists():
            assert not fetching.done(), fetching.exception()
            time.sleep(0.01)
        yield mirror
        with pytest.raises(GitEnded) as caught:
            fetching.result(timeout=20)
        assert caught.value.message == "git fetch was stopped, since the server stops"


def test_a_fetch_under_way_ends_at_once_when_the_server_stops(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with silent_remote(upstream, tmp_path, monkeypatch) as mirror:
        mirror.end()
    with pytest.raises(GitEnded) as caught:
        mirror.look()
    assert caught.value.message == "git ls-remote was stopped, since the server stops"


def test_the_locks_of_a_fetch_that_was_killed_stand_in_no_ones_way(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with silent_remote(upstream, tmp_path, monkeypatch) as mirror:
        mirror.end()
    assert (mirror.root / "shallow.lock").exists()
    (tmp_path / "programs" / "ssh").write_text(SLOW_SSH.replace("dd bs=1 count=20000; exec sleep 600", "cat"))
    assert Mirror(tmp_path / "mirror", mirror.remote).fetch() == upstream.git("rev-parse", "HEAD")


LOCKS = (
    *("shallow.lock", "packed-refs.lock", "HEAD.lock", "config.lock", "refs/reconciler/tip.lock"),
    *("refs/reconciler/applied.lock", "objects/maintenance.lock", "objects/info/commit-graphs/commit-graph-chain.lock"),
)


@pytest.mark.parametrize("name", LOCKS)
@pytest.mark.parametrize("bare", ["trees.git", "history.git"])
def test_no_lock_that_was_left_stops_a_fetch(upstream: Upstream, tmp_path: Path, bare: str, name: str) -> None:
    first = upstream.commit(one=".")
    upstream.commit(two=".")
    mirror = mirror_of(upstream, tmp_path)
    assert mirror.descends(mirror.fetch(), first)
    lock = tmp_path / "mirror" / bare / name
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.touch()
    upstream.commit(three=".")
    head = mirror.fetch()
    mirror.keep(head)
    assert not mirror.descends(first, head)
    found = mirror.between(first, head, 10)
    assert found is not None
    assert len(found[1]) == 2
    assert not lock.exists()


def test_a_lock_that_was_left_does_not_stop_what_was_carried_out_from_being_kept(
    upstream: Upstream, tmp_path: Path
) -> None:
    head = upstream.commit(one=".")
    mirror = mirror_of(upstream, tmp_path)
    mirror.fetch()
    mirror.keep(head)
    (mirror.root / "refs" / "reconciler" / "applied.lock").touch()
    mirror.keep(head)


def test_a_remote_that_was_made_shallow_anew_is_fetched_anew(upstream: Upstream, tmp_path: Path) -> None:
    first = upstream.commit(one=".")
    upstream.git("clone", "--quiet", "--bare", "--depth=1", upstream.url, str(tmp_path / "shallow.git"))
    shallow = f"file://{tmp_path}/shallow.git"
    upstream.git("-C", str(tmp_path / "shallow.git"), "config", "uploadpack.allowFilter", "true")
    mirror = Mirror(tmp_path / "mirror", Remote(shallow, "refs/heads/main"))
    assert mirror.fetch() == first
    assert not mirror.descends(first, "0" * 40)  # the history is here, too
    for round_of in ("a", "b"):
        for name in ("two", "three", "four"):
            head = upstream.commit(**{f"{name}-{round_of}": "."})
        upstream.git(
            *("-C", str(tmp_path / "shallow.git"), "fetch", "--quiet", "--depth=1", upstream.url, "+main:main")
        )
        assert mirror.look() == mirror.fetch() == head
        assert not mirror.descends(head, first)


def test_a_fetch_that_fails_anew_is_said_and_keeps_nothing_broken(upstream: Upstream, tmp_path: Path) -> None:
    first = upstream.commit(one=".")
    mirror = mirror_of(upstream, tmp_path)
    mirror.fetch()
    upstream.commit(two=".")
    tree = upstream.git("rev-parse", "HEAD^{tree}")
    hidden = upstream.root / ".git" / "objects" / tree[:2] / tree[2:]
    content = hidden.read_bytes()
    hidden.unlink()
    with pytest.raises(FetchFailed):
        mirror.fetch()
    hidden.write_bytes(content)
    assert mirror.fetch() == upstream.git("rev-parse", "HEAD")
    assert mirror.descends(mirror.fetch(), first)


def test_a_host_that_is_away_takes_nothing_from_the_mirror(upstream: Upstream, tmp_path: Path) -> None:
    first = upstream.commit(one=".")
    mirror = mirror_of(upstream, tmp_path)
    mirror.fetch()
    upstream.root.rename(tmp_path / "away")
    with pytest.raises(FetchFailed) as caught:
        mirror.fetch()
    assert caught.value.message == f"{upstream.url}: '{upstream.root}' does not appear to be a git repository"
    assert mirror.holds(first)


def test_a_repository_with_names_of_sha_256_is_fetched(tmp_path: Path) -> None:
    upstream = Upstream(tmp_path / "upstream", "--object-format=sha256")
    first, head = upstream.commit(one="."), upstream.commit(two=".")
    mirror = mirror_of(upstream, tmp_path)
    assert mirror.look() == mirror.fetch() == head
    mirror.keep(head)
    loaded = load(mirror.root, rev=head)
    assert loaded.desired is not None
    assert {address.name for address in loaded.desired.objects} == {"one", "two"}
    assert mirror.descends(head, first)
    again = mirror_of(upstream, tmp_path)
    assert again.look() == again.tip() == again.commit() == head
    pinned = Mirror(tmp_path / "pinned", Remote(upstream.url, first))
    assert pinned.fetch() == first


@pytest.mark.parametrize("name", ["shallow", "refs/reconciler/tip"])
def test_a_mirror_that_a_power_cut_has_spoilt_is_fetched_anew(upstream: Upstream, tmp_path: Path, name: str) -> None:
    upstream.commit(one=".")
    mirror = mirror_of(upstream, tmp_path)
    mirror.fetch()
    (mirror.root / name).write_bytes(b"\0" * 41)
    head = upstream.commit(two=".")
    assert mirror.fetch() == head
