"""What many tasks write at a time is written together, and is the same as if each had written alone."""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

import pytest

from reconciler.execute.attempt_records import Ending, Entry, Granted, Granting
from reconciler.model.errors import Conflict
from reconciler.model.live import Attempt, StepState, Task, TaskId
from reconciler.model.work import Step
from reconciler.protocol.tickets import Artifact, Digest, Exited, Final, Output, TicketId, TicketSpec
from reconciler.schedule.fleet import BUILTIN
from reconciler.schedule.outcomes import Outcome
from reconciler.schedule.placement import Placed
from reconciler.schedule.requests import Claim, Grant, Needs, Request, RequestId
from reconciler.store import attempts, claims, results, tasks, worker_leases
from reconciler.store.database import Transaction, Work
from reconciler.store.keys import Sealer
from reconciler.store.writer import Store
from tests.conformance.process import queued_with_steps

SEALER = Sealer(bytes(32))
STEPS = 3
TASKS = 8
ROUNDS = 12
CAPACITIES = {f"worker/{BUILTIN}": 6}
STEP = Step.model_validate({"name": "Ship", "script": {"syntax": "bash", "body": "ship"}})
NO_LOG = Digest("0" * 64)


def granting(task: Task, index: int, number: int, mutex: str = "") -> Granting:
    ticket = TicketId(f"{task.id}-{index}-{number}")
    wanted = (Claim("pool/default"), *([Claim(mutex, alone=True)] if mutex else []))
    request = Request(
        RequestId(ticket), "shop", 0.0, task.id, needs=Needs("default"), claims=wanted, lease_key=f"k{index % 2}"
    )
    spec = TicketSpec(ticket, ("sh",), "sh", 'say "\\{,}"', "0" * 64)
    return Granting(task, index, number, Placed(BUILTIN, "it is free"), spec, Grant(request, BUILTIN), CAPACITIES)


def ending(attempt: Attempt, code: int, *, lost: bool = False) -> Ending:
    final = Final(
        TicketId(attempt.ticket),
        Exited(code),
        *(code, NO_LOG),
        outputs=(Output("Url", f"https://{code}"), Output("Key", f"s{code}", sensitive=True)),
        artifacts=(Artifact("report", code, NO_LOG),),
    )
    state = StepState.FAILED if code else StepState.SUCCEEDED
    pause = 15.0 if code % 2 or lost else None
    return Ending(attempt, final, STEP, Outcome(state, f"exit code {code}"), pause, 50.0 + code, lost)


def entry(
    work: Work[str] | Granting, starts: dict[str, float] | None = None, endings: Sequence[Ending] = ()
) -> Entry[str]:
    return Entry(starts or {}, endings, SEALER, work)


def nothing(_: Transaction) -> str:
    return "nothing"


async def together(store: Store, entries: Sequence[Entry[str]]) -> list[object]:
    """Write entries that all wait for the writer, so that they are one group."""
    held, go = threading.Event(), threading.Event()

    def hold(_: Transaction) -> None:
        held.set()
        assert go.wait(30)

    first = asyncio.create_task(store.write(hold))
    await asyncio.to_thread(held.wait, 30)
    rest = [asyncio.create_task(store.write(each)) for each in entries]
    await asyncio.sleep(0)  # each has submitted its entry
    go.set()
    await first
    return await asyncio.gather(*rest, return_exceptions=True)


