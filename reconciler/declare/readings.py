"""The ways in which a faulty step can be read: with each of two actions, or each of two inputs that exclude another."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, cast

from pydantic import JsonValue, ValidationError
from pydantic_core import ErrorDetails

from reconciler.model.spec import canonical_json
from reconciler.model.work import Acting, Step
from reconciler.steps.table import STEP_TYPES

A = TypeVar("A", bound=Acting)

NOTHING: Mapping[str, JsonValue] = {"syntax": "bash", "body": ""}
"""The script of a step whose action cannot be read: there is nothing to say of it."""


def readings(step: A) -> Iterator[A]:
    """Yield a step with one action that its type can read, once for each way; a step without faults is such a one."""
    actions: dict[str, Any] = step.model_extra or {}
    found = [(key, inputs) for key, given in actions.items() for inputs in _legal(key, given)]
    fields = {name: getattr(step, name) for name in type(step).model_fields}
    for key, inputs in found or [("script", NOTHING)]:
        yield cast("A", type(step).model_construct(**{**fields, key: inputs}))


def _legal(key: str, given: Any) -> Iterator[Any]:
    """Yield the inputs of an action as they are, or else without each one of the keys that may be left out."""
    if key == "group" and isinstance(given, dict):
        given = {**given, "steps": [_child(step) for step in given.get("steps", [])]}
    if _is_read(key, given):
        yield given
    elif isinstance(given, dict):
        fewer = ({name: value for name, value in given.items() if name != left_out} for left_out in given)
        yield from (inputs for inputs in fewer if _is_read(key, inputs))


def _child(step: dict[str, Any]) -> dict[str, Any]:
    """Return a step of a group with the first action that can be read."""
    fields = {name: value for name, value in step.items() if name not in STEP_TYPES}
    legal = ((key, inputs) for key in step if key in STEP_TYPES for inputs in _legal(key, step[key]))
    key, inputs = next(legal, ("script", dict(NOTHING)))
    refused = {str(error["loc"][0]) for error in _errors({**fields, key: inputs})}
    return {**{name: value for name, value in fields.items() if name not in refused}, key: inputs}


def _errors(step: dict[str, Any]) -> list[ErrorDetails]:
    try:
        Step.parse(canonical_json(step))
    except ValidationError as error:
        return error.errors(include_url=False, include_input=False)
    return []


def _is_read(key: str, inputs: Any) -> bool:
    try:
        STEP_TYPES[key].inputs.parse(canonical_json(inputs))
    except ValidationError:
        return False
    return True
