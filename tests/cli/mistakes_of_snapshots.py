"""What can be wrong with snapshots of the live state, one case for each sentence."""

import json
from pathlib import Path

from reconciler.model.following import Proposal, Why
from reconciler.model.spec import canonical_json
from reconciler.server.planning.planning import read_live
from reconciler.server.planning.proposed import made_again
from reconciler.server.planning.snapshots import read
from reconciler.server.state.place import place_of
from reconciler.store.signing import new_signing_key, public_key, signature
from tests.cli.said import Said, applied, cases, raised, shop, told
from tests.cli.workplace import Workplace


def taken(folder: Path) -> tuple[Workplace, Path]:
    place, file = applied(folder), folder / "snapshot.json"
    place.run("snapshot", "--out", file).expect(0)
    return place, file


def a_snapshot_of_nothing(folder: Path) -> Said:
    return told(shop(folder).run("snapshot"))


def a_snapshot_that_is_none(folder: Path) -> Said:
    place, file = taken(folder)
    file.write_text("{}\n{}\n")
    return told(place.run("plan", "--snapshot", file))


def a_waiting_plan_by_a_snapshot(folder: Path) -> Said:
    place, file = taken(folder)
    return told(place.run("plan", "plan-0123456789ab", "--snapshot", file))


def a_waiting_plan_that_became_another(folder: Path) -> Said:
    place = applied(folder)
    head = place.git("rev-parse", "HEAD").strip()
    asked = Proposal("0123456789ab", head, Why.MANUAL, "1 to add", 0.0)
    return raised(lambda: made_again(place_of(str(place.root), None, None), asked, read_live(str(place.data)), None))


def a_snapshot_of_bytes(folder: Path) -> Said:
    place, file = taken(folder)
    file.write_bytes(b"\xff\n")
    return told(place.run("plan", "--snapshot", file))


def a_snapshot_that_was_changed(folder: Path) -> Said:
    place, file = taken(folder)
    file.write_text(file.read_text().replace('"serial":', '"serial":1'))
    return told(place.run("plan", "--snapshot", file))


def a_snapshot_of_another_installation(folder: Path) -> Said:
    place, file = taken(folder)
    (folder / "key.pem").write_text(public_key(new_signing_key()))
    return told(place.run("plan", "--snapshot", file, "--snapshot-key", folder / "key.pem"))


def a_key_that_is_none(folder: Path) -> Said:
    place, file = taken(folder)
    (folder / "key.pem").write_text("SHA256:AAAA\n")
    return told(place.run("plan", "--snapshot", file, "--snapshot-key", folder / "key.pem"))


def a_key_without_a_snapshot(folder: Path) -> Said:
    return told(applied(folder).run("plan", "--snapshot-key", folder / "key.pem"))


def a_snapshot_of_another_repository(folder: Path) -> Said:
    _, file = taken(folder)
    other = shop(folder / "other")
    other.git("commit", "--quiet", "--amend", "--message", "another beginning")
    return told(other.run("plan", "--snapshot", file))


def signed(content: dict[str, object]) -> str:
    key = new_signing_key()
    text = canonical_json(content)
    return f"{text}\n{canonical_json({'key': public_key(key), 'signature': signature(text, key)})}\n"


def a_snapshot_of_another_version(folder: Path) -> Said:
    text = signed({"format": "reconciler snapshot", "version": 2})
    assert raised(lambda: read(signed({"format": "reconciler snapshot", "version": 1}), "old.json", [])) == raised(
        lambda: read(text, "old.json", [])
    )
    assert json.loads(text.splitlines()[0])["version"] == 2
    return raised(lambda: read(text, "old.json", []))


CASES = cases(globals())
