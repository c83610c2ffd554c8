"""Diagnostics as a SARIF 2.1.0 log, which forges show as findings: one rule for each code, one result for each problem."""

from collections.abc import Iterator, Sequence
from importlib.metadata import version
from urllib.parse import quote

from reconciler.declare.codes import CODES
from reconciler.declare.render import printable
from reconciler.model.diagnostics import Diagnostic, Related, Span

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
ROOT = "%SRCROOT%"
"""What paths are relative to: the root of the repository, by the name that forges know."""

RESULTS_MAX = 25_000
"""GitHub refuses a run with more."""


def as_log(diagnostics: Sequence[Diagnostic], folder: str = "") -> dict[str, object]:
    """Return diagnostics as a SARIF log; `folder` leads from the repository's root to the space."""
    codes = sorted({item.code for item in diagnostics})
    places = {code: place for place, code in enumerate(codes)}
    results = [_result(item, places[item.code], folder) for item in diagnostics[:RESULTS_MAX]]
    driver = {"name": "reconcile", "version": version("reconciler"), "rules": [_rule(code) for code in codes]}
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "invocations": [{"executionSuccessful": True, "toolExecutionNotifications": list(_cut(len(diagnostics)))}],
        "results": results,
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(code: str) -> dict[str, object]:
    known = CODES[code]
    return {"id": code, "shortDescription": {"text": known.meaning}, "help": {"text": known.remedy}}


def _result(diagnostic: Diagnostic, rule: int, folder: str) -> dict[str, object]:
    text = f"{diagnostic.message} ({diagnostic.help})" if diagnostic.help else diagnostic.message
    result: dict[str, object] = {
        "ruleId": diagnostic.code,
        "ruleIndex": rule,
        "level": diagnostic.severity.value,
        "message": {"text": printable(text)},
        "locations": [_location(diagnostic.span, folder)],
    }
    if diagnostic.related:
        result["relatedLocations"] = [
            _related(number, item, folder) for number, item in enumerate(diagnostic.related, 1)
        ]
    return result


def _related(number: int, related: Related, folder: str) -> dict[str, object]:
    return {"id": number, **_location(related.span, folder), "message": {"text": printable(related.message)}}


def _location(span: Span, folder: str) -> dict[str, object]:
    path = f"{folder}/{span.file}" if folder else span.file
    return {
        "physicalLocation": {
            "artifactLocation": {"uri": quote(printable(path)), "uriBaseId": ROOT},
            "region": {
                "startLine": span.line,
                "startColumn": span.column,
                "endLine": span.end_line,
                "endColumn": span.end_column,
            },
        }
    }


def _cut(count: int) -> Iterator[dict[str, object]]:
    if count > RESULTS_MAX:
        text = f"{count - RESULTS_MAX} more problems are left out; `reconcile validate` shows all"
        yield {"level": "warning", "message": {"text": text}}
