"""Templates: what they come to, what they refuse and in which words, and what they never do."""

import re
import traceback
from contextlib import suppress

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from reconciler.steps.errors import TemplateError
from reconciler.steps.filters import FILTERS
from reconciler.steps.templates import (
    EXPRESSION_MAX,
    EXPRESSIONS_MAX,
    Rendered,
    TemplateProblem,
    check,
    check_condition,
    evaluate,
    is_template,
    problems,
    render,
    uses,
)
from reconciler.steps.values import Known, Scope
from tests.steps.scopes import SECRET, shop, texts


def rendered(text: str) -> str:
    return render(text, shop(), sensitive_allowed=True).text


def refusal(text: str) -> str:
    with pytest.raises(TemplateError) as caught:
        render(text, shop(), sensitive_allowed=True)
    return caught.value.message


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("migrate --db ${{ vars.Database }}", "migrate --db shop"),
        ("${{ vars.Db.Name }} and ${{ vars['Db.Name'] }}", "orders and orders"),
        ("${{ steps.backup.output.url }}", "s3://b/1"),
        ("${{ steps['Back up'].output.url }}", "s3://b/1"),
        ("${{ release }} is ${{ release.name }}", "1.4.2 is 1.4.2"),
        ("${{ release == '1.4.2' }}", "true"),
        ("${{ params.count + 1 }} ${{ params.share * 2 }} ${{ params.loud }}", "4 1.0 true"),
        ("${{ vars.Count | int * 6 }}", "42"),
        ("${{ vars.Count ~ '-' ~ params.count }}", "7-3"),
        ("${{ vars.Database[:2] }}${{ vars.Database[0] }}", "shs"),
        ("${{ vars.Nothing | default('none') }}", "none"),
        ("${{ vars.No.Thing.There | default(vars.Database) | upper }}", "SHOP"),
        ("${{ vars.Nothing is defined }} ${{ vars.Mode is defined }}", "false true"),
        ("${{ 'quick' if vars.Mode == 'fast' else 'slow' }}", "quick"),
        ("${{ vars.Mode in ['fast', 'slow'] and not params.count > 3 }}", "true"),
        ("${{ vars.Db.Name is startswith('or') }} ${{ vars.Db.Name is endswith 'rs' }}", "true true"),
        ('${{ "it\'s" | quote }}', "'it'\"'\"'s'"),
        ("${{ \"it's\" | quote('powershell') }}", "'it''s'"),
        ("${{ 'a,b' | split(',') | join('-') }} ${{ ['x', 'y'] | last }} ${{ 'abc' | first }}", "a-b y a"),
        ("${{ {'b': [1, true, none], 'a': 'x\"y'} | tojson }}", '{"a": "x\\"y", "b": [1, true, null]}'),
        ("${{ 'häuser' | b64encode }} ${{ 'aMOkdXNlcg==' | b64decode }}", "aMOkdXNlcg== häuser"),
        (
            "${{ 'a b/c' | urlencode }} ${{ '  a ' | trim | length }} ${{ 'aXa' | replace('X', '-') }}",
            "a%20b%2Fc 1 a-a",
        ),
        ("a literal ${{ '${{' }} and ${{ '}}' }}", "a literal ${{ and }}"),
        ("${{ {'a': {'b': 'c'}}['a']['b'] }}", "c"),
        ("${{ {'shop': 's', 'till': 't'}[vars.Database] }}", "s"),
        ("one\r\ntwo\rthree\n", "one\ntwo\nthree\n"),
    ],
)
def test_an_expression_takes_the_place_of_its_value(template: str, text: str) -> None:
    assert check(template) is None
    assert rendered(template) == text


@pytest.mark.parametrize(
    "text",
    [
        'for f in "${a[@]}"; do echo ${#a[@]} ${a[0]#x} $(date +"{%H}") {{ .Values.x }}; done\n',
        "{% if x %}{# not a comment #}{{ x }}{% endif %}",
        "docker inspect --format '{{.State.Status}}' # ## line\n\n",
        '$hash = @{a = 1}; "$($x.y)" ${env:PATH}\n',
        "",
    ],
)
def test_what_shells_and_other_templates_write_passes_unchanged(text: str) -> None:
    assert not is_template(text)
    assert rendered(text) == text


