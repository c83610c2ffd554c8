"""A question that is put to teams is answered by their members, as they are declared at that moment."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.premises import UNHURRIED, Premises, premises, until
from tests.api.test_oidc import Forge
from tests.cli.workplace import PROJECT, Workplace

TEAM = """\
apiVersion: reconciler/v1
kind: Team
metadata: {name: %s}
spec: {members: [%s]}
"""
ASK = """\
    - name: Ask
      manual: {instructions: "Is it well?", teams: [dba, ops]}
"""


def teams(*dba: str) -> str:
    """Declare two teams, one with these members."""
    return TEAM % ("dba", ", ".join(dba)) + "---\n" + TEAM % ("ops", "cyd")


@pytest.fixture
def forge(tmp_path: Path) -> Forge:
    return Forge(tmp_path)


@pytest.fixture
def asking(tmp_path: Path, forge: Forge) -> Iterator[Premises]:
    """Serve a shop whose task asks two teams; an issuer vouches for people who may answer."""

    def declare(work: Workplace) -> None:
        work.write("teams.yaml", teams("ada", '"group:databases"'))
        work.write("project.yaml", PROJECT % ("shop", "echo ready") + ASK)

    people = forge.table(subject="*", roles=["approver"])
    configuration = UNHURRIED.model_copy(update={"oidc": [people]})
    with premises(tmp_path, declare=declare, configuration=configuration) as found:
        found.reader = found.token("viewer")
        until(lambda: state(found) == "awaitingIntervention", "the question")
        yield found


def state(found: Premises) -> str:
    said: str = found.get("/tasks/1", found.reader).expect(200)["task"]["state"]
    return said


def refusal(name: str) -> dict[str, object]:
    return {
        "error": f"the question of task 1 is put to dba, ops, and {name} is in none of them",
        "hint": "ask one of them, or an administrator; `reconcile get Team NAME` shows who is in a team",
    }


def test_who_is_in_no_team_is_refused_until_git_declares_it(asking: Premises) -> None:
    bob = asking.token("approver", name="bob")
    for verb in ("approve", "reject"):
        said = asking.post(f"/tasks/1/{verb}", bob, {}).expect(403)
        assert {name: said[name] for name in ("error", "hint")} == refusal("bob")
    assert state(asking) == "awaitingIntervention"
    asking.work.write("teams.yaml", teams("ada", "bob"))
    asking.work.commit()
    until(lambda: "bob" in str(asking.get("/objects/Team/dba", asking.reader).expect(200)), "the commit")
    asking.post("/tasks/1/approve", bob, {}).expect(200)
    until(lambda: state(asking) == "succeeded", "the end")


def test_a_member_of_any_of_the_teams_answers(asking: Premises) -> None:
    asking.post("/tasks/1/approve", asking.token("approver", name="cyd"), {}).expect(200)
    until(lambda: state(asking) == "succeeded", "the end")


def test_an_administrator_answers_whatever_team_is_asked(asking: Premises) -> None:
    asking.post("/tasks/1/reject", asking.token("administrator", name="boss"), {}).expect(200)
    until(lambda: state(asking) == "failed", "the end")


def test_a_group_of_an_issuers_token_is_a_member(asking: Premises, forge: Forge) -> None:
    stranger = forge.token(sub="eve", groups=["web", 7], exp=int(time.time()) + 60)
    said = asking.post("/tasks/1/approve", stranger, {}).expect(403)
    assert {name: said[name] for name in ("error", "hint")} == refusal("eve")
    text = forge.token(sub="eve", groups="databases")
    asking.post("/tasks/1/approve", text, {}).expect(403)
    called = forge.token(sub="group:databases", groups=["web"])
    said = asking.post("/tasks/1/approve", called, {}).expect(403)
    assert {name: said[name] for name in ("error", "hint")} == refusal("group:databases")
    asking.post("/tasks/1/approve", forge.token(sub="dan", groups=["databases"]), {}).expect(200)
    until(lambda: state(asking) == "succeeded", "the end")
