"""Secret values reach the script that needs them, and nothing else that anyone may read."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.space import AUTO, Space, gate, space_in, step

pytestmark = pytest.mark.end_to_end

FROM_ENV = "value-from-the-environment"
FROM_FILE = "value-from-a-file"
FROM_COMMAND = "value-from-a-command"
OUTPUT = "value-that-a-step-put-out"
VALUES = (FROM_ENV, FROM_FILE, FROM_COMMAND, OUTPUT)
SHOWS = 'printf "%s\\n" "$SECRET" "$(printf %s "$SECRET" | base64)"; printf %s "$SECRET" | cksum'


@pytest.fixture
def space(tmp_path: Path) -> Iterator[Space]:
    with space_in(tmp_path, SECRET_OF_THE_ENGINE=FROM_ENV) as found:
        yield found


def secret(name: str, **source: object) -> dict[str, object]:
    return {"name": name, "type": "sensitive", "value": source}


def declare_leaky_process(space: Space, *more: dict[str, object]) -> None:
    (space.folder / "key.txt").write_text(f"{FROM_FILE}\n")
    (space.home / "vault").write_text(FROM_COMMAND)
    space.declare(
        step("Environment", SHOWS, env={"SECRET": "${{ vars.Env }}"}),
        step("File", SHOWS, env={"SECRET": "${{ vars.File }}"}),
        step("Command", SHOWS, env={"SECRET": "${{ vars.Command }}"}),
        step("Emit", f"set_output --sensitive token {OUTPUT[:10]}\"\"{OUTPUT[10:]}; set_output plain word"),
        step("Takes", SHOWS, env={"SECRET": "${{ steps.emit.output.token }}"}),
        *more,
        project_variables=[
            secret("Env", env="SECRET_OF_THE_ENGINE"),
            secret("File", file="key.txt"),
            secret("Command", command=["cat", str(space.home / "vault")]),
        ],
    )  # fmt: skip


def forms_of(value: str) -> list[bytes]:
    """Return what must not be found: the value and what `base64` makes of it."""
    return [value.encode(), base64.b64encode(value.encode())]


def test_a_value_is_found_nowhere_but_where_it_came_from(space: Space) -> None:
    declare_leaky_process(space)
    text = space.apply() + space.reconcile("logs", "1") + space.reconcile("events") + space.reconcile("why", "task/1")
    for value in VALUES:
        for form in forms_of(value):
            assert form not in text.encode()
            assert [path for path, content in space.kept_bytes() if form in content] == []
    for one in space.attempts():
        if one.step != 3:
            assert space.log(one.ticket).count(b"********") == 2, "the value and its base64"


def test_the_script_gets_the_value_itself(space: Space) -> None:
    declare_leaky_process(space, step("Checks", f'[ "$SECRET" = {FROM_ENV} ]', env={"SECRET": "${{ vars.Env }}"}))
    space.apply()


def test_no_process_has_a_value_among_its_arguments(space: Space) -> None:
    env = {"SECRET": "${{ vars.Command }}", "OTHER": "${{ vars.Env }}"}
    declare_leaky_process(space, step("Long", gate(), env=env))
    apply = space.start(*AUTO)
    space.until_started("Long")
    commands = " ".join(found.command for found in space.family.members())
    assert [value for value in VALUES if value in commands] == []
    kept = [path for path, content in space.kept_bytes() if any(value.encode() in content for value in VALUES)]
    assert kept == [], "not even while the step runs"
    space.open()
    apply.wait()


def test_a_sensitive_output_is_sealed_and_survives_a_kill(space: Space) -> None:
    declare_leaky_process(
        space, step("Long", gate() + '[ "$T" = ' + OUTPUT + " ]", env={"T": "${{ steps.emit.output.token }}"})
    )
    apply = space.start(*AUTO)
    space.until_started("Long")
    apply.kill()
    space.open()
    space.apply()
    found = {(one.step, one.name): one for one in space.outputs()}
    assert found["emit", "token"].value == "********"
    assert found["emit", "plain"].value == "word"


def test_a_secret_that_cannot_be_had_fails_its_step_and_names_the_source(space: Space) -> None:
    space.declare(step("Needs", env={"SECRET": "${{ vars.Gone }}"}), project_variables=[secret("Gone", env="NOT_SET")])
    assert "the value of Gone cannot be had from the environment variable NOT_SET: it is not set" in space.apply(6)
    assert not space.starts()


def test_what_a_failing_script_says_is_masked_in_every_place(space: Space) -> None:
    space.environment["SECRET_OF_THE_ENGINE"] = FROM_ENV
    space.declare(
        step("Fails", 'fail "cannot log in with $SECRET"', env={"SECRET": "${{ vars.Env }}"}),
        project_variables=[secret("Env", env="SECRET_OF_THE_ENGINE")],
    )
    text = space.apply(expect=6) + space.reconcile("tasks") + space.reconcile("status")
    assert "cannot log in with ********" in text
    assert FROM_ENV not in text
    assert [path for path, content in space.kept_bytes() if FROM_ENV.encode() in content] == []
