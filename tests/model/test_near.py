"""Which word a person may have meant, and when nothing is said."""

import pytest

from reconciler.model.diagnostics import did_you_mean
from reconciler.model.near import closest, within_two


@pytest.mark.parametrize(
    ("given", "near"),
    [("Worker", True), ("Wroker", True), ("Wrkr", True), ("Workers!!", False), ("worKER", False), ("", False)],
)
def test_two_letters_apart_is_near(given: str, near: bool) -> None:
    assert within_two(given, "Worker") is near


@pytest.mark.parametrize(
    ("given", "known", "meant"),
    [
        ("statsu", ["status", "events"], "status"),
        ("minimumHealthyWorkers", ["minHealthyWorkers"], "minHealthyWorkers"),
        ("timeoutSeconds", ["timeout"], "timeout"),
        ("prod", ["preproduction", "production", "production-eu"], "production"),
        ("p", ["production"], None),
        ("bogus", ["logs"], None),
        ("Environment/bogus", ["Environment/test"], None),
        ("Worker/lin-1", ["Worker/lin-01", "Worker/win-01"], "Worker/lin-01"),
        ("scripts/backup.sh", ["backup.sh"], "backup.sh"),
        ("anything", [], None),
    ],
)
def test_a_slip_or_a_shortening_is_understood_and_a_far_word_is_not(
    given: str, known: list[str], meant: str | None
) -> None:
    assert closest(given, known) == meant


def test_a_suggestion_joins_the_sentence_before_it() -> None:
    assert did_you_mean("prod", ["production"]) == '; did you mean "production"?'
    assert did_you_mean("bogus", ["logs"]) == ""
