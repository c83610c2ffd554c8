"""What the docs say holds: examples validate, tables are those of the models, commands print what is shown."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from reconciler.cli.main import COMMANDS
from reconciler.declare.load import load
from reconciler.model.diagnostics import Severity
from reconciler.model.errors import ReconcilerError
from reconciler.model.kinds import KINDS
from reconciler.model.variables import Scope
from reconciler.schedule.variables import VariableContext, specificity
from reconciler.steps.table import STEP_TYPES
from tests import docs_tables, docs_transcripts

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
GUIDES = [page for page in sorted(DOCS.rglob("*.md")) if "adr" not in page.parts]
PAGES = [ROOT / "README.md", *GUIDES]
RECONCILE = Path(sys.executable).parent / "reconcile"
EXAMPLE = re.compile(r"```yaml\n((?:#.*\n)*apiVersion: .*?)```", re.DOTALL)
CODE = re.compile(r"```(?:console|text)\n(.*?)```|`([^`\n]+)`", re.DOTALL)
COMMAND = re.compile(r"\breconcile ([a-z]+)([^\n|&#]*)")


def shown(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", [page for page in PAGES if EXAMPLE.search(page.read_text())], ids=shown)
def test_the_examples_of_a_page_are_valid_together(page: Path, tmp_path: Path) -> None:
    text = "---\n".join(EXAMPLE.findall(page.read_text()))
    (tmp_path / "reconcile.yaml").write_text(text)
    for name in re.findall(r"file: ([\w./-]+)", text):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    loaded = load(tmp_path)
    assert [found for found in loaded.diagnostics if found.severity is Severity.ERROR] == []
    assert loaded.foreign == 0


def test_the_worked_example_of_scopes_is_right() -> None:
    rows = re.findall(
        r"^\| `(\w)` \| (.*?) \| ([\d,]+) \| (.*?) \|$", (DOCS / "variables.md").read_text(), re.MULTILINE
    )
    here = VariableContext("production", "acme", ["tier/gold"], "deploy", "shop")
    found = {value: specificity(Scope.parse(as_json(scope)), here) for value, scope, _, _ in rows}
    said = {value: int(counts.replace(",", "")) if holds != "no" else None for value, _, counts, holds in rows}
    assert len(rows) == 5
    assert found == said
    assert max((weight, value) for value, weight in found.items() if weight is not None)[1] == "d"


def as_json(scope: str) -> str:
    """Read a scope in flow style, as a table shows it."""
    return "{}" if scope == "none" else re.sub(r"([\w/]+)", r'"\1"', scope.strip("`"))


@pytest.mark.end_to_end
@pytest.mark.parametrize(
    ("page", "printed"),
    [
        ("kinds/deployment.md", "shop-production │ 1.4.2"),
        ("kinds/project.md", "the backup has 13 bytes"),
        ("kinds/tenant.md", "│ acme"),
        ("steps/script.md", " files"),
        ("templates.md", "│ SHOP.EXAMPLE.ORG"),
        ("variables.md", "3 of shop in /srv/shop"),
    ],
)
def test_what_a_page_declares_can_be_applied(page: str, printed: str, tmp_path: Path) -> None:
    text = "---\n".join(EXAMPLE.findall((DOCS / page).read_text()))
    if "name: production" not in text:
        text += document("Environment", "production", "{}")
    if "kind: Deployment" not in text:
        tenants = ", tenants: [acme]" if "kind: Tenant" in text else ""
        text += document("Deployment", "it", f'{{project: shop, release: "1.0", environment: production{tenants}}}')
    (tmp_path / "space.yaml").write_text(text)
    done = subprocess.run(
        [RECONCILE, "apply", "--auto-approve", "--new-state"],
        cwd=tmp_path,
        env=os.environ | {"SHOP_DB_PASSWORD": "a-secret", "SHOP_DATA": "/srv/shop"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert printed in done.stderr


def document(kind: str, name: str, spec: str) -> str:
    return f"---\napiVersion: reconciler/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n"


@pytest.mark.parametrize("page", GUIDES, ids=shown)
def test_the_tables_of_a_page_are_those_of_the_models(page: Path) -> None:
    assert docs_tables.written(page) == page.read_text(), "write them again: python -m tests.docs_tables"


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_page_with_its_fields_an_example_and_what_is_carried_out(kind: str) -> None:
    text = (DOCS / "kinds" / f"{docs_tables.kebab(kind)}.md").read_text()
    assert text.startswith(f"# {kind}\n")
    assert f"\nkind: {kind}\n" in text
    assert f"<!-- fields: {KINDS[kind].__name__} -->" in text
    assert "\n## Today\n" in text


@pytest.mark.parametrize("name", STEP_TYPES)
def test_every_step_type_has_a_page_with_its_fields_an_example_and_what_is_carried_out(name: str) -> None:
    text = (DOCS / "steps" / f"{name}.md").read_text()
    assert text.startswith(f"# {name}\n")
    assert f" {name}:" in text
    assert f"<!-- fields: {STEP_TYPES[name].inputs.__name__} -->" in text
    assert "\n## Today\n" in text


def test_every_command_has_its_heading() -> None:
    headings = re.findall(r"^## ([a-z]+)$", (DOCS / "commands.md").read_text(), re.MULTILINE)
    assert sorted(headings) == sorted(COMMANDS)


def test_the_table_of_exit_codes_holds_those_of_every_error() -> None:
    def family(error: type[ReconcilerError]) -> Iterator[type[ReconcilerError]]:
        yield error
        for child in error.__subclasses__():
            yield from family(child)

    codes = re.findall(r"^\| (\d+) \|", (DOCS / "exit-codes.md").read_text(), re.MULTILINE)
    assert {str(error.exit_code) for error in family(ReconcilerError)} <= set(codes)


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_links_lead_somewhere(page: Path) -> None:
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        name, _, anchor = link.partition("#")
        if "://" in link:
            continue
        target = page if not name else page.parent / name
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)
    assert dead == []


def test_the_index_leads_to_every_page() -> None:
    links = {(DOCS / name).resolve() for name in re.findall(r"\]\(([^)#\s]+)\)", (DOCS / "index.md").read_text())}
    assert {page for page in GUIDES if page.name != "index.md"} - links == set()


def commands(page: Path) -> Iterator[tuple[str, str]]:
    """Yield each command that a page names with the options shown after it."""
    for block, inline in CODE.findall(page.read_text()):
        yield from COMMAND.findall(block or inline)


@cache
def help_of(command: str) -> str:
    return subprocess.run([RECONCILE, command, "--help"], capture_output=True, text=True, check=True).stdout


@pytest.mark.end_to_end
@pytest.mark.parametrize("page", [page for page in PAGES if list(commands(page))], ids=shown)
def test_every_command_and_option_that_a_page_names_exists(page: Path) -> None:
    missing = [
        f"reconcile {command} {option}"
        for command, rest in commands(page)
        for option in re.findall(r"--[a-z][a-z-]+", rest)
        if option not in help_of(command)
    ]
    assert missing == []


@pytest.mark.end_to_end
@pytest.mark.parametrize("page", docs_transcripts.PAGES, ids=shown)
def test_the_commands_of_a_page_print_what_is_shown(page: Path, tmp_path: Path) -> None:
    text = page.read_text()
    played = docs_transcripts.play(text, tmp_path)
    assert docs_transcripts.settled(played) == docs_transcripts.settled(text), (
        "write them again: python -m tests.docs_transcripts"
    )


def test_getting_started_shows_the_quickstart_example() -> None:
    text = (DOCS / "getting-started.md").read_text()
    for path in (ROOT / "examples" / "quickstart").glob("*.yaml"):
        content = "\n".join(line for line in path.read_text().splitlines() if not line.startswith("#"))
        assert f"`{path.name}`:\n\n```yaml\n{content}\n```" in text


def test_what_a_promise_is_shown_by_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", (DOCS / "agents" / "promises.md").read_text()))
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert {name for name in named if f"def {name}(" not in tests} == set()
    assert len(named) > 10
