"""Prepare a task's steps: where each may run, what its templates see, and the script that is offered to a worker."""

import asyncio
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path

from reconciler.execute.grounds import Grounds
from reconciler.execute.pinned_pools import PinnedPools
from reconciler.execute.records import Answered, TaskFacts, new_ticket
from reconciler.execute.secrets import Origins, SecretUnavailable, asks_a_program, plain_values, resolve_all
from reconciler.model.errors import ReconcilerError
from reconciler.model.live import OutputValue, StepRun, StepState, Task
from reconciler.model.pinned import Pinned
from reconciler.model.variables import SecretSource
from reconciler.model.work import Step, StepTemplateSpec
from reconciler.protocol.tickets import Digest, Output, OutputLimit, Secrets, TicketSpec
from reconciler.schedule.asking import attempt_request, step_request
from reconciler.schedule.explain import because_of
from reconciler.schedule.fleet import BUILTIN, Fleet
from reconciler.schedule.limits import limits_of, smaller
from reconciler.schedule.placement import Nowhere, Placed, PoolChoice, location_of
from reconciler.schedule.progress import ConditionUnclear
from reconciler.schedule.requests import Grant, Request
from reconciler.schedule.selection import leaves_out
from reconciler.schedule.variables import Choice, Chosen, choose_all
from reconciler.steps.checks import template_fields
from reconciler.steps.expansion import Expanded, expand
from reconciler.steps.jobs import ManualJob, ScriptJob
from reconciler.steps.rendering import mutex_name, render_step
from reconciler.steps.scope import Surroundings, scope_of, sources_needed
from reconciler.steps.templates import evaluate
from reconciler.steps.values import Scope
from reconciler.store import pinned_files
from reconciler.store.blobs import blob_path, put_blob, read_blob

INLINE_BYTES_MAX = 64 * 1024
"""A longer script travels by digest, so that no control frame grows with it."""

MASKED_MIN = 4
"""Characters of the shortest value that is masked: shorter ones would blot out ordinary text."""


@dataclass(frozen=True, slots=True)
class PreparedScript:
    """What a worker is offered, and what only the order to run brings."""

    spec: TicketSpec
    secrets: Secrets = field(repr=False)


@dataclass(frozen=True, slots=True)
class Draft:
    """A script step before its secrets are known: `sources` are asked for them, which may take a while."""

    index: int
    expanded: Expanded
    choices: Mapping[str, Choice]
    sources: Mapping[str, SecretSource]


@dataclass(frozen=True, slots=True)
class Found:
    """The values of secrets by step and variable: of a script, and of steps before it whose secrets it could print."""

    draft: Draft
    values: Mapping[int, Mapping[str, str]] = field(repr=False)


