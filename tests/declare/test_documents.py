"""Which documents are ours, and what they come to."""

import json

import pytest

from reconciler.declare.core_schema import value_of
from reconciler.declare.documents import parse_file
from reconciler.declare.nodes import ScalarNode
from reconciler.declare.uses import uses
from reconciler.model.infrastructure import ExecutionLocationSpec
from reconciler.model.kinds import KINDS
from reconciler.model.spec import Address, Reference

TEAM = "apiVersion: reconciler/v1\nkind: Team\nmetadata: {name: dba}\nspec: {members: [a]}\n"


def codes(text: str, *, known_to_live: bool = False) -> tuple[list[str], int, int]:
    found = parse_file("a.yaml", text.encode(), known_to_live=known_to_live)
    return [diagnostic.code for diagnostic in found.diagnostics], len(found.declared), found.foreign


@pytest.mark.parametrize(
    "text",
    [
        "apiVersion: apps/v1\nkind: Deployment\n",
        "apiVersion: v1\nkind: Pod\nspec: {{ template }}\n",
        "{{- if .Values.x }}\napiVersion: apps/v1\nkind: Deployment\nname: {{ x }}\n{{- end }}\n",
        "apiVersion: v1\nimage: ghcr.io/reconciler/agent:1\nx: !Ref [a\n",
        "- hosts: all\n  tasks: []\n",
        "just a text\n",
        "Resources: !Sub a\n",
        "services: {a: &a {b: c}, d: {<<: *a}}\n",
        "kind: Pipeline\n",
        "a: {b\n",
    ],
)
def test_a_foreign_document_is_skipped_and_counted(text: str) -> None:
    assert codes(text) == ([], 0, 1)


@pytest.mark.parametrize("text", ["", "\n", "---\n---\n", "# a remark\n", "---\n# a\n...\n"])
def test_an_empty_file_declares_nothing(text: str) -> None:
    assert codes(text) == ([], 0, 0)


def test_each_chunk_is_judged_by_itself() -> None:
    text = f"apiVersion: v1\nkind: {{{{ helm }}}}\n  x: [\n---\n{TEAM}---\nkind: Wroker\n a: [\n---\n" + TEAM
    assert codes(text) == (["syntax"], 2, 1)


def test_a_file_that_live_objects_came_from_must_parse() -> None:
    assert codes("a: {b\n") == ([], 0, 1)
    assert codes("a: {b\n", known_to_live=True) == (["syntax"], 0, 0)
    assert codes("apiVersion: v1\na: {b\n", known_to_live=True) == ([], 0, 1)


def test_a_document_that_lost_its_separator_is_not_skipped_with_the_foreign_one_above() -> None:
    found, declared, foreign = codes("apiVersion: v1\nkind: Pod\nmetadata: {}\n" + TEAM)
    assert (set(found), declared, foreign) == ({"duplicate-key"}, 0, 0)


def test_equal_contents_have_equal_digests_however_they_are_written() -> None:
    block = "kind: Team\nmetadata:\n  labels: {}\n  name: dba\nspec:\n  members:\n  - 'a'\napiVersion: reconciler/v1\n"
    (one,) = parse_file("a.yaml", TEAM.encode()).declared
    (other,) = parse_file("b.yaml", block.encode()).declared
    (renamed,) = parse_file("a.yaml", TEAM.replace("dba}", "dba, renamedFrom: dbas}").encode()).declared
    assert one.digest == other.digest == renamed.digest
    assert renamed.renamed_from == "dbas"
    assert (one.spec, one.metadata) == ('{"members":["a"]}', '{"name":"dba"}')


