"""The filters, tests and operators of templates: an allow-list, each bounded in what it makes.

| filter | gives |
|---|---|
| `quote`, `quote('powershell')` | one word for bash and sh, or for PowerShell |
| `default(value)` | `value` where the name has none |
| `upper`, `lower`, `trim` | the text in other letters, without the space around it |
| `replace(old, new)` | the text with every `old` replaced |
| `split(separator)`, `join(separator)` | a list of texts, and back |
| `first`, `last`, `length` | of a text or a list |
| `int` | the number that a text is |
| `tojson` | JSON; of a text also a literal for Python |
| `b64encode`, `b64decode`, `urlencode` | the text encoded |

Tests: `defined`, `undefined`, `none`, `startswith`, `endswith`, `in`. Operators reckon with numbers; `+` also joins two
texts or two lists, `~` joins whatever can be shown.
"""

import base64
import json
import math
import operator
import shlex
from collections.abc import Callable, Mapping, Sized
from typing import NoReturn
from urllib.parse import quote as percent_encoded

from jinja2.runtime import Undefined

SIZE_MAX = 1024 * 1024  # characters of any text a template makes: larger than a script should be, harmless to hold
NUMBER_MAX = 2**63  # above it no worker's shell can count
EXPONENT_MAX = 64
DIGITS_MAX = 20  # of a text that becomes a number: NUMBER_MAX has 19 and a sign


class Refusal(Exception):
    """An operation that templates do not do; `problem` is its sentence and never holds a value."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


def text_of(value: object) -> str:
    """Return what a value looks like in a text; raise `Refusal` for what has no single look."""
    match value:
        case str():
            return bounded(str(value))
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(number(value))
        case Undefined():
            return str(value)  # raises, with the sentence of the missing name
        case list() | tuple():
            raise Refusal("a list is no text; write it with `join` or `tojson`")
        case dict():
            raise Refusal("a mapping is no text; write it with `tojson`")
        case None:
            raise Refusal("none is no text")
    raise Refusal(f"{value} is a group of names; name one of them")


def bounded(text: str) -> str:
    """Return `text`, or raise `Refusal` if it is longer than a template may make."""
    _room(len(text))
    return text


def number(value: object) -> int | float:
    """Return `value` if it is a finite number of moderate size; else raise `Refusal`."""
    if isinstance(value, Undefined):
        str(value)  # raises, with the sentence of the missing name
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refusal("this reckons with numbers only; `int` makes one of a text")
    if not math.isfinite(value) or abs(value) > NUMBER_MAX:
        raise Refusal("a number grows too large")
    return value


def _room(size: int) -> None:
    if size > SIZE_MAX:
        raise Refusal(f"the text grows longer than {SIZE_MAX} characters")


def quote(value: object, shell: str = "sh") -> str:
    """Return one word of a shell: `sh` (bash too) or `powershell`."""
    text = text_of(value)
    if shell in {"sh", "bash"}:
        return bounded(shlex.quote(text))
    if shell == "powershell":
        # PowerShell ends a single-quoted word at typographic quotes too; doubling any of them escapes it
        doubled = "".join(sign * 2 if sign in "'\u2018\u2019\u201a\u201b" else sign for sign in text)
        return bounded(f"'{doubled}'")
    raise Refusal("`quote` knows the shells sh, bash and powershell; in Python write `tojson`")


def default(value: object, instead: object) -> object:
    """Return `instead` where the name has no value."""
    return instead if isinstance(value, Undefined) else value


def upper(value: object) -> str:
    """Return the text in capital letters."""
    return bounded(text_of(value).upper())


def lower(value: object) -> str:
    """Return the text in small letters."""
    return bounded(text_of(value).lower())


def trim(value: object) -> str:
    """Return the text without the space around it."""
    return text_of(value).strip()


def replace(value: object, old: object, new: object) -> str:
    """Return the text with every `old` replaced by `new`."""
    text, old, new = text_of(value), text_of(old), text_of(new)
    _room(len(text) + text.count(old) * max(0, len(new) - len(old)))
    return text.replace(old, new)


def split(value: object, separator: object) -> list[str]:
    """Return the parts of the text between separators."""
    return text_of(value).split(text_of(separator))


def join(value: object, separator: object = "") -> str:
    """Return the items of a list in one text."""
    if not isinstance(value, list | tuple):
        raise Refusal("`join` takes a list")
    items, between = [text_of(item) for item in value], text_of(separator)
    _room(sum(map(len, items)) + len(between) * len(items))
    return between.join(items)


def joined(value: object) -> str:
    """Return what `~` makes of its operands, given as a list."""
    return join(value)


def stretch(value: object, *ends: object) -> object:
    """Return what `value[start:stop:step]` stands for; None is an end that is left out."""
    start, stop, step = (end if end is None or isinstance(end, int) else _no_place() for end in ends)
    items = value if isinstance(value, list | tuple) else text_of(value)
    return items[start:stop:step]


def _no_place() -> NoReturn:
    raise Refusal("a stretch goes from one whole number to another")


def truth(value: object) -> bool:
    """Return a boolean; a text is none, since even "false" would count as true."""
    if isinstance(value, Undefined):
        str(value)  # raises, with the sentence of the missing name
    if isinstance(value, bool):
        return value
    raise Refusal("`if` and `not` take true or false; compare a text, as in `vars.Mode == 'fast'`")


def condition(value: object) -> bool:
    """Return what a condition says; raise `Refusal` unless that is true or false."""
    if isinstance(value, bool):
        return value
    text_of(value)  # raises, where there is a better sentence than ours
    raise Refusal("a condition is true or false; compare the text, as in `vars.Mode == 'fast'`")


def first(value: object) -> object:
    """Return the first letter or item."""
    return _item(value, 0)


def last(value: object) -> object:
    """Return the last letter or item."""
    return _item(value, -1)


def _item(value: object, index: int) -> object:
    items = value if isinstance(value, list | tuple) else text_of(value)
    if not items:
        raise Refusal("there is no first or last of nothing")
    return items[index]


def length(value: object) -> int:
    """Return how many letters or items there are."""
    sized: Sized = value if isinstance(value, list | tuple | dict) else text_of(value)
    return len(sized)


def whole_number(value: object) -> int:
    """Return the whole number that a text is."""
    if isinstance(value, int | float):
        return int(number(value))
    text = text_of(value).strip()
    digits = text[1:] if text[:1] in {"+", "-"} else text
    if len(text) > DIGITS_MAX or not (digits.isascii() and digits.isdigit()):
        raise Refusal("`int` takes the digits of a whole number")
    return int(number(int(text)))


def tojson(value: object) -> str:
    """Return JSON, with the keys of mappings in order."""
    return bounded(json.dumps(_json(value), ensure_ascii=False, sort_keys=True))


def _json(value: object) -> object:
    match value:
        case list() | tuple():
            return [_json(item) for item in value]
        case dict():
            return {text_of(key): _json(item) for key, item in value.items()}
        case bool() | None:
            return value
        case int() | float():
            return number(value)
    return text_of(value)


def b64encode(value: object) -> str:
    """Return the base64 of the text's UTF-8."""
    return bounded(base64.b64encode(text_of(value).encode()).decode())


