"""The tree of a space: its files, a commit's, or those of a folder outside Git."""

import os
from pathlib import Path

import pytest

from reconciler.declare.source import blob_name, open_tree
from reconciler.declare.space import FileKind
from reconciler.model.errors import UsageMistake
from tests.declare.repository import TEAM, Repository


def test_a_clean_working_tree_is_its_commit(repository: Repository) -> None:
    repository.write("a.yaml", TEAM % "a")
    repository.write("infra/b.yaml", TEAM % "b")
    commit = repository.commit()
    tree = open_tree(repository.root)
    assert tree.revision == commit
    assert tree.first_commit == commit
    assert set(tree.paths) == {"a.yaml", "infra/b.yaml"}
    assert tree.paths["a.yaml"].blob == blob_name((TEAM % "a").encode())
    assert tree.read("infra/b.yaml") == (TEAM % "b").encode()


def test_what_differs_from_head_is_a_tree_with_a_digest(repository: Repository) -> None:
    for name in ("changed", "removed", "staged"):
        repository.write(f"{name}.yaml", TEAM % name)
    repository.write(".gitignore", "ignored.yaml\n")
    first = repository.commit()
    repository.write("changed.yaml", "other\n")
    repository.write("untracked.yaml", "new\n")
    repository.write("ignored.yaml", "not seen\n")
    (repository.root / "removed.yaml").unlink()
    repository.write("staged.yaml", "staged\n")
    repository.git("add", "staged.yaml")
    tree = open_tree(repository.root)
    assert set(tree.paths) == {".gitignore", "changed.yaml", "staged.yaml", "untracked.yaml"}
    assert tree.paths["changed.yaml"].blob is None
    assert tree.paths["staged.yaml"].blob == blob_name(b"staged\n")
    assert tree.revision.startswith("tree:")
    assert tree.revision == open_tree(repository.root).revision
    repository.write("untracked.yaml", "newer\n")
    assert tree.revision != open_tree(repository.root).revision
    assert tree.first_commit == first


def test_a_staged_change_alone_is_no_commit(repository: Repository) -> None:
    repository.write("a.yaml", "one\n")
    repository.commit()
    repository.write("a.yaml", "two\n")
    repository.git("add", "-A")
    assert open_tree(repository.root).revision.startswith("tree:")


def test_a_commit_is_read_from_git_whatever_the_files_say(repository: Repository) -> None:
    repository.write("a.yaml", "one\n")
    repository.write("b.yaml", "b\n")
    commit = repository.commit()
    repository.write("a.yaml", "two\n")
    second = repository.commit()
    (repository.root / "a.yaml").unlink()
    tree = open_tree(repository.root, "HEAD~1")
    assert (tree.revision, tree.first_commit) == (commit, commit)
    assert dict(tree.read_many(["a.yaml", "b.yaml"])) == {"a.yaml": b"one\n", "b.yaml": b"b\n"}
    assert open_tree(repository.root, "main").revision == second


@pytest.mark.parametrize("rev", ["nowhere", "--help", "-h", "--output=/tmp/x", ""])
def test_an_unknown_revision_is_a_mistake_in_the_command(repository: Repository, rev: str) -> None:
    repository.commit()
    with pytest.raises(UsageMistake, match="is not a commit"):
        open_tree(repository.root, rev)


def test_many_blobs_come_through_one_process_in_order(repository: Repository) -> None:
    for number in range(1200):
        repository.write(f"f{number:04}.yaml", f"{number}\n" * 300)
    repository.commit()
    tree = open_tree(repository.root, "HEAD")
    found = list(tree.read_many(sorted(tree.paths)))
    assert found == [(f"f{number:04}.yaml", f"{number}\n".encode() * 300) for number in range(1200)]


def test_links_and_repositories_inside_are_named_and_never_followed(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "s.yaml").write_text("secret\n")
    os.symlink(tmp_path / "secret" / "s.yaml", repository.root / "link.yaml")
    os.symlink(tmp_path / "secret", repository.root / "folder")
    inner = Repository(repository.root / "inner")
    inner.write("c.yaml", "c\n")
    inner.commit()
    for tree in (open_tree(repository.root), (repository.commit(), open_tree(repository.root))[1]):
        assert {path: entry.kind for path, entry in tree.paths.items()} == {
            "link.yaml": FileKind.LINK,
            "folder": FileKind.LINK,
            "inner": FileKind.SUBMODULE,
        }
        assert tree.is_link("link.yaml")
        assert list(tree.read_many(["link.yaml"])) in ([], [("link.yaml", b"")])


def test_a_folder_of_a_repository_may_be_the_space(repository: Repository) -> None:
    repository.write("spaces/one/a.yaml", "a\n")
    repository.write("other.yaml", "b\n")
    commit = repository.commit()
    for rev in (None, "HEAD"):
        tree = open_tree(repository.root / "spaces/one", rev)
        assert list(tree.paths) == ["a.yaml"]
        assert tree.revision == commit
    repository.write("other.yaml", "changed\n")
    assert open_tree(repository.root / "spaces/one").revision == commit


def test_outside_of_git_every_file_counts_but_hidden_folders(tmp_path: Path) -> None:
    for path in ("a.yaml", "b/c.yaml", ".hidden/d.yaml", ".e.yaml"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(path)
    os.mkfifo(tmp_path / "pipe.yaml")
    tree = open_tree(tmp_path)
    assert set(tree.paths) == {"a.yaml", "b/c.yaml", ".e.yaml"}
    assert tree.revision.startswith("tree:")
    assert tree.first_commit == ""


def test_a_repository_without_a_commit_is_a_tree(repository: Repository) -> None:
    repository.write("a.yaml", "a\n")
    tree = open_tree(repository.root)
    assert list(tree.paths) == ["a.yaml"]
    assert tree.revision.startswith("tree:")


def test_nothing_of_the_repository_or_the_environment_is_run(repository: Repository, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    script = tmp_path / "trap.sh"
    script.write_text(f"#!/bin/sh\ntouch {trap}\n")
    script.chmod(0o755)
    repository.write("a.yaml", "a\n")
    repository.commit()
    repository.git("config", "core.fsmonitor", str(script))
    repository.git("config", "core.hooksPath", str(tmp_path))
    open_tree(repository.root)
    open_tree(repository.root, "HEAD")
    assert not trap.exists()


def test_names_with_odd_letters_are_kept(repository: Repository) -> None:
    for name in ("a b.yaml", "ü.yaml", "tab\there.yaml", "new\nline.yaml", '"quoted".yaml', "-x.yaml"):
        repository.write(name, name)
    repository.commit()
    tree = open_tree(repository.root)
    assert {path: content.decode() for path, content in tree.read_many(tree.paths)} == {p: p for p in tree.paths}
    assert len(tree.paths) == 6
