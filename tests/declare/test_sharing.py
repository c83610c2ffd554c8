"""Files that other processes parse: what they answer, and that a space reads alike with and without them."""

import os
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest
from pydantic_core import to_json

from reconciler.declare.cache import unpacked
from reconciler.declare.load import load
from reconciler.declare.sharing import START, File, Share, answer, hand_out
from tests.declare.repository import TEAM, Repository

FAULTY = TEAM % "Wrong"
UNREADABLE = "members: [\n"


def asked(*files: File) -> bytes:
    return to_json([(path, blob, urlsafe_b64encode(data).decode()) for path, blob, data in files])


def test_an_answer_leaves_out_what_holds_faults_or_may_hold_some() -> None:
    files = [
        File("a.yaml", "1", (TEAM % "a").encode()),
        File("b.yaml", "2", FAULTY.encode()),
        File("c.yaml", "3", b"\xff\xfe"),
        File("d.yaml", "4", b"kind: Pod\napiVersion: v1\n"),
        File("e.yaml", "5", UNREADABLE.encode()),
    ]
    rows = unpacked(answer(asked(*files)))
    assert rows is not None
    assert {path: (row[0], row[1], len(row[2])) for path, row in rows.items()} == {
        "a.yaml": ("1", 0, 1),
        "d.yaml": ("4", 1, 0),
    }


def test_another_process_answers_for_its_share() -> None:
    files = [File(f"{number}.yaml", f"{number}", (TEAM % f"team-{number}").encode()) for number in range(5)]
    share = Share(files)
    assert {path: row[0] for path, row in share.rows().items()} == {file.path: file.blob for file in files}


@pytest.mark.parametrize("garbage", [b"", b"\n", b"{}", b"Traceback (most recent call last):\n"])
def test_what_is_no_answer_holds_no_rows(garbage: bytes) -> None:
    assert unpacked(garbage) is None


def test_few_files_are_not_shared() -> None:
    files = iter([File(f"{number}.yaml", "", b"") for number in range(START)])
    assert hand_out(files, START) == []
    assert len(list(files)) == START


def test_a_space_reads_alike_where_its_files_are_shared(repository: Repository, tmp_path: Path) -> None:
    processors = len(os.sched_getaffinity(0))
    count = START * (min(processors, 4) + 1)
    for number in range(count):
        repository.write(f"teams/{number // 1000}/{number:05}.yaml", TEAM % f"team-{number}")
    repository.write("teams/0/00000.yaml", FAULTY)
    found = load(repository.root, cache=tmp_path / "cache")
    assert [item.code for item in found.diagnostics] == ["bad-name"]
    assert found.files == count
    repository.write("teams/0/00000.yaml", TEAM % "team-0")
    again = load(repository.root, cache=tmp_path / "cache")
    assert again.desired is not None
    assert sorted(address.name for address in again.desired.objects) == sorted(f"team-{n}" for n in range(count))
    alone = load(repository.root / "teams" / "0")
    assert alone.desired is not None
    for address, declared in alone.desired.objects.items():
        assert again.desired.objects[address].digest == declared.digest