@given(st.lists(st.sampled_from(["${#a[@]}", "{{", "}}", "{%", "%}", "{#", "#}", "$", "{", "\n", "\\", "'", '"', "ä"])))
def test_braces_without_a_dollar_are_never_read(pieces: list[str]) -> None:
    text = "".join(pieces)
    assume("${{" not in text)
    assert render(text, Scope.of({}), sensitive_allowed=False) == Rendered(text)


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        ("${{ vars.Databse }}", '${{ vars.Databse }}: vars.Databse is not known; did you mean "vars.Database"?'),
        ("${{ nothing }}", "${{ nothing }}: nothing is not known"),
        ("${{ vars.Db }}", "${{ vars.Db }}: vars.Db is a group of names; name one of them"),
        ("${{ vars.Db == 'x' }}", "${{ vars.Db == 'x' }}: vars.Db is a group of names; name one of them"),
        ("${{ vars.Mode.x }}", "${{ vars.Mode.x }}: there is no `.x` of a value"),
        ("${{ ['a'] }}", "${{ ['a'] }}: a list is no text; write it with `join` or `tojson`"),
        ("${{ {'a': 1} }}", "${{ {'a': 1} }}: a mapping is no text; write it with `tojson`"),
        ("${{ none }}", "${{ none }}: none is no text"),
        ("${{ 1 + vars.Count }}", "${{ 1 + vars.Count }}: `+` adds two numbers or joins two texts; `~` joins whatever can be shown"),
        ("${{ vars.Count * 2 }}", "${{ vars.Count * 2 }}: this reckons with numbers only; `int` makes one of a text"),
        ("${{ vars.Mode | int }}", "${{ vars.Mode | int }}: `int` takes the digits of a whole number"),
        ("${{ vars.Mode | b64decode }}", "${{ vars.Mode | b64decode }}: `b64decode` takes the base64 of a text in UTF-8"),
        ("${{ 1 / 0 }}", "${{ 1 / 0 }}: this cannot be reckoned with these values"),
        ("${{ 'a' < 1 }}", "${{ 'a' < 1 }}: a value is not of the kind that is needed here; names stand for texts, `int` makes a number of one"),
        ("${{ not vars.Mode }}", "${{ not vars.Mode }}: `if` and `not` take true or false; compare a text, as in `vars.Mode == 'fast'`"),
        ("${{ 'a' | quote('cmd') }}", "${{ 'a' | quote('cmd') }}: `quote` knows the shells sh, bash and powershell; in Python write `tojson`"),
        ("${{ [] | first }}", "${{ [] | first }}: there is no first or last of nothing"),
        ("${{ vars.Mode['a':] }}", "${{ vars.Mode['a':] }}: a stretch goes from one whole number to another"),
        ("${{ vars.Mode[9] }}", "${{ vars.Mode[9] }}: this cannot be reckoned with these values"),
        ("${{ 2 ** 65 }}", "${{ 2 ** 65 }}: an exponent is at most 64"),
        ("${{ 9 ** 64 }}", "${{ 9 ** 64 }}: a number grows too large"),
    ],
)  # fmt: skip
def test_what_cannot_be_computed_says_why(template: str, sentence: str) -> None:
    assert refusal(template) == sentence


