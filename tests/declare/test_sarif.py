"""A SARIF log is valid by the published schema, whatever is wrong, and says what the text says.

`sarif-2.1.0.json` is the schema of the OASIS standard as SchemaStore publishes it.
"""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft4Validator

from reconciler.declare.codes import CODES
from reconciler.declare.sarif import RESULTS_MAX, as_log
from reconciler.model.diagnostics import Diagnostic, Related, Severity, Span
from tests.cli.workplace import ENVIRONMENT, Workplace

SCHEMA = Draft4Validator(json.loads((Path(__file__).parent / "sarif-2.1.0.json").read_text()))

SPANS = st.builds(
    Span,
    st.text(min_size=1, max_size=20),
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(10, 99),
    st.integers(2, 99),
)
FOUND = st.builds(
    Diagnostic,
    SPANS,
    st.sampled_from(Severity),
    st.sampled_from(sorted(CODES)),
    st.text(min_size=1, max_size=50),
    st.text(max_size=20),
    st.lists(st.builds(Related, SPANS, st.text(min_size=1, max_size=20)), max_size=2).map(tuple),
)


@given(st.lists(FOUND, max_size=5), st.sampled_from(["", "infra/production"]))
@settings(max_examples=50, deadline=None)
def test_every_log_is_valid_and_has_a_result_for_each_problem(found: list[Diagnostic], folder: str) -> None:
    log = as_log(found, folder)
    written = json.loads(json.dumps(log))
    SCHEMA.validate(written)
    (run,) = written["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [rules[result["ruleIndex"]]["id"] for result in run["results"]] == [item.code for item in found]
    assert [result["level"] for result in run["results"]] == [item.severity.value for item in found]


def test_a_result_says_where_what_and_how_to_mend_it() -> None:
    related = Related(Span("a b.yaml", 1, 7, 1, 9), "the first one stands here")
    log = as_log(
        [Diagnostic(Span("ä.yaml", 3, 3, 3, 8), Severity.ERROR, "duplicate-key", "twice", "remove one", (related,))],
        "x",
    )
    (run,) = json.loads(json.dumps(log))["runs"]
    (result,) = run["results"]
    assert result["message"] == {"text": "twice (remove one)"}
    assert result["locations"] == [
        {
            "physicalLocation": {
                "artifactLocation": {"uri": "x/%C3%A4.yaml", "uriBaseId": "%SRCROOT%"},
                "region": {"startLine": 3, "startColumn": 3, "endLine": 3, "endColumn": 8},
            }
        }
    ]
    assert result["relatedLocations"][0]["message"] == {"text": "the first one stands here"}
    assert result["relatedLocations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "x/a%20b.yaml"
    (rule,) = run["tool"]["driver"]["rules"]
    assert rule["shortDescription"]["text"] == "A key stands twice in one mapping."


def test_more_than_a_forge_takes_are_cut_and_that_is_said() -> None:
    one = Diagnostic(Span("a.yaml"), Severity.ERROR, "link", "a link")
    (run,) = json.loads(json.dumps(as_log([one] * (RESULTS_MAX + 2))))["runs"]
    assert len(run["results"]) == RESULTS_MAX
    (told,) = run["invocations"][0]["toolExecutionNotifications"]
    assert told["message"]["text"] == "2 more problems are left out; `reconcile validate` shows all"


@pytest.mark.parametrize("code", [0, 1])
def test_the_command_prints_one_log(tmp_path: Path, code: int) -> None:
    place = Workplace(tmp_path / "space")
    place.write("a.yaml", (ENVIRONMENT % "test").replace("Environment", "Environment" if code == 0 else "Environmint"))
    log = json.loads(place.run("validate", "--format", "sarif").expect(code).out)
    SCHEMA.validate(log)
    assert [result["ruleId"] for result in log["runs"][0]["results"]] == ["unknown-kind"] * code
