"""Frozen dataclasses as JSON objects and back, led by their annotations.

A union of dataclasses carries the class's name under `is`. Unknown fields are ignored, missing ones take their
default, so that ends of different age understand each other.
"""

from __future__ import annotations

import dataclasses
import json
import re
import types
from collections.abc import Hashable
from functools import cache
from typing import Any, Callable, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from reconciler.protocol import tickets

TAG = "is"

UNIONS = (Union, getattr(types, "UnionType", Union))
"""What `Union[A, B]` and, since Python 3.10, `A | B` are made of."""

INTEGER_MAX = 2**53 - 1
"""What every JSON reader takes for the number that was meant (RFC 7493), and every database and file can hold."""

SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]")
"""What every lone surrogate in a JSON text begins with; that of an emoji may be written so too."""

Reader = Callable[[object, str], Any]  # a JSON value and where it stands → the typed value
Thing = TypeVar("Thing")


class MalformedError(Exception):
    """A JSON object does not fit the message that it claims to be."""

    def __init__(self, where: str, expected: str) -> None:
        super().__init__(f"{where}: {expected} was expected; the other end speaks another protocol")


def dumped(thing: object) -> bytes:
    """Return the JSON text of a dataclass, in UTF-8; lone surrogates (undecodable bytes) survive."""
    return json.dumps(plain(thing), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def loaded(kind: type[Thing], text: bytes) -> Thing:
    """Return the `kind` that `dumped` wrote; raise `MalformedError` if `text` is something else."""
    return restored(kind, parsed(text, kind.__name__))


def parsed(text: bytes, where: str) -> object:
    """Return the JSON value of `text`; raise `MalformedError` naming `where` if it is none."""
    try:
        return json.loads(text.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):
        raise MalformedError(where, "a JSON object") from None


def legible(value: object) -> object:
    """Return a JSON value with U+FFFD for every lone surrogate, which neither databases nor terminals take."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [legible(item) for item in value]
    if isinstance(value, dict):
        return {legible(key): legible(item) for key, item in value.items()}
    return value


def plain(thing: object) -> Any:
    """Return `thing` as what JSON knows: objects, arrays, strings, numbers, booleans, null."""
    if type(thing) in _SCALARS:
        return thing
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        value = {name: plain(getattr(thing, name)) for name in _field_names(type(thing))}
        if type(thing) in _UNION_MEMBERS:
            value[TAG] = type(thing).__name__
        return value
    if isinstance(thing, (tuple, list)):
        return [plain(item) for item in thing]
    if isinstance(thing, dict):
        return {key: plain(item) for key, item in thing.items()}
    return thing


def restored(kind: type[Thing], value: object) -> Thing:
    """Return the `kind` whose `plain` form is `value`; raise `MalformedError` if it does not fit."""
    reader = _reader(cast(Hashable, kind))
    return cast(Thing, reader(value, kind.__name__))


_SCALARS = frozenset((str, int, float, bool, type(None)))
_UNION_MEMBERS = frozenset(get_args(tickets.Ending) + get_args(tickets.TicketState))


@cache  # as many entries as there are message classes
def _field_names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))


@cache
def _reader(hint: Any) -> Reader:
    hint = getattr(hint, "__supertype__", hint)  # a NewType reads as what it is made of
    if dataclasses.is_dataclass(hint):
        return _dataclass_reader(cast(type, hint))
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is tuple:
        return _tuple_reader(_reader(arguments[0]))
    if origin is dict:
        return _dict_reader(_reader(arguments[1]))
    if origin in UNIONS:
        return _union_reader(arguments)
    return _scalar_reader(hint)


def _scalar_reader(kind: Any) -> Reader:
    if kind in (int, float):
        return _number_reader(kind)

    def read(value: object, where: str) -> Any:
        if not isinstance(value, kind):
            raise MalformedError(where, f"a value of type {kind.__name__}")
        return value

    return read


def _number_reader(kind: Any) -> Reader:
    accepted = (int, float) if kind is float else (int,)

    def read(value: object, where: str) -> Any:
        if not isinstance(value, accepted) or isinstance(value, bool):
            raise MalformedError(where, f"a value of type {kind.__name__}")
        if not -INTEGER_MAX <= value <= INTEGER_MAX:  # infinities and NaN are not
            raise MalformedError(where, "a number of less than 2^53")
        return kind(value)

    return read


def _tuple_reader(item: Reader) -> Reader:
    def read(value: object, where: str) -> Any:
        if not isinstance(value, list):
            raise MalformedError(where, "an array")
        return tuple(item(each, f"{where}[{index}]") for index, each in enumerate(value))

    return read


def _dict_reader(item: Reader) -> Reader:
    def read(value: object, where: str) -> Any:
        if not isinstance(value, dict):
            raise MalformedError(where, "an object")
        return {str(key): item(each, f"{where}.{key}") for key, each in value.items()}

    return read


def _union_reader(kinds: tuple[Any, ...]) -> Reader:
    optional = type(None) in kinds
    members = [kind for kind in kinds if kind is not type(None)]
    if len(members) == 1:
        only = _reader(members[0])
        return lambda value, where: None if value is None and optional else only(value, where)
    by_name = {kind.__name__: _reader(kind) for kind in members}

    def read(value: object, where: str) -> Any:
        name = value.get(TAG) if isinstance(value, dict) else None
        if name not in by_name:
            raise MalformedError(where, " or ".join(by_name))
        return by_name[name](value, where)

    return read


def _dataclass_reader(kind: type) -> Reader:
    hints = get_type_hints(kind)
    fields = [(field.name, _reader(hints[field.name])) for field in dataclasses.fields(kind)]
    needed = {
        field.name
        for field in dataclasses.fields(kind)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }

    def read(value: object, where: str) -> Any:
        if not isinstance(value, dict):
            raise MalformedError(where, "an object")
        missing = needed - value.keys()
        if missing:
            raise MalformedError(where, f"a field {min(missing)}")
        return kind(**{name: reader(value[name], f"{where}.{name}") for name, reader in fields if name in value})

    return read
