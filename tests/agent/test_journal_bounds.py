"""A journal is no longer than a server takes: the script is killed before, and the attempt says why."""

import errno
import os
from pathlib import Path

import pytest

from reconciler.agent import directory as tickets_on_disk
from reconciler.agent.attempt import Attempt
from reconciler.agent.output import JournalFullError, JournalWriter
from reconciler.protocol.journal import HEADER, Kind, Level, journal_bytes_max
from reconciler.protocol.tickets import Exited, OutputLimit, Secrets, Usage
from tests.agent.worker import specification

LIMIT = OutputLimit(1000, "truncate")


def attempt(folder: Path) -> Attempt:
    spec = specification("true", output_limit=LIMIT)
    return Attempt(tickets_on_disk.create(str(folder), spec), spec, Secrets(masks=("a secret",)), "nonce")


def test_a_journal_takes_no_record_that_would_make_it_too_long(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    writer = JournalWriter(os.open(path, os.O_WRONLY | os.O_CREAT), longest=HEADER.size + 3)
    with pytest.raises(JournalFullError):
        writer.append(Kind.STDOUT, Level.INFO, b"four")
    assert writer.length == 0
    writer.append(Kind.STDOUT, Level.INFO, b"one")
    assert writer.length == path.stat().st_size == HEADER.size + 3
    writer.close()


def test_a_script_that_prints_byte_by_byte_reaches_its_output_limit_and_no_other(tmp_path: Path) -> None:
    found = attempt(tmp_path)
    for _ in range(LIMIT.bytes_max + 10):
        found.feed(found.stdout, b"x")
    assert found.death_sentence == ""
    final, _ = found.ended(Exited(0), Usage(0.0, 0.0, 0))
    assert 0 < final.log_length <= journal_bytes_max(LIMIT)


def test_a_script_that_reports_without_end_is_killed_for_it(tmp_path: Path) -> None:
    found, longest = attempt(tmp_path), journal_bytes_max(LIMIT)
    for _ in range((longest >> 20) + 1):
        found.complain("x" * (1 << 20))
        if found.death_sentence:
            break
    sentence = f"killed because its log has reached {longest} bytes; print less, or set another outputLimit"
    assert found.death_sentence == sentence
    found.say(sentence)
    final, _ = found.ended(Exited(0), Usage(0.0, 0.0, 0))
    assert final.message == sentence
    assert final.log_length == (tmp_path / "t1" / "journal").stat().st_size <= longest


def test_output_that_is_held_back_until_the_end_finds_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = attempt(tmp_path)
    found.feed(found.stdout, b"a sec")  # what may be the beginning of a secret is not written yet

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        final, _ = found.ended(Exited(0), Usage(0.0, 0.0, 0))
    assert final.message == (
        "killed because its output could not be stored on the worker: No space left on device; free some space"
    )
