"""The table of where commands work names each command, and says what its options say."""

import re
from importlib import import_module
from pathlib import Path

import click
import pytest

from reconciler.cli.main import COMMANDS

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"
ROW = re.compile(r"^\| (`.+`) \| (.*?) ?\| (.*?) ?\| (.*?) ?\|$", re.MULTILINE)


def places() -> dict[str, tuple[str, str, str]]:
    """Return where each command works: in a checkout, beside the state, at a server."""
    table = PAGE.read_text().partition("| command | in a checkout |")[2].partition("\n\n")[0]
    found = {}
    for names, *where in ROW.findall(table):
        for name in re.findall(r"`([a-z]+)`", names):
            found[name] = (where[0], where[1], where[2])
    return found


def options(name: str) -> list[set[str]]:
    """Return the options of a command that are shown, of each verb where it has several."""
    command = import_module(f"reconciler.cli.{name}").command
    each = command.commands.values() if isinstance(command, click.Group) else (command,)
    return [
        {text for option in verb.params if not getattr(option, "hidden", False) for text in option.opts}
        for verb in each
    ]


def test_each_command_has_its_place() -> None:
    assert places().keys() == COMMANDS.keys()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_works_where_the_table_says(name: str) -> None:
    checkout, state, server = places()[name]
    assert checkout or state
    if name != "agent":  # its --server is whom the machine is to serve
        assert [bool(server)] * len(options(name)) == ["--server" in shown for shown in options(name)]
    if state:
        assert all("--data" in shown for shown in options(name))
