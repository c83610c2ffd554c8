"""Where a commit stands, as `wait` asks: done, failed, waiting for a person, or not even looked at."""

import pytest

from reconciler.model.following import Condition, ConditionType, Judged, Suspension, Verdict
from reconciler.server.answers.outstanding import Failure, Outstanding, Unfinished
from reconciler.server.answers.waiting import Found, Stand, Told, stand_of

OLDEST, OLD, NEW = "0" * 40, "a" * 40, "b" * 40
UNTIL = 1_896_069_600.0
HELD = Suspension("ada@desk", "quarter end", UNTIL - 3_600.0, UNTIL)
SUSPENDED = Found(
    Stand.SUSPENDED,
    "suspended by ada@desk until 2030-01-31T06:00:00Z: quarter end; end it with: reconcile resume",
    UNTIL,
)
RUNS, ASKS, IN_VAIN = (
    Unfinished(NEW, moves=moves, asks=asks) for moves, asks in ((True, False), (False, True), (False, False))
)
BEFORE = Failure(OLDEST, UNTIL, "db-live failed at release 1 (task 3: exit 3); repeat it with: reconcile retry 3")
OWN = Failure(NEW, UNTIL, "shop-live failed at release 2 (task 5: exit 4); repeat it with: reconcile retry 5")
BEFORE_TOLD = f"from before this commit, since 2030-01-31T06:00:00Z: {BEFORE.sentence}"


def stand(
    reason: str,
    message: str = "",
    *,
    head: str = OLD,
    judged: tuple[str, ...] = (OLD,),
    held: Suspension | None = None,
    left: Outstanding | None = None,
    as_of: float | None = None,
    verdict: Verdict = Verdict.APPLIED,
) -> Found:
    """Return where NEW stands while Ready says `reason` of `head`; NEW descends from OLD.

    What is not done is read where `left` says what that is.
    """
    ready = Condition(ConditionType.READY, reason == "Applied", reason, message, head)
    judged_so = [Judged(revision, "Ann", "Change", verdict) for revision in judged]

    def read() -> Outstanding:
        assert left is not None, "nothing but the conditions is needed"
        return left

    told = Told({ConditionType.READY: ready}, judged_so, held, as_of)
    return stand_of(NEW, told, lambda has, wanted: has == wanted, read)


def unjudged(held: Suspension | None = None, as_of: float | None = None) -> Found:
    return stand_of(NEW, Told(suspension=held, as_of=as_of), lambda _has, _wanted: False)


def test_before_any_commit_was_judged_it_is_under_way() -> None:
    assert unjudged() == Found(Stand.UNDER_WAY, "no commit was judged yet")


def test_a_source_that_is_not_there_yet_is_under_way() -> None:
    assert stand("Applied") == Found(Stand.UNDER_WAY, "the source is at aaaaaaaaaaaa, which does not hold it yet")


def test_a_source_that_cannot_be_read_is_told() -> None:
    message = "the source cannot be read since 2030-01-31T06:00:00Z: connection refused"
    assert stand("SourceUnreadable", message) == Found(Stand.UNDER_WAY, message)


@pytest.mark.parametrize("reason", ["Suspended", "Applied", "Deploying", "SourceUnreadable"])
def test_a_commit_that_a_suspension_holds_back_waits_for_its_end(reason: str) -> None:
    assert stand(reason, held=HELD) == SUSPENDED


def test_a_suspension_is_told_before_any_commit_was_judged() -> None:
    assert unjudged(HELD) == SUSPENDED
    assert unjudged(HELD, as_of=UNTIL) == SUSPENDED


def test_a_suspension_of_what_was_judged_and_not_carried_out_is_told() -> None:
    assert stand("Suspended", head=NEW, judged=(NEW,), held=HELD, verdict=Verdict.WAITS) == SUSPENDED


