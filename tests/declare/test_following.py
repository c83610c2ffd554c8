"""Commits that are loaded one after another: what one did not touch is not read again, and nothing else differs for it."""

import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.declare.cache import ParseCache
from reconciler.declare.load import Loaded, load
from reconciler.model.live import LiveState
from reconciler.model.spec import Address
from reconciler.plan.planner import plan
from reconciler.plan.records import records
from reconciler.plan.saved import plan_lines
from reconciler.server.planning.planning import files_of
from tests.declare.repository import TEAM, Repository
from tests.plan.living import live_of

THUMBPRINTS = [f"SHA256:{letter * 42}A" for letter in "ABC"]


def worker(name: str, thumbprint: int, pool: str = "main", host: str = "a.example.org", more: str = "") -> str:
    return (
        f"apiVersion: reconciler/v1\nkind: Worker\nmetadata: {{name: {name}{more}}}\nspec:\n  pools: [{pool}]\n"
        f'  endpoint: {{listening: {{host: {host}, thumbprints: ["{THUMBPRINTS[thumbprint]}"]}}}}\n'
    )


def pool(name: str, more: str = "") -> str:
    return (
        f"apiVersion: reconciler/v1\nkind: WorkerPool\nmetadata: {{name: {name}}}\n"
        f"spec: {{allowedEnvironments: [production]{more}}}\n"
    )


def space(settings: str = "") -> str:
    return f"apiVersion: reconciler/v1\nkind: Space\nmetadata: {{name: shop}}\nspec: {{{settings}}}\n"


ENVIRONMENT = "apiVersion: reconciler/v1\nkind: Environment\nmetadata: {name: production}\nspec: {}\n"
FILES = {
    "reconcile.yaml": [space(), space('exclude: ["b/**"]'), space("apply: isolated"), space('workerNames: "^w-"')],
    "a/workers.yaml": [
        worker("w-1", 0),
        worker("w-1", 1, host="localhost"),
        worker("w-1", 0, "other"),
        worker("w-2", 0, more=", renamedFrom: w-1"),
        worker("w-1", 0) + "---\n" + worker("w-2", 1, host="b.example.org"),
        "kind: [\n",
    ],
    "b/workers.yaml": [
        worker("w-2", 1, host="b.example.org"),
        worker("w-2", 0, host="c.example.org"),
        worker("w-1", 2, host="d.example.org"),
        worker("odd", 2, "nowhere", host="a.example.org"),
        "apiVersion: v1\nkind: Pod\n",
    ],
    "pools.yaml": [
        pool("main"),
        pool("main", ", minWorkers: 3"),
        pool("main", ", default: true") + "---\n" + pool("other", ", default: true"),
        pool("other") + "---\n" + pool("main"),
    ],
    "project.yaml": [
        "apiVersion: reconciler/v1\nkind: Project\nmetadata: {name: shop}\nspec:\n  process:\n"
        f"    - {{name: Work, location: {{runOn: workerPool{where}}}, script: {{syntax: sh, {body}}}}}\n---\n"
        + ENVIRONMENT
        for where in ("", ", pool: main", ", pool: other")
        for body in ('body: ":"', "file: work.sh")
    ],
    "deployment.yaml": [
        "apiVersion: reconciler/v1\nkind: Deployment\nmetadata: {name: shop}\n"
        f'spec: {{project: {project}, release: "{release}", environment: production}}\n'
        for project, release in (("shop", 1), ("shop", 2), ("shopp", 1))
    ],
    "work.sh": ["true\n", "false\n"],
    "a": [TEAM % "dba"],
    "teams.yaml": [TEAM % "dba", TEAM % "DBA"],
}
Commit = dict[str, str | None]
"""The new content of some files; None takes one away."""


@st.composite
def commits(draw: st.DrawFn) -> list[Commit]:
    one = st.dictionaries(st.sampled_from(sorted(FILES)), st.none() | st.integers(0, 5), min_size=1, max_size=3)
    chosen = draw(st.lists(one, min_size=2, max_size=6))
    return [
        {path: None if index is None else FILES[path][index % len(FILES[path])] for path, index in each.items()}
        for each in chosen
    ]


def commit(repository: Repository, changes: Commit) -> str:
    for path, text in changes.items():
        file = repository.root / path
        if text is None:
            if file.is_dir():
                shutil.rmtree(file)
            elif file.exists():  # also its folder may be a file by now
                file.unlink()
        elif not any(parent.is_file() for parent in file.parents) and not file.is_dir():
            repository.write(path, text)
    return repository.commit()


def shown(loaded: Loaded, live: LiveState) -> Sequence[object]:
    """Return all that a load says, in its order, and the bytes of the plan that follows from it."""
    desired = loaded.desired
    if desired is None:
        return (None, loaded.diagnostics, loaded.files, loaded.foreign, list(loaded.tree.paths.items()))
    found = plan(desired, live)
    told = json.dumps([list(records(found)), plan_lines(found), found.digest], sort_keys=True).encode()
    objects = list(desired.objects.items())
    facts = (desired.name, desired.space, desired.revision, desired.complete, loaded.untracked)
    return (
        *(objects, facts, loaded.diagnostics, loaded.files, loaded.foreign, list(loaded.tree.paths.items())),
        *(found, told),
    )


