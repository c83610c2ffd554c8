"""What of a state must not go back when it is restored: numbers that rise, what was used once, and who leads.

Nobody knows what happened between a backup and its restore. So every number that tells new from old leaps over it, and
what could be used once is used up.
"""

from reconciler.store import following
from reconciler.store.counters import last_number, next_number
from reconciler.store.database import Transaction

FENCES = "fences"
"""The counter that holds from which fence on resources begin that have none yet."""

LEAP = 1_000_000
"""By which fences, epochs and tokens leap: more grants than there are between a backup and its restore."""

NUMBERS_LEAP_MIN = 10_000
"""By which numbers leap that people see, or by as many as there were if those are more."""

NUMBERS = ("task", "serial")


def leap(tx: Transaction) -> None:
    """Let every number that must not come twice leap."""
    for name in NUMBERS:
        next_number(tx, name, max(NUMBERS_LEAP_MIN, last_number(tx, name)))
    row = tx.one("SELECT COALESCE(MAX(fence), 0) FROM resources")
    assert row is not None
    floor = next_number(tx, FENCES, LEAP + int(row[0]))
    tx.execute("UPDATE resources SET fence = ?", floor)
    tx.execute("UPDATE worker_sessions SET epoch = epoch + ?", LEAP)
    tx.execute("UPDATE leases SET token = token + ?, holder = ''", LEAP)
    tx.execute(
        "UPDATE leadership SET epoch = epoch + ?, node = '', files = '', until = 0, built_in_node = '',"
        " built_in_files = ''",
        LEAP,
    )
    tx.execute("DELETE FROM left_attempts")  # the nodes that could tell of them have no state any more


def use_up(tx: Transaction, now: float) -> None:
    """Use up what holds once: open enrolment tokens, decided plans, answers that are kept for repetitions.

    What was said of the space then does not hold now.
    """
    tx.execute("UPDATE enrolment_tokens SET revoked_at = ? WHERE used_by = '' AND revoked_at IS NULL", now)
    tx.execute("DELETE FROM kept_answers")
    following.forget_conditions(tx)
    following.settle_proposals(tx)


def access_tokens(tx: Transaction, now: float) -> int:
    """Count the tokens of the API that hold."""
    row = tx.one("SELECT COUNT(*) FROM access_tokens WHERE revoked_at IS NULL AND expires_at > ?", now)
    assert row is not None
    return int(row[0])
