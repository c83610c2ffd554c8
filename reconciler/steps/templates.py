"""Texts with `${{ … }}` in them: found, checked, rendered.

Only what stands between `${{` and `}}` is ever read as a language; every other character of a text passes as it is, so
shells, Helm, Docker and PowerShell keep their own braces. Line ends become LF, a final newline stays. A literal `${{` is
written `${{ '${{' }}`. What an expression may say stands in `filters` and `sandbox`.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from reconciler.steps.errors import TemplateError
from reconciler.steps.values import Path, Scope

Value = TypeVar("Value")

RENDERED_MAX = 1024 * 1024  # characters of a rendered text: larger than a script should be, harmless to hold
EXPRESSION_MAX = 2000  # characters between the braces: a page, and far more than anyone reads
EXPRESSIONS_MAX = 1000  # in one text: bounds the time that rendering it can take

_OPEN = "${{"
_MARKS = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[\[\](){}]""", re.DOTALL)


@dataclass(frozen=True, slots=True)
class TemplateProblem:
    """What is wrong with a template: `offset` and `length` in code points of the text, and a sentence."""

    offset: int
    length: int
    sentence: str


@dataclass(frozen=True, slots=True)
class Use:
    """A dotted name that a text uses, such as ("vars", "Db", "Password"); `optional` where its absence is allowed for."""

    path: Path
    offset: int
    length: int
    optional: bool


@dataclass(frozen=True, slots=True)
class Rendered:
    """A text without templates; `secrets` names the sensitive values it is made of."""

    text: str = field(repr=False)
    secrets: frozenset[str] = frozenset()

    @property
    def sensitive(self) -> bool:
        """Must the text never be shown?"""
        return bool(self.secrets)


@dataclass(frozen=True, slots=True)
class Hole:
    """One `${{ … }}` of a text: where it stands, and what is between the braces."""

    offset: int
    source: str

    @property
    def length(self) -> int:
        """Code points, the braces included."""
        return len(self.source) + len(_OPEN) + 2


def is_template(text: str) -> bool:
    """Say whether the text holds a `${{`."""
    return _OPEN in text


def check(text: str) -> TemplateProblem | None:
    """Return the first thing that is wrong with a text before anything is known of its scope, or None."""
    return next(problems(text), None)


def problems(text: str) -> Iterator[TemplateProblem]:
    """Yield all that is wrong with a text: at most one thing for each of its expressions."""
    for part in parts(text):
        match part:
            case TemplateProblem():
                yield part
            case Hole(offset, source):
                from reconciler.steps.syntax import fault

                if found := fault(source):
                    yield TemplateProblem(offset + len(_OPEN) + found.offset, max(1, found.length), found.problem)


def check_condition(text: str) -> TemplateProblem | None:
    """Return what is wrong with a condition that is an expression: it must be exactly one."""
    wrong = check(text)
    if wrong is None and _only_hole(text) is None:
        return TemplateProblem(0, len(text), _ONE_EXPRESSION)
    return wrong


def uses(text: str) -> tuple[Use, ...]:
    """Return the dotted names that a text uses, in the order in which they stand; what cannot be read is left out."""
    if not is_template(text):
        return ()
    from reconciler.steps.syntax import mentions

    found = []
    for hole in parts(text):
        if isinstance(hole, Hole):
            begin = hole.offset + len(_OPEN)
            found += [Use(m.path, begin + m.offset, m.length, m.optional) for m in mentions(hole.source)]
    return tuple(sorted(found, key=lambda use: use.offset))


def render(text: str, scope: Scope, *, sensitive_allowed: bool) -> Rendered:
    """Return the text with every expression computed.

    Raises TemplateError, with a sentence that names the expression and never holds a value: for what cannot be
    computed, and, unless `sensitive_allowed`, for an expression that looked at a sensitive value.
    """
    from reconciler.steps.filters import text_of  # here, for Jinja takes a while to import and most texts need none

    pieces: list[str] = []
    secrets: set[str] = set()
    room = RENDERED_MAX
    for part in parts(_unix_lines(text)):
        match part:
            case str():
                piece = part
            case Hole(_, source):
                piece, looked_at = _computed(source, scope, text_of, sensitive_allowed=sensitive_allowed)
                secrets |= looked_at
            case TemplateProblem(offset, _, sentence):
                raise TemplateError(text[offset:], sentence)
        room -= len(piece)
        if room < 0:
            raise TemplateError(text, f"the text grows longer than {RENDERED_MAX} characters")
        pieces.append(piece)
    return Rendered("".join(pieces), frozenset(secrets))


def evaluate(text: str, scope: Scope) -> bool:
    """Return what a condition says; it is one expression that comes to true or false.

    Raises TemplateError as `render` does, also where the expression looked at a sensitive value.
    """
    from reconciler.steps.filters import condition

    hole = _only_hole(text)
    if hole is None:
        raise TemplateError(text, _ONE_EXPRESSION)
    return _computed(hole.source, scope, condition, sensitive_allowed=False)[0]


def parts(text: str) -> Iterator[str | Hole | TemplateProblem]:
    """Yield a text's literal stretches and its holes in order; what cannot be divided ends it with the problem."""
    at = count = 0
    while (start := text.find(_OPEN, at)) >= 0:
        if start > at:
            yield text[at:start]
        count += 1
        end = _end_of_hole(text, start + len(_OPEN))
        if end is None or count > EXPRESSIONS_MAX:
            yield TemplateProblem(start, len(_OPEN), _UNENDING if end is None else _TOO_MANY)
            return
        yield Hole(start, text[start + len(_OPEN) : end])
        at = end + 2
    if at < len(text):
        yield text[at:]


_ONE_EXPRESSION = "a condition is exactly one expression ${{ … }}"
_UNENDING = (
    f"the expression that begins here does not end within {EXPRESSION_MAX} characters; "
    "close it with `}}`, or write ${{ '${{' }} for the characters themselves"
)
_TOO_MANY = f"a text holds at most {EXPRESSIONS_MAX} expressions"


def _end_of_hole(text: str, start: int) -> int | None:
    """Return where the `}}` stands that ends an expression: outside of quotes and brackets."""
    depth = 0
    for token in _MARKS.finditer(text, start, min(len(text), start + EXPRESSION_MAX + 2)):
        sign = token.group()
        if sign in {"(", "[", "{"}:
            depth += 1
        elif depth <= 0 and text.startswith("}}", token.start()):
            return token.start()
        elif sign in {")", "]", "}"}:
            depth -= 1
    return None


def _only_hole(text: str) -> Hole | None:
    """Return the expression that a text is made of, or None if there is anything beside it."""
    match list(parts(text.strip())):
        case [Hole() as hole]:
            return hole
    return None


def _computed(
    source: str, scope: Scope, finish: Callable[[object], Value], *, sensitive_allowed: bool
) -> tuple[Value, frozenset[str]]:
    """Return what `finish` makes of an expression's value, and the secrets looked at; raise TemplateError."""
    from reconciler.steps import sandbox

    problem = ""
    try:
        result = sandbox.computed(source, scope, finish)
    except sandbox.Uncomputable as error:
        problem = error.problem
    if problem:
        raise TemplateError(f"{_OPEN}{source}}}}}", problem)
    if result.secrets and not sensitive_allowed:
        raise TemplateError(f"{_OPEN}{source}}}}}", _astray(result.secrets))
    return result.value, result.secrets


def _astray(secrets: frozenset[str]) -> str:
    names = ", ".join(sorted(secrets))
    return f"{names} is sensitive and may reach only env and inputs marked sensitive; put it in env and read it there"


def _unix_lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")
