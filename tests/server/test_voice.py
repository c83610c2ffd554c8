"""The server's log names the task and the attempt that an event is about."""

import io
import json

from reconciler.execute.watching import StepMoved
from reconciler.model.live import StepState, TaskId
from reconciler.server.voice import Voice


def test_the_line_of_a_step_names_its_task_and_its_attempt() -> None:
    said = io.StringIO()
    voice = Voice("json", said).about(space="shop")
    voice.see(StepMoved(TaskId(12), "shop", 0, "Work", StepState.RUNNING, "db-1", "because", ticket="12-1-1-5ef6707f"))
    line = json.loads(said.getvalue())
    del line["at"]
    assert line == {
        "event": "step", "level": "info", "space": "shop", "task": 12, "deployment": "shop", "step": "Work",
        "state": "running", "worker": "db-1", "attempt": "12-1-1-5ef6707f", "reason": "because",
    }  # fmt: skip
