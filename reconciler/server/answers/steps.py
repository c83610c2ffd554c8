"""Steps by the names that people give them, and what lives on the workers that could run one."""

from collections.abc import Iterable, Iterator, Mapping

from reconciler.model.desired import DesiredState
from reconciler.model.diagnostics import did_you_mean
from reconciler.model.errors import UsageMistake
from reconciler.model.live import AttemptState, LiveState
from reconciler.model.spec import Address
from reconciler.model.work import ProjectSpec, Step
from reconciler.plan.explanation import Load
from reconciler.schedule.fleet import BUILTIN
from reconciler.store import attempts, worker_leases
from reconciler.store.database import Transaction
from reconciler.store.reader import open_for_reading


def find_step(name: str, project: str | None, desired: DesiredState) -> tuple[str, Step]:
    """Return a declared step and its project, by name or id, as `STEP`, `PROJECT/STEP` or its address; raises UsageMistake."""
    before, slash, wanted = name.rpartition("/")
    if slash and project is not None:
        raise UsageMistake(f"{name} names a project already", "write PROJECT/STEP, or leave --project away")
    within = before.removeprefix("Project/") if slash else project
    if within is not None:
        require(Address("Project", within), desired)
    found = steps_declared(wanted, within, desired)
    if len(found) > 1:
        named = ", ".join(f"{owner}/{step.key}" for owner, step in found)
        raise UsageMistake(f'"{wanted}" may be each of {named}', "write PROJECT/STEP, with the step's id")
    return found[0]


def steps_declared(wanted: str, project: str | None, desired: DesiredState) -> list[tuple[str, Step]]:
    """Return the steps of a name or id with their projects, of one project or of all; raises UsageMistake for none."""
    processes = {
        address.name: ProjectSpec.parse(found.spec).process
        for address, found in desired.objects.items()
        if address.kind == "Project" and project in {None, address.name}
    }
    found = [(owner, step) for owner, process in sorted(processes.items()) for step in steps_called(wanted, process)]
    if not found:
        where = f"Project/{project} has no" if project is not None else "no project has a"
        known = [word for process in processes.values() for step in process for word in (step.name, step.key)]
        raise UsageMistake(f'{where} step "{wanted}"{did_you_mean(wanted, known)}')
    return found


def steps_called(wanted: str, process: Iterable[Step]) -> Iterator[Step]:
    """Yield the steps of a process with an id, or where none has it, with a name."""
    steps = list(process)
    yield from [step for step in steps if step.key == wanted] or [step for step in steps if step.name == wanted]


def require(address: Address, desired: DesiredState) -> None:
    """Raise UsageMistake where an object is not declared."""
    if address not in desired.objects:
        known = [other.name for other in desired.objects if other.kind == address.kind]
        raise UsageMistake(f"{address} is not declared{did_you_mean(address.name, known)}")


def read_loads(data: str, live: LiveState) -> Mapping[str, Load]:
    """Read what lives on each worker without writing anything; nothing where there is no state."""
    reader = open_for_reading(data)
    if reader is None:
        return {}
    with reader:
        return reader.read_now(lambda tx: loads_in(tx, live))


def loads_in(tx: Transaction, live: LiveState) -> Mapping[str, Load]:
    """Return what lives on each worker."""
    leases: dict[str, list[int]] = {}
    for lease in worker_leases.leases(tx):
        leases.setdefault(lease.worker, []).append(lease.number)
    return {
        name: Load(
            sum(attempt.state is not AttemptState.LOST for attempt in attempts.unfinished_on(tx, name)),
            len(leases.get(name, ())),
            max(leases.get(name, ()), default=0),
        )
        for name in (*live.workers, BUILTIN)
    }