@pytest.mark.parametrize(
    ("template", "offset", "sentence"),
    [
        ("a ${{ vars.A b }}", 13, "it cannot be read: it goes on after its end"),
        ("a ${{ }}", 5, "the expression is empty"),
        ("ä ${{ vars. }}", 10, "it cannot be read: expected name or number"),
        ("${{ vars.A.upper() }}", 16, "methods and functions cannot be called here; use a filter, as in `vars.Name | upper`"),
        ("${{ range(9) }}", 9, "methods and functions cannot be called here; use a filter, as in `vars.Name | upper`"),
        ("${{ vars.A | uper }}", 13, 'there is no filter `uper`; did you mean "upper"?'),
        ("${{ vars.A is defind }}", 11, 'there is no test `defind`; did you mean "defined"?'),
        ("${{ vars.A | replace('a') }}", 13, "the filter `replace` takes old, new"),
        ("${{ vars.A | upper(*[1]) }}", 13, "`*` and `**` cannot spread arguments here"),
        ("${{ vars.__class__ }}", 8, "no name that begins with an underscore is within reach: __class__"),
        ("${{ _x }}", 4, "no name that begins with an underscore is within reach: _x"),
        ("${{ self }}", 4, "self is not known"),
        ("${{ 'a' if vars.A }}", 4, "an `if` needs its `else`"),
        ("${{ vars[vars.A] }}", 8, "what stands in brackets is written out, as in `vars['Db.Name']`"),
        ("${{ 1e999 }}", 4, "the number is too large"),
        ("${{ vars.A == 7 }}", 14, "a name stands for a text, which equals no number and no true or false; put quotes around it"),
        ("${{ " + "(" * 99 + "1" + ")" * 99 + " }}", 3, "the expression is too long or too deep"),
        ("a ${{ b", 2, f"the expression that begins here does not end within {EXPRESSION_MAX} characters; close it with `}}}}`, or write ${{{{ '${{{{' }}}} for the characters themselves"),
    ],
)  # fmt: skip
def test_what_cannot_be_an_expression_is_found_where_it_stands(template: str, offset: int, sentence: str) -> None:
    found = check(template)
    assert isinstance(found, TemplateProblem)
    assert (found.offset, found.sentence) == (offset, sentence)
    with pytest.raises(TemplateError, match=re.escape(sentence)):
        render(template, shop(), sensitive_allowed=True)


def test_each_expression_of_a_text_is_checked() -> None:
    found = list(problems("${{ a.b() }} ${{ 1 }} ${{ | }}"))
    assert [problem.offset for problem in found] == [7, 26]


@pytest.mark.parametrize(
    "template",
    [
        "${{ '%050000000d' % 1 }}",
        "${{ 'a' * 10 ** 9 }}",
        "${{ [[[1] * 99999] * 99999] * 9 }}",
        "${{ 9 ** 9 ** 9 ** 9 }}",
        "${{ 'a'.ljust(10 ** 9) }}",
        "${{ range(10 ** 9) | join(range(10 ** 9)) }}",
        "${{ ''.__class__.__mro__[1].__subclasses__() }}",
        "${{ ''['__class__'] }}",
        "${{ vars['__class__'] }}",
        "${{ release.look }}",
        "${{ vars.path }}",
        "${{ " + "-" * 900 + "1 }}",
        "${{ " + "not " * 400 + "true }}",
        "${{ " + "1+" * 240 + "1 }}",
        "${{ " + "[" * 900 + " }}",
        "${{ " + "1 if true else " * 120 + "1 }}",
        "${{ " + "a." * 400 + "a }}",
        "${{ " + "9" * 1900 + " }}",
        "${{ 'x'" + " | upper" * 200 + " }}",
        "${{ 1" * 2000,
        "${{ '" + "\\" * 1001 + " }}",
        "${{ 1 }}" * (EXPRESSIONS_MAX + 1),
        "${{ lipsum }} ${{ cycler }} ${{ namespace }}",
    ],
    ids=lambda template: template[:40],
)
def test_hostile_templates_are_refused(template: str) -> None:
    with pytest.raises(TemplateError):
        render(template, shop(), sensitive_allowed=True)


@pytest.mark.parametrize(
    "template",
    [
        "${{ vars.Big ~ vars.Big }}",
        "${{ vars.Big + vars.Big }}",
        "${{ vars.Big | replace('ä', vars.Big) }}",
        "${{ [vars.Big, vars.Big] | join(vars.Big) }}",
        "${{ vars.Big | urlencode }}",
        "${{ vars.Big | b64encode }}",
        "${{ vars.Big }}${{ vars.Big }}",
        "${{ (vars.Big | split('')) + [1] }}",
    ],
)
def test_no_text_grows_beyond_its_bound(template: str) -> None:
    with pytest.raises(TemplateError):
        render(template, texts(Big="ä" * 900_000), sensitive_allowed=True)


