"""A plan from a snapshot says what a plan from the live state says, and the snapshot holds nothing that it should not."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from reconciler.model.desired import DesiredState
from reconciler.model.kinds import KINDS
from reconciler.model.live import LiveState, Override, SeenWorker, TaskState, WorkerHealth, WorkerStatus
from reconciler.model.spec import Address
from reconciler.model.text import Removals
from reconciler.plan import markdown, records, text
from reconciler.plan.changes import Plan
from reconciler.plan.planner import Options, plan
from reconciler.plan.redaction import EVERY_KIND, FIELDS, SHOWN_INSTEAD, Salted, veil_of
from reconciler.plan.snapshots import document, restored, revealed
from tests.plan.living import live_of
from tests.plan.spaces import ENVIRONMENTS, POOLS, PROJECTS, WORKERS, guarded_states
from tests.scenarios.declaring import declare

SALT = "0" * 32
STATES = (TaskState.QUEUED, TaskState.RUNNING, TaskState.SUCCEEDED, TaskState.FAILED)
CHOICES = [
    *(Address("WorkerPool", name) for name in POOLS),
    *(Address("Worker", name) for name in WORKERS),
    *(Address("Project", name) for name in PROJECTS),
    *(Address("Deployment", f"{project}-{environment}") for project in PROJECTS for environment in ENVIRONMENTS),
]

OPTIONS = st.builds(
    Options,
    targets=st.lists(st.sampled_from(CHOICES), max_size=2).map(tuple),
    excludes=st.lists(st.sampled_from(CHOICES), max_size=2).map(tuple),
    removals_max=st.sampled_from([None, Removals("100%")]),
    retry_failed=st.booleans(),
)


@st.composite
def lived_in(draw: st.DrawFn, desired: DesiredState) -> LiveState:
    """Draw how tasks ended and how workers were seen, in words and addresses that are nobody else's business."""
    live = live_of(desired)
    state = draw(st.sampled_from(STATES))
    seen = SeenWorker(0.0, "192.0.2.77", "0.1", "boot", "store", 1, {"kernel": "planted-kernel"})
    health = draw(st.sampled_from(list(WorkerHealth)))
    met = [address.name for address in live.objects if address.kind == "Worker" and draw(st.booleans())]
    return replace(
        live,
        at=1_000.0,
        last_tasks={
            slot: replace(task, state=state, reason="planted-reason", process="f" * 64 if draw(st.booleans()) else "")
            for slot, task in live.last_tasks.items()
        },
        workers={name: WorkerStatus(name, health, 0.0, "planted-status", seen) for name in met},
        overrides={name: Override(name, "planted-person", "planted-why", 0.0, 9e9) for name in met[:1]},
    )


def through_a_snapshot(live: LiveState, desired: DesiredState) -> LiveState:
    written = json.dumps(document(live, SALT))
    return revealed(restored(json.loads(written)), desired)


def in_all_forms(found: Plan) -> tuple[str, str, str]:
    return text.render(found), markdown.render(found), json.dumps(list(records.records(found)))


@given(st.data(), guarded_states(), guarded_states(), OPTIONS)
@settings(max_examples=150, deadline=None)
def test_the_changes_are_the_same_byte_for_byte_with_a_snapshot_and_without(
    data: st.DataObject, before: DesiredState, after: DesiredState, options: Options
) -> None:
    live = data.draw(lived_in(before))
    from_live, from_snapshot = plan(after, live, options), plan(after, through_a_snapshot(live, after), options)
    assert in_all_forms(from_live.lasting) == in_all_forms(from_snapshot.lasting)
    assert from_live.digest == from_snapshot.digest
    assert text.render(from_live).startswith(text.render(from_snapshot.lasting))
    if not from_live.empty:
        assert markdown.render(from_live).startswith(markdown.render(from_snapshot.lasting))


@given(st.data(), guarded_states(), guarded_states())
@settings(max_examples=50, deadline=None)
def test_what_is_seen_of_workers_and_runs_on_them_never_moves_the_changes(
    data: st.DataObject, before: DesiredState, after: DesiredState
) -> None:
    one, other = data.draw(lived_in(before)), data.draw(lived_in(before))
    other = replace(other, last_tasks=one.last_tasks)
    assert in_all_forms(plan(after, one).lasting) == in_all_forms(plan(after, other).lasting)


