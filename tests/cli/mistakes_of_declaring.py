"""What can be wrong where what an agent printed is put into Git, one case for each sentence."""

from collections.abc import Callable
from pathlib import Path

from reconciler.declare.enrolled import BYTES_MAX
from tests.cli.mistakes_of_writing import ADA, declared
from tests.cli.said import Said, cases, told
from tests.cli.workplace import POOL, Workplace, worker

DOCUMENT = worker("worker-9", "blue")
LISTENING = """\
apiVersion: reconciler/v1
kind: Worker
metadata: {name: worker-1}
spec: {pools: [blue], endpoint: {listening: {host: db-1.example.org, thumbprints: ["SHA256:%sA"]}}}
""" % ("a" * 42)
SET = """\
apiVersion: reconciler/v1
kind: WorkerSet
metadata: {name: all}
spec:
  workers:
  - {name: worker-9, pools: [blue], endpoint: {polling: {subscription: "poll://worker-9", thumbprints: ["SHA256:%sA"]}}}
""" % ("v" * 42)
SSH = """\
apiVersion: reconciler/v1
kind: Worker
metadata: {name: worker-9}
spec: {pools: [blue], endpoint: {ssh: {host: db-1.example.org, account: edge, hostKey: "ssh-ed25519 AAAA"}}}
"""


def refused(
    folder: Path, document: str, *arguments: str, first: Callable[[Workplace], object] = lambda place: None
) -> Said:
    place = declared(folder)
    first(place)
    done = place.process("declare", *arguments, stdin=document)
    assert place.git("log", "--format=%s") == "a change"
    return told(done)


def a_document_that_has_no_end(folder: Path) -> Said:
    return refused(folder, DOCUMENT + "#" * BYTES_MAX)


def a_private_key_as_the_document(folder: Path) -> Said:
    said = refused(folder, "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIFs\n-----END PRIVATE KEY-----\n")
    assert "MC4C" not in f"{said.message}{said.hint}"
    return said


def a_token_as_the_document(folder: Path) -> Said:
    said = refused(folder, f"{DOCUMENT}# rct1.5ef6707f.hidden.auZW\n")
    assert "hidden" not in f"{said.message}{said.hint}"
    return said


def a_document_that_is_empty(folder: Path) -> Said:
    return refused(folder, "\n")


def a_document_with_an_error(folder: Path) -> Said:
    file = folder / "printed.yaml"
    file.write_text(DOCUMENT.replace("endpoint", "endpiont"))
    said = refused(folder, "", str(file))
    assert said.message.startswith(f"{file}:4:")
    return said


def two_documents_at_once(folder: Path) -> Said:
    return refused(folder, f"{DOCUMENT}---\n{DOCUMENT}")


def a_document_of_another_kind(folder: Path) -> Said:
    return refused(folder, POOL % "green")


def a_set_as_the_document(folder: Path) -> Said:
    return refused(folder, SET)


def a_document_that_is_a_note(folder: Path) -> Said:
    return refused(folder, "- to be enrolled\n")


def a_worker_without_an_agent(folder: Path) -> Said:
    return refused(folder, SSH)


def a_new_worker_beside_the_space(folder: Path) -> Said:
    return refused(folder, DOCUMENT, "--file", "../worker-9.yaml")


def a_new_worker_where_nobody_reads(folder: Path) -> Said:
    return refused(folder, DOCUMENT, "--file", "worker-9.txt")


def a_new_worker_in_a_file_that_is_there(folder: Path) -> Said:
    return refused(folder, DOCUMENT, "--file", "pool.yaml")


def a_new_worker_in_a_folder_that_is_a_file(folder: Path) -> Said:
    return refused(folder, DOCUMENT, "--file", "pool.yaml/worker-9.yaml")


def a_new_worker_in_a_file_that_is_a_folder(folder: Path) -> Said:
    return refused(
        folder, DOCUMENT, "--file", "all.yaml", first=lambda place: place.write("all.yaml/note.txt", "a thought")
    )


def a_new_worker_in_a_file_that_git_does_not_see(folder: Path) -> Said:
    def first(place: Workplace) -> None:
        place.write(".git/info/exclude", "worker-9.yaml\n")
        place.write("worker-9.yaml", "# mine\n")

    said = refused(folder, DOCUMENT, first=first)
    assert (folder / "space" / "worker-9.yaml").read_text() == "# mine\n"
    return said


def a_new_worker_behind_a_link(folder: Path) -> Said:
    def first(place: Workplace) -> None:
        (folder / "elsewhere").mkdir()
        place.write(".git/info/exclude", "hosts\n")
        (place.root / "hosts").symlink_to(folder / "elsewhere")

    said = refused(folder, DOCUMENT, "--push", *ADA, "--file", "hosts/worker-9.yaml", first=first)
    assert list((folder / "elsewhere").iterdir()) == []
    return said


def an_agent_that_listens_for_one_that_polled(folder: Path) -> Said:
    return refused(folder, LISTENING)


def an_agent_with_two_thumbprints(folder: Path) -> Said:
    before, after = worker("worker-1", "blue").split('"SHA256:')
    return refused(folder, f'{before}"SHA256:{"b" * 42}A", "SHA256:{after}')


def a_worker_that_was_removed_and_not_committed(folder: Path) -> Said:
    place = declared(folder)
    (place.root / "worker.yaml").unlink()
    said = told(place.process("declare", "--commit", *ADA, stdin=worker("worker-1", "blue")))
    commit = place.git("rev-parse", "HEAD")
    assert not (place.root / "worker-1.yaml").exists()
    return Said(said.message.replace(commit[:12], "COMMIT"), said.hint)


def a_new_worker_of_no_pool(folder: Path) -> Said:
    return refused(folder, worker("worker-9", "green"))


def a_new_worker_with_the_identity_of_another(folder: Path) -> Said:
    return refused(folder, worker("worker-1", "blue").replace("name: worker-1", "name: worker-9"))


CASES = cases(vars())
