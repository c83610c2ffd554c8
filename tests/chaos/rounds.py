"""What is deployed in each round of troubles, and the judgement of it from outside: by files, processes and the store."""

import random
from collections import Counter
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from reconciler.model.live import Attempt, AttemptState, StepState, Task, TaskState
from reconciler.protocol.objects import loaded
from reconciler.protocol.tickets import Exited, Final, Lost, NotStarted
from tests.chaos.fleet import Agent, Fleet, free_port
from tests.chaos.processes import until
from tests.chaos.space import Fields
from tests.chaos.weather import Weather

CALLS, LISTENS = "calls", "listens"
"""The pools, and the ways of their workers."""

SETTLES_WITHIN = 120.0  # seconds after the last trouble: twice the longest patience of link and agent
ARTIFACT_BYTES = 300_000
SCRIPT = """
import os, random, time

release, step = os.environ["RELEASE"], os.environ["STEP"]
with open(os.environ["WITNESS"], "a") as witness:
    print(release, step, file=witness)
if step == "prepare":
    import step as service
    service.set_output("word", "word of " + release)
    with open("made.bin", "wb") as made:
        made.write(random.Random(release).randbytes(ARTIFACT_BYTES))
if "WORD" in os.environ:
    print("heard", os.environ["WORD"], flush=True)
copy = os.open(os.path.join(os.environ["COPIES"], f"{release}-{step}"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
for number in range(int(os.environ["LINES"])):
    line = b"%06d " % number + b"x" * (number * 7919 % 90) + b"\\n"
    for stream in (1, copy):
        os.write(stream, line)
    if number % int(os.environ["BATCH"]) == 0:
        time.sleep(0.01)
""".replace("ARTIFACT_BYTES", str(ARTIFACT_BYTES))
STEPS = ("prepare", "left", "right", "flood", "finish", "always")
HARMFUL = {"shim killed", "script killed", "machine rebooted", "disk lost"}
"""Troubles after which a step may fail: no more is promised than that its attempt is not repeated."""


def install(fleet: Fleet, skies: Weather) -> None:
    """Serve a space with one worker of each kind; both links lead through the weather."""
    declare(fleet)
    fleet.prepare()
    fleet.serve()
    to_server = skies.proxy(fleet.port)
    listens_at = free_port()
    to_agent = skies.proxy(listens_at)
    calling = fleet.enrol("caller", CALLS, server=f"127.0.0.1:{to_server.port}")
    listening = fleet.enrol("listener", LISTENS, "--listen", f"127.0.0.1:{listens_at}")
    fleet.declare("caller", calling + "  slots: 1\n")
    fleet.declare("listener", listening.replace(f"port: {listens_at}", f"port: {to_agent.port}") + "  slots: 1\n")
    fleet.commit()
    for agent in fleet.agents.values():
        agent.start()
    fleet.until_connected()


def declare(fleet: Fleet) -> None:
    """Declare all but the workers and the deployment."""
    space = fleet.space
    for pool in (CALLS, LISTENS):
        space.write(f"pool-{pool}", {"kind": "WorkerPool", "metadata": {"name": pool}, "spec": {}})
        place = {"runOn": "workerPool", "pool": pool}
        space.write(f"at-{pool}", {"kind": "ExecutionLocation", "metadata": {"name": pool}, "spec": place})
    (space.home / "copies").mkdir()
    process = [
        _step(fleet, "prepare", CALLS, lines=20, artifacts=["*.bin"]),
        _step(fleet, "left", CALLS, lines=1500),
        _step(fleet, "right", LISTENS, lines=1500, start="withPrevious"),
        _step(fleet, "flood", LISTENS, lines=20_000, batch=1000),
        _step(fleet, "finish", CALLS, lines=20, word=True),
        _step(fleet, "always", LISTENS, lines=20, condition="always"),
    ]
    space.write("project", {"kind": "Project", "metadata": {"name": "shop"}, "spec": {"process": process}})


def _step(
    fleet: Fleet, name: str, pool: str, *, lines: int, batch: int = 10, word: bool = False, **more: object
) -> Fields:
    home = fleet.space.home
    environment = {
        "RELEASE": "${{ release }}",
        "STEP": name,
        "WITNESS": str(home / "witness"),
        "COPIES": str(home / "copies"),
        "LINES": str(lines),
        "BATCH": str(batch),
    }
    if word:
        environment["WORD"] = "${{ steps.prepare.output.word }}"
    script = {"syntax": "python", "body": SCRIPT}
    return {"name": name, "location": pool, "script": script, "env": environment, **more}