@given(st.data(), guarded_states())
@settings(max_examples=25, deadline=None)
def test_what_is_seen_and_said_of_workers_and_tasks_does_not_leave(data: st.DataObject, desired: DesiredState) -> None:
    written = json.dumps(document(data.draw(lived_in(desired)), SALT))
    assert "planted" not in written
    assert "192.0.2.77" not in written


HEAD = "apiVersion: reconciler/v1\nkind: "
PLANTED = f"""\
{HEAD}Environment
metadata: {{name: staging, annotations: {{note: planted-note}}}}
spec: {{}}
---
{HEAD}Proxy
metadata: {{name: out}}
spec: {{url: "http://planted-proxy:3128"}}
---
{HEAD}Account
metadata: {{name: ada}}
spec: {{usernamePassword: {{username: planted-user, password: {{env: PLANTED_PASSWORD}}}}}}
---
{HEAD}Worker
metadata: {{name: w1}}
spec: {{pools: [default], capabilities: {{gpu: planted-gpu}}, endpoint: {{listening: {{host: planted.example.org,
  thumbprints: ["SHA256:{"A" * 43}"]}}}}}}
---
{HEAD}Worker
metadata: {{name: w2}}
spec: {{pools: [default], endpoint: {{ssh: {{host: 192.0.2.9, account: ada, hostKey: planted-key, jump: planted-jump}}}}}}
---
{HEAD}PackageFeed
metadata: {{name: files}}
spec: {{http: {{url: "https://planted.example.org/feed"}}}}
---
{HEAD}VariableSet
metadata: {{name: shared}}
spec: {{variables: [{{name: A, value: planted-value}}, {{name: B, values: [{{value: planted-scoped}}]}}]}}
---
{HEAD}StepTemplate
metadata: {{name: notify}}
spec:
  parameters: [{{name: to, default: planted-default}}]
  action: {{script: {{syntax: bash, body: tell}}, env: {{TO: planted-action}}}}
---
{HEAD}Project
metadata: {{name: shop}}
spec:
  variables: [{{name: Db.Password, type: sensitive, value: {{env: PLANTED_SECRET}}}}]
  process:
    - name: Ship
      env: {{A: planted-env}}
      script: {{syntax: bash, body: ship}}
    - name: Tell
      template: {{name: notify, with: {{to: planted-parameter}}}}
---
{HEAD}Deployment
metadata: {{name: shop-staging}}
spec: {{project: shop, environment: staging, release: "1", variables: {{A: planted-wish}}}}
"""


def test_no_host_and_no_value_of_a_variable_stands_in_a_snapshot() -> None:
    written = json.dumps(document(live_of(declare({"all.yaml": PLANTED})), SALT))
    assert "planted" not in written.lower()
    assert "192.0.2.9" not in written
    assert 'body": "ship' in written  # a script travels as it is
    assert json.loads(written)["objects"][0].keys() == {
        *("kind", "name", "metadata", "spec", "digest", "file", "line", "protected"),
    }


def test_a_plan_does_not_show_what_such_values_were() -> None:
    before = declare({"all.yaml": PLANTED})
    after = declare({"all.yaml": PLANTED.replace("planted", "other").replace("192.0.2.9", "192.0.2.10")})
    shown = text.render(plan(after, live_of(before)))
    assert "planted" not in shown
    assert "192.0.2.9 " not in shown
    assert f"endpoint.ssh.host: {SHOWN_INSTEAD} -> 192.0.2.10\n" in shown
    assert f"variables.B.values: [{{value: {SHOWN_INSTEAD}}}] -> [{{value: other-scoped}}]\n" in shown
    gone = text.render(
        plan(declare({"all.yaml": f"{HEAD}Environment\nmetadata: {{name: staging}}\nspec: {{}}\n"}), live_of(before))
    )
    assert "planted" not in gone.lower()


def test_marks_of_two_snapshots_cannot_be_compared() -> None:
    one, other = Salted("a"), Salted("b")
    assert one.mark("db-1") == one.mark("db-1") != other.mark("db-1")
    assert one.mark("db-1/x").rpartition(":")[2] == one.mark("db-1").rpartition(":")[2]
    assert one.mark("1") != one.mark(1)


@example(declare({"all.yaml": PLANTED}))
@given(guarded_states())
@settings(max_examples=10, deadline=None)
def test_what_travels_can_be_read_as_the_kind_that_it_is(desired: DesiredState) -> None:
    """The planner parses some live objects; a mark has to pass where a value was."""
    for address, found in restored(json.loads(json.dumps(document(live_of(desired), SALT)))).live.objects.items():
        KINDS[address.kind].parse(found.spec)


