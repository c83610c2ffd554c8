"""What the page about the protocol has to say of each object that travels: its fields, their JSON types, their defaults."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from reconciler.protocol import messages, tickets

PAGE = Path(__file__).parent.parent / "docs" / "agents" / "protocol.md"
ROW = re.compile(r"^\| `(\w+)` \| (.*?) \| (.*?) \| (.*) \|$", re.MULTILINE)
PART = re.compile(r"^### `(\w+)`.*?\n(.*?)(?=^#)", re.MULTILINE | re.DOTALL)
PLAIN = {str: "text", int: "integer", float: "number", bool: "boolean"}

NOUNS: tuple[type, ...] = (
    tickets.TicketSpec,
    tickets.Limits,
    tickets.OutputLimit,
    tickets.Secrets,
    tickets.TicketReport,
    tickets.Final,
    tickets.Output,
    tickets.Artifact,
    tickets.Usage,
    messages.Trust,
)
"""Objects inside messages that have fields of their own."""

UNIONS: dict[object, str] = {tickets.TicketState: "state", tickets.Ending: "ending"}
"""Objects of one of several forms, told by their field `is`."""

Row = tuple[str, str, str]


def objects() -> dict[str, type]:
    """Return everything that has a table of its own: messages by their name on the wire, nouns by their own."""
    return messages.KINDS | {noun.__name__: noun for noun in NOUNS}


def rows(kind: type) -> list[Row]:
    """Return name, JSON type and default of each field of a dataclass."""
    hints = get_type_hints(kind)
    return [(field.name, type_words(hints[field.name]), default_words(field)) for field in dataclasses.fields(kind)]


def forms(union: object) -> dict[str, list[str]]:
    """Return the fields of each form of a union."""
    return {form.__name__: [field.name for field in dataclasses.fields(form)] for form in get_args(union)}


def said() -> dict[str, list[tuple[str, ...]]]:
    """Return the rows under each heading of the page, the meaning last."""
    return {name: ROW.findall(body) for name, body in PART.findall(PAGE.read_text() + "#")}


def type_words(hint: Any) -> str:
    """Say which JSON value a field takes."""
    hint = getattr(hint, "__supertype__", hint)
    if hint in UNIONS:
        return UNIONS[hint]
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is tuple:
        return f"array of {type_words(arguments[0])}"
    if origin is dict:
        return f"object of {type_words(arguments[1])}"
    if origin is Union:
        return " or ".join("null" if item is type(None) else type_words(item) for item in arguments)
    return PLAIN.get(hint) or f"`{hint.__name__}`"


def default_words(field: "dataclasses.Field[Any]") -> str:
    """Show what a field is where it is left out, as JSON, or that it never is."""
    if field.default_factory is not dataclasses.MISSING:
        return "`{}`"
    if field.default is dataclasses.MISSING:
        return "required"
    return f"`{json.dumps(field.default)}`"
