"""What scripts do to their worker and to us, through the whole of it: forks, floods, deafness, nonsense, time."""

import re
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from reconciler.protocol.journal import Kind
from tests.chaos.space import Space, gate, space_in, step

pytestmark = pytest.mark.end_to_end


@pytest.fixture
def space(tmp_path: Path) -> Iterator[Space]:
    with space_in(tmp_path) as found:
        yield found


def printed(space: Space, *kinds: Kind) -> bytes:
    """Return what the first attempt printed."""
    return space.log(space.attempts()[0].ticket, *kinds)


def test_a_grandchild_that_keeps_the_output_open_does_not_hold_up_the_step(space: Space) -> None:
    space.declare(step("Forks", "echo parent; (sleep 1000) & disown; exit 3"))
    assert "exit code 3" in space.apply(expect=6)
    assert printed(space) == b"parent\n"


def test_a_timeout_kills_the_whole_tree_even_one_that_ignores_sigterm(space: Space) -> None:
    space.declare(step("Deaf", "trap '' TERM; setsid sleep 1003 & while :; do sleep 0.05; done", timeout="1s"))
    assert "timed out after 1 s; the whole process tree was killed" in space.apply(expect=6)
    assert space.family.scripts("sleep 1003") == []
    assert b"the timeout of 1 s has passed" in printed(space, Kind.SYSTEM)


def test_a_flood_arrives_byte_for_byte(space: Space) -> None:
    space.declare(step("Flood", "seq 1000000"))
    space.apply()
    wanted = b"".join(b"%d\n" % number for number in range(1, 1_000_001))
    assert sha256(printed(space)).digest() == sha256(wanted).digest()


@pytest.mark.parametrize(("then", "code", "reason"), [
    ("truncate", 0, ""),
    ("kill", 6, "killed because it printed more than 65536 bytes"),
])  # fmt: skip
def test_an_output_limit_holds_and_says_so(space: Space, then: str, code: int, reason: str) -> None:
    space.declare(step("Flood", "seq 100000; sleep 0.3", outputLimit={"size": "64KiB", "then": then}))
    assert reason in space.apply(expect=code)
    assert len(printed(space, Kind.STDOUT)) <= 65536
    assert "bytes over the output limit were dropped" in space.reconcile("logs", "1")


def test_bytes_that_are_no_text_are_kept_as_they_are_and_shown_as_well_as_can_be(space: Space) -> None:
    space.declare(step("Noise", r"printf '\xff\xfe\x00caf\xc3\xa9\n\xc3'"))
    assert "caf\N{LATIN SMALL LETTER E WITH ACUTE}" in space.apply()
    assert printed(space) == b"\xff\xfe\x00caf\xc3\xa9\n\xc3"
    assert "\N{REPLACEMENT CHARACTER}" in space.reconcile("logs", "1")


def test_a_missing_interpreter_is_a_sentence_and_nothing_starts(space: Space) -> None:
    space.environment["PATH"] = _path_without(space, "pwsh")
    space.declare({"name": "Windows", "script": {"syntax": "powershell", "body": "Get-Date"}})
    assert "pwsh is not installed on this worker" in space.apply(expect=6)


def _path_without(space: Space, program: str) -> str:
    return ":".join(folder for folder in space.environment["PATH"].split(":") if not Path(folder, program).exists())


def test_each_retry_is_an_attempt_of_its_own_and_the_last_one_counts(space: Space) -> None:
    script = 'echo "attempt ${ATTEMPT}"; [ "$ATTEMPT" = 3 ]'
    env = {"ATTEMPT": "${{ attempt }}"}
    space.declare(step("Flaky", script, retry={"attempts": 3, "backoff": "1s"}, env=env), step("After"))
    space.apply()
    assert [one.number for one in space.attempts() if one.step == 0] == [1, 2, 3]
    assert [space.log(one.ticket) for one in space.attempts()[:3]] == [b"attempt %d\n" % n for n in (1, 2, 3)]
    assert space.starts() == Counter({"Flaky": 3, "After": 1})


def test_retries_end_with_the_reason_of_the_last(space: Space) -> None:
    space.declare(step("Broken", "fail 'no such table'", retry={"attempts": 2, "backoff": "1s"}))
    assert re.search(r"✗ Broken failed .*no such table", space.apply(expect=6))
    assert space.starts() == Counter({"Broken": 2})


def test_artifacts_are_kept_byte_for_byte_under_their_digest(space: Space) -> None:
    space.declare(
        step("Build", "mkdir out; seq 100000 > out/big.txt; echo x > 'out/with space.txt'", artifacts=["out/*"])
    )
    space.apply()
    found = {one.name: one for one in space.artifacts()}
    assert sorted(found) == ["out/big.txt", "out/with space.txt"]
    big = b"".join(b"%d\n" % number for number in range(1, 100_001))
    assert (found["out/big.txt"].size, found["out/big.txt"].digest) == (len(big), sha256(big).hexdigest())
    listed = space.reconcile("artifacts", "1")
    assert "out/big.txt" in listed
    assert any(content == big for _, content in space.kept_bytes())


def test_a_script_that_is_longer_than_a_frame_runs(space: Space) -> None:
    space.declare(step("Long", ": " + "x" * 300_000 + "\necho end"))
    space.apply()
    assert printed(space) == b"end\n"


def test_a_killed_script_is_told_from_a_failed_one(space: Space) -> None:
    space.declare(step("Killed", "kill -KILL $$"))
    assert "ended by SIGKILL, which was not ours" in space.apply(expect=6)


def test_a_value_that_no_environment_can_hold_fails_the_step_in_words(space: Space) -> None:
    half = {"name": "Half", "value": "x" * 100_000}
    space.declare(
        step("Huge", gate("never"), env={"HUGE": "${{ vars.Half }}${{ vars.Half }}"}), project_variables=[half]
    )
    assert "an environment value holds at most 127 KiB" in space.apply(expect=6)
    assert space.starts() == Counter()