OPERATORS = ["+", "-", "*", "/", "//", "%", "**", "~", "==", "!=", "<", ">", "in", "and", "or"]
EXPRESSIONS = st.recursive(
    st.sampled_from(
        [
            *("vars.Database", "vars.Db.Name", "vars.Db", "vars.X", "release", "params.count", "params.loud", "steps"),
            *("'a'", "''", "none", "true", "2.5", "-1", "[]", "{}", "vars['Db.Name']", "vars[vars.Mode]", "'é'", "x.y"),
        ]
    ),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(OPERATORS), inner).map(" ".join),
        st.tuples(inner, st.sampled_from(sorted(FILTERS))).map(" | ".join),
        st.tuples(inner, st.sampled_from(sorted(FILTERS)), inner).map(lambda t: f"{t[0]} | {t[1]}({t[2]})"),
        st.tuples(inner, st.sampled_from(["defined", "none", "upper", "startswith 'a'"])).map(" is ".join),
        st.tuples(inner, inner, inner).map(lambda t: f"({t[0]} if {t[1]} else {t[2]})"),
        st.tuples(inner, inner).map(lambda t: f"({t[0]})[{t[1]}]"),
        st.tuples(inner, inner).map(lambda t: f"({t[0]})[{t[1]}:]"),
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        inner.map(lambda text: f"not {text}"),
        inner.map(lambda text: f"-{text}"),
        inner.map(lambda text: f"{{'k': {text}}}"),
    ),
    max_leaves=12,
)


@given(EXPRESSIONS)
def test_any_expression_comes_to_a_text_or_to_our_error(expression: str) -> None:
    with suppress(TemplateError):
        assert isinstance(rendered(f"${{{{ {expression} }}}}"), str)


@given(st.lists(st.one_of(st.text(max_size=5), st.sampled_from(["${{", "}}", " ", "vars.", "|", "'", "(", "a", "1"]))))
def test_any_text_at_all_comes_to_a_text_or_to_our_error(pieces: list[str]) -> None:
    text = "".join(pieces)
    found, used = check(text), uses(text)
    for problem in problems(text):
        assert 0 <= problem.offset < problem.offset + problem.length <= len(text)
    assert all(0 <= use.offset < len(text) for use in used)
    try:
        assert found is None or not rendered(text)
    except TemplateError:
        return
    assert found is None


SECRETS = st.recursive(
    st.just("vars.Db.Password"),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["upper", "lower", "trim", "b64encode", "quote", "tojson", "urlencode"])).map(" | ".join),
        inner.map(lambda text: f"('x' ~ {text} ~ 1)"),
        inner.map(lambda text: f"(vars.Database + ({text}))"),
        inner.map(lambda text: f"['a', {text}] | join('-')"),
        inner.map(lambda text: f"('-' ~ ({text}))[1:]"),
        inner.map(lambda text: f"({text}) | replace('h', vars.Database)"),
        inner.map(lambda text: f"(({text}) if params.loud else 'x')"),
        inner.map(lambda text: f"('yes' if ({text}) == '{SECRET}' else 'no')"),
        inner.map(lambda text: f"(vars.Nothing | default({text}))"),
        inner.map(lambda text: f"{{'k': {text}}} | tojson"),
        inner.map(lambda text: f"{text} | length ~ ''"),
        inner.map(lambda text: f"({text} is startswith 'h') ~ ''"),
    ),
    max_leaves=6,
)  # fmt: skip


@given(SECRETS)
def test_the_mark_of_a_sensitive_value_is_never_lost(expression: str) -> None:
    template = f"a ${{{{ {expression} }}}} b"
    assert render(template, shop(), sensitive_allowed=True).sensitive
    with pytest.raises(TemplateError) as caught:
        render(template, shop(), sensitive_allowed=False)
    assert caught.value.problem == (
        "vars.Db.Password is sensitive and may reach only env and inputs marked sensitive; put it in env and read it there"
    )
    with pytest.raises(TemplateError):
        evaluate(f"${{{{ {expression} == 'x' }}}}", shop())


