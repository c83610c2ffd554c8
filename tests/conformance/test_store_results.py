"""Every dialect keeps outputs (sealed where sensitive), artifacts, questions to people, and the audit."""

from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.model.errors import StateUnreadable
from reconciler.model.live import Event, Intervention, OutputValue, StepState, StoredArtifact
from reconciler.store import attempts, audit, results, tasks
from reconciler.store.keys import Sealer, sealer
from reconciler.store.writer import Store
from tests.conformance.process import queued_with_steps
from tests.conformance.test_store_attempts import granted

PLAIN = OutputValue("step-0", "Url", "https://ö.example/\0")
SECRET = OutputValue("step-0", "Token", "hunter2-hunter2", sensitive=True)


@pytest.fixture
def seal(store: Store, tmp_path: Path) -> Sealer:
    return store.write_now(lambda tx: sealer(tx, tmp_path / "key"))


def test_outputs_come_back_and_sensitive_ones_need_the_key(store: Store, seal: Sealer) -> None:
    task = store.write_now(queued_with_steps)
    store.write_now(lambda tx: results.put_outputs(tx, task.id, [PLAIN, SECRET], seal))
    assert store.read_now(lambda tx: results.outputs(tx, task.id, seal)) == [SECRET, PLAIN]
    hidden = replace(SECRET, value="********")
    assert store.read_now(lambda tx: results.outputs(tx, task.id, None)) == [hidden, PLAIN]


def test_a_sensitive_value_is_nowhere_in_the_database(store: Store, seal: Sealer) -> None:
    task = store.write_now(queued_with_steps)
    store.write_now(lambda tx: results.put_outputs(tx, task.id, [SECRET], seal))
    rows = store.read_now(lambda tx: tx.all("SELECT * FROM outputs"))
    assert SECRET.value not in str(rows)


def test_a_sealed_value_that_was_moved_to_another_row_does_not_open(store: Store, seal: Sealer) -> None:
    task = store.write_now(queued_with_steps)
    store.write_now(lambda tx: results.put_outputs(tx, task.id, [SECRET], seal))
    store.write_now(lambda tx: tx.execute("UPDATE outputs SET name = 'Other'"))
    with pytest.raises(StateUnreadable) as refused:
        store.read_now(lambda tx: results.outputs(tx, task.id, seal))
    assert refused.value.message == "the sealed value output/1/step-0/Other is damaged or belongs to another place"


def test_an_output_set_again_replaces_the_former(store: Store, seal: Sealer) -> None:
    task = store.write_now(queued_with_steps)
    for output in (SECRET, replace(SECRET, value="plain", sensitive=False)):
        store.write_now(lambda tx, output=output: results.put_outputs(tx, task.id, [output], seal))
    assert store.read_now(lambda tx: results.outputs(tx, task.id, None)) == [OutputValue("step-0", "Token", "plain")]


def test_a_store_keeps_to_its_key(store: Store, seal: Sealer, tmp_path: Path) -> None:
    again = store.write_now(lambda tx: sealer(tx, tmp_path / "key"))
    assert again.fingerprint == seal.fingerprint
    (tmp_path / "key").rename(tmp_path / "former")
    with pytest.raises(StateUnreadable, match=f"the key {tmp_path / 'key'} is missing"):
        store.write_now(lambda tx: sealer(tx, tmp_path / "key"))


def test_artifacts_come_back_in_the_order_of_bytes_and_only_once(store: Store) -> None:
    task = store.write_now(queued_with_steps)
    store.write_now(lambda tx: attempts.grant(tx, [(granted(task.id, 0), "")]))
    ticket = granted(task.id, 0).ticket
    found = [StoredArtifact(task.id, "step-0", ticket, name, 5, "ab") for name in ("B.txt", "a.txt", "b.txt")]
    for _ in range(2):
        store.write_now(lambda tx: results.put_artifacts(tx, reversed(found)))
    assert store.read_now(lambda tx: results.artifacts(tx, task.id)) == found


def test_a_question_is_answered_once(store: Store) -> None:
    task = store.write_now(queued_with_steps)
    question = Intervention(task.id, 1, "Look at *it*.", ("ops", "dba"), 5.0)
    assert store.write_now(lambda tx: results.ask(tx, question))
    assert not store.write_now(lambda tx: results.ask(tx, question))
    assert store.read_now(results.open_interventions) == [question]
    answered = [
        store.write_now(
            lambda tx, by=by: results.answer(tx, task.id, 1, decision="approved", by=by, at=6.0, notes="fine")
        )
        for by in ("ann", "bob")
    ]
    assert answered == [True, False]
    assert store.read_now(lambda tx: results.open_interventions(tx, task.id)) == []
    assert store.read_now(lambda tx: results.intervention(tx, task.id, 1)) == replace(
        question, decision="approved", decided_by="ann", decided_at=6.0, notes="fine"
    )


def test_a_question_of_a_step_that_has_ended_waits_for_nobody(store: Store) -> None:
    task = store.write_now(queued_with_steps)
    for step in (1, 2):
        store.write_now(lambda tx, step=step: results.ask(tx, Intervention(task.id, step, "Look.", (), 5.0)))
    store.write_now(lambda tx: tasks.set_step(tx, task.id, 1, StepState.SKIPPED, reason="the task has ended", at=6.0))
    for of in (None, task.id):
        found = store.read_now(lambda tx, of=of: results.open_interventions(tx, of))
        assert [question.step for question in found] == [2]


def test_events_are_numbered_and_read_in_pages_and_by_subject(store: Store) -> None:
    written = [Event(float(n), "ann", "update", f"Worker/{n % 2}", "done", "r1", "…", 77) for n in range(6)]
    numbers = [store.write_now(lambda tx, event=event: audit.record(tx, event)) for event in written]
    assert numbers == [1, 2, 3, 4, 5, 6]
    page = store.read_now(lambda tx: audit.events(tx, after=2, limit=2))
    assert page == [replace(written[2], id=3), replace(written[3], id=4)]
    of_one = store.read_now(lambda tx: audit.events(tx, after=1, subject="Worker/0"))
    assert [event.id for event in of_one] == [3, 5]
