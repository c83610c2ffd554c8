"""Steps become jobs: what scripts, questions and templates render to, and what they refuse."""

import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from reconciler.model.spec import Spec
from reconciler.model.work import Step, StepTemplateSpec
from reconciler.steps.errors import StepError, TemplateError
from reconciler.steps.expansion import declaration_problems, expand, parameter_problems
from reconciler.steps.jobs import ManualJob, ScriptJob
from reconciler.steps.manual import answered_within, unanswered
from reconciler.steps.rendering import ENVIRONMENT_VALUE_MAX, render_step
from reconciler.steps.script import INTERPRETERS, ScriptInputs, interpreter
from reconciler.steps.step_type import Ground, StepType
from reconciler.steps.table import FUTURE, STEP_TYPES, inputs_of
from reconciler.steps.template import TemplateInputs
from reconciler.steps.values import Scope
from tests.steps.scopes import SECRET, shop, texts

FILES = {"scripts/backup.sh": "echo ${{ not.a.template }}\n"}


def step(**fields: Any) -> Step:
    return Step.model_validate({"name": "Back up", **fields})


def job(scope: Scope | None = None, templates: Mapping[str, StepTemplateSpec] | None = None, **fields: Any) -> Any:
    return render_step(expand(step(**fields), templates or {}), scope or shop(), FILES)


def failure(**fields: Any) -> str:
    with pytest.raises(StepError) as caught:
        job(**fields)
    return caught.value.message


def test_a_script_is_rendered_with_all_that_belongs_to_it() -> None:
    made = job(
        script={"syntax": "bash", "body": "migrate ${{ vars.Database }}\n"},
        arguments=("--to", "${{ release }}"),
        env={"MODE": "${{ vars.Mode }}", "PGPASSWORD": "${{ vars.Db.Password }}"},
        artifacts=("*.txt",),
    )
    assert made == ScriptJob(
        language="bash",
        interpreter=("bash", "--noprofile", "--norc", "-eo", "pipefail"),
        script="migrate shop\n",
        arguments=("--to", "1.4.2"),
        environment={"MODE": "fast"},
        secret_environment={"PGPASSWORD": SECRET},
        artifacts=("*.txt",),
    )
    assert SECRET not in repr(made)


def test_the_text_of_a_file_is_not_a_template() -> None:
    assert job(script={"syntax": "sh", "file": "scripts/backup.sh"}).script == FILES["scripts/backup.sh"]


@pytest.mark.parametrize(
    ("syntax", "strict", "words"),
    [
        ("bash", True, "bash --noprofile --norc -eo pipefail"),
        ("bash", False, "bash --noprofile --norc"),
        ("sh", True, "sh -e"),
        ("sh", False, "sh"),
        ("python", True, "python3 -u"),
        ("python", False, "python3 -u"),
        ("powershell", True, "pwsh -NoProfile -NonInteractive -File"),
    ],
)
def test_each_language_has_its_interpreter(syntax: str, strict: bool, words: str) -> None:
    assert interpreter(syntax, strict=strict) == tuple(words.split())


@pytest.mark.parametrize(("strict", "code"), [(True, 1), (False, 0)])
@pytest.mark.parametrize("syntax", ["bash", "sh"])
def test_errors_stop_a_strict_script(tmp_path: Path, syntax: str, strict: bool, code: int) -> None:
    made = job(script={"syntax": syntax, "body": "false\necho on\n", "strict": strict})
    (tmp_path / "script").write_text(made.script)
    assert subprocess.run([*made.interpreter, tmp_path / "script"], capture_output=True, check=False).returncode == code


def test_a_strict_powershell_script_stops_at_errors_and_keeps_its_line_numbers() -> None:
    made = job(script={"syntax": "powershell", "body": "one\ntwo"})
    assert made.script.splitlines()[:2] == ["$ErrorActionPreference = 'Stop'; one", "two"]
    assert job(script={"syntax": "powershell", "body": "one", "strict": False}).script == "one"


def test_a_question_is_rendered_for_its_teams() -> None:
    made = job(
        manual={"instructions": "Check ${{ steps['Back up'].output.url }}", "teams": ["dba"], "blockConcurrent": True}
    )
    assert made == ManualJob("Check s3://b/1", ("dba",), block_concurrent=True)


ASTRAY = (
    "vars.Db.Password is sensitive and may reach only env and inputs marked sensitive; put it in env and read it there"
)
PASSWORD = "${{ vars.Db.Password }}"
BASH = {"syntax": "bash", "body": "true"}


@pytest.mark.parametrize(
    "fields",
    [
        {"script": {"syntax": "bash", "body": f"echo {PASSWORD}"}},
        {"script": BASH, "arguments": (PASSWORD,)},
        {"manual": {"instructions": PASSWORD}},
    ],
)
def test_a_sensitive_value_reaches_env_and_nothing_else(fields: dict[str, Any]) -> None:
    assert failure(**fields) == f"{PASSWORD}: {ASTRAY}"