def test_what_does_not_look_at_a_secret_is_not_marked() -> None:
    assert not render("${{ vars.Mode or vars.Db.Password }}", shop(), sensitive_allowed=False).sensitive


@pytest.mark.parametrize(
    "expression",
    [
        "vars.Db.Password | int",
        "vars.Db.Password | b64decode",
        "vars.Db.Password + 1",
        "vars.Db.Password < 1",
        "vars.Db.Password['x']",
        "vars.Db.Password.x",
        "vars.Db.Password % 1",
        "{}[vars.Db.Password]",
        "(vars if true else steps)[vars.Db.Password]",
        "(nope | default(vars))[vars.Db.Password]",
        "vars[vars.Db.Password] | int",
        "not vars.Db.Password",
        "'x' | quote(vars.Db.Password)",
    ],
)
def test_no_error_holds_a_value_anywhere(expression: str) -> None:
    with pytest.raises(TemplateError) as caught:
        render(f"${{{{ {expression} }}}}", shop(), sensitive_allowed=True)
    error: BaseException | None = caught.value
    while error is not None:
        assert SECRET not in "".join(traceback.format_exception(error))
        assert SECRET not in repr(error.args)
        error = error.__context__


def test_values_are_left_out_of_every_representation() -> None:
    assert SECRET not in repr(shop())
    assert SECRET not in repr(Known(SECRET))
    assert SECRET not in repr(render("${{ vars.Db.Password }}", shop(), sensitive_allowed=True))


@pytest.mark.parametrize(
    ("condition", "answer"),
    [
        ("${{ vars.Mode == 'fast' }}", True),
        ("${{ steps.backup.status == 'failed' }}", False),
        ("${{ params.loud and params.count > 2 }}", True),
    ],
)
def test_a_condition_is_true_or_false(condition: str, answer: bool) -> None:
    assert check_condition(condition) is None
    assert evaluate(condition, shop()) is answer


@pytest.mark.parametrize(
    ("condition", "sentence"),
    [
        ("${{ vars.Mode }}", "${{ vars.Mode }}: a condition is true or false; compare the text, as in `vars.Mode == 'fast'`"),
        ("${{ vars.Moed }}", '${{ vars.Moed }}: vars.Moed is not known; did you mean "vars.Mode"?'),
        ("${{ true }} and ${{ true }}", "${{ true }} and ${{ true }}: a condition is exactly one expression ${{ … }}"),
        ("${{ vars.Db.Password == 'x' }}", "${{ vars.Db.Password == 'x' }}: vars.Db.Password is sensitive and may reach only env and inputs marked sensitive; put it in env and read it there"),
    ],
)  # fmt: skip
def test_a_condition_that_is_neither_says_why(condition: str, sentence: str) -> None:
    with pytest.raises(TemplateError) as caught:
        evaluate(condition, shop())
    assert caught.value.message == sentence


def test_a_condition_beside_other_text_is_found_by_checking() -> None:
    assert check_condition("${{ true }} or ${{ false }}") == TemplateProblem(
        0, 27, "a condition is exactly one expression ${{ … }}"
    )


def test_uses_name_what_is_looked_at_and_where() -> None:
    text = "ä ${{ vars.Db.Password | default('x') }} ${{ vars['Db.Name'] ~ steps['Back up'].output.url }}"
    found = uses(text)
    assert [(use.path, use.optional) for use in found] == [
        (("vars", "Db", "Password"), True),
        (("vars", "Db", "Name"), False),
        (("steps", "Back up", "output", "url"), False),
    ]
    assert [text[use.offset : use.offset + use.length] for use in found] == [
        "vars.Db.Password",
        "vars['Db.Name']",
        "steps['Back up'].output.url",
    ]


def test_a_use_that_the_expression_tests_for_is_optional() -> None:
    (tested, used) = uses("${{ vars.A if vars.A is defined else 'x' }}")
    assert tested.optional
    assert used.optional
