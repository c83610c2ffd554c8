"""Two questions of one task at once, over the API: the one that is meant is named, and its own team answers it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.premises import Premises, premises, until
from tests.api.test_membership import state, teams
from tests.cli.test_answers import MOMENT, SEVERAL
from tests.cli.workplace import PROJECT, Workplace

TWO = """\
    - name: Ask
      manual: {instructions: "Is it right?", teams: [dba]}
    - name: Ask again
      start: withPrevious
      timeout: 2h
      manual: {instructions: "Is it right?", teams: [ops]}
"""
WHO = "ask one of them, or an administrator; `reconcile get Team NAME` shows who is in a team"


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[Premises]:
    """Serve a shop whose task asks the team of ada, and at the same time that of cyd."""

    def declare(work: Workplace) -> None:
        work.write("teams.yaml", teams("ada"))
        work.write("project.yaml", PROJECT % ("shop", "echo ready") + TWO)

    with premises(tmp_path, declare=declare) as found:
        found.reader = found.token("administrator", name="boss")
        until(lambda: len(found.get("/status", found.reader).expect(200)["questions"]) == 2, "both questions")
        yield found


def open_steps(found: Premises) -> list[str]:
    return [one["id"] for one in found.get("/status", found.reader).expect(200)["questions"]]


def sentence(said: object) -> tuple[str, str]:
    assert isinstance(said, dict)
    return said["error"], said["hint"]


def test_a_member_answers_the_question_of_his_own_team_alone(asking: Premises) -> None:
    cyd = asking.token("approver", name="cyd")
    for verb in ("approve", "reject"):
        said = asking.post(f"/tasks/1/{verb}", cyd, {"step": "ask"}).expect(403)
        assert sentence(said) == ('the question of "Ask" of task 1 is put to dba, and cyd is in none of them', WHO)
    said = asking.post("/tasks/1/approve", cyd, {"step": "Ask again", "notes": "well"}).expect(200)
    assert said["message"] == 'approved "Ask again" of task 1 (shop-test)'
    until(lambda: open_steps(asking) == ["ask"], "the answer")
    said = asking.post("/tasks/1/approve", cyd, {}).expect(403)
    assert sentence(said)[0] == "the question of task 1 is put to dba, and cyd is in none of them"
    asking.post("/tasks/1/approve", asking.token("approver", name="ada"), {}).expect(200)
    until(lambda: state(asking) == "succeeded", "the end")


def test_an_answer_that_names_no_step_or_one_that_does_not_ask_is_refused(asking: Premises) -> None:
    cyd = asking.token("approver", name="cyd")
    error, hint = SEVERAL.removeprefix("Error: ").rstrip("\n").split("\n  ")
    for token in (cyd, asking.reader):
        assert sentence(asking.post("/tasks/1/approve", token, {}).expect(409)) == (error, hint)
    said = asking.post("/tasks/1/approve", cyd, {"step": "work"}).expect(409)
    assert sentence(said)[0] == '"Work" of task 1 asks nobody: it is succeeded'
    said = asking.post("/tasks/1/approve", cyd, {"step": "aks"}).expect(404)
    assert sentence(said)[0] == 'task 1 has no step "aks"; did you mean "ask"?'
    asking.post("/tasks/1/approve", cyd, {"step": "x" * 201}).expect(400)
    assert open_steps(asking) == ["ask", "ask-again"]


def test_a_key_under_which_one_question_was_answered_answers_no_other(asking: Premises) -> None:
    first = asking.post("/tasks/1/approve", asking.reader, {"step": "ask"}, Idempotency_Key="k").expect(200)
    assert asking.post("/tasks/1/approve", asking.reader, {"step": "ask"}, Idempotency_Key="k").expect(200) == first
    said = asking.post("/tasks/1/approve", asking.reader, {"step": "ask-again"}, Idempotency_Key="k").expect(409)
    assert sentence(said)[0] == "this Idempotency-Key was used for another request"


def test_commands_at_the_server_say_and_name_it_as_beside_the_state(asking: Premises) -> None:
    code, out, _ = asking.at_server(asking.reader, "status")
    question = "\nTask 1 asks {2}: Is it right?\n  answer with: {0} approve 1 --step {1}, or: {0} reject 1 --step {1}\n"
    told = question + "  without an answer by TIME it fails\n"
    both = told.format("reconcile", "ask", "dba") + told.format("reconcile", "ask-again", "ops")
    assert (code, MOMENT.sub("TIME", out).endswith(both)) == (0, True)
    assert asking.at_server(asking.reader, "status") == (0, asking.work.run("status").expect(0).out, "")
    assert asking.at_server(asking.reader, "why", "task/1")[1] == asking.work.run("why", "task/1").expect(0).out
    code, out, _ = asking.at_server(asking.reader, "status", "--json")
    assert json.loads(out)["questions"] == json.loads(asking.work.run("status", "--json").out)["questions"]
    assert asking.at_server(asking.reader, "reject", "1") == (3, "", SEVERAL)
    said = asking.at_server(asking.reader, "reject", "1", "--step", "ask-again")
    assert said == (0, 'rejected "Ask again" of task 1 (shop-test)\n', "")
    until(lambda: open_steps(asking) == ["ask"], "the answer")
    said = asking.at_server(asking.reader, "approve", "shop-test", "--step", "Ask again")
    assert said == (3, "", 'Error: "Ask again" of task 1 is answered already: rejected by boss\n')
    assert asking.at_server(asking.reader, "approve", "1") == (0, 'approved "Ask" of task 1 (shop-test)\n', "")
    until(lambda: state(asking) == "failed", "the end")
