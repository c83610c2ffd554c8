"""Help and mistakes on the command line: each ends in a sentence and the way to its help."""

from importlib import import_module

import click
import pytest

from reconciler.cli.main import COMMANDS
from reconciler.model.kinds import KINDS
from tests.cli.workplace import Workplace, reconcile

REQUIRED = {
    "get": "KIND",
    "logs": "TASK",
    "why": "ADDRESS",
    "explain": "STEP",
    "artifacts": "TASK",
    "approve": "TASK",
    "retry": "TASK",
}


def test_help_lists_every_command_with_its_line() -> None:
    shown = reconcile("--help").expect(0)
    assert shown.err == ""
    for name, line in COMMANDS.items():
        assert f"  {name:<10} {line}\n" in shown.out
    assert reconcile("-h").out == shown.out


def test_without_a_command_help_is_shown_and_that_is_a_mistake() -> None:
    shown = reconcile().expect(1)
    assert shown.out == ""
    assert shown.err == reconcile("--help").out


def test_the_version_is_printed() -> None:
    assert reconcile("--version").expect(0).out.startswith("reconcile 0.")


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_explains_itself(name: str) -> None:
    shown = reconcile(name, "--help").expect(0)
    assert shown.err == ""
    assert shown.out.startswith(f"Usage: reconcile {name} ")
    assert "-h, --help" in shown.out
    command = import_module(f"reconciler.cli.{name}").command
    assert [option.opts for option in command.params if isinstance(option, click.Option) and not option.help] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_an_unknown_option_is_refused_with_the_way_to_help(name: str) -> None:
    refused = reconcile(name, "--nonsense").expect(1)
    assert refused.out == ""
    assert refused.err.startswith("Error: No such option '--nonsense'.")
    assert refused.err.endswith(f"\n  see: reconcile {name} --help\n")


@pytest.mark.parametrize(("name", "argument"), REQUIRED.items())
def test_a_missing_argument_is_named(name: str, argument: str) -> None:
    assert reconcile(name).expect(1).err == f"Error: Missing argument '{argument}'.\n  see: reconcile {name} --help\n"


@pytest.mark.parametrize(
    ("given", "meant"),
    [("plann", "plan"), ("aply", "apply"), ("validat", "validate"), ("stauts", "status"), ("event", "events")],
)
def test_a_mistyped_command_is_guessed(given: str, meant: str) -> None:
    refused = reconcile(given).expect(1)
    assert refused.err == f'Error: there is no command "{given}"; did you mean "{meant}"?\n  see: reconcile --help\n'


def test_a_command_that_resembles_none_is_not_guessed() -> None:
    assert reconcile("zzz").expect(1).err == 'Error: there is no command "zzz"\n  see: reconcile --help\n'


def test_a_mistyped_option_is_guessed() -> None:
    refused = reconcile("plan", "--tarrget", "x").expect(1)
    assert refused.err == "Error: No such option '--tarrget'. Did you mean '--target'?\n  see: reconcile plan --help\n"


@pytest.mark.parametrize(
    ("given", "kind"),
    [("worker", "Worker"), ("Workers", "Worker"), ("POOL", "WorkerPool"), ("policies", "MachinePolicy")],
)
def test_kinds_are_known_by_the_words_that_people_say(place: Workplace, given: str, kind: str) -> None:
    place.apply()
    assert place.run("get", given, "--json").expect(0).code == 0
    assert f'"title": "{kind}"' in reconcile("schema", given).expect(0).out


def test_a_mistyped_kind_is_guessed(place: Workplace) -> None:
    place.apply()
    refused = place.run("get", "Enviroment").expect(1)
    sentence, hint = refused.err.splitlines()
    assert sentence == 'Error: there is no kind "Enviroment"; did you mean "Environment"?'
    assert hint == f"  there are: {', '.join(sorted(KINDS))}"


def test_a_mistyped_name_is_guessed(place: Workplace) -> None:
    place.apply()
    refused = place.run("get", "project", "shap").expect(1)
    assert refused.err == 'Error: there is no Project "shap"; did you mean "shop"?\n'


@pytest.mark.parametrize("verb", ["plan", "apply"])
@pytest.mark.parametrize("given", ["shop", "Worker/", "/x", "Worker/a/b/c", "Project/shap"])
def test_an_address_that_is_none_is_refused(place: Workplace, verb: str, given: str) -> None:
    refused = place.run(verb, "--target", given, *(["--auto-approve"] if verb == "apply" else [])).expect(1)
    assert refused.err.startswith("Error: ")
    assert given in refused.err


@pytest.mark.parametrize("option", ["--target", "--exclude"])
def test_an_address_of_nothing_is_guessed_and_never_ignored(place: Workplace, option: str) -> None:
    refused = place.run("plan", option, "Project/shap").expect(1)
    assert refused.err == 'Error: Project/shap is neither declared nor live; did you mean "Project/shop"?\n'


@pytest.mark.parametrize("given", ["many", "-1", "101%", "2.5", ""])
def test_a_budget_that_is_no_number_is_refused(place: Workplace, given: str) -> None:
    refused = place.run("plan", f"--max-removals={given}").expect(1)
    assert refused.err == (
        f'Error: --max-removals {given}: a number or a percentage is expected, such as "3" or "25%"\n'
    )


@pytest.mark.parametrize("given", ["0", "1001", "x"])
def test_a_limit_outside_its_range_is_refused(place: Workplace, given: str) -> None:
    place.apply()
    assert "Error: Invalid value for '--limit'" in place.run("events", "--limit", given).expect(1).err