@dataclass(frozen=True, slots=True)
class Round:
    """One deployment in an installation, and what happened to it meanwhile."""

    fleet: Fleet
    release: str
    troubles: list[str]

    @property
    def task(self) -> Task | None:
        """The task, once it is queued."""
        return next((task for task in self.fleet.space.tasks() if task.release == self.release), None)

    def judge(self) -> TaskState:
        """See that all is settled and as promised, and return how the task ended."""
        until(lambda: self.task is not None and self.task.state.ended, "the end of the task", SETTLES_WITHIN)
        assert not self._scripts(), "an ended task has no script that runs"
        until(lambda: not any(map(Agent.tickets, self.fleet.agents.values())), "the end of tickets", SETTLES_WITHIN)
        task = self.task
        assert task is not None
        attempts = self.fleet.space.attempts(task.id)
        finals = {STEPS[one.step]: self._final(one) for one in attempts}
        assert len(finals) == len(attempts), "no step has a second attempt"
        self._judge_starts(finals)
        for attempt in attempts:
            self._judge_log(attempt, finals[STEPS[attempt.step]])
        if not HARMFUL & set(self.troubles):
            assert not any(isinstance(final.ending, Lost) for final in finals.values()), "nothing was lost"
            assert task.state is TaskState.SUCCEEDED or "cancelled" in self.troubles, task.reason
        if task.state is TaskState.SUCCEEDED:
            self._judge_results(task)
        return task.state

    def _scripts(self) -> list[str]:
        return [found.command for found in self.fleet.space.family.members() if "/script.py" in found.command]

    def _final(self, attempt: Attempt) -> Final:
        assert attempt.state is AttemptState.ENDED, f"attempt {attempt.ticket} has ended"
        return loaded(Final, attempt.ending.encode())

    def _judge_starts(self, finals: dict[str, Final]) -> None:
        """See that a step started once at most, once if it ended by itself, never if the worker says so."""
        starts = self.starts()
        assert not starts or max(starts.values()) == 1, f"no step starts twice: {starts}"
        assert starts.keys() <= finals.keys(), "what started has an attempt"
        for step, final in finals.items():
            if isinstance(final.ending, NotStarted):
                assert step not in starts, f"{step} never started: {final.ending.reason}"
            elif isinstance(final.ending, Exited):
                assert starts[step] == 1, f"{step} started"

    def _judge_log(self, attempt: Attempt, final: Final) -> None:
        """See that a log is whole by its digest, and what the script printed until it or its supervisor was killed."""
        space = self.fleet.space
        path = space.data / "logs" / f"{attempt.ticket}.journal"
        journal = path.read_bytes() if path.exists() else b""
        assert (len(journal), sha256(journal).hexdigest()) == (attempt.log_length, attempt.log_digest)
        step = STEPS[attempt.step]
        log = space.log(attempt.ticket).removeprefix(f"heard word of {self.release}\n".encode())
        copy = self.copy_of(step).read_bytes() if self.copy_of(step).exists() else b""
        if final.ending == Exited(0):
            assert log == copy, f"the log of {step} is the script's own copy"
        elif not isinstance(final.ending, Lost | NotStarted):
            assert log.startswith(copy), f"the log of {step} begins with the script's own copy"
            assert log[len(copy) :].count(b"\n") <= 1, f"the log of {step} is at most a line longer"
        else:
            assert copy.startswith(log[: len(copy)]), f"the log of {step} is a beginning of the script's own copy"

    def _judge_results(self, task: Task) -> None:
        space = self.fleet.space
        assert self.starts() == Counter(STEPS)
        assert {run.state for run in space.runs(task.id).values()} == {StepState.SUCCEEDED}
        assert [one.value for one in space.outputs(task.id)] == [f"word of {self.release}"]
        made = random.Random(self.release).randbytes(ARTIFACT_BYTES)
        (artifact,) = space.artifacts(task.id)
        assert (artifact.size, artifact.digest) == (len(made), sha256(made).hexdigest())

    def starts(self) -> Counter[str]:
        """Return how often each step of this round has started, as the witness saw it."""
        lines = [line.split() for line in self.fleet.space.starts().elements()]
        return Counter(step for release, step in lines if release == self.release)

    def copy_of(self, step: str) -> Path:
        """Return the file to which a step's script writes what it prints."""
        return self.fleet.space.home / "copies" / f"{self.release}-{step}"
