"""How much a worker may give to the server: of a log, of files, and of the server's patience."""

import asyncio
from hashlib import sha256
from pathlib import Path

import pytest

from reconciler.execute.fetching import ARTIFACT_BYTES_MAX
from reconciler.protocol import messages
from reconciler.protocol.frames import DATA_BYTES_MAX, FileBytes, LogBytes
from reconciler.protocol.journal import JOURNAL_BYTES_MAX, UNLIMITED_BYTES_MAX, journal_bytes_max
from reconciler.protocol.tickets import Artifact, Digest, OutputLimit
from tests.hostile.closeup import OURS, Closeup, closeup, until_heard
from tests.hostile.intruder import Line, final
from tests.hostile.premises import PATIENCE, Premises

LIMIT = OutputLimit(1, "truncate")
ZEROS = bytes(DATA_BYTES_MAX)


def file(name: str, data: bytes, size: int | None = None) -> Artifact:
    """Announce a file, truthfully or not."""
    return Artifact(name, len(data) if size is None else size, Digest(sha256(data).hexdigest()))


async def the_end(seen: Closeup) -> str:
    """Return with which message the attempt was recorded as ended."""
    await seen.news.until(lambda: seen.news.finals[OURS])
    return seen.news.finals[OURS][0].message


def left_of_files(seen: Closeup) -> list[Path]:
    return [path for path in seen.blobs.rglob("*") if path.is_file()]


def test_a_log_may_be_as_long_as_its_output_limit_and_what_the_agent_adds_can_make_it() -> None:
    assert journal_bytes_max(None) == JOURNAL_BYTES_MAX
    assert journal_bytes_max(OutputLimit(1000, "kill")) == 17 * 1000 + UNLIMITED_BYTES_MAX
    assert journal_bytes_max(OutputLimit(1 << 60, "kill")) == JOURNAL_BYTES_MAX


async def test_a_log_without_end_ends_the_session(tmp_path: Path) -> None:
    longest = journal_bytes_max(LIMIT)
    async with closeup(tmp_path, LIMIT) as seen:
        for offset in range(0, longest, DATA_BYTES_MAX):
            seen.line.say(LogBytes(OURS, offset, ZEROS))
        reason = (
            f"log of ours: more bytes came than the {longest} that it may have; the worker's agent is broken or hostile"
        )
        async with asyncio.timeout(PATIENCE):
            assert await seen.session == reason
        assert seen.logs.path(OURS).stat().st_size <= longest
        assert seen.counts.rejects == {"log too long": 1}
        assert [(line.worker, line.kind, line.reason) for line in seen.lines.told] == [("w2", "log too long", reason)]


async def test_a_log_of_the_greatest_length_is_taken(tmp_path: Path) -> None:
    longest = journal_bytes_max(LIMIT)
    async with closeup(tmp_path, LIMIT) as seen:
        whole = bytes(longest)
        for offset in range(0, longest, DATA_BYTES_MAX):
            seen.line.say(LogBytes(OURS, offset, whole[offset : offset + DATA_BYTES_MAX]))
        seen.line.say(messages.Finished(final(OURS, whole)))
        assert await the_end(seen) == ""
        assert not seen.counts.rejects


async def test_what_comes_of_a_log_after_its_end_is_dropped(tmp_path: Path) -> None:
    async with closeup(tmp_path) as seen:
        seen.line.say(LogBytes(OURS, 0, b"whole"), messages.Finished(final(OURS, b"whole")), LogBytes(OURS, 5, b"more"))
        await the_end(seen)
        assert seen.logs.path(OURS).read_bytes() == b"whole"


async def test_a_file_that_is_too_large_is_refused_before_a_byte_of_it_came(tmp_path: Path) -> None:
    async with closeup(tmp_path) as seen:
        wanted = file("huge.img", b"huge", ARTIFACT_BYTES_MAX + 1)
        seen.line.say(messages.Finished(final(OURS, artifacts=(wanted,), message="It failed.")))
        why = f"it has 17179869185 bytes, and of the {ARTIFACT_BYTES_MAX} that all artifacts of an attempt may have"
        assert await the_end(seen) == (f"It failed. artifact huge.img could not be stored: {why} 17179869184 are left")
        assert not left_of_files(seen)
        assert seen.counts.rejects == {"artifact too large": 1}
        assert [line.reason for line in seen.lines.told] == [f"artifact huge.img of ours: {why} 17179869184 are left"]


