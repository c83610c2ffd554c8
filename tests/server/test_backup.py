"""Backups: what is not whole is found before anything is written, and what is in them is only what belongs there."""

import fcntl
import json
import os
import re
import tarfile
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.model.errors import StateUnreadable, UsageMistake
from reconciler.model.live import OutputValue, TaskState
from reconciler.model.spec import canonical_json, digest_of
from reconciler.server.state.archive import KEY, Manifest, read_backup
from reconciler.server.state.backup import ROOM, back_up
from reconciler.server.state.place import Place
from reconciler.server.state.restore import restore
from reconciler.store import results
from reconciler.store.directory import DataDirectory
from reconciler.store.keys import sealer
from reconciler.store.writer import Store
from tests.server.histories import History

ANN = "ann@desk"


def place(folder: Path) -> Place:
    return Place(folder, str(folder), DataDirectory(folder))


def backed_up(folder: Path, *, with_key: bool = False, secret: str = "") -> Manifest:
    """Make a state with two tasks in `folder`/data and a backup of it in `folder`/b.tar."""
    here = place(folder / "data")
    with Store.open(here.data, here.files.root) as store:
        history = History(store, here.files)
        task = history.task(2)
        history.task(1, TaskState.RUNNING)
        if secret:
            seal = store.write_now(lambda tx: sealer(tx, here.files.key))
            value = OutputValue("go", "password", secret, sensitive=True)
            store.write_now(lambda tx: results.put_outputs(tx, task.id, [value], seal))
    with (folder / "b.tar").open("wb") as file:
        return back_up(here, file, with_key=with_key)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    backed_up(folder, with_key=True, secret="open sesame")
    return folder / "b.tar"


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_any_changed_byte_and_any_cut_is_found_and_nothing_is_written(
    whole: Path, tmp_path: Path, data: st.DataObject
) -> None:
    content = bytearray(whole.read_bytes())
    with tarfile.open(whole) as tar:
        last = tar.getmembers()[-1]
        covered = [(member.offset_data, member.offset_data + member.size) for member in tar.getmembers() if member.size]
    changed = tmp_path / "changed.tar"
    if data.draw(st.booleans(), label="cut"):
        changed.write_bytes(content[: data.draw(st.integers(0, last.offset_data + last.size - 1))])
    else:
        start, end = data.draw(st.sampled_from(covered))
        content[data.draw(st.integers(start, end - 1))] ^= data.draw(st.integers(1, 255))
        changed.write_bytes(content)
    with pytest.raises(UsageMistake, match=r"is no whole backup|was made by a newer"):
        restore(changed, place(tmp_path / "r"), ANN)
    assert not (tmp_path / "r").exists()


def test_a_name_that_leads_elsewhere_is_never_written(tmp_path: Path) -> None:
    for name in ("../evil", "/etc/evil", "logs/../../evil.journal", "blobs/ab/evil", "agent/tickets"):
        text = b"evil"
        fields = {
            "form": "1", "type": "backup", "made_at": 1.0, "space": "s", "schema": 1, "key": "", "counts": {},
            "absent": [], "parts": [{"name": name, "size": 4, "sha256": digest_of("evil")}],
        }  # fmt: skip
        manifest = canonical_json({**fields, "hash": digest_of(canonical_json(fields))}).encode()
        with tarfile.open(tmp_path / "evil.tar", "w") as tar:
            for part, data in ((name, text), ("manifest.json", manifest)):
                info = tarfile.TarInfo(part)
                info.size = len(data)
                tar.addfile(info, BytesIO(data))
        with pytest.raises(UsageMistake, match=f"is no whole backup: {re.escape(name)} is no part of one"):
            restore(tmp_path / "evil.tar", place(tmp_path / "r"), ANN)


def test_a_key_travels_only_where_it_is_asked_for(tmp_path: Path) -> None:
    manifest = backed_up(tmp_path, secret="open sesame")
    assert not manifest.has(KEY)
    key = (tmp_path / "data" / "key").read_bytes()
    assert key.strip() not in (tmp_path / "b.tar").read_bytes()
    found = restore(tmp_path / "b.tar", place(tmp_path / "r"), ANN)
    assert found.needs_key
    (tmp_path / "r" / "key").write_bytes(key)
    (tmp_path / "r" / "key").chmod(0o600)
    assert opened(tmp_path / "r") == "open sesame"


