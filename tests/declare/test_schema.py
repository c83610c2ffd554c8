"""The schemas that editors use say what the loader says."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest

from reconciler.declare.schema import as_text, schemas, write
from reconciler.model.kinds import KINDS
from reconciler.steps.table import FUTURE, STEP_TYPES

WRITTEN = Path(__file__).parent.parent.parent / "schemas"
KNOWN = schemas()


def document(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "reconciler/v1", "kind": kind, "metadata": {"name": "a"}, "spec": spec}


def faults(instance: object, name: str = "all") -> list[str]:
    validator = jsonschema.Draft202012Validator(KNOWN[name])
    return ["/".join(map(str, error.absolute_path)) for error in validator.iter_errors(instance)]


def test_the_written_schemas_are_those_of_the_models() -> None:
    found = {path.stem: path.read_text() for path in WRITTEN.glob("*.json")}
    assert found == {name: as_text(schema) for name, schema in KNOWN.items()}, "run `make schemas`"


def test_writing_makes_a_file_per_kind_and_one_for_all(tmp_path: Path) -> None:
    paths = write(tmp_path / "new")
    assert {path.name for path in paths} == {f"{name}.json" for name in (*KINDS, "all")}


@pytest.mark.parametrize("name", KNOWN)
def test_each_schema_is_a_schema(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(KNOWN[name])


def descriptions_missing(schema: Any, path: str = "") -> list[str]:
    if not isinstance(schema, dict):
        return []
    missing = []
    for name, field in schema.get("properties", {}).items():
        if "description" not in field and "$ref" not in field:
            missing.append(f"{path}/{name}")
    return missing + [
        found for name, inner in schema.get("$defs", {}).items() for found in descriptions_missing(inner, name)
    ]


def test_every_field_explains_itself_on_hover() -> None:
    assert descriptions_missing(KNOWN["all"]) == []


def test_a_wrong_field_is_marked_itself() -> None:
    wrong = document("Worker", {"pools": ["main"], "endpoint": {"ssh": {"host": "h", "port": "x"}}})
    assert "spec/endpoint/ssh" in {path.rpartition("/")[0] for path in faults(wrong)} | set(faults(wrong))
    assert faults({**wrong, "kind": "Wroker"}) == ["kind"]


@pytest.mark.parametrize("text", [1.10, True, "text"])
def test_a_text_may_be_written_as_a_number_or_a_truth(text: object) -> None:
    variables = {"variables": [{"name": "A", "value": text}]}
    assert faults(document("VariableSet", variables)) == []


def test_a_step_has_exactly_one_action() -> None:
    script = {"syntax": "bash", "body": "exit 0"}

    def process(step: dict[str, Any]) -> dict[str, Any]:
        return document("Project", {"process": [{"name": "x", **step}]})

    assert faults(process({"script": script})) == []
    assert faults(process({})) != []
    assert faults(process({"script": script, "manual": {"instructions": "x"}})) != []
    assert faults(process({"script": script, "unknown": 1})) != []
    assert set(STEP_TYPES) <= set(KNOWN["all"]["$defs"]["Step"]["properties"])
    assert not set(FUTURE) & set(KNOWN["all"]["$defs"]["Step"]["properties"])
