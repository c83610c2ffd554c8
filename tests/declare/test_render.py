"""How diagnostics look to people, programs and pull requests."""

import json

from reconciler.declare.render import as_annotation, as_record, as_text
from reconciler.model.diagnostics import Diagnostic, Related, Severity, Span

SOURCE = "kind: Worker\nspec:\n  pools: [omaha-prodution]\n"
REFERENCE = Diagnostic(
    Span("infra/workers.yaml", 3, 11, 3, 26),
    Severity.ERROR,
    "unknown-reference",
    'WorkerPool "omaha-prodution" is not declared; did you mean "omaha-production"?',
)


def text_of(diagnostic: Diagnostic, source: str | None = SOURCE, *, colour: bool = False) -> str:
    (block,) = as_text([diagnostic], lambda _: source, colour=colour)
    return block


def at(span: Span, message: str = "it is wrong") -> Diagnostic:
    return Diagnostic(span, Severity.WARNING, "odd", message)


def test_a_diagnostic_shows_its_line_and_marks_the_place() -> None:
    assert text_of(REFERENCE).splitlines() == [
        f"infra/workers.yaml:3:11: error[unknown-reference]: {REFERENCE.message}",
        "  |",
        "3 |   pools: [omaha-prodution]",
        "  |           ^^^^^^^^^^^^^^^",
    ]


def test_help_and_other_places_follow() -> None:
    related = Related(Span("a.yaml", 1, 7), "the first one stands here")
    whole = Diagnostic(Span("a.yaml", 3, 3, 3, 8), Severity.ERROR, "x", "twice", "remove one", (related,))
    assert text_of(whole).splitlines()[4:] == ["  = a.yaml:1:7: the first one stands here", "  = help: remove one"]


def test_carets_stand_under_wide_letters_combining_marks_and_tabs() -> None:
    assert text_of(at(Span("a", 1, 4, 1, 6)), "a: 日本\n").splitlines()[2:] == ["1 | a: 日本", "  |    ^^^^"]
    assert text_of(at(Span("a", 1, 5, 1, 6)), "日本: x\n").splitlines()[3] == "  |       ^"
    assert text_of(at(Span("a", 1, 2, 1, 3)), "\tx\n").splitlines()[2:] == ["1 |     x", "  |     ^"]
    assert text_of(at(Span("a", 1, 3, 1, 4)), "e\u0301x\n").splitlines()[3] == "  |  ^"


def test_a_fault_over_several_lines_is_marked_in_its_first() -> None:
    assert text_of(at(Span("a", 2, 1, 3, 9))).splitlines()[2:] == ["2 | spec:", "  | ^^^^^"]


def test_a_place_behind_the_text_still_has_a_mark() -> None:
    assert text_of(at(Span("a", 1, 13, 1, 14))).splitlines()[3] == "  |             ^"
    assert text_of(at(Span("a", 99, 1, 99, 2))).splitlines() == ["a:99:1: warning[odd]: it is wrong"]
    assert text_of(at(Span("a")), None).splitlines() == ["a:1:1: warning[odd]: it is wrong"]


def test_lines_end_as_in_yaml_and_a_mark_of_byte_order_is_not_counted() -> None:
    source = "\ufeffa: 1\r\nb\u2028: 2\rc: 3\n"
    assert text_of(at(Span("a", 1, 1, 1, 2)), source).splitlines()[2:] == ["1 | a: 1", "  | ^"]
    assert text_of(at(Span("a", 3, 4, 3, 5)), source).splitlines()[2:] == ["3 | c: 3", "  |    ^"]


def test_a_long_line_is_cut_around_the_mark() -> None:
    block = text_of(at(Span("a", 1, 5001, 1, 5003)), "a" * 5000 + "bb" + "c" * 5000).splitlines()
    assert len(block[2]) < 250
    assert block[2][block[3].index("^") :].startswith("bb")


def test_a_terminal_is_never_steered_by_a_file() -> None:
    evil = at(Span("\x1b[2J.yaml", 1, 1, 1, 2), "\x1b]0;owned\x07 \u202e")
    assert "\x1b" not in text_of(evil, "a\x1b[31mb\n")
    assert "\u202e" not in text_of(evil)
    assert "\x1b" not in as_annotation(evil)
    assert "\x1b" not in json.dumps(as_record(evil), ensure_ascii=False)


def test_colour_changes_no_letter() -> None:
    coloured = text_of(REFERENCE, colour=True)
    assert "\x1b[1;31merror[unknown-reference]\x1b[0m" in coloured
    plain = coloured
    for code in ("\x1b[1;31m", "\x1b[1m", "\x1b[34m", "\x1b[0m"):
        plain = plain.replace(code, "")
    assert plain == text_of(REFERENCE)


def test_a_record_holds_everything() -> None:
    related = Related(Span("a.yaml", 1, 7), "here")
    record = as_record(Diagnostic(REFERENCE.span, Severity.ERROR, "x", "m", "h", (related,)))
    assert record == {
        "severity": "error", "code": "x", "message": "m", "file": "infra/workers.yaml", "line": 3, "column": 11,
        "end_line": 3, "end_column": 26, "help": "h",
        "related": [{"file": "a.yaml", "line": 1, "column": 7, "message": "here"}],
    }  # fmt: skip


def test_an_annotation_is_one_escaped_line() -> None:
    odd = Diagnostic(Span("a,b:c%.yaml", 3, 1, 3, 4), Severity.WARNING, "odd", "50% of\nit", "do\r\nthis")
    assert as_annotation(odd, "space") == (
        "::warning file=space/a%2Cb%3Ac%25.yaml,line=3,endLine=3,col=1,endColumn=4,title=odd::"
        "50%25 of\ufffdit (do\ufffd\ufffdthis)"
    )
    assert "col=" not in as_annotation(at(Span("a", 1, 1, 2, 1)))
