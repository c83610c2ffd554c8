"""Files that a worker announces: names that lead elsewhere, bytes without end, bytes of others."""

from hashlib import sha256
from pathlib import Path

import pytest

from reconciler.execute.blobs import IncomingBlob, blob_path
from reconciler.protocol import messages
from reconciler.protocol.frames import DATA_BYTES_MAX, FileBytes
from reconciler.protocol.tickets import Artifact, Digest, TicketId
from tests.hostile.intruder import Line, final
from tests.hostile.premises import Premises

NAMES = [
    "../../../key",
    "/etc/passwd",
    "a/../b",
    "a//b",
    ".",
    "..",
    "",
    "a\x1b[2Jb",
    "a\nb",
    "\u202egpj.exe",
    "x" * 256,
]


def artifact(name: str, data: bytes, size: int | None = None) -> Artifact:
    """Announce a file, truthfully or not."""
    return Artifact(name, len(data) if size is None else size, Digest(sha256(data).hexdigest()))


def partials(premises: Premises) -> list[Path]:
    """Return what is left of files that were not received whole."""
    return list((premises.data / "blobs").glob("*/*.partial"))


@pytest.mark.end_to_end
async def test_a_name_that_leads_elsewhere_is_no_name(premises: Premises, line: Line) -> None:
    await line.greet()
    spec = await line.taken()
    data = b"overwritten"
    wanted = tuple(artifact(name, data) for name in [*NAMES, "report/fine ü.txt"])
    line.say(messages.Finished(final(spec.ticket, artifacts=wanted)))
    get = await line.hear(messages.Get)
    line.say(FileBytes(get.digest, 0, data, last=True))
    await line.hear(messages.Forget)
    stored = [found.name for found in premises.artifacts() if found.ticket == spec.ticket]
    assert stored == ["report/fine ü.txt"]
    told = premises.reconcile("logs", "bait-test")
    assert "artifact ../../../key could not be stored: its name is no relative path of letters that can be seen" in told
    assert "fine ü.txt" in premises.reconcile("artifacts", "bait-test")


@pytest.mark.end_to_end
async def test_a_file_has_no_more_bytes_than_were_announced(premises: Premises, line: Line) -> None:
    await line.greet()
    spec = await line.taken()
    line.say(messages.Finished(final(spec.ticket, artifacts=(artifact("endless", b"never", size=100_000),))))
    get = await line.hear(messages.Get)
    for piece in range(64):
        line.say(FileBytes(get.digest, piece * DATA_BYTES_MAX, bytes(DATA_BYTES_MAX), last=False))
    await line.hear(messages.Forget)
    assert not partials(premises)


@pytest.mark.end_to_end
@pytest.mark.parametrize("size", [-1, 3, 1 << 30])
async def test_a_file_is_as_long_as_was_announced(size: int, premises: Premises, line: Line) -> None:
    await line.greet()
    spec = await line.taken()
    data = b"seven %d" % size
    line.say(messages.Finished(final(spec.ticket, artifacts=(artifact("seven", data, size),))))
    get = await line.hear(messages.Get)
    line.say(FileBytes(get.digest, 0, data, last=True))
    await line.hear(messages.Forget)
    assert not [found for found in premises.artifacts() if found.ticket == spec.ticket]
    assert not partials(premises)


@pytest.mark.end_to_end
async def test_bytes_that_nobody_asked_for_and_wrong_ones_are_dropped(premises: Premises, line: Line) -> None:
    await line.greet()
    spec = await line.taken()
    line.say(FileBytes(Digest("../../key"), 0, b"x", last=True), FileBytes(Digest("a" * 64), 0, b"x", last=True))
    line.say(messages.Finished(final(spec.ticket, artifacts=(artifact("a", b"right"),))))
    get = await line.hear(messages.Get)
    line.say(FileBytes(get.digest, 0, b"wrong", last=True))
    await line.hear(messages.Forget)
    assert not (premises.data / "blobs" / get.digest[:2] / get.digest).exists()
    assert not partials(premises)


def test_two_workers_that_send_one_file_do_not_disturb_each_other(tmp_path: Path) -> None:
    data = b"the same on both"
    digest = Digest(sha256(data).hexdigest())
    honest, hostile = (IncomingBlob(tmp_path, digest, len(data), TicketId(name)) for name in ("t1", "t2"))
    assert not honest.add(FileBytes(digest, 0, data[:8], last=False))
    assert not hostile.add(FileBytes(digest, 0, b"nonsense", last=False))
    assert honest.add(FileBytes(digest, 8, data[8:], last=True))
    hostile.close()
    assert blob_path(tmp_path, digest).read_bytes() == data
