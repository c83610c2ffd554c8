"""A plan for a pull request: the headline outside the fold, the changes as a diff inside."""

from collections.abc import Iterator

from reconciler.plan.changes import Plan
from reconciler.plan.text import lasting_lines, summary

CHARACTERS_MAX = 65_536
"""GitHub refuses longer comments."""

REMARKS_MAX = 16_384
"""Characters of warnings above the fold; more of them would hide the changes."""

PASSING_MAX = 8_192
"""Characters of what moves by itself; always left free, so that the changes are cut at one place with it and without."""

CUT = "\n… cut here: the whole plan is longer than a comment may be"

MARKER = "<!-- reconciler plan: {space} -->"
"""Finds the comment of a space again, so that it is updated in place."""

_DIFF_SIGN = {"+": "+", "-": "-", "~": "!", "-/+": "!", "<=": "!", ".": " "}


def render(plan: Plan) -> str:
    """Return Markdown of at most CHARACTERS_MAX characters; a cut says so. What moves by itself stands at the end."""
    lasting = plan.lasting
    head = f"{MARKER.format(space=plan.space)}\n### {'⛔ ' if lasting.refused else ''}{summary(lasting)}\n"
    head += _cut("".join(_remark(*each) for each in _remarks(lasting)), REMARKS_MAX)
    tail = _cut("".join(_remark(*each) for each in _passing(plan)), PASSING_MAX)
    if plan.empty:
        return head + tail
    opening = f"{head}\n<details><summary>Changes</summary>\n\n```diff\n"
    closing = "\n```\n\n</details>\n"
    body = "\n".join(_diff_line(line) for line in lasting_lines(lasting)).replace("```", "'''")
    room = CHARACTERS_MAX - PASSING_MAX - len(opening) - len(closing)
    return opening + _cut(body, room) + closing + tail


def _remark(kind: str, text: str) -> str:
    return f"\n> **{kind}:** {text}\n"


def _remarks(plan: Plan) -> Iterator[tuple[str, str]]:
    """Yield what must not be hidden in the fold."""
    yield from (("Refused", refusal.message) for refusal in plan.refusals)
    yield from (("Warning", text) for text in plan.warnings)


def _passing(plan: Plan) -> Iterator[tuple[str, str]]:
    yield from (("Failed", text) for text in plan.failed)
    yield from (("Refused", refusal.message) for refusal in plan.passing)
    yield from (("Live", fact.text) for fact in plan.facts)


def _cut(text: str, room: int) -> str:
    """Return whole lines of `text` in at most `room` characters, with a last line that says what is missing."""
    if len(text) <= room:
        return text
    return text[: room - len(CUT)].rpartition("\n")[0] + CUT


def _diff_line(line: str) -> str:
    gutter = line[:5].split()
    sign = _DIFF_SIGN.get(gutter[0], " ") if gutter else " "
    return (sign + line[1:]) if sign != " " else line