def test_a_backup_with_its_key_opens_everything(whole: Path, tmp_path: Path) -> None:
    found = restore(whole, place(tmp_path / "r"), ANN)
    assert not found.needs_key
    assert (tmp_path / "r" / "key").stat().st_mode & 0o777 == 0o600
    assert opened(tmp_path / "r") == "open sesame"


def opened(data: Path) -> str:
    with Store.open(str(data), data) as store:
        seal = store.write_now(lambda tx: sealer(tx, data / "key"))
        (value,) = store.read_now(lambda tx: results.outputs(tx, 1, seal))  # type: ignore[arg-type]  # a number
        return value.value


def test_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    here = place(tmp_path / "data")
    backed_up(tmp_path)
    here.files.logs.joinpath("1-1-1-abcd.journal").write_bytes(b"log")
    for blob in here.files.blobs.glob("??/*"):
        blob.write_bytes(b"spoilt")
    with (tmp_path / "again.tar").open("wb") as file:
        manifest = back_up(here, file, with_key=False)
    log, *blobs = manifest.absent
    assert log == "the log of the attempt 1-1-1-abcd is not whole in these files"
    assert len(blobs) == 3
    assert all(sentence.endswith(" is not what its name says") for sentence in blobs)
    here.files.logs.joinpath("1-1-1-abcd.journal").unlink()
    for blob in here.files.blobs.glob("??/*"):
        blob.unlink()
    with (tmp_path / "again.tar").open("wb") as file:
        manifest = back_up(here, file, with_key=False)
    assert manifest.absent[0] == "the log of the attempt 1-1-1-abcd is not in these files"
    assert [sentence[:13] for sentence in manifest.absent[1:]] == ["the artifact "]


def test_a_log_that_grows_is_as_long_as_it_was(tmp_path: Path) -> None:
    backed_up(tmp_path)
    restore(tmp_path / "b.tar", place(tmp_path / "r"), ANN)
    assert (tmp_path / "r" / "logs" / "2-1-1-abcd.journal").read_bytes() == b"log of 2"


def test_a_damaged_database_is_not_backed_up(tmp_path: Path) -> None:
    backed_up(tmp_path)
    state = tmp_path / "data" / "state.db"
    content = bytearray(state.read_bytes())
    middle = range(len(content) // 2, len(content) // 2 + 20_000)
    for index in middle:
        content[index] = 0x55
    state.write_bytes(content)
    with pytest.raises(StateUnreadable, match="is damaged"), (tmp_path / "again.tar").open("wb") as file:
        back_up(place(tmp_path / "data"), file, with_key=False)


def test_the_manifest_says_what_is_inside(whole: Path) -> None:
    manifest = read_backup(whole)
    assert manifest.counts == {"objects": 0, "tasks": 2, "attempts": 2, "events": 0}
    assert [part.name for part in manifest.parts][:1] == ["state.db"]
    with tarfile.open(whole) as tar:
        assert {member.mode for member in tar.getmembers()} == {0o600}
        file = tar.extractfile("manifest.json")
        assert file is not None
        assert json.load(file)["form"] == "1"


def test_a_restore_that_is_killed_before_its_last_rename_leaves_no_state(whole: Path, tmp_path: Path) -> None:
    """Whatever was moved before, the next restore begins again; the state comes last."""
    target = tmp_path / "r"
    restore(whole, place(target), ANN)
    (target / "restoring").mkdir()
    os.rename(target / "state.db", target / "restoring" / "state.db")
    (target / "logs" / "extra.journal").write_text("left")
    found = restore(whole, place(target), ANN)
    assert found.abandoned == (2,)
    assert not (target / "logs" / "extra.journal").exists()
    assert not (target / "restoring").exists()


def test_what_a_killed_backup_left_is_removed_by_the_next_and_nothing_of_one_that_works(tmp_path: Path) -> None:
    here = place(tmp_path / "data")
    with Store.open(here.data, here.files.root) as store:
        History(store, here.files).task(1)
    here.cache.mkdir(exist_ok=True)
    left, working = (here.cache / f"{ROOM}{name}" for name in ("left", "working"))
    for folder in (left, working):
        folder.mkdir()
        (folder / "copy").write_text("a database")
    holding = os.open(working, os.O_RDONLY)
    try:
        fcntl.flock(holding, fcntl.LOCK_EX)
        back_up(here, BytesIO(), with_key=False)
        assert list(here.cache.iterdir()) == [working]
    finally:
        os.close(holding)
    back_up(here, BytesIO(), with_key=False)
    assert list(here.cache.iterdir()) == []
