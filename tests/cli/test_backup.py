"""Where `backup` writes to: a file appears when it is whole, and what is no file stays what it is."""

import os
import stat
import tarfile
import threading
from io import BytesIO
from pathlib import Path

from tests.cli.workplace import Workplace

PATIENCE = 30.0


def test_a_backup_is_a_file_of_its_owner_and_takes_the_place_of_the_one_before(place: Workplace) -> None:
    place.apply()
    target = place.root.parent / "b.tar"
    target.write_text("the one before")
    place.run("backup", "--to", target).expect(0)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert tarfile.is_tarfile(target)
    assert [path.name for path in target.parent.iterdir() if path.name.startswith("b.tar")] == ["b.tar"]


def test_a_backup_goes_through_a_pipe_that_has_a_name(place: Workplace) -> None:
    place.apply()
    pipe, heard = place.root.parent / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: heard.append(pipe.read_bytes()), daemon=True)
    reader.start()
    place.run("backup", "--to", pipe).expect(0)
    assert stat.S_ISFIFO(pipe.lstat().st_mode)
    reader.join(PATIENCE)
    (content,) = heard
    with tarfile.open(fileobj=BytesIO(content)) as tar:
        assert "state.db" in tar.getnames()


def test_a_backup_to_a_device_without_room_ends_in_a_sentence_and_leaves_it(place: Workplace) -> None:
    place.apply()
    device = place.root.parent / "device"
    device.symlink_to("/dev/full")
    told = place.process("backup", "--to", str(device)).expect(1)
    assert told.err == (
        "Error: the output cannot be written: No space left on device\n"
        "  make room for it, or write it to another disk\n"
    )
    assert device.is_symlink()
    assert Path("/dev/full").is_char_device()


def test_a_backup_into_a_folder_is_refused(place: Workplace, tmp_path: Path) -> None:
    place.apply()
    (tmp_path / "folder").mkdir()
    told = place.run("backup", "--to", tmp_path / "folder").expect(1)
    assert told.err == f"Error: {tmp_path}/folder: Is a directory\n"
