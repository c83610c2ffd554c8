"""Compare a desired with a live state and say everything that would change, why, and what follows."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from reconciler.model.desired import Declared, DesiredState
from reconciler.model.diagnostics import did_you_mean
from reconciler.model.live import LiveObject, LiveState, TaskState
from reconciler.model.order import RANK
from reconciler.model.space import SpaceSpec
from reconciler.model.spec import Address
from reconciler.model.text import Removals
from reconciler.plan import consequences, deployments, processes, renames, safety, stored
from reconciler.plan.changes import Action, Change, LiveFact, Plan, Refusal, Run, title
from reconciler.plan.dependencies import Dependencies
from reconciler.plan.deployments import Wish
from reconciler.plan.differences import differences


@dataclass(frozen=True, slots=True)
class Options:
    """What the person who plans asks for beside the declarations; `ceiling`: `removals_max` is a server's, for good.

    Where commits are `followed` by a server, what a person can do next is said otherwise.
    """

    targets: tuple[Address, ...] = ()
    excludes: tuple[Address, ...] = ()
    removals_max: Removals | None = None
    retry_failed: bool = False
    ceiling: bool = False
    followed: bool = False


def plan(desired: DesiredState, live: LiveState, options: Options = Options()) -> Plan:
    """Return the difference, judged by the settings last applied.

    Changes stand in the order in which they are carried out: creations and updates along the dependencies of the
    kinds, removals the other way.
    """
    renamed = renames.declared(desired, live)
    changes = [*_creations(desired, live, renamed), *_removals(desired, live, renamed)]
    changes.sort(key=_order)
    declared = list(deployments.wishes(desired))
    everything = changes
    changes, wanted = _selected(changes, declared, desired, live, options)
    unwanted = [wish for wish in declared if wish not in wanted] if len(wanted) < len(declared) else []
    applied = settings_of(desired, live)
    changes = safety.guard(changes, desired, live, applied, options.removals_max, ceiling=options.ceiling)
    runs, waits = _runs(desired, live, wanted, options)
    if applied.apply == "isolated":
        changes, runs = safety.isolate(changes, runs, desired, live)
    explained = consequences.explain(changes, desired, live)
    new_state = not live.objects and not live.last_tasks and bool(runs)
    return Plan(
        space=desired.name,
        revision=desired.revision,
        serial=live.serial,
        changes=tuple(explained.changes),
        runs=tuple(runs),
        refusals=tuple(_refusals(live, desired)),
        warnings=(
            *explained.warnings,
            *renames.guesses(changes, desired, live),
            *processes.moved_on(runs, desired.objects, live),
            *_new_state(new_state, runs, options),
            *_strangers(options, desired, live),
        ),
        notes=tuple(stored.notes(desired, changes)),
        failed=tuple(
            deployments.failed_slots(
                declared,
                live,
                retried={run.slot for run in runs if not run.refusal},
                remedy=deployments.ByServer(lambda: desired.objects) if options.followed else deployments.by_apply,
            )
        ),
        facts=(*_facts(declared, live), *waits, *_forecast(changes, desired, live)),
        pending=tuple(task.id for task in deployments.unfinished(declared, live)),
        new_state=new_state,
        isolated=applied.apply == "isolated",
        complete=desired.complete,
        partial=len(changes) < len(everything) or any(deployments.runs(unwanted, live, retry_failed=False)),
    )


def settings_of(desired: DesiredState, live: LiveState) -> SpaceSpec:
    """Return the space's settings last applied: a commit is judged by those, but for the first one by its own."""
    if not live.objects:
        return desired.space
    space = next((found for address, found in live.objects.items() if address.kind == "Space"), None)
    return SpaceSpec.parse(space.spec) if space else SpaceSpec.model_construct()


def _creations(desired: DesiredState, live: LiveState, renamed: Mapping[Address, Address]) -> Iterable[Change]:
    known = live.objects.get
    differing = [
        address
        for address, declared in desired.objects.items()
        if (before := known(address)) is None or before.digest != declared.digest
    ]  # nearly nothing of a large space; who was renamed has another address
    for address in differing:
        declared, former = desired.objects[address], renamed.get(address)
        before = live.objects.get(former or address)
        if before is None:
            yield _create(declared)
        elif former is not None:
            yield _rename(declared, before, former)
        else:
            yield _update(declared, before)


def _create(declared: Declared) -> Change:
    return Change(
        declared.address,
        Action.CREATE,
        f"{declared.position} declares it",
        declared.position,
        differences(None, declared, declared.address.kind),
    )


