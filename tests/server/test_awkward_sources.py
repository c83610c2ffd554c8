"""Sources that are awkward: large files, files of signers that are away, folders that cannot be written, odd paths."""

import asyncio
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from pydantic import ValidationError

from reconciler.declare.cache import ParseCache
from reconciler.declare.git import GitEnded, missing
from reconciler.declare.load import Loaded, load
from reconciler.declare.mirror import FetchFailed, Mirror, Remote
from reconciler.declare.signatures import Signers
from reconciler.model.following import ConditionType, Verdict
from reconciler.model.live import LiveState
from reconciler.server.controller import controller
from reconciler.server.sources.policy import Policy
from reconciler.server.sources.settings import SourceTable
from reconciler.server.sources.sources import Fetched
from tests.server.following import ENVIRONMENT, PATIENCE, POOL, Followed, Repository, followed

MIB = 1 << 20
SELDOM = Policy(poll=3600.0)
PUT_BACK = "put it back where the configuration names it, and let the server's account read it"
MOVE_AWAY = "let the server's account make folders and files there, and move away what is in the way"
FOREIGN = "apiVersion: v1\nkind: Pod\n"
MANY = "apiVersion: reconciler/v1\nkind: Space\nmetadata: {name: shop}\nspec: {}\n"
SCRIPTED = """\
apiVersion: reconciler/v1
kind: Project
metadata: {name: shop}
spec:
  process:
    - name: Work
      location: {runOn: server}
      script: {syntax: sh, file: work.sh}
"""


def padded(text: str, size: int) -> str:
    """Return a text with comments behind it, `size` bytes in all."""
    line = f"# {'x' * 77}\n"
    count, rest = divmod(size - len(text), len(line))
    return text + line * count + "#" * rest


def fetched(repository: Repository, folder: Path) -> Fetched:
    remote = Remote(f"file://{repository.root}", "refs/heads/main")
    return Fetched(Mirror(folder / "mirror", remote), "shop", "", None, folder / "keyrings")


def read(source: Fetched, commit: str) -> Loaded:
    return source.load(commit, LiveState({}, {}), ParseCache.open(None))


def told(loaded: Loaded) -> object:
    desired = loaded.desired.objects.keys() if loaded.desired is not None else None
    return loaded.diagnostics, desired, loaded.files, loaded.foreign


@pytest.mark.parametrize("filters", ["true", "false"])
@pytest.mark.parametrize(
    "files",
    [
        {"large.yaml": padded(POOL.format(name="large"), 2 * MIB)},
        {"large.yaml": padded(POOL.format(name="large"), 5 * MIB)},
        {"foreign.yaml": padded(FOREIGN, 2 * MIB), "other.yaml": padded(FOREIGN, 5 * MIB)},
        {"reconcile.yaml": padded(MANY, 2 * MIB), "large.yaml": padded(POOL.format(name="large"), MIB)},
        {"reconcile.yaml": padded(MANY, 5 * MIB)},
        {"env.yaml": ENVIRONMENT, "project.yaml": SCRIPTED, "work.sh": padded("true\n", 2 * MIB)},
    ],
    ids=["declaration", "too large", "foreign", "settings", "settings too large", "script"],
)
def test_a_large_file_is_what_it_is_without_a_server(tmp_path: Path, files: dict[str, str], filters: str) -> None:
    repository = Repository(tmp_path / "repository")
    repository.git("config", "uploadpack.allowFilter", filters)
    repository.pools("a")
    for name, text in files.items():
        repository.write(name, text)
    head = repository.commit()
    source = fetched(repository, tmp_path)
    assert source.head() == head
    made = (source.mirror.root / "source").stat().st_ino
    loaded, offline = read(source, head), load(repository.root, rev=head)
    assert told(loaded) == told(offline)
    for name in {"work.sh"} & files.keys():
        assert loaded.tree.read(name) == files[name].encode()
    assert (source.mirror.root / "source").stat().st_ino == made  # it was not thrown away


def test_what_is_large_and_no_declaration_stays_where_it_is(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "repository")
    repository.write("large.yaml", padded(POOL.format(name="large"), 2 * MIB))
    repository.write(
        "film.svg",
        subprocess.run(["openssl", "rand", "-hex", str(2 * MIB)], capture_output=True, text=True, check=True).stdout,
    )
    head = repository.pools("a")
    source = fetched(repository, tmp_path)
    source.head()
    assert read(source, head).desired is not None
    assert sum(file.stat().st_size for file in source.mirror.root.rglob("*") if file.is_file()) < MIB