def test_a_suspension_that_is_over_is_followed_by_another_judgement() -> None:
    over = Found(Stand.UNDER_WAY, "the suspension is over, and the head is judged again")
    assert stand("Suspended", head=NEW, judged=(NEW,)) == over


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        (Outstanding((RUNS, RUNS)), Found(Stand.UNDER_WAY, "2 tasks of it under way")),
        (Outstanding((), (OWN,)), Found(Stand.FAILED, OWN.sentence)),
        (Outstanding(), Found(Stand.DONE, "everything is as bbbbbbbbbbbb declares it")),
    ],
)
def test_a_suspension_holds_nothing_back_that_was_carried_out(left: Outstanding, expected: Found) -> None:
    assert stand("Suspended", head=NEW, judged=(NEW,), held=HELD, left=left) == expected


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        (Outstanding((RUNS,), (BEFORE, OWN)), Found(Stand.UNDER_WAY, "1 task of it under way")),
        (Outstanding((RUNS, ASKS), (BEFORE,)), Found(Stand.UNDER_WAY, "1 task of it under way")),
        (Outstanding((ASKS,), (BEFORE,)), Found(Stand.ASKS, "1 task of it waits for a person")),
        (Outstanding((ASKS, ASKS), (BEFORE,)), Found(Stand.ASKS, "2 tasks of it wait for a person")),
        (Outstanding((ASKS,), (BEFORE, OWN)), Found(Stand.FAILED, f"{OWN.sentence}; {BEFORE_TOLD}")),
        (Outstanding((IN_VAIN,), (BEFORE,)), Found(Stand.FAILED, BEFORE_TOLD)),
        (Outstanding((Unfinished(OLDEST, moves=True, asks=False),), (OWN,)), Found(Stand.FAILED, OWN.sentence)),
        (Outstanding((), (BEFORE,)), Found(Stand.FAILED, BEFORE_TOLD)),
        (Outstanding((Unfinished(OLDEST, moves=True, asks=False),)), Found(Stand.UNDER_WAY, "1 task under way")),
        (Outstanding(), Found(Stand.UNDER_WAY, "what failed was repeated")),
    ],
)
def test_what_failed_counts_when_nothing_of_the_commit_is_under_way(left: Outstanding, expected: Found) -> None:
    assert stand("DeploymentFailed", "so it is", head=NEW, left=left) == expected


def test_a_commit_that_was_judged_before_another_history_is_superseded() -> None:
    superseded = Found(Stand.SUPERSEDED, "aaaaaaaaaaaa took its place, and does not descend from it")
    assert stand("Applied", judged=(OLD, NEW)) == superseded
    assert stand("Suspended", judged=(OLD, NEW), held=HELD) == superseded


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("Applied", Stand.DONE),
        ("Deploying", Stand.UNDER_WAY),
        ("Refused", Stand.REFUSED),
        ("Unsigned", Stand.INVALID),
        ("AwaitingApproval", Stand.ASKS),
        ("AwaitingAnswers", Stand.ASKS),
    ],
)
def test_a_head_that_holds_it_stands_for_it(reason: str, expected: Stand) -> None:
    assert stand(reason, "so it is", head=NEW) == Found(expected, "so it is")


@pytest.mark.parametrize("reason", ["AwaitingApproval", "AwaitingAnswers", "Deploying"])
def test_what_nobody_carries_out_waits_for_a_server_whatever_was_said_last(reason: str) -> None:
    message = "no server runs; as of 2030-01-31T06:00:00Z: so it was"
    assert stand(reason, "so it was", head=NEW, as_of=UNTIL) == Found(Stand.UNDER_WAY, message)


def test_where_no_server_ever_ran_nothing_was_judged() -> None:
    assert unjudged(as_of=0.0) == Found(Stand.UNDER_WAY, "no server runs; no commit was judged yet")


@pytest.mark.parametrize(("reason", "expected"), [("Applied", Stand.DONE), ("Refused", Stand.REFUSED)])
def test_what_became_of_a_commit_holds_without_a_server(reason: str, expected: Stand) -> None:
    assert stand(reason, "so it is", head=NEW, as_of=UNTIL) == Found(expected, "so it is")
