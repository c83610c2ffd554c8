"""How long the steps of each project took, as their attempts were recorded."""

from collections import defaultdict

from reconciler.store.database import Transaction

TASKS_MAX = 1_000
"""Tasks that are looked at, the newest: what took long a year ago says little."""

EACH_MAX = 200
"""Durations of one step that are kept, the newest."""


def step_durations(tx: Transaction) -> dict[tuple[str, str], tuple[float, ...]]:
    """Return, by project and step id, the seconds from grant to end of attempts with which steps succeeded, least first."""
    rows = tx.all(
        "SELECT tasks.project, step_runs.key, attempts.finished_at - attempts.granted_at FROM attempts"
        " JOIN step_runs ON step_runs.task = attempts.task AND step_runs.position = attempts.step"
        " JOIN tasks ON tasks.id = attempts.task"
        " WHERE attempts.task >= (SELECT MIN(id) FROM (SELECT id FROM tasks ORDER BY id DESC LIMIT ?) AS newest)"
        " AND step_runs.state = 'succeeded'"
        " AND attempts.finished_at IS NOT NULL AND attempts.number = (SELECT MAX(number) FROM attempts AS others"
        " WHERE others.task = attempts.task AND others.step = attempts.step)"
        " ORDER BY attempts.task DESC, attempts.step",
        TASKS_MAX,
    )
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for project, key, seconds in rows:
        if len(found[project, key]) < EACH_MAX:
            found[project, key].append(max(0.0, seconds))
    return {key: tuple(sorted(seconds)) for key, seconds in found.items()}
