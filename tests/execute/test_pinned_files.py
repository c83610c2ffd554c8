"""The script files of a task come from the database to a node that never had them."""

import hashlib
from pathlib import Path

import pytest

from reconciler.execute.preparation import Preparation
from reconciler.model.errors import StateUnreadable
from reconciler.model.live import Task, TaskId
from reconciler.model.pinned import Pinned
from reconciler.store import pinned_files, tasks
from reconciler.store.blobs import read_blob
from reconciler.store.database import Transaction
from tests.execute.test_dispatch import STEP, dispatching

CONTENT = b"echo \xff\n"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize("is_kept", [True, False])
async def test_a_file_that_is_not_on_this_node_is_taken_from_the_database(tmp_path: Path, *, is_kept: bool) -> None:
    async with dispatching(tmp_path, STEP) as scene:
        grounds = scene.dispatcher._grounds
        if is_kept:
            grounds.store.write_now(lambda tx: pinned_files.keep(tx, DIGEST, CONTENT))

        def queued(tx: Transaction) -> tuple[Task, Pinned]:
            task = tasks.task(tx, TaskId(1))
            return task, Pinned.parse(tasks.pinned(tx, task.pin))

        task, pinned = grounds.store.read_now(queued)
        await Preparation(task, pinned.model_copy(update={"files": {"then.sh": DIGEST}}), grounds).look_around()
        if is_kept:
            assert read_blob(grounds.blobs, DIGEST) == CONTENT
        else:
            with pytest.raises(StateUnreadable):
                read_blob(grounds.blobs, DIGEST)
