"""Prepare a task's steps: where each may run, what its templates see, and the script that is offered to a worker."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.execute.grounds import Grounds
from reconciler.execute.records import Answered, new_ticket
from reconciler.execute.secrets import Origins, resolve_all
from reconciler.model.live import OutputValue, StepRun, StepState, Task
from reconciler.model.pinned import Pinned
from reconciler.model.variables import SecretSource
from reconciler.model.work import Step
from reconciler.protocol.tickets import Digest, Output, OutputLimit, Secrets, TicketSpec
from reconciler.schedule.fleet import Fleet
from reconciler.schedule.placement import Nowhere, Placed, PoolChoice, choose_pool, location_of, not_yet, place
from reconciler.schedule.selection import leaves_out
from reconciler.schedule.variables import Choice, Chosen, Pool, VariableContext, choose_all, pool_of, visible
from reconciler.steps.checks import template_fields
from reconciler.steps.expansion import Expanded, expand
from reconciler.steps.jobs import ManualJob, ScriptJob
from reconciler.steps.rendering import render_step
from reconciler.steps.scope import Surroundings, scope_of, sources_needed
from reconciler.steps.templates import evaluate
from reconciler.steps.values import Scope
from reconciler.store.blobs import put_blob, read_blob

INLINE_BYTES_MAX = 64 * 1024
"""A longer script travels by digest, so that no control frame grows with it."""

MASKED_MIN = 4
"""Characters of the shortest value that is masked: shorter ones would blot out ordinary text."""


@dataclass(frozen=True, slots=True)
class PreparedScript:
    """What a worker is offered, and what only the order to run brings."""

    spec: TicketSpec
    secrets: Secrets = field(repr=False)


class Preparation:
    """Knows one task's pin, the fleet as it was looked at, and the outputs of its steps so far."""

    def __init__(self, task: Task, pinned: Pinned, grounds: Grounds) -> None:
        self._task = task
        self._pinned = pinned
        self._grounds = grounds
        self._fleet = Fleet({}, {})
        self._outputs: dict[tuple[str, str], OutputValue] = {}
        self._variables = visible(
            task.slot.project,
            pinned.project,
            pinned.variable_sets,
            (pinned.tenant_name, pinned.tenant) if pinned.tenant_name and pinned.tenant else None,
            (pinned.deployment_name, pinned.deployment.variables),
        )
        self._hopeless = ""
        self._secrets: set[str] = set()

    async def look_around(self) -> None:
        """Take in the fleet, and find out whether some step can never run."""
        self._fleet = await self._grounds.fleet.now(self._grounds.store)
        self._hopeless = next(self._obstacles(), "")

    @property
    def hopeless(self) -> str:
        """Why the task fails before its first step, or ""."""
        return self._hopeless

    @property
    def parallel_max(self) -> int:
        """Steps that run at a time."""
        return self._pinned.project.max_parallel_steps

    def first_runs(self) -> list[StepRun]:
        """Return the step runs that the task begins with; steps that it leaves out are skipped, with the reason."""
        runs = []
        for index, step in enumerate(self._pinned.project.process):
            left_out = self._left_out(step)
            state = StepState.SKIPPED if left_out else StepState.PENDING
            runs.append(StepRun(self._task.id, index, step.key, step.name, state, left_out or ""))
        return runs

    def know(self, outputs: Iterable[OutputValue]) -> None:
        """Take in outputs that were recorded before."""
        self._outputs |= {(found.step, found.name): found for found in outputs}

    def learn(self, step: Step, outputs: Iterable[Output]) -> None:
        """Take in what a step has just put out."""
        self.know(OutputValue(step.key, found.name, found.value, found.sensitive) for found in outputs)

    def learn_answer(self, step: Step, answer: Answered) -> None:
        """Take in a person's answer as outputs of its step."""
        values = {"approved": str(answer.approved).lower(), "by": answer.by, "notes": answer.notes}
        self.know(OutputValue(step.key, name, value) for name, value in values.items())

    def place(self, step: Step) -> Placed | Nowhere:
        """Choose the worker of a step."""
        choice = self._choice(step)
        if isinstance(choice, Nowhere):
            return choice
        return place(step, choice, self._fleet, self._task.slot.environment)

    def evaluate(self, index: int, condition: str, runs: Sequence[StepRun]) -> bool:
        """Say whether the condition of a step holds; raises TemplateError."""
        choices = self._choices(index)
        return evaluate(condition, self._scope(index, runs, choices, _plain_values(choices)))

    def question(self, index: int, runs: Sequence[StepRun]) -> ManualJob:
        """Render a manual step; raises StepError."""
        choices = self._choices(index)
        job = render_step(self._expanded(index), self._scope(index, runs, choices, _plain_values(choices)), {})
        assert isinstance(job, ManualJob)
        return job

    async def script(self, index: int, number: int, worker: str, runs: Sequence[StepRun]) -> PreparedScript:
        """Render a script step for an attempt on a worker; its secrets are resolved here. Raises ReconcilerError."""
        step = self._pinned.project.process[index]
        expanded = self._expanded(index)
        choices = self._choices(index)
        sources = sources_needed(self._texts(expanded), choices)
        resolved = await resolve_all(sources, Origins(Path(self._pinned.root), os.environ))
        scope = self._scope(index, runs, choices, resolved, attempt=number, worker=worker)
        files = {
            path: read_blob(self._grounds.blobs, digest).decode(errors="replace")
            for path, digest in self._pinned.files.items()
        }
        job = render_step(expanded, scope, files)
        assert isinstance(job, ScriptJob)
        return PreparedScript(
            self._ticket(step, index, number, job),
            Secrets(dict(job.secret_environment), self._masks(choices, resolved, job)),
        )

    def _obstacles(self) -> Iterator[str]:
        """Yield why steps can never run: found while the task is planned, so that nothing runs in vain before them."""
        for step in self._pinned.project.process:
            if self._left_out(step) or step.action[0] == "manual":
                continue
            choice = self._choice(step)
            if isinstance(choice, Nowhere):
                yield f'"{step.name}" cannot run: {choice.reason}; the task fails before its first step'

    def _choice(self, step: Step) -> PoolChoice | Nowhere:
        location = location_of(step, self._pinned.locations)
        missing = not_yet(step, location)
        if missing:
            return Nowhere(missing, final=True)
        return choose_pool(location, self._fleet, lambda name: self._pool_of(name, step))

    def _pool_of(self, variable: str, step: Step) -> str | None:
        found = pool_of(variable, self._variables, self._context(step))
        return found.name if isinstance(found, Pool) else None

    def _left_out(self, step: Step) -> str | None:
        return leaves_out(step, self._task.slot.environment, self._tags, self._pinned.deployment.skip_steps)

    @property
    def _tags(self) -> tuple[str, ...]:
        return self._pinned.tenant.tags if self._pinned.tenant else ()

    def _context(self, step: Step) -> VariableContext:
        slot = self._task.slot
        return VariableContext(slot.environment, slot.tenant, self._tags, step.key, slot.project)

    def _choices(self, index: int) -> dict[str, Choice]:
        return choose_all(self._variables, self._context(self._pinned.project.process[index]))

    def _expanded(self, index: int) -> Expanded:
        return expand(self._pinned.project.process[index], self._pinned.templates)

    def _texts(self, expanded: Expanded) -> list[str]:
        texts = [found.text for found in template_fields(expanded.step, self._pinned.templates)]
        if expanded.from_template:
            texts += [found.text for found in template_fields(expanded.action)]
            texts += list((expanded.arguments or {}).values())
        return texts

    def _scope(
        self,
        index: int,
        runs: Sequence[StepRun],
        choices: dict[str, Choice],
        resolved: dict[str, str],
        *,
        attempt: int | None = None,
        worker: str | None = None,
    ) -> Scope:
        slot = self._task.slot
        around = Surroundings(
            space=self._pinned.space,
            project=slot.project,
            environment=slot.environment,
            tenant=slot.tenant,
            deployment=self._task.deployment,
            release=self._task.release,
            task=self._task.id,
            step=runs[index],
            attempt=attempt,
            worker=worker,
        )
        return scope_of(around, choices, resolved, runs[:index], self._outputs.values())

    def _masks(self, choices: dict[str, Choice], resolved: dict[str, str], job: ScriptJob) -> tuple[str, ...]:
        """Return every secret that the script could print: its own, and those that steps before it were given."""
        self._secrets |= {
            value
            for name, value in resolved.items()
            if isinstance(choice := choices[name], Chosen) and choice.sensitive
        }
        self._secrets |= set(job.secret_environment.values())
        self._secrets |= {found.value for found in self._outputs.values() if found.sensitive}
        return tuple(sorted(value for value in self._secrets if len(value) >= MASKED_MIN))

    def _ticket(self, step: Step, index: int, number: int, job: ScriptJob) -> TicketSpec:
        data = job.script.encode("utf-8", "surrogateescape")
        digest = hashlib.sha256(data).hexdigest()
        inline = len(data) <= INLINE_BYTES_MAX
        if not inline:
            put_blob(self._grounds.blobs, digest, data)
        limit = step.output_limit
        return TicketSpec(
            ticket=new_ticket(self._task.id, index, number),
            interpreter=job.interpreter,
            language=job.language,
            script=job.script if inline else None,
            script_digest=Digest(digest),
            arguments=job.arguments,
            environment=dict(job.environment),
            artifacts=job.artifacts,
            timeout=step.timeout.seconds if step.timeout else None,
            output_limit=OutputLimit(limit.size.bytes, limit.then) if limit else None,
        )


def _plain_values(choices: dict[str, Choice]) -> dict[str, str]:
    """Return the values that come from the environment and may be shown: a condition or a question may name them."""
    names = {
        name: choice.value.env
        for name, choice in choices.items()
        if isinstance(choice, Chosen) and not choice.sensitive and isinstance(choice.value, SecretSource)
    }
    return {name: os.environ[source] for name, source in names.items() if source is not None and source in os.environ}