async def test_all_files_of_an_attempt_share_one_bound(tmp_path: Path) -> None:
    async with closeup(tmp_path) as seen:
        wanted = (file("small", b"small"), file("most", b"most", ARTIFACT_BYTES_MAX))
        seen.line.say(messages.Finished(final(OURS, artifacts=wanted)))
        get = await seen.line.hear(messages.Get)
        seen.line.say(FileBytes(get.digest, 0, b"small", last=True))
        assert "artifact most could not be stored: it has 17179869184 bytes" in await the_end(seen)
        assert [path.read_bytes() for path in left_of_files(seen)] == [b"small"]


async def test_a_file_that_never_comes_does_not_keep_the_step_from_ending(tmp_path: Path) -> None:
    async with closeup(tmp_path, fetch_patience=0.2) as seen:
        wanted = (file("never", b"never"), file("at once", b"at once"))
        seen.line.say(messages.Finished(final(OURS, artifacts=wanted)))
        await seen.line.hear(messages.Get)
        second = await seen.line.hear(messages.Get)
        seen.line.say(FileBytes(second.digest, 0, b"at once", last=True))
        assert await the_end(seen) == "artifact never could not be stored: the worker sent nothing of it for 0.2 s"
        assert [path.read_bytes() for path in left_of_files(seen)] == [b"at once"]


async def test_a_file_that_grows_slowly_is_waited_for(tmp_path: Path) -> None:
    data = bytes(DATA_BYTES_MAX)
    async with closeup(tmp_path, fetch_patience=0.5) as seen:
        seen.line.say(messages.Finished(final(OURS, artifacts=(file("slow", data),))))
        get = await seen.line.hear(messages.Get)
        now, place = asyncio.get_running_loop().time, 0
        enough = now() + 1.0
        while now() < enough:
            seen.line.say(FileBytes(get.digest, place, data[place : place + 1], last=False))
            place += 1
            await until_heard(seen)
        seen.line.say(FileBytes(get.digest, place, data[place:], last=True))
        assert await the_end(seen) == ""
        assert [path.read_bytes() for path in left_of_files(seen)] == [data]


async def test_bytes_that_do_not_join_are_no_progress_of_a_file(tmp_path: Path) -> None:
    async with closeup(tmp_path, fetch_patience=0.3) as seen:
        seen.line.say(messages.Finished(final(OURS, artifacts=(file("none", b"none"),))))
        get = await seen.line.hear(messages.Get)
        while not seen.news.finals[OURS]:
            seen.line.say(FileBytes(get.digest, 2, b"x", last=False), FileBytes(get.digest, 0, b"", last=False))
            await until_heard(seen)
        assert "the worker sent nothing of it for 0.3 s" in seen.news.finals[OURS][0].message


@pytest.mark.end_to_end
async def test_the_server_takes_no_more_of_a_log_than_the_step_allows(premises: Premises, line: Line) -> None:
    await line.greet()
    spec = await line.taken()
    longest = journal_bytes_max(spec.output_limit)
    assert longest == 17 * 1024 + UNLIMITED_BYTES_MAX
    before = premises.metric("rejects:log too long")
    for offset in range(0, longest, DATA_BYTES_MAX):
        line.say(LogBytes(spec.ticket, offset, ZEROS))
    assert await line.is_closed()
    assert premises.metric("rejects:log too long") == before + 1
    assert (premises.data / "logs" / f"{spec.ticket}.journal").stat().st_size <= longest
    reason = (
        f"log of {spec.ticket}: more bytes came than the {longest} that it may have; "
        "the worker's agent is broken or hostile"
    )
    assert f'level=warning event=breach worker=w2 kind="log too long" times=1 reason="{reason}"\n' in premises.said


@pytest.mark.end_to_end
async def test_a_task_says_which_file_was_too_large(premises: Premises, line: Line) -> None:
    await line.greet()
    spec = await line.taken()
    line.say(messages.Finished(final(spec.ticket, artifacts=(file("huge", b"huge", 1 << 50),))))
    await line.hear(messages.Forget)
    told = premises.reconcile("logs", "bait-test")
    assert "artifact huge could not be stored: it has 1125899906842624 bytes, and of the 17179869184 that all" in told
    assert not [found for found in premises.artifacts() if found.ticket == spec.ticket]
