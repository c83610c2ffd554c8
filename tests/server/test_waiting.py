"""Where a commit stands, as `wait` asks: done, failed, waiting for a person, or not even looked at."""

import pytest

from reconciler.model.following import Condition, ConditionType, Judged, Verdict
from reconciler.server.answers.waiting import Found, Stand, stand_of

OLD, NEW = "a" * 40, "b" * 40


def stand(reason: str, message: str = "", *, head: str = OLD, judged: tuple[str, ...] = (OLD,)) -> Found:
    """Return where NEW stands while Ready says `reason` of `head`; NEW descends from OLD."""
    ready = Condition(ConditionType.READY, reason == "Applied", reason, message, head)
    told = [Judged(revision, "Ann", "Change", Verdict.APPLIED) for revision in judged]
    return stand_of(NEW, {ConditionType.READY: ready}, told, lambda has, wanted: has == wanted)


def test_before_any_commit_was_judged_it_is_under_way() -> None:
    assert stand_of(NEW, {}, [], lambda _has, _wanted: False) == Found(Stand.UNDER_WAY, "no commit was judged yet")


def test_a_source_that_is_not_there_yet_is_under_way() -> None:
    assert stand("Applied") == Found(Stand.UNDER_WAY, "the source is at aaaaaaaaaaaa, which does not hold it yet")


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("Suspended", "suspended by ada@desk until 2030-01-31T06:00:00Z: quarter end"),
        ("SourceUnreadable", "the source cannot be read since 2030-01-31T06:00:00Z: connection refused"),
    ],
)
def test_what_keeps_the_source_from_being_judged_is_told(reason: str, message: str) -> None:
    assert stand(reason, message) == Found(Stand.UNDER_WAY, message)


def test_a_commit_that_was_judged_before_another_history_is_superseded() -> None:
    assert stand("Applied", judged=(OLD, NEW)) == Found(
        Stand.SUPERSEDED, "aaaaaaaaaaaa took its place, and does not descend from it"
    )


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("Applied", Stand.DONE),
        ("Deploying", Stand.UNDER_WAY),
        ("Suspended", Stand.UNDER_WAY),
        ("DeploymentFailed", Stand.FAILED),
        ("Refused", Stand.REFUSED),
        ("Unsigned", Stand.INVALID),
        ("AwaitingApproval", Stand.ASKS),
        ("AwaitingAnswers", Stand.ASKS),
    ],
)
def test_a_head_that_holds_it_stands_for_it(reason: str, expected: Stand) -> None:
    assert stand(reason, "so it is", head=NEW) == Found(expected, "so it is")