class Preparation:
    """Knows one task's pin, the fleet as it was looked at, and the outputs of its steps so far."""

    def __init__(self, task: Task, pinned: Pinned, grounds: Grounds) -> None:
        self._task = task
        self._pinned = pinned
        self._grounds = grounds
        self._fleet = Fleet({}, {})
        self._outputs: dict[tuple[str, str], OutputValue] = {}
        self._pools = PinnedPools(task, pinned)
        self._hopeless = ""
        self._secrets: set[str] = set()
        self._knows_secrets = True

    async def look_around(self) -> None:
        """Take in the fleet, and find out whether some step can never run."""
        self._fleet = await self._grounds.fleet_now()
        self._hopeless = next(self._obstacles(), "")
        await self._fetch_files()

    async def _fetch_files(self) -> None:
        """Take the script files from the database that another node had on its disk when the task was queued."""
        for digest in set(self._pinned.files.values()):
            if not blob_path(self._grounds.blobs, digest).exists():
                content = await self._grounds.store.read(partial(pinned_files.content, digest=digest))
                if content is not None:
                    await asyncio.to_thread(put_blob, self._grounds.blobs, digest, content)

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

    def take_up(self, facts: TaskFacts) -> None:
        """Take in what is known of a task that another engine began; its secrets are gathered before the next script."""
        self._knows_secrets = False
        self.know(facts.outputs)
        asked = {question.step for question in facts.questions}
        for answer in facts.answers:
            if answer.step not in asked:
                self.learn_answer(self._pinned.project.process[answer.step], answer)

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

    async def request(self, index: int, number: int, since: float, runs: Sequence[StepRun]) -> Request | Nowhere:
        """Say what an attempt of a step asks for, of the fleet as it is now; raises StepError."""
        self._fleet = await self._grounds.fleet_now()
        step = self._pinned.project.process[index]
        choice = self._choice(step)
        if isinstance(choice, Nowhere):
            return choice
        mutex = None
        if step.mutex is not None:
            choices = self._choices(index)
            plain = plain_values(choices, self._grounds.secret_rules)
            mutex = mutex_name(step.mutex.name, self._scope(index, runs, choices, plain, [step.mutex.name]))
        location = location_of(step, self._pinned.locations)
        task = self._task
        asked = step_request(step, location, choice, task.slot, priority=task.priority, mutex=mutex)
        return attempt_request(asked, task.id, step.key, number, since)

    def placed(self, index: int, grant: Grant) -> Placed | None:
        """Say where an attempt was granted, why there, and how it is kept; None on a worker that is not known any more."""
        choice = self._choice(self._pinned.project.process[index])
        assert isinstance(choice, PoolChoice), "a request came of it"
        if grant.machine == BUILTIN:
            here = self._fleet.builtin
            return Placed(
                BUILTIN,
                f"{choice.because}; it has no workers, so the built-in worker runs it",
                here.isolation,
                here.run_as,
            )
        member, pool = self._fleet.workers.get(grant.machine), self._fleet.pools.get(choice.pool)
        if member is None:
            return None
        because = because_of(grant, round_robin=pool is not None and pool.round_robin)
        rivals = self._grounds.leasing.rivals(grant)
        return Placed(member.name, f"{choice.because}; {because}", member.isolation, member.run_as, rivals)

    async def is_still(self, placed: Placed, grant: Grant) -> bool:
        """Say whether a grant holds good after a while: its machine can take it, and keeps scripts as it did."""
        self._fleet = await self._grounds.fleet_now()
        member = self._fleet.machine(grant.machine)
        if member is None or (member.isolation, member.run_as) != (placed.isolation, placed.run_as):
            return False
        return grant.machine in self._grounds.links and self._grounds.leasing.fits(grant)

    def holds(self, index: int, condition: str, runs: Sequence[StepRun]) -> bool:
        """Say whether the condition of a step holds; raises ConditionUnclear."""
        choices = self._choices(index)
        plain = plain_values(choices, self._grounds.secret_rules)
        try:
            return evaluate(condition, self._scope(index, runs, choices, plain, [condition]))
        except ReconcilerError as problem:
            raise ConditionUnclear(problem.message) from problem

    def question(self, index: int, runs: Sequence[StepRun]) -> ManualJob:
        """Render a manual step; raises StepError."""
        choices, expanded = self._choices(index), self._expanded(index)
        scope = self._scope(
            index, runs, choices, plain_values(choices, self._grounds.secret_rules), self._texts(expanded)
        )
        job = render_step(expanded, scope, {})
        assert isinstance(job, ManualJob)
        return job

    def draft(self, index: int) -> Draft:
        """Find out what a script step needs before it can be rendered."""
        choices, expanded = self._choices(index), self._expanded(index)
        return Draft(index, expanded, choices, sources_needed(self._texts(expanded), choices))

    def programs(self, draft: Draft, runs: Sequence[StepRun]) -> dict[str, SecretSource]:
        """Return the secrets that programs are asked for before a script is rendered, by variable."""
        drafts = [draft, *(self.draft(run.index) for run in self._remembered(draft, runs))]
        return {name: source for each in drafts for name, source in each.sources.items() if asks_a_program(source)}

    async def find(self, draft: Draft, runs: Sequence[StepRun]) -> Found:
        """Find the secrets that a script is rendered with; raises SecretUnavailable.

        Of a task that another engine began, those of the steps that have run, too: a script may print them, and they
        are stored nowhere.
        """
        origins = Origins(Path(self._pinned.root), os.environ, self._grounds.secret_rules)
        values = {draft.index: await resolve_all(draft.sources, origins)}
        for run in self._remembered(draft, runs):
            try:
                values[run.index] = await resolve_all(self.draft(run.index).sources, origins)
            except SecretUnavailable as problem:
                why = f'"{run.name}" was given it, and what "{runs[draft.index].name}" prints is to be masked'
                raise problem.beside(why) from None
        return Found(draft, values)

    def script(self, found: Found, number: int, placed: Placed, runs: Sequence[StepRun]) -> PreparedScript:
        """Render a script step for an attempt where it is placed, with its secrets. Raises ReconcilerError."""
        draft = found.draft
        job = self._rendered(draft, found.values[draft.index], number, placed, runs)
        for index, values in found.values.items():
            if index != draft.index:
                self._rendered(self.draft(index), values, number, placed, runs)
        self._knows_secrets = True
        return PreparedScript(
            self._ticket(draft.index, number, job, placed), Secrets(dict(job.secret_environment), self._masks())
        )

    def _rendered(
        self, draft: Draft, resolved: Mapping[str, str], number: int, placed: Placed, runs: Sequence[StepRun]
    ) -> ScriptJob:
        """Render a step with its secrets, of which none may be printed from here on."""
        index, choices, expanded = draft.index, draft.choices, draft.expanded
        texts = self._texts(expanded)
        scope = self._scope(index, runs, choices, resolved, texts, attempt=number, worker=placed.worker)
        job = render_step(expanded, scope, _PinnedFiles(self._grounds.blobs, self._pinned.files))
        assert isinstance(job, ScriptJob)
        self._secrets |= {
            value
            for name, value in resolved.items()
            if isinstance(choice := choices[name], Chosen) and choice.sensitive
        }
        self._secrets |= set(job.secret_environment.values())
        return job

    def _remembered(self, draft: Draft, runs: Sequence[StepRun]) -> list[StepRun]:
        """Return the other steps that have run and whose secrets are not known here."""
        if self._knows_secrets:
            return []
        process = self._pinned.project.process
        others = (run for run in runs if run.started_at is not None and run.index != draft.index)
        return [run for run in others if process[run.index].action[0] != "manual"]

    def _obstacles(self) -> Iterator[str]:
        """Yield why steps can never run: found while the task is planned, so that nothing runs in vain before them."""
        for step in self._pinned.project.process:
            if self._left_out(step) or step.action[0] == "manual":
                continue
            choice = self._choice(step)
            if isinstance(choice, Nowhere):
                yield f'"{step.name}" cannot run: {choice.reason}; the task fails before its first step'

    def _choice(self, step: Step) -> PoolChoice | Nowhere:
        return self._pools.choice(step, self._fleet)

    def _left_out(self, step: Step) -> str | None:
        return leaves_out(step, self._task.slot.environment, self._tags, self._pinned.deployment.skip_steps)

    @property
    def _tags(self) -> tuple[str, ...]:
        return self._pinned.tenant.tags if self._pinned.tenant else ()

    def _choices(self, index: int) -> dict[str, Choice]:
        return choose_all(self._pools.variables, self._pools.context(self._pinned.project.process[index]))

    def _expanded(self, index: int) -> Expanded:
        return expand(self._pinned.project.process[index], self._pinned.templates)

    def _texts(self, expanded: Expanded) -> list[str]:
        return texts_of(expanded, self._pinned.templates)

    def _scope(
        self,
        index: int,
        runs: Sequence[StepRun],
        choices: Mapping[str, Choice],
        resolved: Mapping[str, str],
        texts: Iterable[str],
        *,
        attempt: int | None = None,
        worker: str | None = None,
    ) -> Scope:
        """Return what `texts` may look at: the steps before only where one of them is named, since they grow many."""
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
        if _name_steps(texts, choices):
            return scope_of(around, choices, resolved, runs[:index], self._outputs.values())
        return scope_of(around, choices, resolved)

    def _masks(self) -> tuple[str, ...]:
        """Return every secret that a script could print: its own, and those that steps before it were given."""
        self._secrets |= {found.value for found in self._outputs.values() if found.sensitive}
        return tuple(sorted(value for value in self._secrets if len(value) >= MASKED_MIN))

    def _ticket(self, index: int, number: int, job: ScriptJob, placed: Placed) -> TicketSpec:
        step = self._pinned.project.process[index]
        data = job.script.encode("utf-8", "surrogateescape")
        digest = hashlib.sha256(data).hexdigest()
        inline = len(data) <= INLINE_BYTES_MAX
        if not inline:
            put_blob(self._grounds.blobs, digest, data)
        limit = step.output_limit
        member = self._fleet.workers.get(placed.worker)
        own = limits_of(step.limits)
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
            isolation=placed.isolation,
            run_as=placed.run_as,
            limits=smaller(own, member.limits if member is not None else own),
            silence_max=self._grounds.fleet.lost_after(placed.worker) if step.on_disconnect == "stop" else None,
        )


class _PinnedFiles(Mapping[str, str]):
    """The texts of a task's script files, each read when it is looked at."""

    def __init__(self, blobs: Path, digests: Mapping[str, str]) -> None:
        self._blobs = blobs
        self._digests = digests

    def __getitem__(self, path: str) -> str:
        return read_blob(self._blobs, self._digests[path]).decode(errors="replace")

    def __contains__(self, path: object) -> bool:
        return path in self._digests

    def __iter__(self) -> Iterator[str]:
        return iter(self._digests)

    def __len__(self) -> int:
        return len(self._digests)


def _name_steps(texts: Iterable[str], choices: Mapping[str, Choice]) -> bool:
    """Say whether a template may look at other steps, directly or through a variable's value."""
    values = (choice.value for choice in choices.values() if isinstance(choice, Chosen))
    return any("steps" in text for text in chain(texts, values) if isinstance(text, str))


def texts_of(expanded: Expanded, templates: Mapping[str, StepTemplateSpec]) -> list[str]:
    """Return every text of a step that is rendered."""
    texts = [found.text for found in template_fields(expanded.step, templates)]
    if expanded.from_template:
        texts += [found.text for found in template_fields(expanded.action)]
        texts += list((expanded.arguments or {}).values())
    return texts
