"""Steps on the server's own machine run under the account that the Space names, where the server lets it."""

import os
from pathlib import Path

import pytest

from tests.chaos.space import space_in

ACCOUNT = "nobody"

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can run scripts under another account"),
]


def test_apply_runs_steps_under_the_account_that_the_space_names(tmp_path: Path) -> None:
    with space_in(tmp_path) as space:
        space.write(
            "reconcile",
            {"kind": "Space", "metadata": {"name": "test"}, "spec": {"builtinWorker": {"runAs": ACCOUNT}}},
        )
        who = {"name": "Who", "script": {"syntax": "bash", "body": "id -un"}}
        space.write("shop", {"kind": "Project", "metadata": {"name": "shop"}, "spec": {"process": [who]}})
        space.deploy("1")
        space.start("apply", "--auto-approve", "--new-state").process.wait(timeout=60)
        (attempt,) = space.attempts()
        assert space.log(attempt.ticket).decode() == f"{ACCOUNT}\n"
