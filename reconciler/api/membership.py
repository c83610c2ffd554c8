"""Who may answer a question: a member of one of the teams that it is put to, or an administrator."""

import json
from dataclasses import dataclass

from reconciler.api.faults import ApiFault
from reconciler.model.access import Bearer, Permission
from reconciler.model.spec import Address
from reconciler.server.orders.decisions import find_task
from reconciler.server.orders.questions import question_of
from reconciler.store import objects
from reconciler.store.database import Transaction

GROUP = "group:"
"""What a member that is a group begins with."""


@dataclass(frozen=True, slots=True)
class Membership:
    """A caller who answers the question of a task in a space, that of `step` or with "" the only one."""

    bearer: Bearer
    space: str
    task: str
    step: str

    def check(self, tx: Transaction) -> None:
        """Raise 403 where the question is put to teams as they are declared now, and the caller is in none of them.

        Raises UsageMistake and Conflict where there is no such question.
        """
        task = find_task(tx, self.task)
        question = question_of(tx, task, self.step)
        teams = question.asked.teams
        if not teams or self.bearer.may(Permission.ADMINISTER, self.space):
            return
        named = {f"{GROUP}{group}" for group in self.bearer.groups}
        if not self.bearer.name.startswith(GROUP):  # an issuer may let people choose what they are called
            named.add(self.bearer.name)
        if not named & {member for team in teams for member in _members(tx, team)}:
            whose = f"task {task.id}" if question.alone else f'"{question.run.name}" of task {task.id}'
            raise ApiFault(
                403,
                f"the question of {whose} is put to {', '.join(teams)}, and {self.bearer.name} is in none of them",
                "ask one of them, or an administrator; `reconcile get Team NAME` shows who is in a team",
            )


def _members(tx: Transaction, team: str) -> list[str]:
    found = objects.one(tx, Address("Team", team))
    return json.loads(found.spec)["members"] if found is not None else []
