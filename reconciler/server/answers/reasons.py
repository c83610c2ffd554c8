"""Why something is as it is: where it is declared, what was done to it, where its steps run, what it waits for."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace

from reconciler.model.diagnostics import did_you_mean
from reconciler.model.errors import UsageMistake
from reconciler.model.following import ConditionType, Proposal, Why
from reconciler.model.live import (
    Attempt,
    AttemptState,
    Event,
    LiveObject,
    LiveState,
    StepRun,
    StepState,
    Task,
    TaskState,
    WorkerHealth,
    WorkerStatus,
)
from reconciler.model.space import SpaceSpec
from reconciler.model.spec import Address
from reconciler.model.work import ProjectSpec, Step
from reconciler.plan.changes import Action
from reconciler.plan.deployments import ByServer, by_apply, failed_as_declared, wishes_of
from reconciler.plan.explanation import MANUAL, Load, Prospect
from reconciler.plan.stored import STORED
from reconciler.plan.whereabouts import Whereabouts
from reconciler.protocol.objects import loaded
from reconciler.protocol.tickets import Final
from reconciler.schedule.fleet import BUILTIN, Fleet, fleet_of
from reconciler.schedule.formers import formers_of
from reconciler.schedule.outcomes import Outcome, judge
from reconciler.schedule.placement import Nowhere, PoolChoice, needs_of, place
from reconciler.schedule.variables import VariableContext
from reconciler.server.answers.overview import drain_in_words
from reconciler.server.answers.standing import Standing, standing
from reconciler.server.answers.steps import loads_in, steps_called
from reconciler.server.orders.decisions import find_task
from reconciler.server.orders.questions import Question, questions_of
from reconciler.server.orders.steering import PLAN
from reconciler.server.state.times import stamp
from reconciler.store import attempts, audit, following, objects, tasks, worker_status
from reconciler.store.database import Transaction

EVENTS_SHOWN = 5
"""Of an object's events, the last ones."""

EVENTS_SEARCHED = 100
"""Of an object's events, those in which its removal is looked for."""

BECAUSE: Mapping[Why, str] = {
    Why.MANUAL: "the space wants every plan approved",
    Why.REMOVALS: "it takes more away than the space allows by itself",
    Why.HISTORY: "its commit does not descend from the one carried out last, and it removes something",
    Why.NEW_STATE: "nothing ever ran here, and it would run deployments",
}
"""Why a person has to approve a plan."""


def reasons(tx: Transaction, address: str) -> Iterator[str]:
    """Yield sentences about `Kind/name`, `Project/name/Step`, `task/number`, `plan-…`, or the only object of a name.

    Raises UsageMistake for anything else.
    """
    if address.startswith(PLAN):
        yield from _of_plan(tx, address)
        return
    if address.startswith("task/"):
        yield from _of_task(tx, find_task(tx, address.removeprefix("task/")))
        return
    live = objects.live_state(tx)
    if "/" not in address:
        address = _gone_called(tx, address, live) or str(only_object_called(address, live))
    kind, _, rest = address.partition("/")
    name, _, step = rest.partition("/")
    found = live.objects.get(Address(kind, name))
    if found is None and kind == "Worker" and name in live.leaving and not step:
        yield f"{address} left Git, and is spoken with until what lives there has ended"
        yield from _of_worker(tx, name, live)
        return
    if found is None and (removed := _removal(tx, Address(kind, name))) is not None:
        yield from _of_removal(tx, removed)
        return
    if found is None:
        known = [str(other) for other in live.objects]
        raise UsageMistake(f"{address} is not applied{did_you_mean(f'{kind}/{name}', known)}", "see: reconcile status")
    if step:
        yield from _of_step(found, step, live, loads_in(tx, live))
    else:
        yield from _of_object(tx, found, live)


def _removal(tx: Transaction, address: Address) -> Event | None:
    """Return the event of the last removal of an object, as far back as the audit goes; None where it never was."""
    told = audit.newest(tx, EVENTS_SEARCHED, audit.Selection(subject=str(address)))
    return next((event for event in reversed(told) if event.action == Action.REMOVE), None)


