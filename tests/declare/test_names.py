"""A name that a person gives means one commit, or is refused."""

from pathlib import Path

import pytest

from reconciler.declare.names import commit_named
from reconciler.declare.source import open_tree
from reconciler.model.errors import UsageMistake
from reconciler.server.answers.commit_names import whole_name
from tests.declare.repository import Repository


def commit(repository: Repository, text: str) -> str:
    repository.write("a.yaml", text)
    return repository.commit()


def test_every_way_to_write_a_commit_leads_to_it(repository: Repository) -> None:
    first, last = commit(repository, "one\n"), commit(repository, "two\n")
    repository.git("tag", "--annotate", "--message", "x", "v1", first)
    for name, wanted in (
        (last, last), (last[:8], last), (last[:8].upper(), last), ("HEAD", last), ("HEAD~1", first), ("HEAD^", first),
        ("v1", first), ("v1^{commit}", first), ("tags/v1", first), (repository.git("rev-parse", "v1"), first),
    ):  # fmt: skip
        assert commit_named(repository.root, name) == wanted, name
        assert open_tree(repository.root, name).revision == wanted
    for name in ("nowhere", "0123456789", "HEAD~9", "", "--all", "v1:a.yaml", "*", "0" * 40):
        assert commit_named(repository.root, name) is None, name


def test_a_branch_that_is_called_as_a_commit_begins_is_refused(repository: Repository) -> None:
    first, last = commit(repository, "one\n"), commit(repository, "two\n")
    short = first[:8]
    repository.git("branch", short, last)
    for name in (short, f"{short}^{{commit}}", f"{short}~0"):
        with pytest.raises(UsageMistake) as refused:
            open_tree(repository.root, name)
        assert refused.value.message == (
            f'"{name}" means more than one commit: refs/heads/{short} is {last[:12]}, the commit {first} is {first[:12]}'
        )
        assert refused.value.hint == "write one of them whole"
    assert commit_named(repository.root, first) == first
    assert commit_named(repository.root, f"refs/heads/{short}") == last
    assert commit_named(repository.root, f"heads/{short}") == last


def test_a_branch_that_is_called_as_a_whole_commit_is_not_it(repository: Repository) -> None:
    first, last = commit(repository, "one\n"), commit(repository, "two\n")
    repository.git("update-ref", f"refs/heads/{first}", last)
    assert commit_named(repository.root, first) == first


def test_a_tag_and_a_branch_that_are_called_alike_are_refused_where_they_differ(repository: Repository) -> None:
    first, last = commit(repository, "one\n"), commit(repository, "two\n")
    repository.git("tag", "live", first)
    repository.git("branch", "live", first)
    assert commit_named(repository.root, "live") == first
    repository.git("branch", "--force", "live", last)
    with pytest.raises(UsageMistake) as refused:
        commit_named(repository.root, "live")
    assert refused.value.message == (
        f'"live" means more than one commit: refs/tags/live is {first[:12]}, refs/heads/live is {last[:12]}'
    )


def test_what_two_commits_begin_with_is_refused(repository: Repository) -> None:
    tree, seen, number = repository.git("write-tree"), dict[str, str](), 0
    while True:  # some 300 of 65,536 beginnings: two that are alike are met by then
        made = repository.git("commit-tree", tree, "-m", str(number))
        if made[:4] in seen:
            break
        seen[made[:4]], number = made, number + 1
    with pytest.raises(UsageMistake) as refused:
        commit_named(repository.root, made[:4])
    for each in (made, seen[made[:4]]):
        assert f"the commit {each} is {each[:12]}" in refused.value.message


def test_two_repositories_that_mean_two_commits_are_refused(repository: Repository, tmp_path: Path) -> None:
    first = commit(repository, "one\n")
    other = Repository(tmp_path / "other")
    elsewhere = commit(other, "two\n")
    other.git("branch", first[:8])
    roots = (repository.root, other.root)
    with pytest.raises(UsageMistake) as refused:
        whole_name(roots, first[:8])
    both = ", ".join(sorted(name[:12] for name in (first, elsewhere)))
    assert refused.value.message == f'"{first[:8]}" means more than one commit: {both}'
    assert whole_name(roots, first) == first
    assert whole_name(roots, elsewhere) == elsewhere
    assert whole_name((tmp_path / "nowhere", *roots), "nothing") is None
