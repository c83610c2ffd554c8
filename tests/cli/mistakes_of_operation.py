"""What can be wrong with a backup and the place that it is put into, one case for each sentence."""

import os
import pty
import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

import psycopg
import pytest

from reconciler.model.spec import canonical_json, digest_of
from reconciler.store import copies
from reconciler.store.writer import Store
from tests.cli.said import Said, applied, cases, raised, told
from tests.cli.workplace import RECONCILE, Outcome, Workplace, environment, reconcile
from tests.pgbouncer import pooler
from tests.postgres import postgres_server


def backed_up(folder: Path) -> Workplace:
    place = applied(folder)
    place.run("backup", "--to", folder / "b.tar").expect(0)
    return place


def restored(folder: Path, data: str = "again") -> Said:
    return told(reconcile("restore", folder / "b.tar", "--data", folder / data))


def manifest_of(folder: Path, **fields: object) -> Said:
    """Restore an archive that holds nothing but a manifest of ours with these fields."""
    whole = {
        "form": "1", "type": "backup", "made_at": 1.0, "space": "s", "schema": 1, "key": "", "counts": {}, "absent": [],
        "parts": [], **fields,
    }  # fmt: skip
    text = canonical_json({**whole, "hash": digest_of(canonical_json(whole))}).encode()
    with tarfile.open(folder / "b.tar", "w") as tar:
        info = tarfile.TarInfo("manifest.json")
        info.size = len(text)
        tar.addfile(info, BytesIO(text))
    return restored(folder)


def a_backup_of_no_state(folder: Path) -> Said:
    return told(reconcile("backup", "--data", folder / "nothing", "--to", folder / "b.tar"))


def a_backup_of_several_spaces(folder: Path) -> Said:
    place = applied(folder)
    (folder / "all").mkdir()
    place.data.rename(folder / "all" / "shop")
    return told(reconcile("backup", "--data", folder / "all", "--to", folder / "b.tar"))


def a_backup_onto_a_terminal(folder: Path) -> Said:
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [RECONCILE, "backup", "--data", applied(folder).data, "--to", "-"],
        env=environment(), stdout=theirs, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    os.close(ours)
    os.close(theirs)
    return told(Outcome(done.returncode, "", done.stderr))


def a_backup_of_a_damaged_state(folder: Path) -> Said:
    state = applied(folder).data / "state.db"
    content = bytearray(state.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 20_000] = b"U" * 20_000
    state.write_bytes(content)
    said = told(reconcile("backup", "--data", state.parent, "--to", folder / "b.tar"))
    return Said(said.message.partition(" is damaged: ")[0] + " is damaged: …", said.hint)


def a_backup_that_was_cut_off(folder: Path) -> Said:
    backed_up(folder)
    content = (folder / "b.tar").read_bytes()
    (folder / "b.tar").write_bytes(content[: len(content) // 2])
    return restored(folder)


def a_backup_that_is_no_tar(folder: Path) -> Said:
    (folder / "b.tar").write_text("milk\n" * 1000)
    return restored(folder)


def a_backup_without_its_end(folder: Path) -> Said:
    with tarfile.open(folder / "b.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("state.db"))
    return restored(folder)


def a_backup_with_a_changed_part(folder: Path) -> Said:
    backed_up(folder)
    content = bytearray((folder / "b.tar").read_bytes())
    content[600] ^= 1
    (folder / "b.tar").write_bytes(content)
    return restored(folder)


def a_backup_with_a_manifest_of_another_kind(folder: Path) -> Said:
    return manifest_of(folder, counts_of_sheep=3)


def a_backup_with_a_manifest_that_does_not_fit(folder: Path) -> Said:
    return manifest_of(folder, type="sheep")


def a_backup_of_a_newer_form(folder: Path) -> Said:
    return manifest_of(folder, form="2")


def a_backup_of_a_newer_schema(folder: Path) -> Said:
    return manifest_of(folder, schema=99)


def a_restore_over_something(folder: Path) -> Said:
    backed_up(folder)
    (folder / "again").mkdir()
    (folder / "again" / "letter").write_text("Dear Ann")
    return restored(folder)


def a_restore_of_a_directory_into_postgresql(folder: Path) -> Said:
    backed_up(folder)
    url = ("--data", "postgresql://127.0.0.1:1/x", "--files", folder / "files")
    return told(reconcile("restore", folder / "b.tar", *url))


def a_restore_of_postgresql_into_a_directory(folder: Path) -> Said:
    with tarfile.open(folder / "b.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("state.dump"))
        whole = {
            "form": "1", "type": "backup", "made_at": 1.0, "space": "s", "schema": 1, "key": "", "counts": {},
            "absent": [], "parts": [{"name": "state.dump", "size": 0, "sha256": digest_of("")}],
        }  # fmt: skip
        text = canonical_json({**whole, "hash": digest_of(canonical_json(whole))}).encode()
        info = tarfile.TarInfo("manifest.json")
        info.size = len(text)
        tar.addfile(info, BytesIO(text))
    return restored(folder)


def a_restore_into_a_database_that_holds_something(folder: Path) -> Said:
    with postgres_server() as server:
        url = ("--data", server.new_database(), "--files", folder / "files")
        place = Workplace(folder / "space")
        place.declare_shop()
        place.commit()
        place.apply(*url)
        place.run("backup", *url, "--to", folder / "b.tar").expect(0)
        again = ("--data", url[1], "--files", folder / "again")
        return told(reconcile("restore", folder / "b.tar", *again))


def a_restore_of_a_space_that_has_a_state(folder: Path) -> Said:
    with postgres_server() as server:
        address = server.new_database()
        own, files = f"{address}/shop", ("--files", folder / "files")
        with Store.open(own, folder / "files" / "shop"):
            pass
        backup = ("backup", "--data", own, *files, "--to", folder / "b.tar")
        reconcile(*backup).expect(0)
        again = ("restore", folder / "b.tar", "--data", own, "--files", folder / "again")
        said = told(reconcile(*again))
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(said.hint.rpartition(": ")[2])
        reconcile(*again).expect(0)
        return said


def a_program_of_postgresql_that_is_missing(folder: Path) -> Said:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(folder))
        return raised(lambda: copies.put_back("postgresql://127.0.0.1:1/x", folder / "dump"))


def a_backup_through_a_pooler(folder: Path) -> Said:
    with postgres_server() as server, pooler(server) as between:
        data = between.new_database()
        with Store.open(data, folder / "files"):
            pass
        return told(reconcile("backup", "--data", data, "--files", folder / "files", "--to", folder / "b.tar"))


def a_dump_that_cannot_be_put_back(folder: Path) -> Said:
    (folder / "dump").write_text("milk\n")
    return raised(lambda: copies.put_back("postgresql://127.0.0.1:1/x", folder / "dump"))


CASES = cases(vars())