def test_an_environment_value_is_as_long_as_linux_passes_and_no_longer() -> None:
    longest = "x" * ENVIRONMENT_VALUE_MAX
    made = job(texts(Big=longest), script={"syntax": "sh", "body": "true"}, env={"BIG": "${{ vars.Big }}"})
    subprocess.run(["/bin/true"], env=dict(made.environment), check=True)
    with pytest.raises(StepError) as caught:
        job(texts(Big=longest + "x"), script=BASH, env={"BIG": "${{ vars.Big }}"})
    assert caught.value.message == (
        "env.BIG has 130049 bytes; an environment value holds at most 127 KiB, so pass it in a file"
    )


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"script": BASH, "env": {"A=B": "x"}}, 'env holds the name "A=B", which no environment can hold'),
        ({"script": BASH, "env": {"A": "x\0"}}, "env.A holds a NUL character, which no environment can hold"),
        ({"script": BASH, "arguments": ("a", "\0")}, "argument 2 holds a NUL character, which no argument can hold"),
        ({"script": {"syntax": "sh", "file": "gone.sh"}}, "the script gone.sh was not found when the task was queued"),
        ({"template": {"name": "t"}}, "the step template t was not found when the task was queued"),
        (
            {"group": {"targetTags": ["web"], "steps": [{"name": "Stop", "script": {}}]}},
            "rolling groups are not carried out yet",
        ),
    ],
)
def test_a_step_that_cannot_become_a_job_says_why(fields: dict[str, Any], sentence: str) -> None:
    assert failure(**fields) == sentence


@pytest.mark.parametrize(
    ("inputs", "code"),
    [
        ({"syntax": "bash"}, "exactly-one"),
        ({"syntax": "bash", "body": "a", "file": "b"}, "exactly-one"),
        ({"syntax": "bash", "file": "/etc/passwd"}, "bad-path"),
        ({"syntax": "bash", "file": "a/../../b"}, "bad-path"),
        ({"syntax": "bash", "file": ""}, "bad-path"),
        ({"syntax": "perl", "body": "a"}, "literal_error"),
        ({"syntax": "bash", "body": "a", "strict": "yes"}, "bool_type"),
    ],
)
def test_wrong_inputs_of_a_script_are_refused(inputs: dict[str, Any], code: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ScriptInputs.model_validate(inputs)
    assert caught.value.errors()[0]["type"] == code


TEMPLATE = StepTemplateSpec.model_validate(
    {
        "parameters": (
            {"name": "database", "type": "string"},
            {"name": "count", "type": "number", "default": "1"},
            {"name": "dry", "type": "boolean", "default": "false"},
            {"name": "tone", "type": "choice", "options": ("plain", "warm"), "default": "plain"},
            {"name": "password", "type": "sensitive"},
        ),
        "action": {
            "script": {"syntax": "bash", "body": "m ${{ params.database }} ${{ params.count + 1 }} ${{ 'dry' if params.dry else 'wet' }} ${{ params.tone }}"},
            "env": {"PGPASSWORD": "${{ params.password }}", "A": "template's", "B": "template's"},
        },
    }
)  # fmt: skip
TEMPLATES = {"migrate": TEMPLATE}


def using(**parameters: str) -> dict[str, Any]:
    return {"templates": TEMPLATES, "template": {"name": "migrate", "with": parameters}}


def test_a_template_takes_the_place_of_the_step_with_typed_parameters() -> None:
    made = job(
        **using(database="${{ vars.Database }}", count="41", dry="true", password=PASSWORD), env={"B": "the step's"}
    )
    assert made.script == "m shop 42 dry plain"
    assert made.environment == {"A": "template's", "B": "the step's"}
    assert made.secret_environment == {"PGPASSWORD": SECRET}


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"password": PASSWORD}, 'the step template migrate needs the parameter "database"'),
        (
            {"databse": "x", "password": PASSWORD},
            'the step template migrate has no parameter "databse"; did you mean "database"?',
        ),
        ({"database": "x", "password": PASSWORD, "count": "many"}, 'the parameter "count" is a number'),
        ({"database": "x", "password": PASSWORD, "dry": "yes"}, 'the parameter "dry" is true or false'),
        ({"database": "x", "password": PASSWORD, "tone": "hot"}, 'the parameter "tone" is one of plain, warm'),
        ({"database": "x", "password": PASSWORD, "tone": "${{ vars.Mode }}"}, 'the parameter "tone" is one of plain, warm'),
        ({"database": PASSWORD, "password": PASSWORD}, f"{PASSWORD}: {ASTRAY}"),
        (
            {"database": "x", "password": "in clear"},
            'the parameter "password" is sensitive; give it a variable, as in ${{ vars.Db.Password }}',
        ),
    ],
)  # fmt: skip
def test_parameters_that_do_not_fit_are_refused(parameters: dict[str, str], sentence: str) -> None:
    assert failure(**using(**parameters)) == sentence


