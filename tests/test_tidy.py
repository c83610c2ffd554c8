"""The rules of the house that no linter knows, held by reading the sources."""

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "reconciler").rglob("*.py"))
PURE = [
    path
    for path in SOURCES
    if path.relative_to(ROOT / "reconciler").parts[0] in {"model", "plan", "schedule", "protocol", "steps"}
    or path.relative_to(ROOT / "reconciler").as_posix() in {"declare/documents.py", "declare/resolve.py"}
]
IMPURE_MODULES = {
    "asyncio", "logging", "multiprocessing", "os", "pathlib", "random", "secrets", "selectors", "shutil", "signal",
    "socket", "sqlite3", "subprocess", "tempfile", "threading", "time",
}  # fmt: skip
HOMES = {
    "asyncssh": "execute",
    "click": "cli",
    "cronsim": "declare",
    "cryptography": "store",
    "fastapi": "api",
    "git": "cli",
    "jinja2": "steps",
    "prometheus_client": "server",
    "psycopg": "store",
    "pyrage": "execute",
    "rich": "cli",
    "ruamel": "declare",
    "sqlite3": "store",
    "starlette": "api",
    "structlog": "server",
    "jwt": "server",
    "uvicorn": "api",
    "watchfiles": "server",
}
BANNED_NAMES = re.compile(r"(^|_)(utils?|helpers?|common|misc|manager|base)(_|$)", re.IGNORECASE)
LONGEST_MODULE = 400  # lines; past that a module has two subjects
LONGEST_FUNCTION = 50  # lines; past that a function has two jobs


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("path", SOURCES, ids=shown)
def test_a_module_says_its_subject_first_and_ends_in_time(path: Path) -> None:
    text = path.read_text()
    docstring = ast.get_docstring(ast.parse(text))
    assert docstring, "the first line of a module is one sentence, its subject"
    assert docstring.splitlines()[0].endswith("."), "the first line is a sentence"
    assert len(text.splitlines()) <= LONGEST_MODULE


@pytest.mark.parametrize("path", SOURCES, ids=shown)
def test_a_function_does_one_job(path: Path) -> None:
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > LONGEST_FUNCTION
    ]
    assert long == []


@pytest.mark.parametrize("path", SOURCES, ids=shown)
def test_names_say_what_a_thing_is(path: Path) -> None:
    names = [path.stem] + [n.name for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.ClassDef)]
    assert [name for name in names if BANNED_NAMES.search(name)] == []


@pytest.mark.parametrize("path", PURE, ids=shown)
def test_the_core_is_pure(path: Path) -> None:
    assert {name.split(".")[0] for name in imports(path)} & IMPURE_MODULES == set()


@pytest.mark.parametrize("path", SOURCES, ids=shown)
def test_each_outside_library_has_one_home(path: Path) -> None:
    package = path.relative_to(ROOT / "reconciler").parts[0]
    strays = {name for name in imports(path) if HOMES.get(name.split(".")[0], package) != package}
    assert strays == set()


def test_no_package_exports_the_names_of_another() -> None:
    for path in SOURCES:
        if path.name == "__init__.py":
            body = ast.parse(path.read_text()).body
            assert len(body) == 1, f"{shown(path)} holds more than its docstring"


def test_every_dependency_of_the_product_is_used() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    lines = [*project["dependencies"], *(line for name, extra in extras.items() if name != "dev" for line in extra)]
    declared = {re.split(r"[\[>=<]", line)[0] for line in lines}
    module_of = {
        "gitpython": "git",
        "httptools": "uvicorn.protocols.http.httptools_impl",
        "prometheus-client": "prometheus_client",
        "ruamel.yaml": "ruamel.yaml",
        "pyjwt": "jwt",
    }
    used = set().union(*(imports(path) for path in SOURCES))
    for name in declared:
        module = module_of.get(name, name)
        assert any(found == module or found.startswith(module + ".") for found in used), f"{name} is not used"


def test_what_is_committed_speaks_of_the_product_alone() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in listed.decode().split("\0"):
        path = ROOT / name
        if name and path.suffix in {".py", ".md", ".toml", ".yaml", ".yml", ".sh"} and path != Path(__file__):
            found = re.search(r"(?<![\w.])/work/", path.read_text())
            assert found is None, f"{name} names a path of the machine it was made on"
