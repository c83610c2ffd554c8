"""A worker's endpoint in a file that people wrote: nothing else of the file changes."""

import pytest

from reconciler.agent.declaration import worker_document
from reconciler.agent.settings import Listening, Polling, settings_of
from reconciler.declare.rewriting import with_worker

FIRST, SECOND = "SHA256:" + "a" * 42 + "A", "SHA256:" + "b" * 42 + "A"
CALLING = worker_document(settings_of("db-1", ("omaha",), Polling(("server:10943",), "poll://db-1-new")), FIRST, SECOND)
LISTENING = worker_document(settings_of("db-1", ("omaha",), Listening("db-1.example.org:10933")), FIRST)

BLOCK = """# The database workers.
apiVersion: reconciler/v1
kind: Worker
metadata:
  name: db-1   # the old one
spec:
    pools: [omaha]
    endpoint:
        polling:
            subscription: poll://db-1
            thumbprints:
            - "SHA256:cccccccccccccccccccccccccccccccccccccccccccA"
    # it is slow
    slots: 2
---
apiVersion: reconciler/v1
kind: Environment
metadata: {name: staging}
spec: {}
"""


def test_an_empty_file_becomes_the_document() -> None:
    assert with_worker("", CALLING) == CALLING


def test_a_worker_that_is_new_is_added_at_the_end() -> None:
    text = "# Our environments.\napiVersion: reconciler/v1\nkind: Environment\nmetadata: {name: staging}\nspec: {}\n"
    assert with_worker(text, CALLING) == f"{text}---\n{CALLING}"


def test_in_a_block_the_endpoint_alone_changes() -> None:
    before, _, after = BLOCK.partition("        polling:\n")
    after = after.partition("    # it is slow\n")[2]
    assert with_worker(BLOCK, CALLING) == (
        f"{before}        polling:\n          subscription: poll://db-1-new\n"
        f'          thumbprints: ["{FIRST}", "{SECOND}"]\n    # it is slow\n{after}'
    )


def test_a_worker_that_called_may_listen_from_now_on() -> None:
    found = with_worker(BLOCK, LISTENING)
    assert '        listening:\n          host: "db-1.example.org"\n          port: 10933\n' in found
    assert found.count("endpoint:") == 1
    assert "    # it is slow\n    slots: 2\n---\n" in found


@pytest.mark.parametrize("comment", ["", "  # moved here in March"])
def test_in_a_set_of_workers_the_entry_is_found_by_its_name(comment: str) -> None:
    text = (
        "apiVersion: reconciler/v1\nkind: WorkerSet\nmetadata: {name: dbs}\nspec:\n  workers:\n"
        '    - {name: db-0, endpoint: {polling: {subscription: "poll://0", thumbprints: [x]}}}\n'
        f'    - {{name: db-1, endpoint: {{polling: {{subscription: "poll://1", thumbprints: [y]}}}}}}{comment}\n'
    )
    found = with_worker(text, CALLING)
    entry = f'{{polling: {{subscription: "poll://db-1-new", thumbprints: ["{FIRST}", "{SECOND}"]}}}}'
    assert found == text.replace('{polling: {subscription: "poll://1", thumbprints: [y]}}', entry)
