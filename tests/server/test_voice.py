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


def test_what_others_have_put_into_a_line_commands_no_terminal() -> None:
    said = io.StringIO()
    Voice("text", said).about(space="shop").warn("call refused", reason="a\nb \x1b[31m\r\u202e", peer="ann", times=3)
    line = said.getvalue().partition(" ")[2]
    assert line == 'level=warning event="call refused" space=shop reason="a\\nb �[31m��" peer=ann times=3\n'


def test_a_line_for_programs_tells_what_others_have_put_into_it_as_it_is() -> None:
    said = io.StringIO()
    Voice("json", said).say("call refused", reason="a\nb \x1b[31m")
    assert json.loads(said.getvalue())["reason"] == "a\nb \x1b[31m"
