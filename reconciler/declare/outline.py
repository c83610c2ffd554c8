"""What can be read of a part that holds faults: a spec with stand-ins where nothing certain stands.

A faulty document takes part in the checks between objects by its outline, so that one run shows all that can be
judged. Its gaps say what must not be concluded from: a list with a gap may hold more than is seen. An outline is never
applied.
"""

from collections.abc import Collection, Iterator
from itertools import islice, product
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin

from pydantic import StringConstraints
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError, PydanticUndefined

from reconciler.declare.partial import STAND_IN, STAND_IN_WORD
from reconciler.declare.shapes import Path, bare, inner, model_of
from reconciler.model.spec import Spec, digest_of
from reconciler.model.text import (
    NAME_PATTERN,
    TAG_PATTERN,
    Duration,
    MeasuredText,
    Percentage,
    Removals,
    Size,
    Subscription,
    Thumbprint,
)
from reconciler.model.work import Acting

WAYS_MAX = 64  # of mending the fields that a rule looks at; no rule looks at three that have many values

_MEASURES: dict[type[MeasuredText], str] = {Duration: "1s", Percentage: "1%", Removals: "1", Size: "1B"}


class Outline(NamedTuple):
    """A spec built without validation, the paths of what is not certain in it, and rules that it breaks anyhow."""

    spec: Spec
    gaps: frozenset[Path]
    broken: tuple[ErrorDetails, ...] = ()


class Faults(NamedTuple):
    """Where a part is faulty, in YAML's names: wrong values, and unknown keys; and fields that those keys may mean."""

    wrong: frozenset[Path] = frozenset()
    unknown: frozenset[Path] = frozenset()
    meant: frozenset[Path] = frozenset()


def outline(model: type[Spec], data: Any, faults: Faults, origin: str) -> Outline:
    """Return what is certain of `data`; `origin` tells its stand-ins from those of all other parts.

    `faults` are what validation found. Rules over several fields, which it left out where a field is faulty, are
    applied here: one that is broken however the faulty fields were mended is among `broken`.
    """
    drawing = _Drawing(faults, origin)
    spec = drawing.model(model, data, ())
    return Outline(spec, frozenset(drawing.gaps), tuple(drawing.broken))


class _Drawing:
    """One part while its outline is drawn."""

    def __init__(self, faults: Faults, origin: str) -> None:
        self.gaps: set[Path] = set(faults.meant)
        self.broken: list[ErrorDetails] = []
        self._faults = faults
        self._origin = origin
        self._strange = {path[:-1] for path in faults.unknown}
        self._above = {path[:depth] for path in faults.wrong | faults.unknown for depth in range(len(path))}

    def model(self, model: type[Spec], data: Any, path: Path) -> Spec:
        values: dict[str, Any] = {}
        for name, field in model.model_fields.items():
            key = field.alias or name
            here = (*path, key)
            if isinstance(data, dict) and key in data:
                values[name] = self._value(_whole(field), data[key], here, field)
            elif field.is_required():
                values[name] = self._unknown(_whole(field), here, field)
        if issubclass(model, Acting) and isinstance(data, dict):
            known = {field.alias or name for name, field in model.model_fields.items()}
            values |= {key: value for key, value in data.items() if key not in known}
        spec = model.model_construct(**values)
        if path in self._faults.wrong:
            self._open(model, path)
        elif path in self._above:
            self._apply_rules(spec, path)
        return spec

    def _value(self, annotation: Any, data: Any, path: Path, field: FieldInfo | None = None) -> Any:
        shape = _member(annotation, data)
        if data is None and path not in self._faults.wrong:
            return None
        if isinstance(data, dict) and (model := model_of(shape)):
            return self.model(model, data, path)
        if isinstance(data, dict) and get_origin(shape) is dict:
            return self._mapping(shape, data, path)
        if isinstance(data, tuple) and get_origin(shape) is tuple:
            self._note(path)
            return tuple(self._value(inner(shape, index), item, (*path, index)) for index, item in enumerate(data))
        if path in self._faults.wrong or not isinstance(data, str | int | float | bool):
            return self._unknown(annotation, path, field)
        return shape(data) if isinstance(shape, type) and issubclass(shape, MeasuredText) else data

    def _mapping(self, shape: Any, data: dict[str, Any], path: Path) -> dict[str, Any]:
        self._note(path)
        values = {}
        for key, item in data.items():
            self._note((*path, key))
            values[key] = self._value(inner(shape, key), item, (*path, key))
        return values

    def _note(self, path: Path) -> None:
        if path in self._faults.wrong:
            self.gaps.add(path)

    def _unknown(self, annotation: Any, path: Path, field: FieldInfo | None = None) -> Any:
        """Leave a gap: a field's default if it has one that says something, else a text like no other."""
        self.gaps.add(path)
        silent = field is None or field.default in (None, (), PydanticUndefined)
        if field is not None and not silent:
            return field.default
        return stand_in(annotation, f"{self._origin} {path}")

    def _open(self, model: type[Spec], path: Path) -> None:
        """Leave gaps for what a broken rule is about: it says which of the optional fields belong together."""
        fields = model.model_fields.items()
        self.gaps |= {(*path, field.alias or name) for name, field in fields if field.default in (None, ())}

    def _apply_rules(self, spec: Spec, path: Path) -> None:
        """Apply the rules of a model that validation did not come to; broken is what no mending of its fields keeps."""
        for rule in type(spec).__pydantic_decorators__.model_validators.values():
            faults = [_fault(rule.func, way) for way in islice(self._ways(spec, path), WAYS_MAX)]
            wrong = faults[0]
            if wrong is not None and None not in faults:
                context = dict(wrong.context or {})
                self.broken.append(
                    ErrorDetails(type=wrong.type, loc=path, msg=wrong.message(), input=None, ctx=context)
                )
                self._open(type(spec), path)

    def _ways(self, spec: Spec, path: Path) -> Iterator[Spec]:
        """Yield the spec as it is, then with each value that its uncertain fields may come to have."""
        strange = path in self._strange
        names, choices = [], []
        for name, field in type(spec).model_fields.items():
            here = (*path, field.alias or name)
            absent = name not in spec.model_fields_set
            if here in self.gaps or (absent and strange):
                options = get_args(bare(field.annotation)) if get_origin(bare(field.annotation)) is Literal else ()
                names.append(name)
                choices.append((getattr(spec, name), *(options or (stand_in(_whole(field), f"{here}"),))))
        for values in product(*choices):
            yield spec.model_copy(update=dict(zip(names, values, strict=True)))


