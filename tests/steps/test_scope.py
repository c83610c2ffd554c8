"""What a step's templates see, and how declared values lead to one another."""

from collections.abc import Iterable

import pytest

from reconciler.model.live import OutputValue, StepRun, StepState, TaskId
from reconciler.model.variables import SecretSource
from reconciler.schedule.variables import Choice, Chosen, Source, Unscoped
from reconciler.steps.errors import TemplateError
from reconciler.steps.scope import (
    NESTED_MAX,
    ROOTS,
    Surroundings,
    known_names,
    scope_of,
    sources_needed,
    with_parameters,
)
from reconciler.steps.templates import Rendered, render
from reconciler.steps.values import Known, Scope

AROUND = Surroundings(space="default", project="shop", environment="production", release="1.4.2", task=7)
TASK = TaskId(7)
SECRET = "hunter2-hunter2"


def plain(name: str, text: str) -> Choice:
    return Chosen(name, text, "string", Source.PROJECT, "shop", 0)


def secret(name: str, source: SecretSource) -> Choice:
    return Chosen(name, source, "sensitive", Source.PROJECT, "shop", 0)


def scope(
    variables: list[Choice],
    resolved: dict[str, str] | None = None,
    runs: Iterable[StepRun] = (),
    outputs: Iterable[OutputValue] = (),
) -> Scope:
    return scope_of(AROUND, {each.name: each for each in variables}, resolved or {}, runs, outputs)


def rendered(text: str, within: Scope) -> str:
    return render(text, within, sensitive_allowed=False).text


def refusal(text: str, within: Scope) -> str:
    with pytest.raises(TemplateError) as caught:
        render(text, within, sensitive_allowed=False)
    return caught.value.message


def test_declared_values_lead_to_one_another() -> None:
    within = scope([plain("Url", "https://${{ vars.Host }}/"), plain("Host", "${{ environment }}.example.org")])
    assert rendered("${{ vars.Url }}", within) == "https://production.example.org/"


def test_a_value_that_needs_itself_is_refused_and_the_circle_is_named() -> None:
    within = scope([plain("A", "${{ vars.B }}"), plain("B", "x${{ vars.A }}")])
    assert refusal("${{ vars.A }}", within) == (
        "in the value of vars.A: in the value of vars.B: "
        "${{ vars.A }}: its value needs itself: vars.A → vars.B → vars.A"
    )


def test_a_long_way_of_values_is_refused_and_many_uses_are_not() -> None:
    chain = [plain(f"V{number}", f"${{{{ vars.V{number + 1} }}}}") for number in range(NESTED_MAX + 2)]
    assert refusal("${{ vars.V0 }}", scope(chain)).endswith("values lead to one another more than 20 deep")
    doubling = [plain(f"V{number}", f"${{{{ vars.V{number + 1} }}}}" * 2) for number in range(15)]
    assert rendered("${{ vars.V0 }}", scope([*doubling, plain("V15", "a")])) == "a" * 2**15


def test_a_problem_in_a_value_says_the_way_to_it() -> None:
    within = scope([plain("Url", "https://${{ vars.Hots }}/"), plain("Host", "h")])
    assert refusal("${{ vars.Url }}", within) == (
        'in the value of vars.Url: ${{ vars.Hots }}: vars.Hots is not known; did you mean "vars.Host"?'
    )


def test_a_value_made_of_a_secret_is_a_secret() -> None:
    within = scope(
        [
            secret("Db.Password", SecretSource(env="PW")),
            plain("Url", "https://u:${{ vars.Db.Password | urlencode }}@h"),
        ],
        {"Db.Password": SECRET},
    )
    allowed = render("${{ vars.Url }}", within, sensitive_allowed=True)
    assert allowed == Rendered(f"https://u:{SECRET}@h", frozenset({"vars.Db.Password"}))
    assert refusal("${{ vars.Url }}", within) == (
        "${{ vars.Url }}: vars.Db.Password is sensitive and may reach only env and inputs marked sensitive; "
        "put it in env and read it there"
    )