@given(commits())
@settings(max_examples=30, deadline=None)
def test_a_commit_after_others_is_what_it_is_alone(history: list[Commit]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        repository = Repository(Path(folder))
        first = {path: texts[0] for path, texts in FILES.items() if path != "a"}
        known, live = ParseCache.open(None), LiveState({}, {})
        for changes in (first, *history):
            head = commit(repository, changes)
            followed = load(repository.root, rev=head, cache=known, live_paths=files_of(live))
            alone = load(repository.root, rev=head, live_paths=files_of(live))
            assert shown(followed, live) == shown(alone, live)
            if alone.desired is not None:
                live = live_of(alone.desired)


def first_commit(repository: Repository) -> str:
    return commit(repository, {path: texts[0] for path, texts in FILES.items() if path != "a"})


def test_only_what_moved_is_looked_at_again(repository: Repository) -> None:
    known = ParseCache.open(None)
    before = load(repository.root, rev=first_commit(repository), cache=known)
    head = commit(repository, {"a/workers.yaml": worker("w-1", 0, more=", labels: {zone: a}")})
    after = load(repository.root, rev=head, cache=known)
    assert after.tree.moved == {"a/workers.yaml"}
    assert before.desired is not None
    assert after.desired is not None
    changed = Address("Worker", "w-1")
    for address, found in after.desired.objects.items():
        assert (found is before.desired.objects[address]) == (address != changed)


def test_of_a_folder_only_its_own_files_are_compared(repository: Repository) -> None:
    known = ParseCache.open(None)
    repository.write("spaces/one/team.yaml", TEAM % "dba")
    repository.write("spaces/two/team.yaml", TEAM % "dba")
    load(repository.root, rev=repository.commit(), folder="spaces/one", cache=known)
    repository.write("spaces/one/more.yaml", TEAM % "ops")
    repository.write("spaces/two/team.yaml", TEAM % "other")
    head = repository.commit()
    found = load(repository.root, rev=head, folder="spaces/one", cache=known)
    assert found.tree.moved == {"more.yaml"}
    assert found.desired == load(repository.root, rev=head, folder="spaces/one").desired
    other = load(repository.root, rev=head, folder="spaces/two", cache=known)
    assert other.desired == load(repository.root, rev=head, folder="spaces/two").desired


def test_a_space_below_the_top_of_its_repository_is_followed_alike(repository: Repository) -> None:
    known, root = ParseCache.open(None), repository.root / "spaces" / "one"
    repository.write("spaces/one/team.yaml", TEAM % "dba")
    load(root, rev=repository.commit(), cache=known)
    repository.write("spaces/one/more.yaml", TEAM % "ops")
    repository.write("beside.yaml", TEAM % "beside")
    head = repository.commit()
    found, alone = load(root, rev=head, cache=known), load(root, rev=head)
    assert found.tree.moved == {"more.yaml"}
    assert (found.desired, found.tree.paths) == (alone.desired, alone.tree.paths)


def test_a_commit_that_git_has_no_more_is_not_compared_with(repository: Repository) -> None:
    known = ParseCache.open(None)
    load(repository.root, rev=first_commit(repository), cache=known)
    assert known.previous is not None
    shutil.rmtree(repository.root / ".git")
    repository.git("init", "-q", "-b", "main")
    repository.write("teams.yaml", TEAM % "other")
    head = repository.commit()
    found = load(repository.root, rev=head, cache=known)
    assert found.tree.after is None
    assert shown(found, LiveState({}, {})) == shown(load(repository.root, rev=head), LiveState({}, {}))


def test_a_file_that_was_emptied_before_is_missed_when_what_came_of_it_goes(repository: Repository) -> None:
    known = ParseCache.open(None)
    repository.write("old.yaml", TEAM % "dba")
    first = load(repository.root, rev=repository.commit(), cache=known)
    assert first.desired is not None
    live = files_of(live_of(first.desired))
    repository.write("old.yaml", "# moved\n")
    repository.write("new.yaml", TEAM % "dba")
    assert load(repository.root, rev=repository.commit(), cache=known, live_paths=live).diagnostics == ()
    (repository.root / "new.yaml").unlink()
    head = repository.commit()
    followed = load(repository.root, rev=head, cache=known, live_paths=live)
    assert followed.tree.moved == {"new.yaml"}
    assert [problem.span.file for problem in followed.diagnostics] == ["old.yaml"]
    assert followed.diagnostics == load(repository.root, rev=head, live_paths=live).diagnostics


def test_a_fault_that_is_told_of_live_files_alone_is_told_once_the_file_is_live(repository: Repository) -> None:
    """Nothing of its second document looks like ours, until the state holds what came from the file."""
    known = ParseCache.open(None)
    repository.write("old.yaml", TEAM % "dba" + "---\n{broken: [\n")
    first = load(repository.root, rev=repository.commit(), cache=known)
    assert first.desired is not None
    assert (first.diagnostics, first.foreign) == ((), 1)
    repository.write("new.yaml", TEAM % "ops")
    head = repository.commit()
    for live in ({}, files_of(live_of(first.desired))):
        followed = load(repository.root, rev=head, cache=known, live_paths=live)
        alone = load(repository.root, rev=head, live_paths=live)
        assert [problem.code for problem in followed.diagnostics] == (["syntax"] if live else [])
        assert (followed.diagnostics, followed.desired, followed.foreign) == (
            *(alone.diagnostics, alone.desired, alone.foreign),
        )
