"""What is said of a step's templates before anything runs."""

from typing import Any

import pytest

from reconciler.model.work import Step
from reconciler.steps.checks import (
    FieldKind,
    Names,
    TemplateField,
    circle_in,
    name_problem,
    template_fields,
    unquoted_interpolation,
)
from reconciler.steps.templates import uses
from tests.steps.test_step_types import TEMPLATES


def step(**fields: Any) -> Step:
    return Step.model_validate({"name": "Back up", **fields})


def test_every_field_that_may_hold_a_template_is_found_with_its_kind() -> None:
    found = list(
        template_fields(
            step(
                script={"syntax": "bash", "body": "b"},
                env={"A": "a"},
                arguments=("one", "two"),
                condition="${{ true }}",
                mutex={"name": "m"},
                location={"runOn": "server", "container": {"image": "i"}},
            )
        )
    )
    assert found == [
        TemplateField(("env", "A"), "a", FieldKind.SENSITIVE),
        TemplateField(("arguments", 0), "one", FieldKind.TEXT),
        TemplateField(("arguments", 1), "two", FieldKind.TEXT),
        TemplateField(("condition",), "${{ true }}", FieldKind.CONDITION),
        TemplateField(("mutex", "name"), "m", FieldKind.EARLY),
        TemplateField(("location", "container", "image"), "i", FieldKind.EARLY),
        TemplateField(("script", "body"), "b", FieldKind.TEXT),
    ]
    assert [kind for kind in FieldKind if kind.sensitive_allowed] == [FieldKind.SENSITIVE]
    assert [kind for kind in FieldKind if kind.leased] == [FieldKind.TEXT, FieldKind.SENSITIVE]


def test_a_parameter_takes_sensitive_values_if_its_template_says_so() -> None:
    using = step(template={"name": "migrate", "with": {"database": "d", "password": "p"}})
    kinds = {field.path[-1]: field.kind for field in template_fields(using, TEMPLATES)}
    assert kinds == {"database": FieldKind.TEXT, "password": FieldKind.SENSITIVE}
    assert {field.kind for field in template_fields(using)} == {FieldKind.SENSITIVE}


def test_questions_are_rendered_early_and_files_are_no_templates() -> None:
    assert [field.kind for field in template_fields(step(manual={"instructions": "i"}))] == [FieldKind.EARLY]
    assert list(template_fields(step(script={"syntax": "sh", "file": "a.sh"}))) == []


def test_the_children_of_a_group_are_looked_into() -> None:
    child = {"name": "Stop", "script": {"syntax": "sh", "body": "b"}, "env": {"A": "a"}}
    found = list(template_fields(step(group={"targetTags": ["web"], "steps": [child]})))
    assert [field.path for field in found] == [
        ("group", "steps", 0, "env", "A"),
        ("group", "steps", 0, "script", "body"),
    ]


def test_the_action_of_a_step_template_has_its_own_fields() -> None:
    found = {field.path: field.kind for field in template_fields(TEMPLATES["migrate"].action)}
    assert found[("env", "PGPASSWORD")] is FieldKind.SENSITIVE
    assert found[("script", "body")] is FieldKind.TEXT
    assert len(found) == 4


NAMES = Names(variables={"Database", "Db.Password"}, steps={"backup", "Back up"})
IN_TEMPLATE = Names(variables={"Database"}, steps=None, parameters={"database"})


@pytest.mark.parametrize(
    ("expression", "names", "sentence"),
    [
        ("vars.Database", NAMES, None),
        ("vars['Db.Password']", NAMES, None),
        ("vars.Databse", NAMES, 'vars.Databse is not known; did you mean "Database"?'),
        ("vars.Databse | default('x')", NAMES, None),
        ("vars.Db", NAMES, "vars.Db is a group of names; name one of them"),
        ("vars.Database.Name", NAMES, "vars.Database is a text and has nothing below it"),
        ("vras.Database", NAMES, 'vras is not known; did you mean "vars"?'),
        ("vras.Database | default('x')", NAMES, 'vras is not known; did you mean "vars"?'),
        ("params.database", NAMES, "params is not known: parameters are there only inside a StepTemplate"),
        ("params.database", IN_TEMPLATE, None),
        ("params.databse", IN_TEMPLATE, 'params.databse is not known; did you mean "database"?'),
        ("steps.anything.output.x", IN_TEMPLATE, None),
        ("steps['Back up'].output.url", NAMES, None),
        ("steps.backup.status", NAMES, None),
        ("steps.bakcup.status", NAMES, 'no earlier step is called "bakcup"; did you mean "backup"?'),
        ("steps.backup.url", NAMES, "steps.backup.url is not known; a step has output.<name>, status and name"),
        ("release", NAMES, None),
        ("release.name", NAMES, None),
        ("release.number", NAMES, "release.number is not known; release has name"),
        ("step.nmae", NAMES, "step.nmae is not known; step has id, name"),
        ("worker.name", NAMES, None),
        ("worker.name", Names((), (), leased=False), "worker is not known: the step has no worker yet when this is rendered"),
    ],
)  # fmt: skip
def test_a_name_that_cannot_have_a_value_is_found(expression: str, names: Names, sentence: str | None) -> None:
    (use,) = uses(f"${{{{ {expression} }}}}")
    assert name_problem(use, names) == sentence


@pytest.mark.parametrize(
    ("syntax", "body", "offsets"),
    [
        ("bash", "echo ${{ vars.A }} ${{ vars.A | quote }} ${{ vars.A | upper }}", [5, 41]),
        ("sh", "${{ '${{' }} ${{ 1 + 1 }} ${{ vars.A | length }} ${{ vars.A | int }}", []),
        ("python", "a = ${{ vars.A | tojson }} + ${{ vars.A | quote('x') | trim }}", [29]),
        ("powershell", "$a = ${{ vars.A | tojson }}", [5]),
    ],
)
def test_a_value_that_a_shell_could_take_for_code_is_found(syntax: str, body: str, offsets: list[int]) -> None:
    assert [problem.offset for problem in unquoted_interpolation(body, syntax)] == offsets


def test_the_advice_names_the_filter_of_the_language() -> None:
    (problem,) = unquoted_interpolation("${{ vars.A }}", "powershell")
    assert (
        problem.sentence
        == "a value put into a script may be taken for code; pass it in env, or write `| quote('powershell')`"
    )


@pytest.mark.parametrize(
    ("needs", "circle"),
    [
        ({"A": ["B"], "B": ["C"], "C": []}, None),
        ({"A": ["A"]}, ("A", "A")),
        ({"A": ["B", "C"], "B": [], "C": ["D"], "D": ["C"]}, ("C", "D", "C")),
        ({"A": ["B", "C"], "B": ["D"], "C": ["D"], "D": ["unknown"]}, None),
    ],
)
def test_a_circle_of_needs_is_found(needs: dict[str, list[str]], circle: tuple[str, ...] | None) -> None:
    assert circle_in(needs) == circle
