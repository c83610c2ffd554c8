"""The mistakes of people who answer questions, one case for each sentence that answers them."""

from pathlib import Path

from tests.cli.said import Said, cases, shop, told, waiting
from tests.cli.workplace import MANUAL, PROJECT, Workplace
from tests.execute.test_questions import Today

SECOND = MANUAL.replace("Ask", "Ask again") + "      start: withPrevious\n"


def asking_twice(folder: Path) -> Workplace:
    """Return a repository whose task asks two questions at once."""
    place = shop(folder)
    place.write("project.yaml", PROJECT % ("shop", "true") + MANUAL + SECOND)
    place.apply(expect=7)
    return place


def which_of_several_questions(folder: Path) -> Said:
    return told(asking_twice(folder).run("approve", "1"))


def a_step_that_asks_nobody(folder: Path) -> Said:
    return told(waiting(folder).run("reject", "1", "--step", "work"))


def a_step_that_nobody_has(folder: Path) -> Said:
    return told(waiting(folder).run("approve", "1", "--step", "Aks"))


def a_question_that_was_answered(folder: Path) -> Said:
    place = asking_twice(folder)
    place.run("reject", "1", "--step", "ask").expect(0)
    return told(place.run("approve", "1", "--step", "Ask"))


def an_answer_after_its_time(folder: Path) -> Said:
    place = shop(folder)
    place.write("project.yaml", PROJECT % ("shop", "true") + MANUAL + "      timeout: 2h\n")
    place.apply(expect=7)
    clock = Today()
    with clock.told():
        clock.now = 7_200.0
        return told(place.run("approve", "1"))


def a_step_of_a_plan(folder: Path) -> Said:
    return told(waiting(folder).run("approve", "plan-0123456789ab", "--step", "ask"))


CASES = cases(vars())