def _gone_called(tx: Transaction, name: str, live: LiveState) -> str:
    """Return the only object that was removed and called so, where none is; "" where there is none or are several."""
    if any(other.name == name for other in live.objects):
        return ""
    from reconciler.model.kinds import KINDS

    gone = [str(address) for kind in KINDS if _removal(tx, address := Address(kind, name)) is not None]
    return gone[0] if len(gone) == 1 else ""


def _of_removal(tx: Transaction, event: Event) -> Iterator[str]:
    """Say who has removed an object, when, and by which commit."""
    by = "from the working tree" if event.revision.startswith("tree:") else f"by the commit {event.revision[:12]}"
    yield f"{event.subject} is not applied any more: {event.actor} removed it at {stamp(event.at)}, {by}"
    made = following.commit(tx, event.revision)
    if made is not None and made.author:
        yield f'that commit is by {made.author}: "{made.subject}"'
    for each in audit.newest(tx, EVENTS_SHOWN, audit.Selection(subject=event.subject)):
        yield _event(each)


def only_object_called(name: str, live: LiveState) -> Address:
    """Return the object of a name; raises UsageMistake where there is none or are several."""
    found = sorted((other for other in live.objects if other.name == name), key=str)
    if not found:
        names = {other.name for other in live.objects}
        raise UsageMistake(
            f'nothing that is applied is called "{name}"{did_you_mean(name, sorted(names))}',
            "write KIND/NAME, task/NUMBER, or the name of a plan that `reconcile status` shows",
        )
    if len(found) > 1:
        raise UsageMistake(f'several objects are called "{name}": {", ".join(map(str, found))}', "write one of these")
    return found[0]


def plan_called(tx: Transaction, name: str) -> Proposal:
    """Return the plan of a name that waits for a person, or was decided and not carried out; raises UsageMistake."""
    known = following.proposals(tx)
    found = next((proposal for proposal in known if proposal.name == name), None)
    if found is None:
        raise UsageMistake(
            f"no plan {name} waits{did_you_mean(name, [proposal.name for proposal in known])}",
            "one that was carried out, or whose commit another has followed, is not kept; see: reconcile status",
        )
    return found


def _of_plan(tx: Transaction, name: str) -> Iterator[str]:
    """Say what a plan would do, why it waits or waited for a person, and what one said."""
    found = plan_called(tx, name)
    yield f"{name} is what the commit {found.revision[:12]} would change: {found.summary}"
    made = following.commit(tx, found.revision)
    if made is not None and made.author:
        yield f'that commit is by {made.author}: "{made.subject}"'
    if not found.decision:
        yield f"it waits for a person since {stamp(found.made_at)}, because {BECAUSE[found.why]}"
        yield f"see it with: reconcile plan {name}; decide with: reconcile approve {name}"
    else:
        at = f" at {stamp(found.decided_at)}" if found.decided_at is not None else ""
        yield f"it was {found.decision} by {found.decided_by}{at}{f': {found.notes}' if found.notes else ''}"
    for event in audit.events(tx, subject=name)[-EVENTS_SHOWN:]:
        yield _event(event)


def _of_object(tx: Transaction, found: LiveObject, live: LiveState) -> Iterator[str]:
    yield f"{found.address} is declared at {found.position}, applied from {found.revision}, generation {found.generation}"
    yield from _of_commits(tx, found, live)
    if found.protected:
        yield "it is protected: no plan removes it"
    if found.address.kind in STORED:
        yield f"it is {STORED[found.address.kind]}"
    if found.address.kind == "Worker":
        yield from _of_worker(tx, found.address.name, live)
    users = sorted(str(address) for address, other in live.objects.items() if _uses(other, found.address))
    if users:
        yield f"used by {', '.join(users)}"
    if found.address.kind == "Deployment":
        for wish in wishes_of(found.address.name, found):
            task = live.last_tasks.get(wish.slot)
            if task is None:
                yield f"nothing was ever deployed for {wish.slot}"
            else:
                yield f"{wish.slot} wants release {wish.spec.release}; the last task is {task.id}"
                yield from _of_task(tx, task)
    for event in audit.events(tx, subject=str(found.address))[-EVENTS_SHOWN:]:
        yield _event(event)


