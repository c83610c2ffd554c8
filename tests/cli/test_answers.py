"""Answering at the state: where a task asks several questions, the person says which one is meant."""

import json
import re
from pathlib import Path

import pytest

from tests.cli.mistakes_of_answers import asking_twice
from tests.cli.test_commands import FOLLOWING, records
from tests.cli.workplace import MANUAL, PROJECT, Workplace

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT[\d:]+Z")
SEVERAL = """\
Error: task 1 asks 2 questions: "Ask" (--step ask), "Ask again" (--step ask-again)
  say which one is answered: add --step, or the field `step` to the body of the API
"""


@pytest.fixture
def asking(tmp_path: Path) -> Workplace:
    return asking_twice(tmp_path)


def shown(place: Workplace, *command: str) -> str:
    return MOMENT.sub("TIME", place.run(*command).expect(0).out)


def test_status_says_how_each_of_several_questions_is_answered_and_until_when(asking: Workplace) -> None:
    question = "\nTask 1 asks: Is it right?\n  answer with: {0} approve 1 --step {1}, or: {0} reject 1 --step {1}\n"
    told = question + "  without an answer by TIME it fails\n"
    assert shown(asking, "status").endswith(told.format("reconcile", "ask") + told.format("reconcile", "ask-again"))
    first, second = json.loads(asking.run("status", "--json").out)["questions"]
    assert [(one["step"], one["id"], one["name"]) for one in (first, second)] == [
        (2, "ask", "Ask"),
        (3, "ask-again", "Ask again"),
    ]
    assert MOMENT.fullmatch(first["until"])


def test_why_says_how_each_of_several_questions_is_answered(asking: Workplace) -> None:
    line = "    without an answer by TIME it fails; answer with: {0} approve 1 --step {1}, or: {0} reject 1 --step {1}"
    lines = shown(asking, "why", "task/1").splitlines()
    assert [one for one in lines if "answer" in one] == [
        line.format("reconcile", "ask"),
        line.format("reconcile", "ask-again"),
    ]


def test_an_answer_that_names_no_step_is_refused_where_several_ask(asking: Workplace) -> None:
    for verb in ("approve", "reject"):
        assert asking.run(verb, "1").expect(3).err == SEVERAL
        assert asking.run(verb, "shop-test").expect(3).err == SEVERAL
    assert len(json.loads(asking.run("status", "--json").out)["questions"]) == 2


def test_each_question_gets_its_own_answer(asking: Workplace) -> None:
    said = asking.run("approve", "1", "--step", "ask-again", "--notes", "well").expect(0)
    assert (said.out, said.err) == ('approved "Ask again" of task 1 (shop-test)\n', FOLLOWING)
    assert asking.run("reject", "1", "--step", "Ask").expect(0).out == 'rejected "Ask" of task 1 (shop-test)\n'
    asking.apply(expect=6)
    told = shown(asking, "why", "task/1")
    assert '"Ask" has failed: rejected by ' in told
    assert '"Ask again" has succeeded: approved by ' in told
    (event,) = (e for e in records(asking.run("events", "--json")) if e["action"] == "approve")
    assert event["detail"] == "well"


def test_apply_prints_how_each_of_several_questions_is_answered(tmp_path: Path) -> None:
    place = asking_twice(tmp_path)
    printed = place.apply(expect=7).err
    lines = [line for line in printed.splitlines() if line.startswith("answer with:")]
    assert lines == [
        f"answer with: reconcile approve 1 --step {step}, or: reconcile reject 1 --step {step}"
        for step in ("ask", "ask-again")
    ]
    told = [json.loads(line) for line in place.run("apply", "--auto-approve", "--json").expect(7).out.splitlines()]
    assert [one["asks"] for one in told if one["type"] == "task"] == [["ask", "ask-again"]]


def test_a_question_that_nobody_answers_in_time_fails_with_the_next_apply(tmp_path: Path) -> None:
    place = Workplace(tmp_path / "space")
    place.declare_shop()
    place.write("project.yaml", PROJECT % ("shop", "true") + MANUAL + "      timeout: 1ms\n")
    place.apply(expect=6)
    assert '"Ask" has failed: nobody answered for 1ms' in shown(place, "why", "task/1")
