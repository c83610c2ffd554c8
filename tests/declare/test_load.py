"""A space as a whole: which files it reads, what they add up to, and what a cache may change: nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.declare.cache import ParseCache
from reconciler.declare.globs import matcher
from reconciler.declare.load import Loaded, load
from reconciler.model.diagnostics import Severity
from reconciler.model.spec import Address
from tests.declare.repository import TEAM, Repository


def codes(loaded: Loaded) -> list[str]:
    return [diagnostic.code for diagnostic in loaded.diagnostics]


def test_a_space_without_faults_is_a_desired_state(repository: Repository) -> None:
    repository.write("reconcile.yaml", "apiVersion: reconciler/v1\nkind: Space\nmetadata: {name: shop}\n")
    repository.write("teams.yaml", TEAM % "dba" + "---\n" + TEAM % "ops" + "---\napiVersion: v1\nkind: Pod\n")
    commit = repository.commit()
    loaded = load(repository.root)
    assert loaded.diagnostics == ()
    assert (loaded.files, loaded.foreign) == (2, 1)
    assert loaded.desired is not None
    assert (loaded.desired.name, loaded.desired.revision) == ("shop", commit)
    assert list(loaded.desired.objects) == [Address("Space", "shop"), Address("Team", "dba"), Address("Team", "ops")]


def test_the_space_chooses_its_files(repository: Repository) -> None:
    space = "apiVersion: reconciler/v1\nkind: Space\nmetadata: {name: shop}\nspec:\n"
    repository.write("reconcile.yaml", space + '  include: ["teams/**/*.yaml"]\n  exclude: ["**/draft-*"]\n')
    for path in ("teams/a.yaml", "teams/x/y/b.yaml", "teams/x/draft-c.yaml", "d.yaml", "teams/.hidden/e.yaml"):
        repository.write(path, TEAM % Path(path).stem)
    loaded = load(repository.root)
    assert loaded.desired is not None
    assert [address.name for address in loaded.desired.objects] == ["shop", "a", "b"]


def test_all_faults_of_all_files_are_told_at_once_in_order(repository: Repository) -> None:
    repository.write("b.yaml", (TEAM % "B") + "---\n" + (TEAM % "dba").replace("members", "membres"))
    repository.write("a.yaml", "apiVersion: reconciler/v1\nkind: Team\n  x: [\n")
    loaded = load(repository.root)
    assert loaded.desired is None
    assert codes(loaded) == ["syntax", "bad-name", "unknown-key"]
    assert [diagnostic.span.file for diagnostic in loaded.diagnostics] == ["a.yaml", "b.yaml", "b.yaml"]
    assert loaded.read_source("a.yaml") == "apiVersion: reconciler/v1\nkind: Team\n  x: [\n"
    assert loaded.read_source("nowhere.yaml") is None


def test_what_a_faulty_document_declares_is_not_called_undeclared(repository: Repository) -> None:
    worker = (
        "apiVersion: reconciler/v1\nkind: Worker\nmetadata: {name: w-1}\nspec:\n  pools: [main, other]\n"
        '  endpoint: {polling: {subscription: "poll://one", thumbprints: '
        '["SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"]}}\n'
    )
    repository.write("worker.yaml", worker)
    repository.write(
        "pool.yaml", "apiVersion: reconciler/v1\nkind: WorkerPool\nmetadata: {name: main}\nspec: {minWorkers: -1}\n"
    )
    loaded = load(repository.root)
    assert codes(loaded) == ["bad-value", "unknown-reference"]
    assert 'WorkerPool "other" is not declared' in loaded.diagnostics[1].message


def test_a_link_that_would_be_read_is_an_error_and_others_are_ignored(repository: Repository, tmp_path: Path) -> None:
    os.symlink("/etc/hostname", repository.root / "link.yaml")
    os.symlink("/etc/hostname", repository.root / "link.txt")
    assert codes(load(repository.root)) == ["link"]


def test_a_path_that_is_no_text_is_an_error(repository: Repository) -> None:
    Path(os.fsdecode(os.fsencode(repository.root) + b"/\xff.yaml")).write_text(TEAM % "dba")
    (found,) = load(repository.root).diagnostics
    assert (found.code, found.span.file) == ("bad-path", "\\xff.yaml")


@pytest.mark.parametrize("left", ["a: {b\n", "a: [1\n"])
def test_a_file_that_live_objects_came_from_must_parse(repository: Repository, tmp_path: Path, left: str) -> None:
    repository.write("a.yaml", left)
    cache = tmp_path / "cache"
    assert codes(load(repository.root, cache=cache)) == []
    live = {"a.yaml": (Address("Team", "dba"),)}
    assert codes(load(repository.root, live_paths=live)) == ["syntax"]
    assert codes(load(repository.root, cache=cache, live_paths=live)) == ["syntax"], "known where it was no fault yet"


@pytest.mark.parametrize("left", ["", "# nothing\n", "apiVersion:\n", "apiVersion: v1\nkind: Pod\n"])
def test_a_file_that_live_objects_came_from_is_not_emptied(repository: Repository, tmp_path: Path, left: str) -> None:
    live = {"a.yaml": (Address("Team", "dba"), Address("Team", "web"))}
    repository.write("a.yaml", left)
    repository.write("b.yaml", TEAM % "ops")
    cache = tmp_path / "cache"
    load(repository.root, cache=cache)  # where it is no fault yet
    (found,) = load(repository.root, cache=cache, live_paths=live).diagnostics
    assert (found.code, found.span.file, found.severity) == ("emptied-file", "a.yaml", Severity.ERROR)
    assert found.message == "Team/dba, Team/web were applied from this file, and no document of ours is left in it"
    assert found.help == "bring them back, or delete the file"
    repository.write("b.yaml", TEAM % "dba" + "---\n" + TEAM % "web")
    assert codes(load(repository.root, cache=cache, live_paths=live)) == [], "what has moved is not missed"
    (repository.root / "b.yaml").unlink()
    (repository.root / "a.yaml").unlink()
    assert codes(load(repository.root, live_paths=live)) == []


def test_a_commit_that_empties_a_file_is_an_error_when_only_what_moved_is_read(repository: Repository) -> None:
    repository.write("a.yaml", TEAM % "dba")
    repository.write("b.yaml", TEAM % "web")
    live, cache = {"a.yaml": (Address("Team", "dba"),)}, ParseCache.open(None)
    assert codes(load(repository.root, rev=repository.commit(), cache=cache, live_paths=live)) == []
    repository.write("a.yaml", "apiVersion:\n")
    assert codes(load(repository.root, rev=repository.commit(), cache=cache, live_paths=live)) == ["emptied-file"]
    repository.write("b.yaml", TEAM % "web" + "# more\n")
    assert codes(load(repository.root, rev=repository.commit(), cache=cache, live_paths=live)) == ["emptied-file"]


def test_a_commit_and_its_files_say_the_same(repository: Repository) -> None:
    repository.write("teams.yaml", TEAM % "dba")
    commit = repository.commit()
    assert load(repository.root).desired == load(repository.root, rev=commit).desired


def test_a_cache_changes_nothing_but_the_time(repository: Repository, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    for name in ("a", "b"):
        repository.write(f"{name}.yaml", TEAM % name + "---\nkind: Pod\napiVersion: v1\n")
    repository.commit()
    without = load(repository.root)
    cold = load(repository.root, cache=cache)
    warm = load(repository.root, cache=cache)
    assert cold.desired == warm.desired == without.desired
    assert warm.foreign == cold.foreign == 2
    repository.write("a.yaml", TEAM % "other")
    changed = load(repository.root, cache=cache)
    assert changed.desired == load(repository.root).desired
    (repository.root / "b.yaml").unlink()
    assert load(repository.root, cache=cache).desired == load(repository.root).desired


def test_a_cache_is_added_to_and_written_anew_before_it_grows(repository: Repository, tmp_path: Path) -> None:
    for number in range(8):
        repository.write(f"{number}.yaml", TEAM % f"team-{number}")
    repository.commit()
    lines = []
    for change in range(6):
        repository.write("3.yaml", TEAM % f"other-{change}")
        assert load(repository.root, cache=tmp_path).desired == load(repository.root).desired
        lines.append((tmp_path / "declarations").read_bytes().count(b"\n"))
    assert lines == [1, 2, 3, 1, 2, 3]


def test_a_line_that_was_cut_off_costs_no_more_than_time(repository: Repository, tmp_path: Path) -> None:
    for number in range(8):
        repository.write(f"{number}.yaml", TEAM % f"team-{number}")
    repository.commit()
    for change in range(6):
        repository.write("3.yaml", TEAM % f"other-{change}")
        assert load(repository.root, cache=tmp_path).desired == load(repository.root).desired
        with (tmp_path / "declarations").open("ab") as file:
            file.write(b"cut off")


def test_a_faulty_file_is_told_of_again_with_a_cache(repository: Repository, tmp_path: Path) -> None:
    repository.write("a.yaml", TEAM % "A")
    repository.write("b.yaml", TEAM % "b")
    for _ in range(2):
        assert codes(load(repository.root, cache=tmp_path / "cache")) == ["bad-name"]


@pytest.mark.parametrize("garbage", [b"", b"{}", b"[]", b"\x00\xff", b'{"version": "x", "files": {}}', b"[" * 100_000])
def test_a_corrupt_cache_is_no_cache(repository: Repository, tmp_path: Path, garbage: bytes) -> None:
    repository.write("a.yaml", TEAM % "a")
    repository.commit()
    cache = tmp_path / "cache"
    first = load(repository.root, cache=cache)
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    for content in (garbage, whole[: len(whole) // 2], whole.replace(b'"Team"', b"17"), whole.replace(b"[[", b"[")):
        file.write_bytes(content)
        assert load(repository.root, cache=cache).desired == first.desired


def test_a_cache_that_cannot_be_written_is_done_without(repository: Repository, tmp_path: Path) -> None:
    repository.write("a.yaml", TEAM % "a")
    (tmp_path / "file").write_text("in the way")
    assert load(repository.root, cache=tmp_path / "file" / "cache").desired is not None


@pytest.mark.parametrize(
    ("glob", "path", "matches"),
    [
        ("**/*.yaml", "a.yaml", True),
        ("**/*.yaml", "a/b/c.yaml", True),
        ("**/*.yaml", "a/.hidden/c.yaml", False),
        ("**/*.yaml", ".git/c.yaml", False),
        ("*.yaml", "a/b.yaml", False),
        ("infra/**", "infra/a/b.yml", True),
        ("infra/*/w?.yaml", "infra/a/w1.yaml", True),
        ("infra/*/w?.yaml", "infra/a/b/w1.yaml", False),
        ("w[0-9].yaml", "w7.yaml", True),
        ("w[!0-9].yaml", "w7.yaml", False),
        ("a.yaml", "aXyaml", False),
        ("a+(b).yaml", "a+(b).yaml", True),
        ("[", "[", True),
    ],
)
def test_a_glob_matches_as_people_expect(glob: str, path: str, matches: bool) -> None:
    assert bool(matcher([glob], []).match(path)) is matches
    assert not matcher([glob], [glob]).match(path)
    assert not matcher([], []).match(path)


def test_a_warm_start_imports_neither_the_parser_nor_the_models_of_kinds() -> None:
    program = "import sys, reconciler.declare.load; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not {name for name in loaded if "ruamel" in name}
    assert not {"reconciler.model.work", "reconciler.model.organisation", "reconciler.declare.documents"} & loaded


def test_in_an_isolated_space_only_the_faulty_object_is_left_out_and_what_needs_it(repository: Repository) -> None:
    space = "apiVersion: reconciler/v1\nkind: Space\nmetadata: {name: shop}\nspec: {apply: isolated}\n"
    pool = "apiVersion: reconciler/v1\nkind: WorkerPool\nmetadata: {name: main}\nspec: {minWorkers: -1}\n"
    location = "apiVersion: reconciler/v1\nkind: ExecutionLocation\nmetadata: {name: db}\nspec: {runOn: workerPool, pool: main}\n"
    repository.write("reconcile.yaml", space)
    repository.write("a.yaml", "---\n".join([TEAM % "dba", pool, location]))
    loaded = load(repository.root)
    assert codes(loaded) == ["bad-value"]
    assert loaded.desired is not None
    assert not loaded.desired.complete
    assert list(loaded.desired.objects) == [Address("Team", "dba"), Address("Space", "shop")]


def test_a_faulty_space_still_says_which_files_it_chooses(repository: Repository) -> None:
    space = (
        "apiVersion: reconciler/v1\nkind: Space\nmetadata: {name: shop}\nspec: {exclude: [drafts/**], drfit: report}\n"
    )
    repository.write("reconcile.yaml", space)
    repository.write("drafts/a.yaml", TEAM % "A")
    assert codes(load(repository.root)) == ["unknown-key"]


def test_a_file_that_git_does_not_have_matters_only_where_it_is_used(repository: Repository) -> None:
    script = "    - name: Work\n      script: {syntax: sh, file: %s}\n"
    project = "apiVersion: reconciler/v1\nkind: Project\nmetadata: {name: shop}\nspec:\n  process:\n"
    repository.write("a.yaml", TEAM % "a")
    repository.write("project.yaml", project + script % "work.sh")
    repository.write("work.sh", "true\n")
    commit = repository.commit()
    repository.write("notes.txt", "of no matter\n")
    repository.write("compose.yaml", "services: {}\n")
    loaded = load(repository.root)
    assert loaded.desired is not None
    assert (loaded.desired.revision, loaded.untracked) == (commit, ())

    repository.write("b.yaml", TEAM % "b")
    repository.git("rm", "--quiet", "--cached", "work.sh")
    repository.git("commit", "--quiet", "--message", "forget a script")
    loaded = load(repository.root)
    assert loaded.desired is not None
    assert loaded.desired.revision.startswith("tree:")
    assert loaded.untracked == ("b.yaml", "work.sh")

    repository.write("a.yaml", TEAM % "other")
    loaded = load(repository.root)
    assert loaded.desired is not None
    assert loaded.desired.revision.startswith("tree:")
    assert loaded.untracked == (), "there are other reasons"


def test_the_file_of_a_secret_need_not_be_in_git(repository: Repository) -> None:
    values = "variables: [{name: Key, type: sensitive, value: {file: secrets/key}}]"
    repository.write(
        "set.yaml", f"apiVersion: reconciler/v1\nkind: VariableSet\nmetadata: {{name: keys}}\nspec: {{{values}}}\n"
    )
    commit = repository.commit()
    repository.write("secrets/key", "hunter2\n")
    loaded = load(repository.root)
    assert loaded.desired is not None, loaded.diagnostics
    assert (loaded.desired.revision, loaded.untracked) == (commit, ())


KEYS = """\
apiVersion: reconciler/v1
kind: VariableSet
metadata: {name: keys}
spec:
  variables:
    - {name: Key, type: sensitive, value: {file: "%s"}}
"""


def test_the_file_of_a_secret_is_named_below_the_root_or_absolutely(repository: Repository) -> None:
    for file in ("secrets/key", "/etc/reconcile/secrets/key"):
        repository.write("set.yaml", KEYS % file)
        assert [found.message for found in load(repository.root).diagnostics] == []
    for file in ("../key", "~/key", "/etc/../key", "//etc/key"):
        repository.write("set.yaml", KEYS % file)
        (found,) = load(repository.root).diagnostics
        assert (found.code, found.message) == ("bad-path", f'the secret\'s file "{file}" leads out of the space')
        assert found.help == (
            "name it relative to the space's root, or for a server by its absolute path; without `..`, and without `~`"
        )