async def test_a_file_that_is_too_large_is_named_and_the_mirror_stays(tmp_path: Path) -> None:
    async with followed(tmp_path) as here:
        here.repository.pools("a")
        here.repository.write("large.yaml", padded(POOL.format(name="large"), 5 * MIB))
        here.repository.commit()
        await here.look()
        made = (here.place.files.root / "mirror" / "trees.git").stat().st_ino
        ready = await here.condition(ConditionType.READY)
        too_large = "the file has 5,242,880 bytes, more than 4,194,304"
        assert (ready.reason, ready.message) == (
            "Invalid",
            f"1 error in the declarations, the first at large.yaml:1: {too_large} (see them with: reconcile validate)",
        )
        here.repository.pools("b")
        await here.look()
        assert (here.place.files.root / "mirror" / "trees.git").stat().st_ino == made


async def test_a_large_script_is_carried_out(tmp_path: Path) -> None:
    async with followed(tmp_path, Policy(new_state=True)) as here:
        text = padded("true\n", 2 * MIB)
        here.repository.write("work.sh", text)
        here.repository.shop(SCRIPTED)
        await here.look()
        assert here.controller.judged is not None
        assert (here.controller.judged.verdict, here.controller.judged.reason) == (Verdict.APPLIED, "")
        assert text in {file.read_text() for file in here.place.files.blobs.rglob("*") if file.is_file()}


OLD_SSH = """\
#!/bin/sh
for command; do :; done
unset GIT_PROTOCOL
eval "$command"
"""
"""Stands for ssh: the other end is this machine, and speaks an older version of the protocol, without single files."""


def test_from_a_host_that_hands_out_no_single_files_everything_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "programs").mkdir()
    (tmp_path / "programs" / "ssh").write_text(OLD_SSH)
    (tmp_path / "programs" / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/programs:{os.environ['PATH']}")
    repository = Repository(tmp_path / "repository")
    repository.write("large.yaml", padded(POOL.format(name="large"), 2 * MIB))
    head = repository.pools("a")
    mirror = Mirror(tmp_path / "mirror", Remote(f"ssh://host{repository.root}", "refs/heads/main"))
    source = Fetched(mirror, "shop", "", None, tmp_path / "keyrings")
    assert source.head() == head
    blob = repository.git("rev-parse", "HEAD:large.yaml")
    assert missing(mirror.root, [blob, head, blob]) == [blob]
    assert told(read(source, head)) == told(load(repository.root, rev=head))
    assert source.head() == head


def test_large_files_of_a_host_that_is_away_are_waited_for(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "repository")
    repository.write("large.yaml", padded(POOL.format(name="large"), 2 * MIB))
    head = repository.pools("a")
    source = fetched(repository, tmp_path)
    source.head()
    repository.root.rename(tmp_path / "away")
    with pytest.raises(FetchFailed) as caught:
        read(source, head)
    assert caught.value.message == (f"{source.url}: '{repository.root}' does not appear to be a git repository")
    (tmp_path / "away").rename(repository.root)
    assert source.mirror.holds(head)
    assert read(source, head).desired is not None


# Who signs, and the server's own files.


async def mended(here: Followed) -> None:
    """Take turns until the head is carried out."""
    async with asyncio.timeout(PATIENCE):
        while await here.reason() != "Applied":
            await here.controller.turn()
            await asyncio.sleep(0.02)


def signed_by_ssh(folder: Path, repository: Repository) -> Path:
    """Have the commits of a repository signed, and return the file of those who may."""
    key, allowed = folder / "ann", folder / "signers"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ann", "-f", key], check=True)
    for setting, value in (("gpg.format", "ssh"), ("user.signingKey", str(key))):
        repository.git("config", setting, value)
    allowed.write_text(f"ann@example.com {key.with_suffix('.pub').read_text()}")
    return allowed


def signed_by_gpg(folder: Path, repository: Repository) -> Path:
    """Have the commits of a repository signed, and return the file of those who may."""
    home, keys = folder / "gpg", folder / "keys.asc"
    home.mkdir(mode=0o700)
    gpg = ("gpg", "--homedir", str(home), "--batch", "--quiet")
    made = ("--passphrase", "", "--quick-generate-key", "ann <ann@example.com>", "ed25519")
    subprocess.run([*gpg, *made], check=True, capture_output=True)
    keys.write_bytes(subprocess.run([*gpg, "--export"], check=True, capture_output=True).stdout)
    program = folder / "signing"
    program.write_text(f'#!/bin/sh\nexec gpg --homedir {home} "$@"\n')
    program.chmod(0o755)
    for setting, value in (("gpg.program", str(program)), ("user.signingKey", "ann@example.com")):
        repository.git("config", setting, value)
    return keys


@pytest.fixture
def short_path() -> Iterator[Path]:
    """Give a folder whose sockets gpg can name."""
    with TemporaryDirectory(prefix="s-") as folder:
        yield Path(folder)


@pytest.mark.parametrize("prepare", [signed_by_ssh, signed_by_gpg])
@pytest.mark.parametrize("every", [True, False])
async def test_files_of_signers_that_are_away_are_waited_for(
    short_path: Path, monkeypatch: pytest.MonkeyPatch, prepare: Callable[[Path, Repository], Path], every: bool
) -> None:
    monkeypatch.setattr(controller, "RETRY_SECONDS", (0.05, 0.05))
    repository = Repository(short_path / "repository")
    file = prepare(short_path, repository)
    signers = Signers(every=every, ssh=file) if prepare is signed_by_ssh else Signers(every=every, gpg=file)
    away = file.with_name("away")
    async with followed(short_path, SELDOM, signers=signers) as here:
        for names in (("a",), ("a", "b")):
            repository.pools(*names)
            repository.git("commit", "--quiet", "--amend", "--no-edit", "-S")
            file.rename(away)
            await here.look()
            ready = await here.condition(ConditionType.READY)
            assert (ready.reason, ready.message) == (
                "Retrying",
                f"{file}, which says who may sign, cannot be read: No such file or directory ({PUT_BACK})",
            )
            away.rename(file)
            await mended(here)
            assert await here.pools() == set(names)


@contextmanager
def in_the_way(path: Path) -> Iterator[None]:
    """Have a file where a folder should be."""
    path.write_text("")
    try:
        yield
    finally:
        path.unlink()


def sentence(path: Path) -> str:
    return f"the server's own files of this source cannot be used: {path}: "


async def test_a_file_where_the_mirror_should_be_is_said_until_it_is_gone(tmp_path: Path) -> None:
    async with followed(tmp_path) as here:
        here.repository.pools("a")
        mirror = here.place.files.root / "mirror"
        with in_the_way(mirror):
            await here.look()
            ready = await here.condition(ConditionType.READY)
            assert ready.reason == "SourceUnreadable"
            assert ready.message.endswith(f"Z: {sentence(mirror)}File exists")
            assert here.said.getvalue().count(MOVE_AWAY) == 1
        await here.look()
        assert await here.reason() == "Applied"


async def test_a_file_where_the_keyrings_should_be_is_said_until_it_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controller, "RETRY_SECONDS", (0.05, 0.05))
    repository = Repository(tmp_path / "repository")
    signers = Signers(ssh=signed_by_ssh(tmp_path, repository))
    async with followed(tmp_path, SELDOM, signers=signers) as here:
        repository.pools("a")
        repository.git("commit", "--quiet", "--amend", "--no-edit", "-S")
        keyrings = here.place.files.root / "keyrings"
        with in_the_way(keyrings):
            await here.look()
            ready = await here.condition(ConditionType.READY)
            assert (ready.reason, ready.message) == (
                "Retrying",
                f"{sentence(keyrings)}File exists ({MOVE_AWAY})",
            )
        await mended(here)


