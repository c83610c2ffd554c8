"""Diagnostics for people, programs and pull requests: text with an excerpt, JSON records, GitHub annotations."""

import unicodedata
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

from reconciler.declare.nodes import LINE_END
from reconciler.model.diagnostics import Diagnostic, Related, Severity, Span

ReadSource = Callable[[str], str | None]
"""Return the text of a file by its path, None where it cannot be shown."""

LINE_MAX = 200  # columns of an excerpt; a longer line is cut around the mark
TAB = "    "

_COLOURS = {Severity.ERROR: "\x1b[1;31m", Severity.WARNING: "\x1b[1;33m"}
_BOLD, _BLUE, _PLAIN = "\x1b[1m", "\x1b[34m", "\x1b[0m"

HIDDEN_CODE = "secret-in-clear"
"""What is marked by a diagnostic of this code is itself a secret: the excerpt must not repeat it."""


def as_text(diagnostics: Iterable[Diagnostic], read_source: ReadSource, *, colour: bool = False) -> Iterator[str]:
    """Yield one block of lines per diagnostic: where and what, the line with a mark under it, how to mend it."""
    lines_of = _line_reader(read_source)
    for diagnostic in diagnostics:
        yield "\n".join(_block(diagnostic, lines_of, colour))


def as_record(diagnostic: Diagnostic) -> dict[str, object]:
    """Return a diagnostic as the JSON record that programs read; lines and columns from 1, the end exclusive."""
    span = diagnostic.span
    return {
        "severity": str(diagnostic.severity),
        "code": diagnostic.code,
        "message": printable(diagnostic.message),
        "file": printable(span.file),
        "line": span.line,
        "column": span.column,
        "end_line": span.end_line,
        "end_column": span.end_column,
        "help": printable(diagnostic.help),
        "related": [_related_record(related) for related in diagnostic.related],
    }


def as_annotation(diagnostic: Diagnostic, folder: str = "") -> str:
    """Return a diagnostic as a GitHub workflow command; `folder` leads from the workspace to the space."""
    span = diagnostic.span
    place = {
        "file": f"{folder}/{span.file}" if folder else span.file,
        "line": span.line,
        "endLine": span.end_line,
        "col": span.column,
        "endColumn": span.end_column,
        "title": diagnostic.code,
    }
    if span.line != span.end_line:
        del place["col"], place["endColumn"]  # GitHub refuses columns over several lines
    facts = ",".join(f"{name}={_property(str(value))}" for name, value in place.items())
    text = f"{diagnostic.message} ({diagnostic.help})" if diagnostic.help else diagnostic.message
    return f"::{diagnostic.severity} {facts}::{_data(printable(text))}"


def _related_record(related: Related) -> dict[str, object]:
    span = related.span
    place = {"file": printable(span.file), "line": span.line, "column": span.column}
    return {**place, "message": printable(related.message)}


def _block(diagnostic: Diagnostic, lines_of: Callable[[str], list[str]], colour: bool) -> Iterator[str]:
    span, severity = diagnostic.span, diagnostic.severity
    where = f"{printable(span.file)}:{span.line}:{span.column}: "
    what = f"{severity}[{diagnostic.code}]"
    message = printable(diagnostic.message)
    if colour:
        where, what, message = (
            f"{_BOLD}{where}{_PLAIN}",
            f"{_COLOURS[severity]}{what}{_PLAIN}",
            f"{_BOLD}{message}{_PLAIN}",
        )
    yield f"{where}{what}: {message}"
    gutter = " " * (len(str(span.line)) + 1)
    lines = lines_of(span.file)
    if span.line <= len(lines):
        line = lines[span.line - 1]
        if diagnostic.code == HIDDEN_CODE:
            line = _blotted(line, span)
        yield from _excerpt(span, line, gutter, _COLOURS[severity] if colour else "")
    for related in diagnostic.related:
        yield f"{gutter}= {_at(related.span)}: {printable(related.message)}"
    if diagnostic.help:
        yield f"{gutter}= help: {printable(diagnostic.help)}"


def _blotted(line: str, span: Span) -> str:
    """Return the line with stars for the secret that the span marks; an expression that names one is no secret."""
    begin, end = span.column - 1, span.end_column - 1 if span.end_line == span.line else len(line)
    return line if "${{" in line[begin:end] else line[:begin] + "*" * (end - begin) + line[end:]


def _excerpt(span: Span, line: str, gutter: str, colour: str) -> Iterator[str]:
    """Yield the first line of a span with carets under it, as wide on a terminal as what they mark."""
    last = span.end_column if span.end_line == span.line else len(line) + 1
    first = max(0, span.column - 1 - LINE_MAX // 2)
    before = printable(line[first : span.column - 1])
    marked = printable(line[span.column - 1 : min(last - 1, first + LINE_MAX)])
    shown = printable(line[first : first + LINE_MAX])
    bar = f"{_BLUE}|{_PLAIN}" if colour else "|"
    number = f"{_BLUE}{span.line}{_PLAIN}" if colour else str(span.line)
    mark = " " * _width(before) + "^" * max(1, _width(marked))
    yield f"{gutter}{bar}"
    yield f"{number} {bar} {shown.rstrip()}"
    yield f"{gutter}{bar} " + (f"{' ' * _width(before)}{colour}{mark.lstrip()}{_PLAIN}" if colour else mark)


def _at(span: Span) -> str:
    return f"{printable(span.file)}:{span.line}:{span.column}"


def _line_reader(read_source: ReadSource) -> Callable[[str], list[str]]:
    @lru_cache(maxsize=16)  # diagnostics come file by file
    def lines_of(file: str) -> list[str]:
        text = read_source(file)
        return [] if text is None else LINE_END.split(text.removeprefix("\ufeff"))

    return lines_of


def printable(text: str) -> str:
    """Return a text that a terminal can be trusted with: tabs as spaces, control characters and surrogates as �."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown_letter(letter) for letter in text)


def _shown_letter(letter: str) -> str:
    if letter == "\t":
        return TAB
    return "\ufffd" if unicodedata.category(letter) in {"Cc", "Cf", "Cs", "Zl", "Zp"} else letter


def _width(text: str) -> int:
    """Return the columns that a text takes on a terminal: wide letters two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(_letter_width(letter) for letter in text)


def _letter_width(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in {"W", "F"} else 1


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(printable(text)).replace(":", "%3A").replace(",", "%2C")