def b64decode(value: object) -> str:
    """Return the text whose UTF-8 is given in base64."""
    try:
        return base64.b64decode(text_of(value), validate=True).decode()
    except ValueError:
        problem = "`b64decode` takes the base64 of a text in UTF-8"
    raise Refusal(problem)  # outside of `except`: the other error would hold the value


def urlencode(value: object) -> str:
    """Return the text percent-encoded, slashes too."""
    return bounded(percent_encoded(text_of(value), safe=""))


FILTERS: Mapping[str, Callable[..., object]] = {
    "b64decode": b64decode,
    "b64encode": b64encode,
    "default": default,
    "first": first,
    "int": whole_number,
    "join": join,
    "last": last,
    "length": length,
    "lower": lower,
    "quote": quote,
    "replace": replace,
    "split": split,
    "tojson": tojson,
    "trim": trim,
    "upper": upper,
    "urlencode": urlencode,
}


def startswith(value: object, start: object) -> bool:
    """Say whether the text begins with `start`."""
    return text_of(value).startswith(text_of(start))


def endswith(value: object, end: object) -> bool:
    """Say whether the text ends with `end`."""
    return text_of(value).endswith(text_of(end))


TESTS: Mapping[str, Callable[..., bool]] = {
    "defined": lambda value: not isinstance(value, Undefined),
    "endswith": endswith,
    "in": lambda value, items: value in items,
    "none": lambda value: value is None,
    "startswith": startswith,
    "undefined": lambda value: isinstance(value, Undefined),
}


def _plus(left: object, right: object) -> object:
    if isinstance(left, str) and isinstance(right, str):
        _room(len(left) + len(right))
        return left + right
    if isinstance(left, list) and isinstance(right, list):
        _room(len(left) + len(right))
        return left + right
    if isinstance(left, str) or isinstance(right, str):
        raise Refusal("`+` adds two numbers or joins two texts; `~` joins whatever can be shown")
    return number(operator.add(number(left), number(right)))


def _power(left: object, right: object) -> int | float:
    root, exponent = number(left), number(right)
    if abs(exponent) > EXPONENT_MAX:
        raise Refusal(f"an exponent is at most {EXPONENT_MAX}")
    return number(root**exponent)


def _reckoning(operation: Callable[[int | float, int | float], int | float]) -> Callable[[object, object], object]:
    return lambda left, right: number(operation(number(left), number(right)))


OPERATORS: Mapping[str, Callable[[object, object], object]] = {
    "+": _plus,
    "-": _reckoning(operator.sub),
    "*": _reckoning(operator.mul),
    "/": _reckoning(operator.truediv),
    "//": _reckoning(operator.floordiv),
    "%": _reckoning(operator.mod),
    "**": _power,
}