def test_every_problem_of_the_parameters_is_found_with_its_place() -> None:
    inputs = TemplateInputs.model_validate({"name": "migrate", "with": {"databse": "x", "count": "many"}})
    assert [problem.path for problem in parameter_problems(inputs, TEMPLATE)] == [
        ("with", "databse"), ("with", "count"), ("with",), ("with",),
    ]  # fmt: skip


def test_problems_of_a_template_itself_are_found() -> None:
    spec = StepTemplateSpec.model_validate(
        {
            "parameters": (
                {"name": "a", "type": "number", "default": "x"},
                {"name": "a"},
                {"name": "b", "type": "choice"},
                {"name": "c", "type": "sensitive", "default": "in clear"},
            ),
            "action": {"script": BASH},
        }
    )
    assert [(problem.path, problem.sentence) for problem in declaration_problems(spec)] == [
        ((0, "default"), 'the parameter "a" is a number'),
        ((1, "name"), 'the parameter "a" is declared twice'),
        ((2,), "options belong to the type choice, and it needs some"),
        ((3, "default"), 'the parameter "c" is sensitive; give it a variable, as in ${{ vars.Db.Password }}'),
    ]


def test_a_sensitive_parameter_reaches_the_env_of_its_template_and_nothing_else() -> None:
    leaky = StepTemplateSpec.model_validate(
        {
            "parameters": ({"name": "password", "type": "sensitive"},),
            "action": {"script": {"syntax": "bash", "body": "${{ params.password }}"}},
        }
    )
    with pytest.raises(TemplateError, match=r"params\.password, vars\.Db\.Password is sensitive"):
        job(templates={"t": leaky}, template={"name": "t", "with": {"password": PASSWORD}})


def test_a_template_that_is_itself_a_template_is_refused() -> None:
    nested = StepTemplateSpec.model_validate({"action": {"template": {"name": "migrate"}}})
    assert failure(templates={"t": nested}, template={"name": "t"}) == (
        "the step template t is itself a template; give it another action"
    )


def test_a_template_that_asks_a_person_is_refused() -> None:
    asking = StepTemplateSpec.model_validate({"action": {"manual": {"instructions": "Is it well?"}}})
    assert failure(templates={"t": asking}, template={"name": "t"}) == (
        "the step template t is itself a manual step; give it another action"
    )


@pytest.mark.parametrize(
    ("timeout", "teams", "seconds", "sentence"),
    [
        (None, (), 604_800.0, "nobody answered for 7 days"),
        ("2h", (), 7_200.0, "nobody answered for 2h"),
        ("14d", ("dba",), 1_209_600.0, "nobody of the team dba answered for 14d"),
        ("1h30m", ("dba", "ops"), 5_400.0, "nobody of the teams dba, ops answered for 1h30m"),
    ],
)
def test_a_question_waits_as_long_as_its_step_says(
    timeout: str | None, teams: tuple[str, ...], seconds: float, sentence: str
) -> None:
    asking = step(manual={"instructions": "Is it well?"}, **({"timeout": timeout} if timeout else {}))
    assert answered_within(asking) == seconds
    assert unanswered(asking, teams) == sentence


def test_no_key_is_both_there_and_still_to_come() -> None:
    assert not FUTURE & STEP_TYPES.keys()
    assert set(INTERPRETERS) == {"bash", "sh", "python", "powershell"}


EXAMPLES: dict[str, dict[str, Any]] = {
    "script": {"syntax": "bash", "body": "BODY"},
    "manual": {"instructions": "INSTRUCTIONS"},
    "template": {"name": "migrate", "with": {"database": "DATABASE"}},
    "group": {"targetTags": ["web"], "steps": [{"name": "Stop", "script": {"syntax": "sh", "body": "x"}}]},
}


@pytest.mark.parametrize("key", STEP_TYPES)
class TestEveryStepType:
    """The conformance of a step type."""

    def test_describes_each_input(self, key: str) -> None:
        inputs = STEP_TYPES[key].inputs
        assert issubclass(inputs, Spec)
        assert all(field.description for field in inputs.model_fields.values())

    def test_says_why_fields_of_a_step_mean_nothing(self, key: str) -> None:
        assert STEP_TYPES[key].pointless.keys() <= {field.alias for field in Step.model_fields.values()}

    def test_finds_its_inputs_in_a_step_again(self, key: str) -> None:
        found, inputs = inputs_of(step(**{key: EXAMPLES[key]}))
        assert (found, type(inputs)) == (key, STEP_TYPES[key].inputs)

    def test_names_the_templates_that_it_renders(self, key: str) -> None:
        kind: StepType[Any] = STEP_TYPES[key]
        _, inputs = inputs_of(step(**{key: EXAMPLES[key]}))
        written = EXAMPLES[key]
        for path, text in kind.templates(inputs):
            value: Any = written
            for part in path:
                value = value[part]
            assert value == text

    def test_renders_or_says_why_not(self, key: str) -> None:
        _, inputs = inputs_of(step(**{key: EXAMPLES[key]}))
        with suppress(StepError):
            assert isinstance(STEP_TYPES[key].render(inputs, Ground(shop(), FILES)), ScriptJob | ManualJob)
