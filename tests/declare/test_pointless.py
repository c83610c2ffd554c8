"""Settings that mean nothing for a step's type are errors where they stand, each with why."""

import pytest

from tests.declare.checking import check

HEAD = """\
apiVersion: reconciler/v1
kind: PackageFeed
metadata: {name: files}
spec: {directory: {path: /srv}}
---
apiVersion: reconciler/v1
kind: Project
metadata: {name: shop}
spec:
  process:
"""
ASK = '    - name: Ask\n      manual: {instructions: "Is it well?"}\n'
NO_WORKER = "it runs on no worker"
NO_SCRIPT = "it runs no script"


def told(process: str) -> list[tuple[int, str, str, str]]:
    """Return line, code, message and help of each thing that is said of a process."""
    found = check({"shop.yaml": HEAD + process})
    return [(one.span.line - HEAD.count("\n"), one.code, one.message, one.help) for one in found]


@pytest.mark.parametrize(
    ("field", "why"),
    [
        ("location: {runOn: server}", NO_WORKER),
        ('requires: {bash: ">=4"}', NO_WORKER),
        ("selector: {os: linux}", NO_WORKER),
        ("spread: zone", NO_WORKER),
        ("isolation: exclusive", NO_WORKER),
        ("maxParallelism: 2", NO_WORKER),
        ("onDisconnect: stop", NO_WORKER),
        ("env: {A: b}", NO_SCRIPT),
        ("arguments: [a]", NO_SCRIPT),
        ("artifacts: [report.txt]", NO_SCRIPT),
        ("packages: [{id: web, feed: files}]", NO_SCRIPT),
        ("outputLimit: {size: 1MiB}", NO_SCRIPT),
        ("limits: {memory: 1GiB}", NO_SCRIPT),
        ("mutex: {name: shop-db}", "it holds nothing while it waits"),
        ("retry: {attempts: 2}", "what a person has answered is not asked again"),
        ("guidedFailure: true", "a person has decided already"),
    ],
)
def test_what_a_manual_step_does_not_use_is_an_error(field: str, why: str) -> None:
    name = field.partition(":")[0]
    message = f'"{name}" means nothing for a manual step: {why}'
    assert (3, "no-effect", message, "remove it, or give it to the step that it is for") in told(
        f"{ASK}      {field}\n"
    )


@pytest.mark.parametrize(
    "field",
    [
        "id: ask",
        "environments: {except: []}",
        "start: withPrevious",
        "condition: always",
        "required: true",
        "disabled: true",
        "timeout: 2h",
        "maxParallelism: 10",
        "retry: {attempts: 1}",
        "mutex: null",
    ],
)
def test_what_it_uses_is_none_nor_what_says_nothing_new(field: str) -> None:
    assert "no-effect" not in {code for _, code, _, _ in told(f"{ASK}      {field}\n")}


def test_it_is_found_in_a_group_and_beside_other_faults() -> None:
    group = (
        "    - name: Roll\n      group:\n        targetTags: [web]\n        steps:\n"
        '          - {name: Ask, manual: {instructions: "Well?"}, mutex: {name: x}}\n'
        "    - name: Other\n      manual: {instruction: x}\n      retry: {attempts: 2}\n"
    )
    assert [(line, code) for line, code, _, _ in told(group)] == [
        (3, "no-target"),
        (5, "no-effect"),
        (7, "unknown-key"),
        (8, "no-effect"),
    ]


def test_of_a_step_with_two_actions_or_an_unknown_one_nothing_is_concluded() -> None:
    two = ASK + '      script: {syntax: bash, body: "true"}\n      mutex: {name: x}\n'
    assert [code for _, code, _, _ in told(two)] == ["two-actions"]
    slip = ASK.replace("manual", "manul") + "      mutex: {name: x}\n"
    assert [code for _, code, _, _ in told(slip)] == ["unknown-key"]
