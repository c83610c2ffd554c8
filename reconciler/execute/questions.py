"""The open questions of one task: since when each waits, whom it is put to, and until when an answer is heard."""

import time
from collections.abc import Iterable, Iterator, Sequence

from reconciler.execute.records import Answered, close_question, expire_question, open_question
from reconciler.model.live import Intervention, StepRun, StepState, Task
from reconciler.model.work import Step
from reconciler.steps.jobs import ManualJob
from reconciler.steps.manual import answered_within, unanswered
from reconciler.store.database import Work


class Questions:
    """Knows them by the place of their steps in the process."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = steps
        self._asked: dict[int, Intervention] = {}

    def __iter__(self) -> Iterator[int]:
        return iter(self._asked)

    def __len__(self) -> int:
        return len(self._asked)

    def __contains__(self, index: object) -> bool:
        return index in self._asked

    @property
    def keys(self) -> tuple[str, ...]:
        """The ids of the steps that ask, in the order in which they asked."""
        return tuple(self._steps[index].key for index in self._asked)

    @property
    def deadlines(self) -> Iterable[float]:
        """The moments at which steps fail that nobody has answered, in seconds since the epoch."""
        return [self._until(asked) for asked in self._asked.values()]

    def ask(self, run: StepRun, job: ManualJob) -> Work[tuple[Task, StepRun]]:
        """Ask from now on what a step asks; return how that is recorded."""
        question = Intervention(run.task, run.index, job.instructions, job.teams, time.time())
        self.put(question)
        return open_question(run, question)

    def answered(self, run: StepRun, answer: Answered) -> Work[tuple[Task, StepRun] | None]:
        """Return how an answer is recorded."""
        state = StepState.SUCCEEDED if answer.approved else StepState.FAILED
        return close_question(run, state, answer.sentence, task_goes_on=len(self._asked) == 1)

    def unanswered(self, run: StepRun) -> Work[tuple[Task, StepRun] | None]:
        """Return how it is recorded that nobody has answered in time; nothing is where somebody has just done so."""
        reason = unanswered(self._steps[run.index], self._asked[run.index].teams)
        return expire_question(run, reason, task_goes_on=len(self._asked) == 1)

    def put(self, *asked: Intervention) -> None:
        """Take in questions that wait."""
        self._asked |= {one.step: one for one in asked}

    def close(self, index: int) -> None:
        """Take in that a step asks no longer."""
        del self._asked[index]

    def clear(self) -> None:
        """Take in that nobody is asked any more."""
        self._asked.clear()

    def expired(self, now: float) -> list[int]:
        """Return the steps that nobody has answered in time."""
        return [index for index, asked in self._asked.items() if now >= self._until(asked)]

    def _until(self, asked: Intervention) -> float:
        return asked.asked_at + answered_within(self._steps[asked.step])