def test_secrets_sources_outputs_and_parameters_are_never_templates() -> None:
    text = "${{ vars.Db.Password }}"
    runs = [StepRun(TASK, 0, "build", "Build it", StepState.SUCCEEDED)]
    within = with_parameters(
        scope(
            [secret("Db.Password", SecretSource(env="PW")), Chosen("Folder", SecretSource(env="F"), "string", Source.PROJECT, "shop", 0)],
            {"Db.Password": text, "Folder": text},
            runs=runs,
            outputs=[OutputValue("build", "file", text)],
        ),
        {"name": Known(text)},
    )  # fmt: skip
    for use in ("vars.Folder", "steps.build.output.file", "steps['Build it'].output.file", "params.name"):
        assert rendered(f"${{{{ {use} }}}}", within) == text
    assert render(text, within, sensitive_allowed=True).text == text


def test_steps_show_their_state_and_outputs_by_id_and_by_name() -> None:
    runs = [StepRun(TASK, 0, "build", "Build it", StepState.SUCCEEDED), StepRun(TASK, 1, "test", "test")]
    outputs = [OutputValue("build", "file", "a.tar"), OutputValue("build", "token", SECRET, sensitive=True)]
    within = scope([], runs=runs, outputs=outputs)
    assert rendered(
        "${{ steps.build.status }} ${{ steps['Build it'].output.file }} ${{ steps.test.status }}", within
    ) == ("succeeded a.tar pending")
    assert refusal("${{ steps['Build it'].output.token }}", within).startswith(
        "${{ steps['Build it'].output.token }}: steps.build.output.token is sensitive"
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("${{ worker.name }}", "worker is not known: the step has no worker yet when this is rendered"),
        ("${{ tenant }}", "tenant is not known: this task is for no tenant"),
        ("${{ params.x }}", "params is not known: parameters are there only inside a StepTemplate"),
        ("${{ vars.Dev }}", "vars.Dev has no value here; give it one whose scope holds, or one without a scope"),
        ("${{ vars.Db.Password }}", "the source of vars.Db.Password is not resolved when this is rendered"),
        ("${{ release.nmae }}", "there is no `.nmae` of a value"),
    ],
)
def test_what_is_not_there_says_why(text: str, sentence: str) -> None:
    within = scope([Unscoped("Dev"), secret("Db.Password", SecretSource(env="PW"))])
    if text == "${{ release.nmae }}":
        sentence = 'release.nmae is not known; did you mean "release.name"?'
    assert refusal(text, within) == f"{text}: {sentence}"


def test_every_root_is_there_when_all_is_known() -> None:
    run = StepRun(TASK, 0, "build", "Build it")
    around = Surroundings(
        space="default", project="shop", environment="production", tenant="acme", deployment="shop-production",
        runbook="r", release="1.4.2", task=7, step=run, attempt=2, worker="w1", target="web-1",
    )  # fmt: skip
    within = scope_of(around, {}, {})
    named = [root for root, facts in known_names().items() if facts.fields]
    shown = {root: rendered(f"${{{{ {root} }}}} ${{{{ {root}.name }}}}", within) for root in named}
    assert shown["task"] == "7 7"
    assert shown["step"] == "Build it Build it"
    assert shown["attempt"] == "2 2"
    assert shown["target"] == "web-1 web-1"
    assert rendered("${{ step.id }}", within) == "build"
    assert set(named) | {"vars", "params", "steps"} == set(ROOTS)


def test_only_the_sources_that_a_step_may_look_at_are_needed() -> None:
    variables = {
        each.name: each
        for each in (
            secret("Db.Password", SecretSource(env="A")),
            secret("Other", SecretSource(env="B")),
            plain("Url", "https://${{ vars.Login }}@h"),
            plain("Login", "u:${{ vars['Db.Password'] }}"),
            Chosen("Folder", SecretSource(env="C"), "string", Source.PROJECT, "shop", 0),
        )
    }
    assert sources_needed(["${{ vars.Url }}", "${{ vars.Folder }}", "plain"], variables) == {
        "Db.Password": SecretSource(env="A"),
        "Folder": SecretSource(env="C"),
    }
    assert sources_needed(["${{ (vars if true else steps).Db.Password }}"], variables).keys() == {
        "Db.Password", "Other", "Folder",
    }  # fmt: skip
