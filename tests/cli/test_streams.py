"""Streams, colours and terminals: results on stdout, everything else on stderr, questions only where one can answer."""

import json
import os
import pty
import select
import subprocess
from pathlib import Path
from time import monotonic, sleep

import pytest

from tests.cli.workplace import RECONCILE, SECONDS_MAX, Outcome, Workplace, environment

pytestmark = pytest.mark.end_to_end

ESCAPE = "\x1b["


def on_terminal(
    place: Workplace, *arguments: str, answer: str = "", more: dict[str, str] | None = None
) -> tuple[int, str]:
    """Run the real command on a terminal, answer its first question, and return its code and what the screen got."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        ["setsid", "--ctty", RECONCILE, *arguments], cwd=place.root, env=environment(TERM="xterm", **(more or {})),
        stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while piece := read_within(ours):
        shown += piece
        if answer and b"]: " in shown:
            wait_until_it_reads(process.pid)
            os.write(ours, answer.encode())
            answer = ""
    os.close(ours)
    return process.wait(SECONDS_MAX), shown.decode(errors="replace").replace("\r\n", "\n")


def wait_until_it_reads(pid: int) -> None:
    """Wait until the main thread sleeps in its terminal: a key that interrupts a program must find it there."""
    deadline = monotonic() + SECONDS_MAX
    while Path(f"/proc/{pid}/wchan").read_text() not in {"wait_woken", "n_tty_read"}:
        assert monotonic() < deadline, "the command asks and does not read"
        sleep(0.005)  # between looks at something that has a deadline


def read_within(terminal: int) -> bytes:
    """Read what comes; nothing once the last process that had the terminal open has ended."""
    ready, _, _ = select.select([terminal], [], [], SECONDS_MAX)
    assert ready, "the command neither prints nor ends"
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""


def piped(place: Workplace, line: str) -> tuple[list[int], str]:
    """Run a line of bash and return the codes of its last pipe and what stderr got."""
    script = f'PATH="{RECONCILE.parent}:$PATH"; {line}; printf "%s\\n" "${{PIPESTATUS[@]}}" >&3'
    codes = place.root.parent / "codes"
    with codes.open("w") as file:
        done = subprocess.run(
            ["bash", "-c", f"exec 3>&{file.fileno()}; {script}"], cwd=place.root, env=environment(), check=False,
            pass_fds=[file.fileno()], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=SECONDS_MAX,
        )  # fmt: skip
    return [int(code) for code in codes.read_text().split()], done.stderr


def test_a_plan_goes_to_stdout_and_nothing_else_does(place: Workplace) -> None:
    shown = place.process("plan").expect(0)
    assert "Plan: 3 to add, 0 to change, 0 to remove; 1 deployment to run.\n" in shown.out
    assert shown.err == ""


def test_apply_prints_the_plan_on_stdout_and_progress_on_stderr(place: Workplace) -> None:
    shown = place.process("apply", "--auto-approve", "--new-state").expect(0)
    assert "\nPlan: 3 to add" in shown.out
    assert "Apply complete!" not in shown.out
    assert "\nApply complete! 3 changes carried out. 1 deployment queued.\n" in shown.err
    assert "shop-test │ done\n" in shown.err


def test_where_a_plan_was_saved_is_no_result(place: Workplace) -> None:
    shown = place.process("plan", "--out", "p.json").expect(0)
    assert "Saved" not in shown.out
    assert shown.err == "\nSaved to p.json. Apply it with: reconcile apply p.json\n"


def test_errors_in_declarations_go_to_stdout_of_validate_and_to_stderr_of_plan(place: Workplace) -> None:
    place.write("bad.yaml", "apiVersion: reconciler/v1\nkind: Environment\nmetadata: {name: BAD}\n")
    assert "bad.yaml:3:18: error[bad-name]" in place.process("validate").expect(1).out
    shown = place.process("plan").expect(1)
    assert shown.out == ""
    assert "bad.yaml:3:18: error[bad-name]" in shown.err


@pytest.mark.parametrize("verb", ["plan", "validate"])
def test_colour_is_for_terminals_unless_told(place: Workplace, verb: str) -> None:
    place.write("bad.yaml" if verb == "validate" else "none.txt", "apiVersion: reconciler/v1\nkind: Nothing\n")
    assert ESCAPE not in both(place.process(verb))
    assert ESCAPE in place.process(verb, "--color", "always").out
    assert ESCAPE in place.process(verb, "--color", "always", NO_COLOR="1").out, "what is asked for wins"


def test_progress_has_the_colour_that_is_asked_for(place: Workplace) -> None:
    assert ESCAPE not in both(place.process("apply", "--auto-approve", "--new-state"))
    place.release("2")
    coloured = place.process("apply", "--auto-approve", "--color", "always").expect(0)
    assert ESCAPE in coloured.out
    assert ESCAPE in coloured.err


def both(outcome: Outcome) -> str:
    return outcome.out + outcome.err


def test_a_terminal_gets_colours_unless_no_color_is_set(place: Workplace) -> None:
    code, shown = on_terminal(place, "plan")
    assert (code, ESCAPE in shown) == (0, True)
    for more in ({"NO_COLOR": "1"}, {"NO_COLOR": "anything"}):
        code, shown = on_terminal(place, "plan", more=more)
        assert (code, ESCAPE in shown) == (0, False)
    assert ESCAPE in on_terminal(place, "plan", more={"NO_COLOR": ""})[1], "an empty NO_COLOR is none"
    assert ESCAPE not in on_terminal(place, "plan", "--color", "never")[1]


def test_a_terminal_is_asked_before_anything_changes(place: Workplace) -> None:
    code, shown = on_terminal(place, "apply", answer="run\nn\n")
    assert code == 0
    assert "Nothing was ever deployed here. Run the declared deployments, or adopt them as done?" in shown
    assert "Apply these changes? [y/N]: " in shown
    assert shown.endswith("Nothing was changed.\n")
    place.run("get", "project", "shop").expect(1)


def test_a_person_who_says_yes_sees_it_done(place: Workplace) -> None:
    code, shown = on_terminal(place, "apply", answer="run\ny\n")
    assert code == 0
    assert "Apply complete!" in shown
    assert '"state": "succeeded"' in place.run("status", "--json").out


def test_a_person_may_adopt_what_runs_already(place: Workplace) -> None:
    code, _ = on_terminal(place, "apply", answer="adopt\ny\n")
    assert code == 0
    assert '"adopted": true' in place.run("status", "--json").out


def test_a_person_who_does_not_know_yet_changes_nothing(place: Workplace) -> None:
    code, shown = on_terminal(place, "apply", answer="\n")
    assert code == 5
    assert "Error: the live state is empty and 1 deployment would run for the first time" in shown


@pytest.mark.parametrize("key", ["\x03", "\x04"], ids=["ctrl-c", "ctrl-d"])
def test_a_question_may_be_left(place: Workplace, key: str) -> None:
    code, shown = on_terminal(place, "apply", "--new-state", answer=key)
    assert code == 130
    assert "Traceback" not in shown


@pytest.mark.parametrize(
    "line",
    ["reconcile schema | head -1", "reconcile plan | true", "reconcile --help | true", "reconcile validate | true"],
)
def test_a_reader_that_has_seen_enough_ends_a_command_quietly(place: Workplace, line: str) -> None:
    assert piped(place, line) == ([0, 0], "")


def test_an_apply_that_nobody_reads_says_that_it_is_not_done(place: Workplace) -> None:
    codes, said = piped(place, "reconcile apply --auto-approve --new-state | true")
    assert codes == [130, 0]
    assert said == "Error: nobody reads the output any more\n  go on with: reconcile apply\n"
    place.apply()


def test_an_apply_whose_every_stream_is_closed_ends_quietly(place: Workplace) -> None:
    assert piped(place, "reconcile apply --auto-approve --new-state 2>&1 | true") == ([130, 0], "")


@pytest.mark.parametrize("verb", ["plan", "schema", "validate"])
def test_a_full_disk_behind_stdout_is_no_bug_of_ours(place: Workplace, verb: str) -> None:
    codes, said = piped(place, f"reconcile {verb} >/dev/full")
    assert codes == [1]
    assert said == (
        "Error: the output cannot be written: No space left on device\n"
        "  make room for it, or write it to another disk\n"
    )


def test_a_stream_that_knows_few_letters_gets_marks_for_the_others(place: Workplace) -> None:
    place.declare_shop("echo 'done ✓'")
    place.process("apply", "--auto-approve", "--new-state", PYTHONIOENCODING="latin-1").expect(0)
    assert "done ?\n" in place.process("logs", "1", PYTHONIOENCODING="latin-1").expect(0).out


def test_a_directory_that_is_gone_is_named_in_words(place: Workplace) -> None:
    _, said = piped(place, "mkdir gone; cd gone; rmdir ../gone; reconcile plan")
    assert said == "Error: the current directory does not exist any more\n  change to another one\n"


def test_the_space_above_the_current_folder_is_found(place: Workplace) -> None:
    inside = place.root / "a" / "b"
    inside.mkdir(parents=True)
    done = subprocess.run(
        [RECONCILE, "plan", "--json"], cwd=inside, env=environment(), capture_output=True, check=True, text=True
    )
    assert json.loads(done.stdout.splitlines()[-1])["runs"] == 1
