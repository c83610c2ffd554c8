"""Which other objects a spec names, found by the marks of its fields, which are looked up once per model.

A space of 10,000 workers asks 40,000 times; only fields that can hold a reference are walked.
"""

from functools import cache
from typing import Annotated, Any, NamedTuple, get_args, get_origin

from pydantic import BaseModel

from reconciler.declare.shapes import Path
from reconciler.model.spec import Address, Ref, Reference


class _Shape(NamedTuple):
    """What strings at a place name (`kinds`), and what stands in the keys and values of a mapping there."""

    kinds: tuple[str, ...]
    keys: "_Shape | None" = None
    values: "_Shape | None" = None


class _Field(NamedTuple):
    attribute: str
    name: str
    shape: _Shape


def uses(spec: BaseModel) -> tuple[Reference, ...]:
    """Return every use of another object in a spec, each with its path in YAML's names."""
    found: list[Reference] = []
    _from_model(spec, (), found)
    return tuple(found)


def _from_model(spec: BaseModel, path: Path, found: list[Reference]) -> None:
    for attribute, name, shape in _fields(type(spec)):
        if value := getattr(spec, attribute):
            _from_value(value, shape, (*path, name), found)


def _from_value(value: Any, shape: _Shape, path: Path, found: list[Reference]) -> None:
    match value:
        case str():
            found += [Reference(path, Address(kind, value)) for kind in shape.kinds]
        case BaseModel():
            _from_model(value, path, found)
        case tuple():
            for index, item in enumerate(value):
                _from_value(item, shape, (*path, index), found)
        case dict() if shape.keys and shape.values:
            for key, item in value.items():
                _from_value(key, shape.keys, (*path, key), found)
                _from_value(item, shape.values, (*path, key), found)


@cache
def _fields(model: type[BaseModel]) -> tuple[_Field, ...]:
    """Return the fields of a model that can lead to a reference."""
    fields = []
    for attribute, field in model.model_fields.items():
        annotation = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
        if _leads_to_reference(annotation, frozenset({model})):
            fields.append(_Field(attribute, field.alias or attribute, _shape(annotation)))
    return tuple(fields)


def _shape(annotation: Any) -> _Shape:
    mapping = _mapping_in(annotation)
    if mapping:
        return _Shape((), *(_shape(argument) for argument in mapping))
    return _Shape(tuple(dict.fromkeys(mark.kind for mark in _marks(annotation))))


def _mapping_in(annotation: Any) -> tuple[Any, ...]:
    """Return the arguments of a mapping's annotation, through Annotated and `| None`."""
    if get_origin(annotation) is dict:
        return get_args(annotation)
    return next((found for part in _parts(annotation) if (found := _mapping_in(part))), ())


def _marks(annotation: Any) -> list[Ref]:
    own = [mark for mark in getattr(annotation, "__metadata__", ()) if isinstance(mark, Ref)]
    return own or [mark for part in _parts(annotation) for mark in _marks(part)]


def _leads_to_reference(annotation: Any, seen: frozenset[type[BaseModel]]) -> bool:
    if _marks(annotation):
        return True
    if isinstance(annotation, type) and issubclass(annotation, BaseModel) and annotation not in seen:
        inside = (field.annotation for field in annotation.model_fields.values())
        marked = any(isinstance(mark, Ref) for field in annotation.model_fields.values() for mark in field.metadata)
        return marked or any(_leads_to_reference(part, seen | {annotation}) for part in inside)
    return any(_leads_to_reference(part, seen) for part in _parts(annotation))


def _parts(annotation: Any) -> tuple[Any, ...]:
    """Return what an annotation is made of; of Annotated its first argument alone."""
    arguments = get_args(annotation)
    return arguments[:1] if get_origin(annotation) is Annotated else arguments
