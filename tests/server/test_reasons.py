"""Why a worker is as it is: how its agent was found, and what lives on it."""

from pathlib import Path

from reconciler.model.live import SeenWorker
from reconciler.server.answers.reasons import reasons
from reconciler.store import objects, worker_status
from tests.server.parties import NOW, Installation, polling_worker
from tests.server.test_roster import FIRST, live_attempt

WORKER = "Worker/w1"


def why(here: Installation) -> list[str]:
    return here.store.read_now(lambda tx: list(reasons(tx, WORKER)))


def test_a_worker_is_explained_from_its_first_day_on(tmp_path: Path) -> None:
    here = Installation(tmp_path)
    here.store.write_now(lambda tx: objects.put(tx, polling_worker("w1", "poll://worker-1", FIRST)))
    assert why(here)[1:] == ["its agent has never been met"]
    seen = SeenWorker(NOW, "10.0.0.5", "0.1.0", "boot", "store", 1, {"bash": "5.2", "python3": "3.11"})
    here.store.write_now(lambda tx: worker_status.see(tx, "w1", seen))
    live_attempt(here.store, "w1")
    assert why(here)[1:] == [
        "it is healthy since 2023-11-14T22:13:20Z",
        "its agent 0.1.0 greeted from 10.0.0.5 and was last seen at 2023-11-14T22:13:20Z",
        "it has bash 5.2, python3 3.11",
        "attempt 1 of step 1 of task 1 is granted there",
    ]
    here.store.write_now(lambda tx: worker_status.lose(tx, "w1", "nothing was heard from the agent for 15 s", NOW + 60))
    assert why(here)[1] == "it is unavailable since 2023-11-14T22:14:20Z: nothing was heard from the agent for 15 s"
    here.store.close()
