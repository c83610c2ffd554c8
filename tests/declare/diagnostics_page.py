"""Write docs/diagnostics.md from the table of codes and the invalid examples; run it after a change of either."""

from pathlib import Path

from reconciler.declare.codes import CODES, OF_FILES, OF_OBJECTS, Code
from reconciler.declare.render import as_text
from tests.declare.examples import IN_RECONCILE_YAML, INVALID, MADE, told

PAGE = Path(__file__).parent.parent.parent / "docs" / "diagnostics.md"
HEAD = """\
# Diagnostics

Every code that `reconcile validate` may show: what it means, an example, what is said to it, and how to mend it. How
diagnostics look and which formats there are is said under [validation](validation.md).

| code | means |
|---|---|
"""


def page() -> str:
    """Return the text of the page."""
    rows = [f"| [{code}](#{code}) | {facts.meaning} |" for code, facts in sorted(CODES.items())]
    parts = [HEAD + "\n".join(rows) + "\n", "## Of one file\n"]
    parts += [_section(code, facts) for code, facts in sorted(OF_FILES.items())]
    parts += ["## Between objects\n"]
    parts += [_section(code, facts) for code, facts in sorted(OF_OBJECTS.items())]
    return "\n".join(parts)


def _section(code: str, facts: Code) -> str:
    if code in MADE:
        example, name, text = f"{MADE[code][0]}\n", f"{code}.yaml", None
    else:
        text = (INVALID / f"{code}.yaml").read_text()
        name = "reconcile.yaml" if code in IN_RECONCILE_YAML else f"{code}.yaml"
        example = f"```yaml invalid\n{text}```\n"
    first = next(found for found in told(code) if found.code == code)
    (said,) = as_text([first], lambda file: text if file == name else None)
    return f"### {code}\n\n{facts.meaning}\n\n{example}\n```text\n{said}\n```\n\n{facts.remedy}\n"


if __name__ == "__main__":
    PAGE.write_text(page())
