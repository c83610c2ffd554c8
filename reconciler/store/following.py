"""The source that a state follows: its head, judged commits, conditions, suspension and plans that wait."""

from collections.abc import Iterable
from dataclasses import replace

from reconciler.model.following import (
    Condition,
    ConditionType,
    Judged,
    Proposal,
    SourceState,
    Suspension,
    Verdict,
    Why,
)
from reconciler.store.counters import last_number, next_number
from reconciler.store.database import Row, Transaction

COMMITS_KEPT = 1_000
"""Judged commits that are remembered."""

_COMMITS = "SELECT revision, author, subject, verdict, reason, seen_at, judged_at FROM commits "  # as Judged
_PROPOSALS = (  # as Proposal
    "SELECT digest, revision, why, summary, made_at, decision, decided_by, decided_at, notes, plan FROM proposals "
)


def source(tx: Transaction) -> SourceState | None:
    """Return the source as it was looked at last; None where none was."""
    row = tx.one("SELECT url, ref, folder, head, signatures, looked_at, failed_since, problem FROM source")
    return SourceState(*row) if row else None


def see_source(tx: Transaction, seen: SourceState) -> None:
    """Record how the source was found."""
    tx.execute(
        "INSERT INTO source (one, url, ref, folder, head, signatures, looked_at, failed_since, problem)"
        " VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (one) DO UPDATE SET url = excluded.url, ref = excluded.ref,"
        " folder = excluded.folder, head = excluded.head, signatures = excluded.signatures, looked_at = excluded.looked_at,"
        " failed_since = excluded.failed_since, problem = excluded.problem",
        *(seen.url, seen.ref, seen.folder, seen.head, seen.signatures, seen.looked_at, seen.failed_since, seen.problem),
    )


def judge(tx: Transaction, judged: Judged) -> None:
    """Record what became of a commit, as the last one, in place of what was recorded of it before.

    One that was carried out stays so, though there is nothing to do the next time.
    """
    before = commit(tx, judged.revision)
    if before is not None and before.verdict is Verdict.APPLIED and judged.verdict is Verdict.UNCHANGED:
        judged = replace(judged, verdict=Verdict.APPLIED, judged_at=before.judged_at)
    tx.execute("DELETE FROM commits WHERE revision = ?", judged.revision)
    number = next_number(tx, "commit")
    tx.execute(
        "INSERT INTO commits (number, revision, author, subject, verdict, reason, seen_at, judged_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        *(number, judged.revision, judged.author, judged.subject, judged.verdict, judged.reason),
        *(before.seen_at if before else judged.seen_at, judged.judged_at),
    )
    tx.execute("DELETE FROM commits WHERE number <= ?", number - COMMITS_KEPT)


def commit(tx: Transaction, revision: str) -> Judged | None:
    """Return what became of a commit, named by its whole name or its beginning; None where it was never judged."""
    row = tx.one(_COMMITS + "WHERE revision >= ? AND revision < ? ORDER BY number DESC", revision, revision + "g")
    return _judged(row) if row else None


def commits(tx: Transaction, most: int = COMMITS_KEPT) -> list[Judged]:
    """Return the commits judged last, the newest first."""
    last = last_number(tx, "commit")
    return [_judged(row) for row in tx.all(_COMMITS + "WHERE number > ? ORDER BY number DESC", last - most)]


def conditions(tx: Transaction) -> dict[ConditionType, Condition]:
    """Return the conditions by type; none before the first commit was judged."""
    rows = tx.all("SELECT type, status, reason, message, revision, since FROM conditions ORDER BY type")
    return {ConditionType(row[0]): Condition(ConditionType(row[0]), row[1] == "True", *row[2:]) for row in rows}