def _of_commits(tx: Transaction, found: LiveObject, live: LiveState) -> Iterator[str]:
    """Say who made the commit that an object was applied from, and what holds up a later one."""
    made = following.commit(tx, found.revision) if found.revision else None
    if made is not None and made.author:
        yield f'that commit is by {made.author}: "{made.subject}"'
    source = following.source(tx)
    stalled = following.conditions(tx).get(ConditionType.STALLED)
    if source is not None and source.head != live.revision and stalled is not None and stalled.status:
        yield f"the head {source.head[:12]} of the source is not carried out: {stalled.message}"


def _of_worker(tx: Transaction, name: str, live: LiveState) -> Iterator[str]:
    """Say how a worker was last found, what its agent is, and what lives on it."""
    status, override = live.workers.get(name), live.overrides.get(name)
    if override is not None:
        yield f"it is draining {override.words} (live override since {stamp(override.since)})"
    if name in live.drains:
        yield f"it is {drain_in_words(name, live)}, and drains since {stamp(live.drains[name].since)}"
    if (former := formers_of(live.objects, live.leaving, live.occupants).get(name)) is not None:
        yield f"its machine still runs {former.runs} under its former name {former.name}, and is met as {name} afterwards"
        return
    if status is None:
        yield "its agent has never been met"
        return
    reason = f": {status.reason}" if status.reason else ""
    yield f"it is {status.health} since {stamp(status.since)}{reason}"
    if status.seen is not None:
        seen = status.seen
        yield f"its agent {seen.release} greeted from {seen.address} and was last seen at {stamp(seen.at)}"
        yield "it has " + ", ".join(f"{word} {text}".rstrip() for word, text in sorted(seen.capabilities.items()))
    for attempt in attempts.unfinished_on(tx, name):
        yield f"attempt {attempt.number} of step {attempt.step + 1} of task {attempt.task} is {attempt.state} there"


def _uses(other: LiveObject, address: Address) -> bool:
    """Say whether an object names another; a quick look at the JSON, made sure of by the kind's references."""
    if f'"{address.name}"' not in other.spec:
        return False
    from reconciler.declare.uses import uses
    from reconciler.model.kinds import KINDS

    return any(use.target == address for use in uses(KINDS[other.address.kind].parse(other.spec)))


def _event(event: Event) -> str:
    detail = f": {event.detail}" if event.detail else ""
    return f"event {event.id}: {event.action} by {event.actor}, {event.outcome}{detail}"


def _of_task(tx: Transaction, task: Task) -> Iterator[str]:
    adopted = ", recorded as done without running" if task.adopted else ""
    places = standing(tx) if not task.state.ended else Standing()
    reason = f": {text}" if (text := places.task(task)) else ""
    yield f"task {task.id} runs release {task.release} of {task.slot} and {_is(task.state)}{adopted}{reason}"
    tries = attempts.attempts(tx, task.id)
    asking = {question.run.index: question for question in questions_of(tx, task)}
    for run in tasks.steps(tx, task.id):
        yield f"  {_step_sentence(replace(run, reason=places.step(run)))}"
        if run.index in asking:
            yield f"    {_asking(asking[run.index])}"
        for attempt in tries:
            if attempt.step == run.index:
                yield f"    attempt {attempt.number} on {attempt.worker}{_end_of(attempt)}: {attempt.decision}"
                yield from _silence_of(attempt, worker_status.status(tx, attempt.worker))
                yield from _release_of(attempt, task)
    yield from _remedy_of(tx, task)


def _remedy_of(tx: Transaction, task: Task) -> Iterator[str]:
    """Say what runs again what is declared, where the last task of its slot did not succeed."""
    last, found = tasks.last_task(tx, task.slot), objects.one(tx, Address("Deployment", task.deployment))
    if last is None or last.id != task.id or found is None:
        return
    remedy = ByServer(lambda: objects.live_state(tx).objects) if following.source(tx) is not None else by_apply
    for wish in wishes_of(task.deployment, found):
        if wish.slot == task.slot and failed_as_declared(wish, task):
            yield f"it is not repeated by itself; {remedy(wish, task)}"


def _asking(question: Question) -> str:
    """Say until when an answer to a question is waited for, and how it is given."""
    how = f"; answer with: {question.commands}" if time.time() < question.until else ""
    return f"without an answer by {stamp(question.until)} it fails{how}"


