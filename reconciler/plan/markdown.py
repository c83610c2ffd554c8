"""A plan for a pull request: the headline outside the fold, the changes as a diff inside."""

from reconciler.plan.changes import Plan
from reconciler.plan.text import lines, summary

CHARACTERS_MAX = 65_536
"""GitHub refuses longer comments."""

MARKER = "<!-- reconciler plan: {space} -->"
"""Finds the comment of a space again, so that it is updated in place."""

_DIFF_SIGN = {"+": "+", "-": "-", "~": "!", "-/+": "!", "<=": "!", ".": " "}


def render(plan: Plan) -> str:
    """Return Markdown of at most CHARACTERS_MAX characters; a cut says so."""
    head = [
        MARKER.format(space=plan.space),
        f"### {'⛔ ' if plan.refused else ''}{summary(plan)}",
        "",
        *(f"> **Warning:** {text}" for text in plan.warnings),
    ]
    if plan.empty:
        return "\n".join([*head, ""])
    opening = "\n".join([*head, "", "<details><summary>Changes</summary>", "", "```diff", ""])
    closing = "\n```\n\n</details>\n"
    body = "\n".join(_diff_line(line) for line in lines(plan)).replace("```", "'''")
    room = CHARACTERS_MAX - len(opening) - len(closing)
    if len(body) > room:
        cut = "\n… cut here: the whole plan is longer than a comment may be"
        body = body[: room - len(cut)].rsplit("\n", 1)[0] + cut
    return opening + body + closing


def _diff_line(line: str) -> str:
    gutter = line[:5].split()
    sign = _DIFF_SIGN.get(gutter[0], " ") if gutter else " "
    return (sign + line[1:]) if sign != " " else line
