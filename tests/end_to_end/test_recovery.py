"""Whatever is killed, and whenever: the next `apply` goes on from there, and no step starts twice.

Each test kills real processes at one chosen moment; tests/chaos does so at random ones. An outside witness counts the
starts. That these tests can fail was seen with bugs planted on a copy: an engine that replaces an attempt of which it
has heard nothing by another one, and one that puts a question without moving its task.
"""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.model.live import AttemptState, Slot, TaskState
from reconciler.store import audit, objects
from tests.chaos.processes import until
from tests.chaos.space import AUTO, Space, gate, space_in, step

pytestmark = pytest.mark.end_to_end


@pytest.fixture
def space(tmp_path: Path) -> Iterator[Space]:
    with space_in(tmp_path) as found:
        yield found


def test_a_step_whose_engine_was_killed_is_followed_again(space: Space) -> None:
    space.declare(
        step("Before", "set_output word before"),
        step("Long", "echo began\n" + gate() + "echo went on"),
        step("After", 'echo "$WORD"', env={"WORD": "${{ steps.before.output.word }}"}),
    )
    apply = space.start(*AUTO)
    space.until_started("Long")
    apply.kill()
    assert space.states() == {"Before": "succeeded", "Long": "running", "After": "pending"}

    again = space.start(*AUTO)
    until(lambda: space.family.agent_of(again.pid), "the next agent")
    space.open()
    again.wait()
    assert space.starts() == Counter(["Before", "Long", "After"])
    assert set(space.states().values()) == {"succeeded"}
    _, long, after = space.attempts()
    assert space.log(long.ticket) == b"began\nwent on\n"
    assert space.log(after.ticket) == b"before\n"


def test_a_step_that_ended_while_nobody_was_there_is_recorded_as_it_ended(space: Space) -> None:
    space.declare(step("Long", gate() + "echo done >> $WITNESS; exit 7"))
    apply = space.start(*AUTO)
    space.until_started("Long")
    apply.kill()
    space.open()
    space.until_started("done")
    assert "exit code 7" in space.apply(expect=6)
    assert space.starts() == Counter(["Long", "done"])


@pytest.mark.parametrize("victim", ["agent", "nursery"])
def test_a_killed_agent_or_nursery_is_replaced_and_the_step_goes_on(space: Space, victim: str) -> None:
    space.declare(step("Long", gate()), step("After"))
    apply = space.start(*AUTO)
    space.until_started("Long")
    family = space.family
    found = family.agent_of(apply.pid) if victim == "agent" else family.nursery_of(apply.pid)
    assert found is not None
    found.signal()
    until(lambda: found not in family.members(), f"the end of the {victim}")
    space.open()
    apply.wait()
    assert space.starts() == Counter(["Long", "After"])


@pytest.mark.parametrize("heard", [True, False], ids=["the worker hears it late", "the worker never hears it"])
def test_an_attempt_that_was_granted_and_not_offered_starts_once(space: Space, heard: bool) -> None:
    """Hold the agent while the attempt is granted, so that nothing of it is heard before the engine is dead."""
    vault = f"until [ -e {space.home}/gates/vault ]; do sleep 0.02; done; echo open-sesame"
    secret = {"name": "Key", "type": "sensitive", "value": {"command": ["sh", "-c", vault]}}
    space.declare(step("Guarded", env={"KEY": "${{ vars.Key }}"}), step("After"), project_variables=[secret])
    apply = space.start(*AUTO)
    until(lambda: space.family.agent_of(apply.pid) and space.family.scripts("open-sesame"), "the vault being asked")
    agent = space.family.agent_of(apply.pid)
    assert agent is not None
    agent.signal(signal.SIGSTOP)
    space.open("vault")
    until(space.attempts, "the grant")
    apply.kill()
    (granted,) = space.attempts()
    assert granted.state is AttemptState.GRANTED
    assert space.starts() == Counter()
    agent.signal(signal.SIGCONT if heard else signal.SIGKILL)

    space.apply()
    assert space.starts() == Counter(["Guarded", "After"])
    assert [one.ticket for one in space.attempts() if one.step == 0] == [granted.ticket]


def test_a_secret_that_is_gone_after_a_kill_fails_the_step_with_its_reason(space: Space) -> None:
    secret = {"name": "Key", "type": "sensitive", "value": {"command": ["cat", f"{space.home}/key"]}}
    (space.home / "key").symlink_to("pipe")
    os.mkfifo(space.home / "pipe")
    space.declare(step("Guarded", env={"KEY": "${{ vars.Key }}"}), project_variables=[secret])
    apply = space.start(*AUTO)
    until(lambda: space.family.agent_of(apply.pid) and space.family.scripts("cat "), "the key being read")
    agent = space.family.agent_of(apply.pid)
    assert agent is not None
    agent.signal(signal.SIGSTOP)
    (space.home / "pipe").write_text("open-sesame")
    until(space.attempts, "the grant")
    apply.kill()
    agent.signal()
    (space.home / "key").unlink()
    assert "the value of Key cannot be had from the command cat" in space.apply(expect=6)
    assert space.starts() == Counter()


