"""What an agent printed is put into Git: as a file of its own, or as the identity of a worker that is declared."""

import os
import pty
import stat
import subprocess
from pathlib import Path

import pytest

from tests.cli.test_writing import MOMENTS, Cloned, deadly, rival
from tests.cli.workplace import POOL, RECONCILE, SECONDS_MAX, worker

PRINT, OTHER = "SHA256:" + "n" * 42 + "A", "SHA256:" + "o" * 42 + "A"
DOCUMENT = f"""\
apiVersion: reconciler/v1
kind: Worker
metadata:
  name: db-1
spec:
  pools: [blue]
  endpoint:
    polling:
      subscription: poll://auzwyuz6aecu7hrl
      thumbprints: ["{PRINT}"]
"""
LISTENING = f"""\
apiVersion: reconciler/v1
kind: Worker
metadata:
  name: db-1
spec:
  pools: [blue]
  endpoint:
    listening:
      host: "db-1.example.org"
      port: 10944
      thumbprints: ["{PRINT}"]
"""
NAME = "db-1.yaml"
PATCH = (
    f"diff --git a/{NAME} b/{NAME}\nnew file mode 100644\n--- /dev/null\n+++ b/{NAME}\n@@ -0,0 +1,10 @@\n"
    + "".join(f"+{line}\n" for line in DOCUMENT.splitlines())
)
SET = f"""\
# The databases.
apiVersion: reconciler/v1
kind: WorkerSet
metadata: {{name: dbs}}
spec:
  defaults: {{pools: [blue], slots: 2}}
  workers:
  - name: db-0
    endpoint: {{polling: {{subscription: "poll://db-0", thumbprints: ["SHA256:{"z" * 42}A"]}}}}

  - name: db-1   # the new one
    labels: {{rack: r1}}
    endpoint:
      polling:   # it calls
        subscription: 'poll://db-1'
        thumbprints:
        - {OTHER}   # since March
"""


@pytest.fixture
def cloned(tmp_path: Path) -> Cloned:
    return Cloned(tmp_path / "space")


def given(cloned: Cloned, document: str = DOCUMENT) -> Path:
    """Write what an agent printed beside the repository."""
    file = cloned.remote.parent / "printed.yaml"
    file.write_text(document)
    return file


def read(cloned: Cloned, revision: str = "", name: str = NAME) -> str | None:
    """Return a file as it is here, or in a revision, or on the remote's branch; None where it is not there."""
    if not revision:
        file = cloned.root / name
        return file.read_text() if file.exists() else None
    folder = cloned.remote if revision == "remote" else cloned.root
    blob = f"{'main' if revision == 'remote' else revision}:{name}"
    shown = subprocess.run(["git", "show", blob], cwd=folder, capture_output=True, check=False)
    return shown.stdout.decode() if shown.returncode == 0 else None


