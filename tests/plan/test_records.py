"""A plan as JSON is complete, and what policy tools hold on to stays where it is."""

from hypothesis import given, settings

from reconciler.model.desired import DesiredState
from reconciler.model.spec import Address
from reconciler.plan.planner import Options, plan
from reconciler.plan.records import records
from tests.plan.living import live_of
from tests.plan.spaces import desired_states
from tests.scenarios.applying import EMPTY
from tests.scenarios.declaring import declare

HEAD = "apiVersion: reconciler/v1\nkind: "
SHOP = f"""\
{HEAD}Environment
metadata: {{name: staging}}
spec: {{}}
---
{HEAD}Project
metadata: {{name: shop}}
spec: {{process: [{{name: Ship, script: {{syntax: bash, body: ship}}}}]}}
---
{HEAD}Deployment
metadata: {{name: shop-staging}}
spec: {{project: shop, environment: staging, release: "1.0"}}
"""


@given(desired_states(), desired_states())
@settings(max_examples=15, deadline=None)
def test_every_change_run_and_sentence_has_a_record(before: DesiredState, after: DesiredState) -> None:
    found = plan(after, live_of(before))
    written = list(records(found))
    kinds = [record["type"] for record in written]
    assert kinds[0] == "version"
    assert kinds.count("change") == len(found.changes)
    assert kinds.count("run") == len(found.runs)
    assert kinds.count("warning") == len(found.warnings)
    (summary,) = (record for record in written if record["type"] == "summary")
    assert (summary["digest"], summary["refused"], summary["empty"]) == (found.digest, found.refused, found.empty)


def test_a_record_says_what_the_text_says() -> None:
    found = plan(declare({"shop.yaml": SHOP}), EMPTY, Options(targets=(Address("Deployment", "shop-staging"),)))
    written = list(records(found))
    assert written[0] == {"type": "version", "format_version": "1.0"}
    assert written[3] == {
        "type": "change",
        "address": "Deployment/shop-staging",
        "kind": "Deployment",
        "name": "shop-staging",
        "action": "create",
        "because": "shop.yaml:11 declares it",
        "fields": [
            {"path": "environment", "after": "staging"},
            {"path": "project", "after": "shop"},
            {"path": "release", "after": "1.0"},
        ],
        "consequences": [],
        "file": "shop.yaml",
        "line": 11,
    }
    assert written[4] == {
        "type": "run",
        "deployment": "shop-staging",
        "project": "shop",
        "environment": "staging",
        "tenant": None,
        "release": "1.0",
        "former_release": None,
        "digest": found.runs[0].digest,
        "reason": "first",
        "because": "nothing was ever deployed for shop in staging",
        "after": [],
        "steps": ["Ship"],
        "warnings": [],
        "refusal": None,
        "file": "shop.yaml",
        "line": 11,
    }
    assert written[-1]["type"] == "summary"
    assert [written[-1][key] for key in ("add", "change", "remove", "runs")] == [3, 0, 0, 1]


def test_what_never_ran_is_begun_otherwise_where_commits_are_followed() -> None:
    found = plan(declare({"shop.yaml": SHOP}), EMPTY, Options(followed=True))
    (warning,) = found.warnings
    assert warning == (
        "the live state is empty: 1 declared deployment never ran here. "
        "A person has to approve the plan, unless the server was started with --new-state or --adopt"
    )