def _rename(declared: Declared, before: LiveObject, former: Address) -> Change:
    because = f"{declared.position} says renamedFrom: {former.name}"
    fields = differences(before, declared, declared.address.kind)
    identity = safety.new_identity(declared, before)
    if identity:
        return Change(declared.address, Action.REPLACE, identity, declared.position, fields, former=former)
    return Change(declared.address, Action.RENAME, because, declared.position, fields, former=former)


def _update(declared: Declared, before: LiveObject) -> Change:
    fields = differences(before, declared, declared.address.kind)
    identity = safety.new_identity(declared, before)
    if identity:
        return Change(declared.address, Action.REPLACE, identity, declared.position, fields)
    return Change(declared.address, Action.UPDATE, f"{declared.position} differs", declared.position, fields)


def _removals(desired: DesiredState, live: LiveState, renamed: Mapping[Address, Address]) -> Iterable[Change]:
    if not desired.complete:
        return
    formers = set(renamed.values())
    for address in [address for address in live.objects if address not in desired.objects]:
        if address in formers:
            continue
        gone = live.objects[address]
        yield Change(
            address,
            Action.REMOVE,
            f"{gone.position.file} no longer declares it{_at(desired.revision)}",
            gone.position,
            differences(gone, None, address.kind),
        )


def _at(revision: str) -> str:
    """Name a commit shortly; a working tree goes without saying."""
    return "" if not revision or revision.startswith("tree:") else f" at {revision[:7]}"


def _order(change: Change) -> tuple[bool, int, str]:
    removal = change.action is Action.REMOVE
    rank = RANK.get(change.address.kind, len(RANK))
    return (removal, -rank if removal else rank, change.address.name)


def _selected(
    changes: list[Change], wishes: list[Wish], desired: DesiredState, live: LiveState, options: Options
) -> tuple[list[Change], list[Wish]]:
    """Keep what `--target` names with all that it needs, and leave out what `--exclude` names with all that needs it."""
    if not (options.targets or options.excludes):
        return changes, wishes
    dependencies = Dependencies(changes, desired, live)
    wanted = dependencies.with_needs(options.targets)
    unwanted = dependencies.with_users(options.excludes)

    def chosen(address: Address) -> bool:
        return (address in wanted or not options.targets) and address not in unwanted

    return (
        [change for change in changes if chosen(change.address)],
        [wish for wish in wishes if chosen(Address("Deployment", wish.deployment))],
    )


def _runs(
    desired: DesiredState, live: LiveState, wishes: list[Wish], options: Options
) -> tuple[list[Run], list[LiveFact]]:
    """Return the runs with what will come of each, and what keeps them just now."""
    found = list(deployments.runs(wishes, live, retry_failed=options.retry_failed))
    if not found:
        return [], []
    from reconciler.plan.outlook import Judge  # here, for a plan without runs needs no process

    judge = Judge(desired, live)
    judged = [(run, *judge.of(run)) for run in found]
    return [replace(run, **outlook) for run, outlook, _ in judged], [fact for *_, facts in judged for fact in facts]


def _refusals(live: LiveState, desired: DesiredState) -> Iterable[Refusal]:
    if live.binding is not None and live.binding.space != desired.name:
        yield Refusal(
            "other-space",
            f'this state belongs to the space "{live.binding.space}", and the repository declares "{desired.name}"',
            "use another --data directory for another space",
        )


def _new_state(new_state: bool, runs: list[Run], options: Options) -> Iterable[str]:
    if new_state:
        remedy = (
            "A person has to approve the plan, unless the server was started with --new-state or --adopt"
            if options.followed
            else "Apply with --new-state to run them, or with --adopt to record them as done"
        )
        plural = "s" if len(runs) > 1 else ""
        yield f"the live state is empty: {len(runs)} declared deployment{plural} never ran here. {remedy}"


def _strangers(options: Options, desired: DesiredState, live: LiveState) -> Iterable[str]:
    for address in (*options.targets, *options.excludes):
        known = {*desired.objects, *live.objects}
        if address not in known:
            yield f"{address} is neither declared nor live{did_you_mean(str(address), map(str, known))}"


def _facts(declared: list[Wish], live: LiveState) -> Iterable[LiveFact]:
    for task in deployments.unfinished(declared, live):
        state = "waits for a person" if task.state is TaskState.AWAITING_INTERVENTION else f"is {task.state}"
        yield LiveFact(f"{title(task.deployment, task.slot)} {state} at release {task.release} (task {task.id})")
    for override in live.overrides.values():
        yield LiveFact(
            f"Worker/{override.worker} is draining {override.words} (live override, which a plan leaves as it is)"
        )


def _forecast(changes: list[Change], desired: DesiredState, live: LiveState) -> Iterable[LiveFact]:
    if not any(safety.may_end_a_worker(change) for change in changes):
        return ()
    from reconciler.plan.draining import forecast  # here, for few plans take workers away

    return forecast(changes, desired, live)
