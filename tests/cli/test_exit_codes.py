"""The table of exit codes: which case ends a command with which code, and which code wins where several apply."""

import itertools
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.cli.exit_codes import PRECEDENCE, ExitCode, combined
from reconciler.model.errors import ReconcilerError
from reconciler.model.live import Attempt, AttemptState, TaskId, TaskState
from reconciler.store import attempts, tasks, worker_status
from reconciler.store.database import Transaction
from reconciler.store.directory import DataDirectory, EngineLock
from tests.cli.workplace import MANUAL, POOL, PROJECT, RECONCILE, Outcome, Workplace, command, environment, worker

ORDER = (255, 130, 1, 3, 5, 6, 9, 8, 4, 7, 2, 0)
ROOT = Path(__file__).parent.parent.parent


def no_changes(place: Workplace) -> Outcome:
    place.apply()
    return place.run("plan", "--detailed-exitcode")


def changes(place: Workplace) -> Outcome:
    return place.run("plan", "--detailed-exitcode")


def changes_without_the_option(place: Workplace) -> Outcome:
    return place.run("plan")


def an_unknown_option(place: Workplace) -> Outcome:
    return place.run("plan", "--nonsense")


def an_unknown_command(place: Workplace) -> Outcome:
    return place.run("plann")


def a_missing_argument(place: Workplace) -> Outcome:
    return place.run("logs")


def a_bad_choice(place: Workplace) -> Outcome:
    return place.run("plan", "--format", "xml")


def invalid_declarations(place: Workplace) -> Outcome:
    place.write("more.yaml", "apiVersion: reconciler/v1\nkind: Environment\nmetadata: {name: BAD}\nspec: {}\n")
    return place.run("validate")


def applying_invalid_declarations(place: Workplace) -> Outcome:
    place.write("more.yaml", "apiVersion: reconciler/v1\nkind: Environment\nmetadata: {name: BAD}\nspec: {}\n")
    return place.run("apply", "--auto-approve")


def applying_without_terminal_or_approval(place: Workplace) -> Outcome:
    return place.run("apply")


def an_unreadable_state(place: Workplace) -> Outcome:
    place.data.mkdir()
    (place.data / "state.db").write_text("not a database, but long enough to look like one " * 100)
    return place.run("status")


def another_engine(place: Workplace) -> Outcome:
    files = DataDirectory(place.data)
    files.create()
    with EngineLock.take(files):
        return place.run("apply", "--auto-approve", "--new-state")


def a_stale_plan(place: Workplace) -> Outcome:
    place.run("plan", "--out", place.root / "p.json").expect(0)
    place.apply()
    return place.run("apply", "--new-state", place.root / "p.json")


def a_new_state(place: Workplace) -> Outcome:
    return place.run("apply", "--auto-approve")


def a_plan_with_a_refusal(place: Workplace) -> Outcome:
    protect(place)
    return place.run("plan", "--detailed-exitcode")


def an_apply_with_a_refusal(place: Workplace) -> Outcome:
    protect(place)
    return place.run("apply", "--auto-approve")


def a_failed_task(place: Workplace) -> Outcome:
    place.declare_shop("exit 3")
    return place.run("apply", "--auto-approve", "--new-state")


def a_task_that_failed_before(place: Workplace) -> Outcome:
    place.declare_shop("exit 3")
    place.apply(expect=6)
    return place.run("apply", "--auto-approve")


def a_task_that_waits_for_a_person(place: Workplace) -> Outcome:
    place.write("project.yaml", PROJECT % ("shop", "true") + MANUAL)
    return place.run("apply", "--auto-approve", "--new-state")


def a_task_behind_one_that_waits_for_a_person(place: Workplace) -> Outcome:
    place.write("project.yaml", PROJECT % ("shop", "true") + MANUAL)
    place.write("second.yaml", PROJECT % ("second", "true") + "---\n" + SECOND)
    return place.run("apply", "--auto-approve", "--new-state")


def a_task_behind_one_that_failed(place: Workplace) -> Outcome:
    place.declare_shop("exit 3")
    place.write("second.yaml", PROJECT % ("second", "true") + "---\n" + SECOND)
    return place.run("apply", "--auto-approve", "--new-state")


def a_worker_that_leaves_and_is_out_of_reach(place: Workplace) -> Outcome:
    """Leave out a worker where an attempt was lost: nobody knows whether that still runs."""
    place.declare_shop()
    place.apply()
    place.write("workers.yaml", "---\n".join([POOL % "far", worker("far-1", "far")]))
    place.apply()

    def lose(tx: Transaction) -> None:
        attempts.grant(tx, [(Attempt("t1", TaskId(1), 0, 2, "far-1", 2, AttemptState.GRANTED, "{}", "", "", 1.0), "")])
        attempts.lose(tx, "t1", 2.0)
        worker_status.lose(tx, "far-1", "nothing was heard from the agent for 15 s", 2.0)

    with place.store() as store:
        store.write_now(lose)
    (place.root / "workers.yaml").unlink()
    left = place.run("apply", "--auto-approve", "--max-removals", "1")
    assert (
        "Unreachable: far-1 is unavailable: nothing was heard from the agent for 15 s; "
        'how "Work" of task 1 ended there is not known\n'
    ) in left.err
    return left