def test_a_new_worker_gets_a_file_of_its_own_and_the_next_command_is_said(
    cloned: Cloned, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(cloned.root)
    said = cloned.run("declare", given(cloned)).expect(0)
    assert said.out == PATCH
    assert said.err == (
        f"wrote {NAME}\nNext: git add -- {NAME} && git commit -m 'Declare db-1' -- {NAME} && reconcile plan\n"
    )
    assert read(cloned) == DOCUMENT
    following = said.err.partition("Next: ")[2].partition(" && reconcile")[0]
    subprocess.run(["sh", "-c", following], cwd=cloned.root, check=True, capture_output=True)
    assert read(cloned, "HEAD") == DOCUMENT


def test_what_a_command_before_it_prints_is_read(cloned: Cloned) -> None:
    said = cloned.process("declare", "--commit", "--reason", "more room", stdin=DOCUMENT).expect(0)
    head = cloned.git("rev-parse", "HEAD")
    assert (said.out, said.err) == (PATCH, f"committed it to main as {head[:12]}\nNext: git push\n")
    assert read(cloned, "HEAD") == read(cloned) == DOCUMENT
    assert cloned.git("log", "-1", "--format=%B") == (
        "Declare db-1: more room\n\nreconcile declare - --reason 'more room'"
    )
    assert cloned.git("status", "--porcelain") == ""
    assert cloned.git("show", "--format=", "--name-only", "HEAD") == NAME


def test_a_patch_alone_writes_nothing_and_git_applies_it(cloned: Cloned) -> None:
    said = cloned.run("declare", given(cloned), "--print").expect(0)
    assert (said.out, said.err, read(cloned)) == (PATCH, "", None)
    subprocess.run(["git", "apply", "--index", "-"], cwd=cloned.root, input=said.out.encode(), check=True)
    assert read(cloned) == DOCUMENT


def test_a_document_without_an_end_of_its_last_line_stays_so_and_git_applies_it(cloned: Cloned) -> None:
    file = given(cloned, DOCUMENT.rstrip("\n"))
    said = cloned.run("declare", file, "--print", "--file", 'a "b"/c d.yaml').expect(0)
    assert said.out.endswith('"]\n\\ No newline at end of file\n')
    subprocess.run(["git", "apply", "--index", "-"], cwd=cloned.root, input=said.out.encode(), check=True)
    assert read(cloned, name='a "b"/c d.yaml') == DOCUMENT.rstrip("\n")


@pytest.mark.parametrize(
    ("others", "place"),
    [
        ({}, "workers/db-1.yaml"),
        ({"b/one.yaml": "w-1", "a/two.yaml": "w-2", "b/three.yaml": "w-3"}, "b/db-1.yaml"),
        ({"b/one.yaml": "w-1", "a/two.yaml": "w-2"}, "a/db-1.yaml"),
    ],
    ids=["no other", "most of them", "as many here as there"],
)
def test_a_new_worker_is_put_beside_the_others(cloned: Cloned, others: dict[str, str], place: str) -> None:
    cloned.git("rm", "-q", "worker.yaml")
    for name, other in others.items():
        cloned.write(name, worker(other, "blue"))
    cloned.commit()
    cloned.run("declare", given(cloned), "--commit").expect(0)
    assert cloned.git("show", "--format=", "--name-only", "HEAD") == place
    assert cloned.git("status", "--porcelain") == ""


def test_a_file_that_is_named_is_taken_where_the_space_reads_it(cloned: Cloned) -> None:
    cloned.run("declare", given(cloned), "--commit", "--file", "hosts/eu/first.yml").expect(0)
    assert read(cloned, "HEAD", "hosts/eu/first.yml") == DOCUMENT
    body = cloned.git("log", "-1", "--format=%b")
    assert body == f"reconcile declare {given(cloned)} --file hosts/eu/first.yml"


def test_a_folder_of_the_repository_that_is_the_space(cloned: Cloned) -> None:
    cloned.write("infra/reconcile.yaml", "apiVersion: reconciler/v1\nkind: Space\nmetadata: {name: infra}\nspec: {}\n")
    cloned.write("infra/pool.yaml", POOL % "blue")
    cloned.commit()
    cloned.root = cloned.root / "infra"
    said = cloned.run("declare", given(cloned), "--commit").expect(0)
    assert said.out == PATCH.replace(f"a/{NAME}", f"a/infra/workers/{NAME}").replace(
        f"b/{NAME}", f"b/infra/workers/{NAME}"
    )
    assert cloned.git("show", "--format=", "--name-only", "HEAD") == f"infra/workers/{NAME}"
    assert cloned.git("status", "--porcelain") == ""


def test_a_document_that_lies_in_the_space_already_is_committed_where_it_is(cloned: Cloned) -> None:
    cloned.write("mine.yaml", DOCUMENT)
    said = cloned.run("declare", cloned.root / "mine.yaml").expect(0)
    assert (said.out, said.err) == ("", "mine.yaml:1 says so already; nothing was changed.\n")
    cloned.run("declare", cloned.root / "mine.yaml", "--commit").expect(0)
    assert cloned.git("show", "--format=", "--name-only", "HEAD") == "mine.yaml"
    assert cloned.git("status", "--porcelain") == ""


@pytest.mark.parametrize("moved", [False, True], ids=["as it was", "moved on"])
def test_a_document_that_lies_in_the_space_already_is_pushed_where_it_is(cloned: Cloned, moved: bool) -> None:
    if moved:
        rival(cloned, "new.yaml", POOL % "green")
    cloned.write("mine.yaml", DOCUMENT)
    cloned.run("declare", cloned.root / "mine.yaml", "--push").expect(0)
    assert read(cloned, "remote", "mine.yaml") == read(cloned, "HEAD", "mine.yaml") == DOCUMENT
    assert cloned.git("show", "--format=", "--name-only", "HEAD") == "mine.yaml"
    assert cloned.git("status", "--porcelain") == ""


def test_what_is_declared_so_already_is_said_and_fine(cloned: Cloned) -> None:
    cloned.run("declare", given(cloned), "--commit").expect(0)
    head = cloned.git("rev-parse", "HEAD")
    said = cloned.run("declare", given(cloned)).expect(0)
    assert (said.out, said.err) == ("", f"{NAME}:1 says so already; nothing was changed.\n")
    again = cloned.run("declare", given(cloned), "--commit").expect(0)
    assert (again.out, again.err) == ("", f"main says so already: {NAME}:1\nNext: git push\n")
    assert (cloned.git("rev-parse", "HEAD"), cloned.git("status", "--porcelain")) == (head, "")


def test_of_an_entry_of_a_set_the_identity_alone_changes(cloned: Cloned) -> None:
    cloned.write("dbs.yaml", SET)
    cloned.commit()
    said = cloned.run("declare", given(cloned), "--commit").expect(0)
    expected = SET.replace("'poll://db-1'", "'poll://auzwyuz6aecu7hrl'").replace(OTHER, f'"{PRINT}"')
    assert read(cloned) is None
    assert read(cloned, name="dbs.yaml") == read(cloned, "HEAD", "dbs.yaml") == expected
    assert [line for line in said.out.splitlines() if line[:1] in "+-"] == [
        "--- a/dbs.yaml",
        "+++ b/dbs.yaml",
        "-        subscription: 'poll://db-1'",
        "+        subscription: 'poll://auzwyuz6aecu7hrl'",
        f"-        - {OTHER}   # since March",
        f'+        - "{PRINT}"   # since March',
    ]


def test_what_the_repository_says_otherwise_stays_and_that_is_said(cloned: Cloned) -> None:
    cloned.write("pool.yaml", (POOL % "blue") + "---\n" + (POOL % "green"))
    cloned.write(NAME, f"# Ours.\n{LISTENING}  slots: 3\n".replace("[blue]", "[green]").replace("10944", "10945"))
    cloned.commit()
    said = cloned.run("declare", given(cloned, LISTENING), "--commit", "--file", "elsewhere.yaml").expect(0)
    assert read(cloned) == f"# Ours.\n{LISTENING}  slots: 3\n".replace("[blue]", "[green]")
    assert said.err.splitlines()[:2] == [
        f"{NAME}:2: pools stays as it is; the document says it otherwise.",
        f"{NAME}:2: it is declared there already, so --file is of no use.",
    ]
    again = cloned.run("declare", given(cloned, LISTENING)).expect(0)
    assert again.err == (
        f"{NAME}:2: pools stays as it is; the document says it otherwise.\n"
        f"{NAME}:2 says so already; nothing was changed.\n"
    )


def test_a_port_that_was_not_written_is_added_behind_the_host(cloned: Cloned) -> None:
    cloned.write(NAME, LISTENING.replace("      port: 10944\n", ""))
    cloned.commit()
    cloned.run("declare", given(cloned, LISTENING)).expect(0)
    assert read(cloned) == LISTENING


def test_two_thumbprints_in_another_order_are_the_same_identity(cloned: Cloned) -> None:
    cloned.write(NAME, DOCUMENT.replace(f'"{PRINT}"', f'"{OTHER}", "{PRINT}"'))
    cloned.commit()
    said = cloned.run("declare", given(cloned, DOCUMENT.replace(f'"{PRINT}"', f'"{PRINT}", "{OTHER}"'))).expect(0)
    assert said.err == f"{NAME}:1 says so already; nothing was changed.\n"


def test_a_push_goes_on_top_of_what_others_pushed_and_the_checkout_follows(cloned: Cloned) -> None:
    rival(cloned, "new.yaml", POOL % "green")
    said = cloned.run("declare", given(cloned), "--push").expect(0)
    head = cloned.git("rev-parse", "HEAD")
    assert said.err == (
        f"pushed it to origin/main as {head[:12]}\nNext: reconcile wait --commit {head[:12]} --server URL\n"
    )
    assert read(cloned, "remote") == read(cloned) == DOCUMENT
    assert (cloned.root / "new.yaml").read_text() == POOL % "green"
    assert cloned.git("log", "--format=%s") == "Declare db-1\na change\na change"
    assert cloned.git("status", "--porcelain") == ""


def test_a_worker_that_others_declared_meanwhile_gets_its_identity_there(cloned: Cloned) -> None:
    rival(cloned, "dbs.yaml", SET)
    cloned.run("declare", given(cloned), "--push").expect(0)
    expected = SET.replace("'poll://db-1'", "'poll://auzwyuz6aecu7hrl'").replace(OTHER, f'"{PRINT}"')
    assert read(cloned, "remote", "dbs.yaml") == read(cloned, name="dbs.yaml") == expected
    assert read(cloned) is read(cloned, "remote") is None
    assert cloned.git("status", "--porcelain") == ""


def test_a_remote_that_refuses_leaves_all_as_it_was_and_the_patch_is_printed(cloned: Cloned) -> None:
    hook = cloned.remote / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho 'main is protected'\nexit 1\n")
    hook.chmod(0o755)
    said = cloned.run("declare", given(cloned), "--push").expect(1)
    assert said.out == PATCH
    assert said.err.startswith("Error: origin does not take the commit: main is protected\n")
    assert (read(cloned), cloned.git("status", "--porcelain")) == (None, "")
    assert cloned.git("log", "--format=%s") == "a change"


def test_what_is_new_and_half_a_thought_stays_out_of_the_commit(cloned: Cloned) -> None:
    cloned.write("staged.yaml", POOL % "green")
    cloned.git("add", "staged.yaml")
    cloned.write("half.txt", "a thought")
    before = cloned.git("status", "--porcelain")
    cloned.run("declare", given(cloned), "--commit").expect(0)
    assert cloned.git("show", "--format=", "--name-only", "HEAD") == NAME
    assert cloned.git("status", "--porcelain") == before


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_a_new_file_may_be_read_by_whom_the_person_lets_read(cloned: Cloned, umask: int) -> None:
    former = os.umask(umask)
    try:
        cloned.run("declare", given(cloned)).expect(0)
    finally:
        os.umask(former)
    assert stat.S_IMODE((cloned.root / NAME).stat().st_mode) == 0o666 & ~umask
    assert [path.name for path in cloned.root.iterdir() if path.name.startswith(".db-1")] == []


@pytest.mark.end_to_end
@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_death_at_any_moment_leaves_nothing_or_the_new_file_and_the_same_command_finishes_it(
    cloned: Cloned, moment: str, done: bool
) -> None:
    path, marker = deadly(cloned, moment, done=done)
    died = cloned.process("declare", "--push", stdin=DOCUMENT, PATH=path)
    assert (died.code, marker.exists()) == (-9, True)
    places = ("", "HEAD", ":0", "remote")
    assert {read(cloned, place) for place in places} <= {None, DOCUMENT}
    cloned.process("declare", "--push", stdin=DOCUMENT, PATH=path).expect(0)
    assert [read(cloned, place) for place in places] == [DOCUMENT] * 4
    assert cloned.git("status", "--porcelain") == ""
    assert cloned.git("log", "--format=%s") == "Declare db-1\na change"


def test_whoever_types_it_is_told_what_is_waited_for(cloned: Cloned) -> None:
    ours, theirs = pty.openpty()
    declaring = subprocess.Popen(
        [RECONCILE, "declare"], cwd=cloned.root, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    os.close(theirs)
    os.write(ours, DOCUMENT.encode() + b"\x04")
    printed, said = declaring.communicate(timeout=SECONDS_MAX)
    os.close(ours)
    assert (declaring.returncode, printed) == (0, PATCH)
    assert said.startswith("Paste what the agent printed, then press Ctrl-D on a line of its own.\n")
    assert (cloned.root / NAME).read_text() == DOCUMENT