def _silence_of(attempt: Attempt, status: WorkerStatus | None) -> Iterator[str]:
    """Say that nothing is heard of an attempt at present, where that is so."""
    if not attempt.ending and status is not None and status.health is not WorkerHealth.HEALTHY:
        yield f"      {attempt.worker} is {status.health}: {status.reason}; its scripts go on and are heard of when it is back"


def _release_of(attempt: Attempt, task: Task) -> Iterator[str]:
    """Say how what an attempt holds becomes free that was given up, and whose end nobody has told."""
    if not attempt.ending and (attempt.state is AttemptState.LOST or task.state.ended):
        yield f"      it may still run; where it cannot, free what it holds: reconcile release {attempt.ticket} --reason TEXT"


def outcome_of(attempt: Attempt) -> Outcome | None:
    """Return how an attempt ended; None while it lives."""
    return judge(loaded(Final, attempt.ending.encode())) if attempt.ending else None


def _end_of(attempt: Attempt) -> str:
    """Say how an attempt ended, as words that follow its worker."""
    outcome = outcome_of(attempt)
    return f" ({outcome.reason or 'succeeded'})" if outcome else ""


def _step_sentence(run: StepRun) -> str:
    reason = f": {run.reason}" if run.reason else ""
    return f'step {run.index + 1} "{run.name}" {_is(run.state)}{reason}'


def _of_step(found: LiveObject, wanted: str, live: LiveState, loads: Mapping[str, Load]) -> Iterator[str]:
    """Say where a step of a project would run now."""
    if found.address.kind != "Project":
        raise UsageMistake(f"{found.address} has no steps", "write Project/NAME/STEP")
    project = ProjectSpec.parse(found.spec)
    process = project.process
    step = next(steps_called(wanted, process), None)
    if step is None:
        names = [step.name for step in process]
        raise UsageMistake(f'{found.address} has no step "{wanted}"{did_you_mean(wanted, names)}')
    yield f'"{step.name}" of {found.address} is declared at {found.position}'
    context = VariableContext(process=found.address.name, step=step.key)
    yield _where(step, project, live, context, loads)


def _where(
    step: Step, project: ProjectSpec, live: LiveState, context: VariableContext, loads: Mapping[str, Load]
) -> str:
    if step.action[0] == "manual":
        return MANUAL
    space = next((found for address, found in live.objects.items() if address.kind == "Space"), None)
    settings = SpaceSpec.parse(space.spec) if space else SpaceSpec()
    formers = formers_of(live.objects, live.leaving, live.occupants)
    whereabouts = Whereabouts(live.objects, fleet_of(live.objects, settings, live.workers, live.overrides, formers))
    match whereabouts.choice(step, project, context):
        case str(missing):
            return f"it cannot run: {missing}"
        case Nowhere(reason):
            return f"its pool depends on where it is deployed: {reason}"
        case choice:
            return _placed(step, choice, whereabouts.fleet, loads)


def _placed(step: Step, choice: PoolChoice, fleet: Fleet, loads: Mapping[str, Load]) -> str:
    """Say which worker of a pool comes first of those that can take a step, as `explain` orders them."""
    found = place(step, choice, fleet, "", {name: load.attempts for name, load in loads.items()})
    if isinstance(found, Nowhere):
        return f"it cannot run: {found.reason}"
    if found.worker == BUILTIN:
        return f"it would run on {BUILTIN}: {found.because}"
    pool, needs = fleet.pools[choice.pool], needs_of(step, choice.pool, "", choice.requires)
    able = []
    for member in (fleet.workers[name] for name in pool.workers):
        load = loads.get(member.name, Load())
        if member.unfit(needs) is None and member.busy(load.attempts) is None:
            able.append(Prospect(member.name, (), load, member.isolation, member.run_as, member.limits))
    first = min(able, key=lambda prospect: prospect.rank(pool))
    loaded = f"{_counted(first.load.leases, 'lease')} and {_counted(first.load.attempts, 'attempt')}"
    order = f"the first of {len(able)} that can take it" if len(able) > 1 else "alone able to take it"
    return f"it would run on {first.name}: {choice.because}; {first.name}, with {loaded}, is {order}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _is(state: TaskState | StepState) -> str:
    return _HAS.get(state, f"is {state}")


_HAS: Mapping[str, str] = {
    "succeeded": "has succeeded",
    "failed": "has failed",
    "timedOut": "has timed out",
}
"""States that are not said with `is`."""
