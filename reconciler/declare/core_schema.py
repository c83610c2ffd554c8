"""Scalars by the YAML 1.2 core schema, and whole trees as plain data."""

import re
from typing import Any

from reconciler.declare.nodes import MappingNode, Node, ScalarNode

DIGITS_MAX = 100  # digits of a number; turning text into a number takes quadratic time

_NUMBER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"([-+]?)\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_WORDS: dict[str, bool | None] = dict.fromkeys(("", "~", "null", "Null", "NULL"))
_WORDS |= dict.fromkeys(("true", "True", "TRUE"), True) | dict.fromkeys(("false", "False", "FALSE"), False)

_MAY_BE_NUMBER = frozenset("0123456789+-.")


def value_of(node: ScalarNode) -> str | int | float | bool | None:
    """Read a scalar by the YAML 1.2 core schema; a number of more than DIGITS_MAX digits stays a text."""
    text = node.text
    if not node.plain:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _MAY_BE_NUMBER or len(text) > DIGITS_MAX:
        return text
    if _NUMBER.fullmatch(text):
        return int(text, 0) if text[:2] in {"0o", "0x"} else int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if found := _INFINITE.fullmatch(text):
        return float((found[1] or "") + "inf") if found[1] is not None else float("nan")
    return text


def plain(node: Node) -> Any:
    """Return a tree as strings, numbers, truths, None, tuples and dicts; shared nodes are written out."""
    if type(node) is ScalarNode:
        return value_of(node)
    if type(node) is MappingNode:
        return {name: plain(value) for name, (_, value) in node.entries.items()}
    return tuple(plain(item) for item in node.items)  # type: ignore[union-attr]  # the only kind left
