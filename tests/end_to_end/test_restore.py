"""A server is set back to a backup that was made while a step ran: nothing runs a second time without being shown."""

from pathlib import Path

import pytest

from reconciler.model.live import AttemptState, TaskState
from reconciler.store import attempts
from reconciler.store.reader import open_for_reading
from tests.chaos.fleet import FOLLOWS_WITHIN, Fleet, free_port
from tests.chaos.processes import until
from tests.chaos.space import Space, gate, space_in, step

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(240)]

POOL = "far"
HERE = {"runOn": "workerPool", "pool": POOL}


def served(space: Space) -> Fleet:
    """Run a server with an agent on which a deployment has begun."""
    fleet = Fleet(space, port=free_port())
    space.write("pool", {"kind": "WorkerPool", "metadata": {"name": POOL}, "spec": {}})
    fleet.prepare()
    fleet.serve()
    fleet.declare("far-1", fleet.enrol("far-1", POOL))
    space.declare(step("Wait", gate(), location=HERE), step("Then", location=HERE))
    fleet.agents["far-1"].start()
    fleet.commit()
    space.until_started("Wait")
    return fleet


def serve_again(fleet: Fleet, data: Path) -> None:
    """Serve the restored state at the same address."""
    options = ("--agents", fleet.address, "--config", str(fleet.space.home / "serve.toml"), "--data", str(data))
    server = fleet.server = fleet.space.run_beside("reconcile", "serve", *options)
    until(lambda: "serving" in server.text() or server.process.poll() is not None, "the server", FOLLOWS_WITHIN)
    assert server.process.poll() is None, server.text()


def test_what_ran_after_the_backup_is_shown_and_not_repeated(tmp_path: Path) -> None:
    with space_in(tmp_path) as space:
        fleet = served(space)
        said = space.reconcile("backup", "--to", str(tmp_path / "b.tar"), "--with-key")
        assert "holds the key; keep it where you keep secrets" in said
        space.open()
        until(lambda: space.task().state is TaskState.SUCCEEDED, "the first deployment")
        space.deploy("2")
        fleet.commit()
        until(lambda: len(space.tasks()) == 2 and space.task(2).state is TaskState.SUCCEEDED, "the second deployment")
        ran = space.starts()
        assert ran == {"Wait": 2, "Then": 2}
        fleet.kill_server()

        data = tmp_path / "restored"
        said = space.reconcile("restore", str(tmp_path / "b.tar"), "--data", str(data))
        assert "1 task that had not ended is abandoned: 1" in said
        serve_again(fleet, data)
        at = ("--data", str(data))

        def ended() -> bool:
            readers = open_for_reading(str(data))
            assert readers is not None
            with readers:
                (attempt,) = readers.read_now(lambda tx: attempts.attempts(tx, 1))  # type: ignore[arg-type]  # a number
            return attempt.state is AttemptState.ENDED

        until(ended, "the word of the agent about what the backup knew", FOLLOWS_WITHIN)
        until(lambda: "Suspended" in space.reconcile("status", *at), "the suspension", FOLLOWS_WITHIN)
        shown = space.reconcile("plan", *at)
        assert "release 1 was queued last and 2 is declared" in shown
        assert space.starts() == ran, "the plan shows what has run since, and nothing of it is carried out"
        assert "abandoned" in space.reconcile("tasks", *at)

        space.reconcile("resume", *at)
        until(lambda: space.starts() == {"Wait": 3, "Then": 3}, "the deployment that was shown", FOLLOWS_WITHIN)
        listed = space.reconcile("tasks", *at)
        assert listed.splitlines()[1].startswith("10002 "), listed


def test_the_built_in_worker_of_a_restored_state_begins_anew_and_blocks_nothing(tmp_path: Path) -> None:
    with space_in(tmp_path) as space:
        space.declare(step("Wait", gate(), mutex={"name": "db"}))
        first = space.start("apply", "--auto-approve", "--new-state")
        space.until_started("Wait")
        space.reconcile("backup", "--to", str(tmp_path / "b.tar"), "--with-key")
        first.kill()
        space.family.end()
        space.open()

        data = tmp_path / "restored"
        at = ("--data", str(data))
        space.reconcile("restore", str(tmp_path / "b.tar"), *at)
        assert "was abandoned at release 1" in space.reconcile("apply", "--auto-approve", *at, expect=6)
        assert space.starts() == {"Wait": 1}, "nothing is repeated without being asked for"
        said = space.reconcile("apply", "--auto-approve", "--retry-failed", *at)
        assert "task 10002 succeeded" in said
        assert space.starts() == {"Wait": 2}