def test_a_mirror_that_is_a_file_inside_is_said(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "repository")
    head = repository.pools("a")
    source = fetched(repository, tmp_path)
    (tmp_path / "mirror").mkdir()
    trees = tmp_path / "mirror" / "trees.git"
    with in_the_way(trees), pytest.raises(FetchFailed) as caught:
        source.head()
    assert caught.value.message == f"{sentence(trees.with_name('.trees.git.new'))}Not a directory"
    assert source.head() == head


def test_a_source_that_has_ended_begins_nothing(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "repository")
    repository.pools("a")
    source = fetched(repository, tmp_path)
    source.end()
    with pytest.raises(GitEnded) as caught:
        source.head()
    assert caught.value.message == "git ls-remote was stopped, since the server stops"


# The folder that is the space.


@pytest.mark.parametrize(
    ("path", "folder"),
    [
        ("", ""),
        (".", ""),
        ("./", ""),
        ("deploy", "deploy"),
        ("./deploy", "deploy"),
        ("deploy/", "deploy"),
        ("deploy//shop/.", "deploy/shop"),
        ("deploy/../shop", "shop"),
        ("..shop", "..shop"),
    ],
)
def test_a_folder_is_written_as_one_likes(tmp_path: Path, path: str, folder: str) -> None:
    repository = Repository(tmp_path / "repository")
    (repository.root / folder).mkdir(parents=True, exist_ok=True)
    (repository.root / folder / "pool.yaml").write_text(POOL.format(name="a"))
    head = repository.commit()
    source = SourceTable(space="shop", url=str(repository.root), path=path).source(tmp_path)
    assert source.folder == folder
    assert source.head() == head
    desired = read(source, head).desired
    assert desired is not None
    assert {address.name for address in desired.objects} == {"a"}


@pytest.mark.parametrize("path", ["..", "../shop", "deploy/../../shop", "/deploy", "//deploy", "./../deploy"])
def test_a_folder_outside_of_the_repository_is_refused(path: str) -> None:
    with pytest.raises(ValidationError, match=f"{re.escape(path)} leads out of the repository"):
        SourceTable(space="shop", url="/srv/shop.git", path=path)
