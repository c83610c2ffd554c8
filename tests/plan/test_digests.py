"""Digests decide what runs: those of yesterday must be those of tomorrow, or a new version redeploys a company.

`digests.json` holds deployments as they were declared and the digests that they had then. Nothing in it is ever
edited; new rows are added below.
"""

import json
from pathlib import Path

import pytest

from reconciler.model.spec import Spec
from reconciler.model.work import DeploymentSpec
from reconciler.plan.deployments import deployment_digest

ROWS = json.loads((Path(__file__).parent / "digests.json").read_text())
PLAIN = DeploymentSpec(project="shop", environment="staging", release="1.0")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["name"])
def test_a_digest_is_what_it_always_was(row: dict[str, object]) -> None:
    spec = DeploymentSpec.parse(json.dumps(row["spec"]))
    tenant = row.get("tenant")
    assert deployment_digest(spec, str(tenant) if tenant else None) == row["digest"]


def test_no_two_rows_share_a_digest_unless_they_say_so() -> None:
    seen: dict[object, object] = {}
    for row in ROWS:
        assert row["digest"] not in seen or row.get("same_as") == seen[row["digest"]]
        seen.setdefault(row["digest"], row["name"])


def test_every_field_that_means_something_has_a_row() -> None:
    used = {key for row in ROWS for key in row["spec"]}
    assert used == {field.alias or name for name, field in DeploymentSpec.model_fields.items()}


@pytest.mark.parametrize(
    "change",
    [
        {"priority": 7},
        {"supersede": "none"},
        {"after": ("other",)},
        {"tenants": ("acme", "zeta")},
        {"packages": {}},
        {"variables": {}},
        {"skip_steps": ()},
        {"rerun": None},
    ],
    ids=lambda change: next(iter(change)),
)
def test_how_something_runs_and_what_is_at_its_default_do_not_matter(change: dict[str, object]) -> None:
    assert deployment_digest(PLAIN.model_copy(update=change), None) == deployment_digest(PLAIN, None)


@pytest.mark.parametrize(
    "change",
    [
        {"project": "blog"},
        {"environment": "production"},
        {"release": "1.1"},
        {"packages": {"web": "1.0"}},
        {"variables": {"Level": "high"}},
        {"skip_steps": ("migrate",)},
        {"rerun": "again"},
        {"rerun": ""},
    ],
    ids=str,
)
def test_what_is_wished_matters(change: dict[str, object]) -> None:
    assert deployment_digest(PLAIN.model_copy(update=change), None) != deployment_digest(PLAIN, None)


def test_each_tenant_has_a_digest_of_its_own() -> None:
    assert len({deployment_digest(PLAIN, tenant) for tenant in (None, "acme", "zeta")}) == 3


def test_the_order_of_what_is_a_set_does_not_matter() -> None:
    one = PLAIN.model_copy(
        update={"skip_steps": ("b", "a", "b"), "packages": {"x": "1", "y": "2"}, "variables": {"m": "1", "n": "2"}}
    )
    other = PLAIN.model_copy(
        update={"skip_steps": ("a", "b"), "packages": {"y": "2", "x": "1"}, "variables": {"n": "2", "m": "1"}}
    )
    assert deployment_digest(one, None) == deployment_digest(other, None)


def test_a_package_and_a_variable_of_one_name_are_two_things() -> None:
    package, variable = ({key: {"a": "1"}} for key in ("packages", "variables"))
    assert deployment_digest(PLAIN.model_copy(update=package), None) != deployment_digest(
        PLAIN.model_copy(update=variable), None
    )


def test_canonical_json_writes_what_is_at_its_default_in_no_model_that_is_compared() -> None:
    assert isinstance(PLAIN, Spec)
    assert PLAIN.canonical() == '{"environment":"staging","project":"shop","release":"1.0"}'