def set_conditions(tx: Transaction, wanted: Iterable[Condition], now: float) -> list[Condition]:
    """Record conditions and return those that became another; `since` is kept where status and reason are as before."""
    known, moved = conditions(tx), []
    for condition in wanted:
        before = known.get(condition.type)
        same = before is not None and (before.status, before.reason) == (condition.status, condition.reason)
        since = before.since if same and before else now
        tx.execute(
            "INSERT INTO conditions (type, status, reason, message, revision, since) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (type) DO UPDATE SET status = excluded.status, reason = excluded.reason,"
            " message = excluded.message, revision = excluded.revision, since = excluded.since",
            *(condition.type, str(condition.status), condition.reason, condition.message, condition.revision, since),
        )
        if not same:
            moved.append(condition)
    return moved


def forget_conditions(tx: Transaction) -> None:
    """Forget what was said of the space: it does not hold any more, and is said anew by whoever follows it next."""
    tx.execute("DELETE FROM conditions")


def suspension(tx: Transaction, now: float) -> Suspension | None:
    """Return the suspension that holds at `now`; None where there is none, or it is over."""
    row = tx.one("SELECT by_whom, reason, since, until FROM suspensions WHERE until > ?", now)
    return Suspension(*row) if row else None


def suspend(tx: Transaction, wanted: Suspension) -> None:
    """Carry nothing out until its time, in place of a suspension before."""
    resume(tx)
    tx.execute(
        "INSERT INTO suspensions (one, by_whom, reason, since, until) VALUES (1, ?, ?, ?, ?)",
        *(wanted.by, wanted.reason, wanted.since, wanted.until),
    )


def resume(tx: Transaction) -> bool:
    """End the suspension; False where there was none."""
    return tx.execute("DELETE FROM suspensions") == 1


def propose(tx: Transaction, proposal: Proposal) -> Proposal:
    """Let a plan wait for a person, in place of those of other commits; one that was decided keeps its decision."""
    tx.execute("DELETE FROM proposals WHERE digest <> ? AND decision = ''", proposal.digest)
    tx.execute(
        "INSERT INTO proposals (digest, revision, why, summary, made_at, decision, decided_by, decided_at, notes, plan)"
        " VALUES (?, ?, ?, ?, ?, '', '', NULL, '', ?)"
        " ON CONFLICT (digest) DO UPDATE SET revision = excluded.revision, why = excluded.why, plan = excluded.plan",
        *(proposal.digest, proposal.revision, proposal.why, proposal.summary, proposal.made_at, proposal.plan),
    )
    found = tx.one(_PROPOSALS + "WHERE digest = ?", proposal.digest)
    assert found is not None
    return _proposal(found)


def proposals(tx: Transaction) -> list[Proposal]:
    """Return every plan that waits or was decided and not yet carried out, the newest first."""
    return [_proposal(row) for row in tx.all(_PROPOSALS + "ORDER BY made_at DESC, digest")]


def proposal(tx: Transaction, digest: str) -> Proposal | None:
    """Return one by the beginning of its digest; None where there is none."""
    row = tx.one(_PROPOSALS + "WHERE digest >= ? AND digest < ?", digest, digest + "g")
    return _proposal(row) if row else None


def decide(tx: Transaction, decided: Proposal) -> None:
    """Record a person's decision on a plan."""
    tx.execute(
        "UPDATE proposals SET decision = ?, decided_by = ?, notes = ?, decided_at = ? WHERE digest = ?",
        *(decided.decision, decided.decided_by, decided.notes, decided.decided_at, decided.digest),
    )


def withdraw_proposals(tx: Transaction) -> None:
    """Forget every plan that waits: the commit of none is to be carried out now."""
    tx.execute("DELETE FROM proposals WHERE decision = ''")


def settle_proposals(tx: Transaction) -> None:
    """Forget every plan that waits or waited: one was carried out, so that others no longer fit."""
    tx.execute("DELETE FROM proposals")


def _judged(row: Row) -> Judged:
    revision, author, subject, verdict, reason, seen_at, judged_at = row
    return Judged(revision, author, subject, Verdict(verdict), reason, seen_at, judged_at)


def _proposal(row: Row) -> Proposal:
    digest, revision, why, *rest = row
    return Proposal(digest, revision, Why(why), *rest)