REDACTED = """\
*: metadata.annotations.*
Account: aws azure gcp sshKey token usernamePassword
Certificate: privateKey
Deployment: variables.*
DeploymentTarget: endpoint.azureWebApp.name endpoint.azureWebApp.resourceGroup endpoint.kubernetes.url
DeploymentTarget: endpoint.listening.host endpoint.ssh.host endpoint.ssh.hostKey endpoint.ssh.jump
PackageFeed: directory github http maven nuget oci pypi s3
Project: process.*.env.* process.*.template.with.*
Project: process.*.group.steps.*.env.* process.*.group.steps.*.template.with.*
Project: variables.*.value variables.*.values.*.value
Proxy: url
Runbook: process.*.env.* process.*.template.with.*
Runbook: process.*.group.steps.*.env.* process.*.group.steps.*.template.with.*
RunbookRun: variables.*
StepTemplate: action.env.* parameters.*.default
Tenant: variables.*.value variables.*.values.*.value
VariableSet: variables.*.value variables.*.values.*.value
Worker: capabilities.* endpoint.listening.host endpoint.ssh.host endpoint.ssh.hostKey endpoint.ssh.jump
WorkerPool: dynamic.provider.*.*
"""


def test_the_redacted_fields_are_these() -> None:
    listed = {
        (kind, path)
        for kind, _, paths in (line.partition(": ") for line in REDACTED.splitlines())
        for path in paths.split()
    }
    assert {(kind, path) for kind, paths in FIELDS.items() for path in paths} == listed


def test_the_documentation_lists_the_redacted_fields() -> None:
    page = (Path(__file__).parent.parent.parent / "docs" / "snapshots.md").read_text()
    rows = re.findall(r"^\| ([\w ]+) \| (`.*`) \|$", page, re.MULTILINE)
    listed = {EVERY_KIND if kind == "every kind" else kind: set(re.findall(r"`(.+?)`", cells)) for kind, cells in rows}
    assert listed == {kind: set(paths) for kind, paths in FIELDS.items()}


def leaves(model: type[BaseModel], path: str = "") -> Iterator[str]:
    """Yield the dotted path of every field of a kind that holds texts, numbers or maps, and no further model."""
    schema = model.model_json_schema(by_alias=True)
    yield from _leaves(schema, schema.get("$defs", {}), path, ())


def _leaves(schema: dict[str, object], defs: dict[str, object], path: str, above: tuple[str, ...]) -> Iterator[str]:
    reference = schema.get("$ref")
    if isinstance(reference, str):
        name = reference.rpartition("/")[2]
        if name not in above:
            yield from _leaves(defs[name], defs, path, (*above, name))  # type: ignore[arg-type]  # JSON
        return
    parts = [part for key in ("anyOf", "oneOf", "allOf") for part in schema.get(key, [])]  # type: ignore[attr-defined]  # JSON
    inner = [(path, part) for part in parts]
    inner += [(f"{path}.{key}".lstrip("."), part) for key, part in schema.get("properties", {}).items()]  # type: ignore[attr-defined]  # JSON
    inner += [
        (f"{path}.*", schema[key]) for key in ("items", "additionalProperties") if isinstance(schema.get(key), dict)
    ]
    if not inner:
        yield path
    for where, part in inner:
        yield from _leaves(part, defs, where, above)


@pytest.mark.parametrize("kind", [kind for kind in FIELDS if kind != EVERY_KIND])
def test_each_redacted_path_is_one_of_its_kind(kind: str) -> None:
    opaque = ("process.*.template", "process.*.group", "action.script")
    known = set(leaves(KINDS[kind]))
    for path in FIELDS[kind]:
        assert path.startswith(opaque) or any(leaf == path or leaf.startswith(f"{path}.") for leaf in known), path
    assert veil_of(kind).below


NEVER_IN_CLEAR = ("host", "url", "jump", "password", "secret", "privatekey", "passphrase", "username", "value")


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"WorkerSet"}))  # a set is live as its workers
def test_no_field_that_sounds_like_a_host_or_a_secret_travels_in_clear(kind: str) -> None:
    """A new field of such a name has to be redacted, or named here."""
    for leaf in set(leaves(KINDS[kind])):
        if leaf.removesuffix(".*").rpartition(".")[2].lower() in NEVER_IN_CLEAR:
            assert any(leaf == path or leaf.startswith(f"{path}.") for path in FIELDS.get(kind, ())), leaf