def a_task_that_timed_out(place: Workplace) -> Outcome:
    place.declare_shop("exit 3")
    place.apply(expect=6)
    with place.store() as store:
        store.write_now(lambda tx: tx.execute("UPDATE tasks SET state = ? WHERE id = 1", TaskState.TIMED_OUT.value))
        assert store.read_now(lambda tx: tasks.task(tx, TaskId(1))).state is TaskState.TIMED_OUT
    return place.run("apply", "--auto-approve")


def drift_of_a_refused_and_a_failed_one(place: Workplace) -> Outcome:
    """Refused, and failed before: 5 stands before 6."""
    place.write("reconcile.yaml", SPACE % "isolated")
    place.declare_shop("exit 3")
    place.apply(expect=6)
    protect(place, apply=False)
    return place.run("apply", "--auto-approve")


SECOND = """\
apiVersion: reconciler/v1
kind: Deployment
metadata: {name: second-test}
spec: {project: second, environment: test, release: "1", after: [shop-test]}
"""
SPACE = "apiVersion: reconciler/v1\nkind: Space\nmetadata: {name: default}\nspec: {apply: %s}\n"
PROTECTED = "apiVersion: reconciler/v1\nkind: Team\nmetadata: {name: a, protect: true}\nspec: {members: [a]}\n"


def protect(place: Workplace, *, apply: bool = True) -> None:
    """Apply a protected team, then leave it out."""
    place.write("team.yaml", PROTECTED)
    place.apply(expect=0 if apply else 6)
    (place.root / "team.yaml").unlink()


CASES: list[tuple[int, Callable[[Workplace], Outcome]]] = [
    (0, no_changes),
    (0, changes_without_the_option),
    (1, an_unknown_option),
    (1, an_unknown_command),
    (1, a_missing_argument),
    (1, a_bad_choice),
    (1, invalid_declarations),
    (1, applying_invalid_declarations),
    (1, applying_without_terminal_or_approval),
    (1, an_unreadable_state),
    (2, changes),
    (3, another_engine),
    (3, a_stale_plan),
    (4, a_worker_that_leaves_and_is_out_of_reach),
    (5, a_new_state),
    (5, a_plan_with_a_refusal),
    (5, an_apply_with_a_refusal),
    (5, drift_of_a_refused_and_a_failed_one),
    (6, a_failed_task),
    (6, a_task_that_failed_before),
    (6, a_task_behind_one_that_failed),
    (7, a_task_that_waits_for_a_person),
    (7, a_task_behind_one_that_waits_for_a_person),
    (9, a_task_that_timed_out),
]


@pytest.mark.parametrize(("code", "case"), CASES, ids=lambda value: getattr(value, "__name__", str(value)))
def test_a_command_ends_with_the_code_of_its_case(
    place: Workplace, code: int, case: Callable[[Workplace], Outcome]
) -> None:
    assert case(place).expect(code).code == code


def test_an_interrupted_apply_exits_130_and_says_how_to_go_on(place: Workplace) -> None:
    place.declare_shop("echo started; sleep 30")
    process = subprocess.Popen(
        [RECONCILE, "apply", "--auto-approve", "--new-state"], cwd=place.root, env=environment(),
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    while "started" not in (line := process.stderr.readline()):
        assert line, "it ended before the step began"
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Error: interrupted" in err
    assert "reconcile apply" in err
    place.run("cancel", "1").expect(0)
    place.apply(expect=6)


def test_a_bug_exits_255_with_its_traceback(place: Workplace, tmp_path: Path) -> None:
    """A module of a command that is broken stands for every bug."""
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "sitecustomize.py").write_text(
        "import reconciler.declare.load\n"
        "def load(*arguments, **more): raise ZeroDivisionError('planted')\n"
        "reconciler.declare.load.load = load\n"
    )
    done = command("validate", folder=place.root, more={"PYTHONPATH": str(broken)}).expect(255)
    assert "ZeroDivisionError: planted" in done.err
    assert done.err.endswith("Error: this is a bug of ours, not of yours\n  please report it with the lines above\n")


def test_of_two_codes_the_earlier_in_the_order_is_given() -> None:
    assert tuple(PRECEDENCE) == ORDER
    assert set(ORDER) == {int(code) for code in ExitCode}
    for pair in itertools.permutations(ExitCode, 2):
        assert combined(pair) == min(pair, key=lambda code: ORDER.index(int(code)))
    assert combined(()) == 0


def test_every_error_has_a_code_of_the_table() -> None:
    def family(error: type[ReconcilerError]) -> set[int]:
        return {error.exit_code}.union(*(family(child) for child in error.__subclasses__()))

    assert family(ReconcilerError) <= set(map(int, ExitCode))


def test_the_documents_hold_the_same_order() -> None:
    text = (ROOT / "docs" / "exit-codes.md").read_text()
    assert ", ".join(map(str, ORDER[:-1])) + "." in text
