"""JSON Schemas (2020-12) of every kind, made from the models, so that editors check and explain while people write."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic.json_schema import models_json_schema

from reconciler.model.kinds import KINDS
from reconciler.model.spec import API_VERSION, Metadata, Spec
from reconciler.model.work import Acting, Step

DIALECT = "https://json-schema.org/draft/2020-12/schema"
ALL = "all"
"""The name of the schema that dispatches on `kind`."""

Schema = dict[str, Any]


def schemas() -> Mapping[str, Schema]:
    """Return a schema per kind under its name, and under `all` one for any document."""
    definitions = _definitions()
    single = {kind: _with_definitions(_document(kind), definitions) for kind in KINDS}
    return {**single, ALL: _with_definitions(_any_document(), definitions)}


def write(directory: Path) -> list[Path]:
    """Write every schema into `directory`, one file each, and return their paths; files of other names stay."""
    directory.mkdir(parents=True, exist_ok=True)
    return [_write(directory / f"{name}.json", schema) for name, schema in schemas().items()]


def as_text(schema: Schema) -> str:
    """Return a schema as the text of its file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _write(path: Path, schema: Schema) -> Path:
    path.write_text(as_text(schema), encoding="utf-8")
    return path


def _document(kind: str) -> Schema:
    spec = KINDS[kind]
    needs_spec = any(field.is_required() for field in spec.model_fields.values())
    return {
        "title": kind,
        "description": _first_line(spec),
        "type": "object",
        "properties": {
            "apiVersion": {"const": API_VERSION, "description": "The version of this language."},
            "kind": {"const": kind, "description": _first_line(spec)},
            "metadata": {"$ref": "#/$defs/Metadata"},
            "spec": {"$ref": f"#/$defs/{spec.__name__}"},
        },
        "required": ["apiVersion", "kind", "metadata", *(["spec"] if needs_spec else [])],
        "additionalProperties": False,
    }


def _any_document() -> Schema:
    """Dispatch by if and then: unlike oneOf, it lets an editor mark the very field that is wrong."""
    return {
        "title": "A declaration of reconciler",
        "type": "object",
        "properties": {
            "apiVersion": {"const": API_VERSION, "description": "The version of this language."},
            "kind": {"enum": list(KINDS), "description": "What is declared."},
            "metadata": {"$ref": "#/$defs/Metadata"},
            "spec": {"type": "object", "description": "What it asks for."},
        },
        "required": ["apiVersion", "kind", "metadata"],
        "additionalProperties": False,
        "allOf": [
            {"if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]}, "then": _document(kind)}
            for kind in KINDS
        ],
    }


def _definitions() -> Mapping[str, Schema]:
    """Return the schemas of all models by name, those with an action completed by the step types."""
    from reconciler.steps.table import STEP_TYPES

    inputs = {name: step_type.inputs for name, step_type in STEP_TYPES.items()}
    models: list[type[Spec]] = [Metadata, Acting, Step, *KINDS.values(), *inputs.values()]
    _, whole = models_json_schema([(model, "validation") for model in models], by_alias=True)
    definitions: dict[str, Schema] = {name: _tidy(schema) for name, schema in whole["$defs"].items()}
    for model in (Acting, Step):
        definitions[model.__name__] = _with_actions(definitions[model.__name__], inputs)
    return definitions


def _with_actions(schema: Schema, inputs: Mapping[str, type[Spec]]) -> Schema:
    actions = {
        name: {"$ref": f"#/$defs/{model.__name__}", "description": _first_line(model)} for name, model in inputs.items()
    }
    return {
        **schema,
        "properties": {**schema["properties"], **actions},
        "additionalProperties": False,
        "oneOf": [{"required": [name]} for name in actions],
    }


def _tidy(schema: Any, *, names: bool = False) -> Any:
    """Drop the titles that pydantic makes of field names; `names` says that the keys are names of fields."""
    if isinstance(schema, list):
        return [_tidy(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept = schema.items() if names else ((key, value) for key, value in schema.items() if key != "title")
    return {
        key: value if key == "default" and not names else _tidy(value, names=key == "properties") for key, value in kept
    }


def _with_definitions(schema: Schema, definitions: Mapping[str, Schema]) -> Schema:
    """Put in the definitions that a schema reaches, and no others."""
    reached: dict[str, None] = {}
    waiting = list(_references(schema))
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached[name] = None
            waiting += _references(definitions[name])
    return {"$schema": DIALECT, **schema, "$defs": {name: definitions[name] for name in sorted(reached)}}


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, list):
        for item in schema:
            yield from _references(item)
    elif isinstance(schema, dict):
        if isinstance(name := schema.get("$ref"), str):
            yield name.removeprefix("#/$defs/")
        for value in schema.values():
            yield from _references(value)


def _first_line(model: type[Spec]) -> str:
    return (model.__doc__ or "").strip().splitlines()[0]
