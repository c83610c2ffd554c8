"""With `every`, each commit since the one carried out last has to be signed, whichever way it came to the branch."""

import subprocess
from pathlib import Path

import pytest

from reconciler.declare.signatures import Signers
from reconciler.model.following import ConditionType
from reconciler.server.sources import sources
from tests.server.following import Followed, Repository, followed

HINT = "sign each of them with a key that the server knows, and push them anew"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    found = tmp_path / "ann"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ann", "-f", str(found)], check=True)
    return found


@pytest.fixture
def every(tmp_path: Path, key: Path) -> Signers:
    allowed = tmp_path / "allowed"
    allowed.write_text(f"ann@example.com {key.with_suffix('.pub').read_text()}")
    return Signers(every=True, ssh=allowed)


def sign(repository: Repository, key: Path, *names: str) -> str:
    """Commit these pools and sign that."""
    repository.pools(*names)
    signing = ("-c", "gpg.format=ssh", "-c", f"user.signingKey={key}")
    repository.git(*signing, "commit", "--quiet", "--amend", "--no-edit", "-S")
    return repository.git("rev-parse", "HEAD")


def merge(repository: Repository, key: Path, branch: str) -> str:
    """Merge a branch and sign that."""
    signing = ("-c", "gpg.format=ssh", "-c", f"user.signingKey={key}")
    repository.git(*signing, "merge", "--quiet", "--no-ff", "-S", "--message", f"Merge {branch}", branch)
    return repository.git("rev-parse", "HEAD")


async def said(shop: Followed) -> str:
    await shop.look()
    return (await shop.condition(ConditionType.STALLED)).message


async def test_commits_that_are_all_signed_are_carried_out(tmp_path: Path, key: Path, every: Signers) -> None:
    async with followed(tmp_path, signers=every) as shop:
        shop.repository.pools("old")  # what came before the first is not looked at
        sign(shop.repository, key, "a")
        await shop.look()
        assert await shop.pools() == {"a"}
        sign(shop.repository, key, "a", "b")
        sign(shop.repository, key, "a", "b", "c")
        await shop.look()
        assert await shop.pools() == {"a", "b", "c"}


async def test_the_first_that_is_not_signed_is_named(tmp_path: Path, key: Path, every: Signers) -> None:
    async with followed(tmp_path, signers=every) as shop:
        last = sign(shop.repository, key, "a")
        await shop.look()
        sign(shop.repository, key, "a", "b")
        unsigned = shop.repository.pools("a", "b", "c")
        shop.repository.pools("a", "b", "d")
        head = sign(shop.repository, key, "a", "b")
        assert (await said(shop)).startswith(
            f"the commit {unsigned[:12]} is not signed, and it is one of the 4 since {last[:12]}, "
            f"which was carried out last ({HINT})"
        )
        assert await shop.reason() == "Unsigned"
        assert await shop.pools() == {"a"}
        assert shop.controller.judged is not None
        assert shop.controller.judged.revision == head


async def test_what_a_merge_brings_is_signed_too(tmp_path: Path, key: Path, every: Signers) -> None:
    async with followed(tmp_path, signers=every) as shop:
        last = sign(shop.repository, key, "a")
        await shop.look()
        shop.repository.git("checkout", "--quiet", "-b", "side")
        unsigned = shop.repository.pools("a", "b")
        shop.repository.git("checkout", "--quiet", "main")
        merge(shop.repository, key, "side")
        assert f"the commit {unsigned[:12]} is not signed, and it is one of the 2 since {last[:12]}" in await said(shop)
        shop.repository.git("reset", "--quiet", "--hard", last)
        shop.repository.git("checkout", "--quiet", "-B", "side")
        sign(shop.repository, key, "a", "b")
        shop.repository.git("checkout", "--quiet", "main")
        merge(shop.repository, key, "side")
        await shop.look()
        assert await shop.pools() == {"a", "b"}


async def test_a_head_alone_counts_by_default(tmp_path: Path, key: Path, every: Signers) -> None:
    async with followed(tmp_path, signers=Signers(ssh=every.ssh)) as shop:
        sign(shop.repository, key, "a")
        await shop.look()
        shop.repository.pools("a", "b")
        sign(shop.repository, key, "a", "b", "c")
        await shop.look()
        assert await shop.pools() == {"a", "b", "c"}


async def test_what_was_pushed_by_force_is_judged_from_where_it_parts(
    tmp_path: Path, key: Path, every: Signers
) -> None:
    async with followed(tmp_path, signers=every) as shop:
        base = sign(shop.repository, key, "a")
        await shop.look()
        last = sign(shop.repository, key, "a", "b")
        await shop.look()  # this one and those before it are known from now on
        shop.repository.git("reset", "--quiet", "--hard", base)
        unsigned = shop.repository.pools("a", "c")
        sign(shop.repository, key, "a", "c", "d")
        assert f"the commit {unsigned[:12]} is not signed, and it is one of the 2 since {last[:12]}" in await said(shop)
        shop.repository.git("reset", "--quiet", "--hard", base)
        sign(shop.repository, key, "a", "b", "d")
        await shop.look()
        assert await shop.pools() == {"a", "b", "d"}


async def test_a_mirror_that_forgot_where_they_part_says_so(tmp_path: Path, key: Path, every: Signers) -> None:
    async with followed(tmp_path, signers=every) as shop:
        base = sign(shop.repository, key, "a")
        last = sign(shop.repository, key, "a", "b")
        await shop.look()
        shop.repository.git("reset", "--quiet", "--hard", base)
        head = sign(shop.repository, key, "a", "c")
        shop.repository.git("reflog", "expire", "--expire=now", "--all")
        assert (await said(shop)).startswith(
            f"{head[:12]} does not descend from {last[:12]}, which was carried out last, and where they part "
            "is not known here, so it cannot be told which commits have to be signed "
            "(push a commit that descends from it, or take `every` away until this one is carried out)"
        )
        assert await shop.pools() == {"a", "b"}


async def test_a_mirror_that_was_deleted_lets_no_commit_through(tmp_path: Path, key: Path, every: Signers) -> None:
    async with followed(tmp_path, signers=every) as shop:
        sign(shop.repository, key, "a")
        await shop.look()
        unsigned = shop.repository.pools("a", "b")
        sign(shop.repository, key, "a", "b", "c")
        shop.controller.source.mirror.drop()  # type: ignore[attr-defined]  # what is followed is fetched
        assert f"the commit {unsigned[:12]} is not signed" in await said(shop)


async def test_too_many_commits_are_not_judged_together(
    tmp_path: Path, key: Path, every: Signers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "EVERY_MAX", 2)
    async with followed(tmp_path, signers=every) as shop:
        last = sign(shop.repository, key, "a")
        await shop.look()
        for name in ("b", "c", "d"):
            sign(shop.repository, key, "a", name)
        assert (await said(shop)).startswith(
            f"more than 2 commits came since {last[:12]}, which was carried out last "
            "(follow one in between first: commit = NAME)"
        )