def test_two_thousand_changes_are_each_carried_out_once_over_two_applies(space: Space) -> None:
    names = [f"stage-{number:04}" for number in range(2000)]
    space.write("stages", *({"kind": "Environment", "metadata": {"name": name}, "spec": {}} for name in names))
    wanted = {f"Environment/{name}" for name in names}

    def created() -> list[str]:
        events = space.read(lambda tx: audit.events(tx, limit=10_000), [])
        return [event.subject for event in events if event.action == "create" and event.subject in wanted]

    def live() -> set[str]:
        found = space.read(lambda tx: objects.live_state(tx).objects, {})
        return {str(address) for address in found}

    apply = space.start(*AUTO)
    until(created, "the first change")
    apply.kill()
    assert 0 < len(created()) < 2000, "the kill came in the middle"
    done = len(live())

    assert f"Plan: {len(wanted) + 2 - done} to add, 0 to change, 0 to remove." in space.apply()
    assert Counter(created()) == Counter(wanted)
    assert wanted < live()
    assert "No changes." in space.reconcile("plan")


def test_a_kill_while_a_retry_waits_keeps_the_count_of_attempts(space: Space) -> None:
    fails_once = '[ "$(grep -c Flaky "$WITNESS")" = 2 ]'
    space.declare(step("Flaky", fails_once, retry={"attempts": 2, "backoff": "2s"}), step("After"))
    apply = space.start(*AUTO)
    until(lambda: [one.state for one in space.attempts()] == [AttemptState.ENDED], "the end of the first attempt")
    apply.kill()
    assert space.states() == {"Flaky": "running", "After": "pending"}
    assert "attempt 1 of 2: exit code 1; the next one in 2 s" in space.runs()["Flaky"].reason

    space.apply()
    assert [one.number for one in space.attempts() if one.step == 0] == [1, 2]
    assert space.starts() == Counter(["Flaky", "Flaky", "After"])
    first, second, _ = space.attempts()
    assert second.granted_at - (first.finished_at or 0) >= 2, "the backoff counts from the end of the attempt before"


def test_a_kill_while_a_person_is_asked_asks_no_second_time(space: Space) -> None:
    space.declare(
        step("Before"),
        {"name": "Ask", "manual": {"instructions": "Is it fine?"}},
        step("After", 'echo "$APPROVED"', env={"APPROVED": "${{ steps.ask.output.approved }}"}),
        step("Hold", gate()),
        step("Last", 'echo "$NOTES"', env={"NOTES": "${{ steps.ask.output.notes }}"}),
    )
    apply = space.start_on_terminal(*AUTO)
    until(lambda: space.tasks() and space.task().state is TaskState.AWAITING_INTERVENTION, "the question")
    apply.kill()
    space.apply(expect=7)
    space.reconcile("approve", "1", "--notes", "looks good")

    again = space.start(*AUTO)
    space.until_started("Hold")
    again.kill()
    space.open()
    space.apply()
    assert space.starts() == Counter(["Before", "After", "Hold", "Last"])
    assert [space.log(one.ticket) for one in space.attempts()] == [b"", b"true\n", b"", b"looks good\n"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_apply_says_how_to_go_on_and_the_step_goes_on(space: Space, number: signal.Signals) -> None:
    space.declare(step("Long", gate() + "echo done >> $WITNESS"), step("After"))
    apply = space.start(*AUTO)
    space.until_started("Long")
    apply.process.send_signal(number)
    text = apply.wait(expect=130)
    assert "follow them to the end with: reconcile apply" in text
    assert space.family.agent_of(apply.pid) is None
    space.open()
    space.until_started("done")
    assert space.states()["Long"] == "running", "nobody was there to record its end"

    space.apply()
    assert space.starts() == Counter(["Long", "done", "After"])


def test_a_task_whose_deployment_left_git_while_nobody_was_there_runs_to_its_end(space: Space) -> None:
    space.declare(step("Long", gate()), step("After"))
    apply = space.start(*AUTO)
    space.until_started("Long")
    apply.kill()
    space.remove("shop-deployment")
    space.open()
    space.reconcile("apply", "--auto-approve", "--max-removals", "1")
    assert space.task().state is TaskState.SUCCEEDED
    assert space.starts() == Counter(["Long", "After"])


def test_only_one_apply_works_at_a_time(space: Space) -> None:
    space.declare(step("Long", gate()))
    first = space.start(*AUTO)
    space.until_started("Long")
    text = space.apply(expect=3)
    assert f"another engine (pid {first.pid})" in text
    space.open()
    first.wait()
    assert space.starts() == Counter(["Long"])


def test_the_state_is_the_same_after_ten_kills_in_one_step(space: Space) -> None:
    space.declare(step("Long", gate() + "printf 'line %s\\n' $(seq 1000)"), step("After"))
    apply = space.start(*AUTO)
    space.until_started("Long")
    for _ in range(10):
        apply.kill()
        apply = space.start(*AUTO)
        until(lambda: "task 1 running" in apply.text(), "the next engine")  # noqa: B023 - runs at once
    space.open()
    apply.wait()
    assert space.starts() == Counter(["Long", "After"])
    (long, _) = space.attempts()
    assert space.log(long.ticket) == b"".join(b"line %d\n" % number for number in range(1, 1001))
    last = space.read(lambda tx: objects.live_state(tx).last_tasks, {})
    assert last[Slot("shop", "production")].state is TaskState.SUCCEEDED