@dataclass
class Play:
    """Tasks whose steps are granted and end by chance; it asks for entries, whoever writes them."""

    seed: int
    tasks: list[Task]
    chance: Random = field(init=False)
    live: dict[tuple[int, int], Attempt] = field(default_factory=dict)
    numbers: dict[tuple[int, int], int] = field(default_factory=dict)
    done: set[tuple[int, int]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.chance = Random(self.seed)

    def entries(self) -> list[Entry[str]]:
        found = []
        for task in self.chance.sample(self.tasks, self.chance.randint(1, TASKS)):
            starts, endings = {}, []
            for index in range(STEPS):
                attempt = self.live.get((task.id, index))
                if attempt is not None and self.chance.random() < 0.5:
                    endings.append(ending(attempt, self.chance.randint(0, 3), lost=self.chance.random() < 0.2))
                elif attempt is not None and self.chance.random() < 0.5:
                    starts[attempt.ticket] = 40.0
            free = [index for index in range(STEPS) if not {(task.id, index)} & (self.live.keys() | self.done)]
            work: Work[str] | Granting = nothing
            if free and self.chance.random() < 0.8:
                index = self.chance.choice(free)
                number = self.numbers[task.id, index] = self.numbers.get((task.id, index), 0) + 1
                work = granting(task, index, number, self.chance.choice(["", "", "mutex/db", "mutex/host"]))
            found.append(entry(work, starts, endings))
        return found

    def take(self, entries: Sequence[Entry[str]], outcomes: Sequence[object]) -> None:
        for each, outcome in zip(entries, outcomes, strict=True):
            assert isinstance(outcome, tuple), outcome
            runs, result = outcome
            for ended, run in zip(each.endings, runs, strict=True):
                key = (int(ended.attempt.task), ended.attempt.step)
                del self.live[key]
                if run.state.ended:
                    self.done.add(key)
            if isinstance(result, Granted):
                self.live[int(result.attempt.task), result.attempt.step] = result.attempt


def shown(tx: Transaction, numbers: Sequence[TaskId]) -> dict[str, object]:
    """Return everything that entries write, without the times that the clock gave."""
    return {
        "attempts": [replace(one, granted_at=0.0) for number in numbers for one in attempts.attempts(tx, number)],
        "steps": [
            (run.task, run.index, run.state, run.reason, run.finished_at)
            for number in numbers
            for run in tasks.steps(tx, number)
        ],
        "claims": claims.held(tx),
        "resources": tx.all("SELECT name, capacity, used, alone, fence FROM resources ORDER BY name"),
        "mismatches": claims.mismatches(tx),
        "leases": worker_leases.leases(tx),
        "outputs": [results.outputs(tx, number, SEALER) for number in numbers],
        "artifacts": [results.artifacts(tx, number) for number in numbers],
    }


def begun(store: Store) -> list[Task]:
    return [store.write_now(lambda tx: queued_with_steps(tx, STEPS)) for _ in range(TASKS)]


@pytest.mark.parametrize("seed", range(6))
async def test_entries_of_many_tasks_write_what_each_would_have_written_alone(
    store: Store, tmp_path: Path, seed: int
) -> None:
    with Store.open(str(tmp_path / "alone"), tmp_path / "alone") as alone:
        play, listed = Play(seed, begun(store)), begun(alone)
        numbers = [task.id for task in listed]
        refused = 0
        for _ in range(ROUNDS):
            entries = play.entries()
            outcomes = await together(store, entries)
            for each in entries:
                alone.write_now(replace(each, work=nothing))
            singly = [alone.write_now(entry(each.work))[1] for each in entries]
            for outcome, result in zip(outcomes, singly, strict=True):
                assert isinstance(outcome, tuple), outcome
                assert type(outcome[1]) is type(result)
            refused += singly.count(None)  # type: ignore[arg-type]  # what is refused
            play.take(entries, outcomes)
            found = store.read_now(lambda tx: shown(tx, numbers))
            assert found == alone.read_now(lambda tx: shown(tx, numbers))
            assert found["mismatches"] == []
    assert play.done, "some have ended"
    assert refused, "some were refused"


async def test_of_entries_that_are_written_together_only_the_impossible_one_fails(store: Store) -> None:
    first, second, third = begun(store)[:3]
    store.write_now(entry(granting(second, 0, 1)))
    outcomes = await together(
        store,
        [entry(granting(first, 0, 1)), entry(granting(second, 0, 2)), entry(nothing), entry(granting(third, 0, 1))],
    )
    assert isinstance(outcomes[1], Conflict)
    assert outcomes[1].message == (
        f"step 0 of task {second.id} has a live attempt already: ticket {second.id}-0-1 on {BUILTIN}"
    )
    assert [type(outcomes[place][1]) for place in (0, 2, 3)] == [Granted, str, Granted]  # type: ignore[index]  # they came
    held = store.read_now(claims.held)
    assert sorted(held) == [f"{task.id}-0-1" for task in (first, second, third)]
    assert store.read_now(claims.mismatches) == []


async def test_who_comes_second_to_what_one_may_have_alone_is_refused_and_its_ends_are_kept(store: Store) -> None:
    first, second = begun(store)[:2]
    _, granted = store.write_now(entry(granting(second, 0, 1)))
    assert isinstance(granted, Granted)
    outcomes = await together(
        store,
        [
            entry(granting(first, 0, 1, "mutex/db")),
            entry(granting(second, 1, 1, "mutex/db"), endings=[ending(granted.attempt, 0)]),
        ],
    )
    (_, won), (ended, refused) = outcomes  # type: ignore[misc]  # both came
    assert isinstance(won, Granted)
    assert refused is None
    assert [run.state for run in ended] == [StepState.SUCCEEDED]
    assert sorted(store.read_now(claims.held)) == [f"{first.id}-0-1"]