def test_a_text_field_takes_the_source_of_a_scalar() -> None:
    text = (
        "apiVersion: reconciler/v1\nkind: Deployment\nmetadata: {name: 007}\nspec:\n  project: shop\n"
        "  release: 1.10\n  environment: production\n  packages: {web: 0x1F, db: 1_000, api: ~x}\n"
        "  variables: {FLAG: no, TRUTH: TRUE, EMPTY: '', NUMBER: 1e3}\n  rerun: 2026-11-21\n"
    )
    (declared,) = parse_file("a.yaml", text.encode()).declared
    spec = json.loads(declared.spec)
    assert declared.address.name == "007"
    assert spec["release"] == "1.10"
    assert spec["packages"] == {"web": "0x1F", "db": "1_000", "api": "~x"}
    assert spec["variables"] == {"FLAG": "no", "TRUTH": "TRUE", "EMPTY": "", "NUMBER": "1e3"}
    assert spec["rerun"] == "2026-11-21"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("null", None), ("~", None), ("", None), ("Null", None), ("true", True), ("False", False), ("yes", "yes"),
        ("on", "on"), ("12", 12), ("-7", -7), ("0o17", 15), ("0x1f", 31), ("012", 12), ("1_000", "1_000"),
        ("1.5", 1.5), (".5", 0.5), ("1.", 1.0), ("1e3", 1000.0), ("-.inf", float("-inf")), ("1:30", "1:30"),
        ("2026-11-21", "2026-11-21"), ("0b1", "0b1"), ("=", "="), ("+", "+"), (".", "."), ("1.2.3", "1.2.3"),
    ],
)  # fmt: skip
def test_a_plain_scalar_is_read_by_the_core_schema(text: str, value: object) -> None:
    assert value_of(ScalarNode(text, True, 0, len(text))) == value
    assert value_of(ScalarNode(text, False, 0, len(text))) == text


def test_an_anchor_that_is_repeated_redefines() -> None:
    text = "apiVersion: reconciler/v1\nkind: Team\nmetadata: {name: dba}\nspec: {members: [&a x, &a y, *a]}\n"
    (declared,) = parse_file("a.yaml", text.encode()).declared
    assert json.loads(declared.spec)["members"] == ["x", "y", "y"]


def test_a_set_joins_labels_and_lets_an_entry_replace_defaults() -> None:
    text = (
        "apiVersion: reconciler/v1\nkind: WorkerSet\nmetadata: {name: omaha, labels: {os: linux}, protect: true}\n"
        "spec:\n  defaults: {pools: [main], slots: 2, labels: {zone: omaha, rack: 1}}\n  workers:\n"
        "    - name: w-1\n      slots: 4\n      labels: {rack: 2}\n      endpoint:\n        ssh:\n"
        "          {host: h, account: deploy, hostKey: ssh-ed25519 AAAA}\n"
    )
    (worker,) = parse_file("a.yaml", text.encode()).declared
    assert json.loads(worker.metadata) == {
        "labels": {"os": "linux", "rack": "2", "zone": "omaha"},
        "name": "w-1",
        "protect": True,
    }
    assert json.loads(worker.spec)["slots"] == 4
    assert worker.protect


def test_a_spec_says_which_objects_it_names_and_where() -> None:
    location = ExecutionLocationSpec.model_validate(
        {"run_on": "workerPool", "pool": "main", "container": {"image": "a", "feed": "files"}}
    )
    assert uses(location) == (
        Reference(("pool",), Address("WorkerPool", "main")),
        Reference(("container", "feed"), Address("PackageFeed", "files")),
    )
    tenant = KINDS["Tenant"].model_validate(
        {"projects": {"shop": ("production",)}, "variables": ({"name": "A", "value": "b"},)}
    )
    assert uses(tenant) == (
        Reference(("projects", "shop"), Address("Project", "shop")),
        Reference(("projects", "shop", 0), Address("Environment", "production")),
    )


@pytest.mark.parametrize(
    ("kind", "text", "remedy"),
    [
        ("Environment", "name: x\nspec: {}", '"name" is a key of "metadata"'),
        ("Project", "process: []\nspec: {}", '"process" is a key of "spec"'),
        ("Project", "spec: {process: [{name: W, pool: p, script: {body: x}}]}", '"pool" is a key of "location"'),
        ("Project", "spec: {process: [{name: W, attempts: 2, script: {body: x}}]}", '"attempts" is a key of "retry"'),
        ("Worker", "spec: {deadline: 1h}", '"deadline" is a key of "drain"'),
        ("Environment", "process: []\nspec: {}", ""),
        ("Environment", "spec: {nothing: 1}", ""),
        ("Environment", "matadata: {}\nspec: {}", ""),
    ],
)
def test_a_key_that_is_known_further_in_is_told_where(kind: str, text: str, remedy: str) -> None:
    document = f"apiVersion: reconciler/v1\nkind: {kind}\nmetadata: {{name: x}}\n{text}\n"
    found = parse_file("a.yaml", document.encode()).diagnostics
    assert [problem.help for problem in found if problem.code == "unknown-key"] == [remedy]