def _fault(rule: Any, spec: Spec) -> PydanticCustomError | None:
    try:
        rule(spec)
    except PydanticCustomError as error:
        return error
    return None


def _whole(field: FieldInfo) -> Any:
    """Return a field's annotation with the pattern of its texts, which pydantic keeps beside it."""
    return Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation


def _member(annotation: Any, data: Any) -> Any:
    """Return the bare annotation that holds for `data`: of a union of a word and a mapping, one of both."""
    shape = bare(annotation)
    members = [bare(member) for member in get_args(shape) if member is not type(None)]
    if get_origin(shape) in {tuple, dict, Literal} or not members:
        return shape
    fitting = [member for member in members if (model_of(member) is not None) == isinstance(data, dict)]
    return fitting[0] if fitting else members[0]


def stand_in(annotation: Any, origin: str) -> Any:
    """Return a value that an annotation allows and that equals no other: conclusions from it come to nothing."""
    shape = bare(annotation)
    if model := model_of(shape):
        required = {name: field for name, field in model.model_fields.items() if field.is_required()}
        return model.model_construct(
            **{name: stand_in(_whole(field), f"{origin} {name}") for name, field in required.items()}
        )
    match get_origin(shape):
        case found if found is Literal:
            return get_args(shape)[0]
        case found if found is tuple:
            return (stand_in(get_args(shape)[0], origin),)
        case found if found is dict:
            return {}
        case None:
            return _scalar(shape, annotation, origin)
    return stand_in(get_args(shape)[0], origin)


def _scalar(shape: Any, annotation: Any, origin: str) -> Any:
    unique = digest_of(origin)
    if shape in {bool, int, float}:
        return shape(1)
    if shape is Thumbprint:
        return Thumbprint(f"SHA256:{unique[:42]}A")
    if shape is Subscription:
        return Subscription(f"poll://{STAND_IN}{unique}")
    if shape in _MEASURES:
        return shape(_MEASURES[shape])
    text = f"{STAND_IN}{unique[:16]}"
    patterns = {mark.pattern for mark in _marks(annotation) if isinstance(mark, StringConstraints)}
    if patterns <= {None, NAME_PATTERN}:
        return text
    return f"{text}/{unique[:16]}" if TAG_PATTERN in patterns else f"{STAND_IN_WORD}{unique[:16]}"


def _marks(annotation: Any) -> Collection[Any]:
    return getattr(annotation, "__metadata__", ())
