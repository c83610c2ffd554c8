"""What is the server's own has no second bearer."""

import pytest

from tests.declare.checking import check

ENDPOINT = 'endpoint: {polling: {subscription: "poll://x", thumbprints: ["SHA256:%s"]}}' % ("n" * 42 + "A")
POOL = "apiVersion: reconciler/v1\nkind: WorkerPool\nmetadata: {name: p}\nspec: {}\n---\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"kind: Worker\nmetadata: {{name: built-in}}\nspec: {{pools: [p], {ENDPOINT}}}\n", 8),
        (
            f"kind: WorkerSet\nmetadata: {{name: s}}\nspec: {{workers: [{{name: built-in, pools: [p], {ENDPOINT}}}]}}\n",
            9,
        ),
    ],
    ids=["worker", "set"],
)
def test_no_worker_is_called_as_the_built_in_one(text: str, line: int) -> None:
    told = check({"a.yaml": f"{POOL}apiVersion: reconciler/v1\n{text}"})
    (found,) = (each for each in told if each.code == "bad-name")
    assert found.span.line == line
    assert found.message == 'the worker "built-in" is the server\'s own; another one needs another name'
