"""Where a step runs: which pool, which worker of it, and in words why not elsewhere."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from reconciler.model.infrastructure import ExecutionLocationSpec
from reconciler.model.work import Step
from reconciler.schedule.fleet import BUILTIN, Fleet, Member
from reconciler.schedule.limits import promises_of
from reconciler.schedule.requests import Needs


@dataclass(frozen=True, slots=True)
class PoolChoice:
    """The pool of a step, which rule chose it, and what the step's location requires of a worker there."""

    pool: str
    because: str
    requires: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Placed:
    """The worker that takes the step, why this one, and how the script is kept there."""

    worker: str
    because: str
    isolation: str = "none"
    run_as: str = ""
    rivals: tuple[tuple[str, str], ...] = ()
    """Other workers that might have taken it, and why they did not."""

    @property
    def decision(self) -> str:
        """The whole decision in words."""
        others = ", ".join(f"{name} {reason}" for name, reason in self.rivals)
        return f"{self.because}; {others}" if others else self.because


@dataclass(frozen=True, slots=True)
class Nowhere:
    """Nobody can take the step; `final` says that only a change of the declarations mends it."""

    reason: str
    final: bool = False
    obstacles: tuple[tuple[str, str], ...] = ()


PoolOfVariable = Callable[[str], str | None]
"""Resolves a worker-pool variable in the step's context; None where no value's scope holds."""


def location_of(step: Step, locations: Mapping[str, ExecutionLocationSpec]) -> ExecutionLocationSpec:
    """Return the location of a step, named or inline; a step without one is located on the server."""
    if step.location is None:
        return ExecutionLocationSpec()
    if isinstance(step.location, str):
        return locations[step.location]
    return step.location


def not_yet(step: Step, location: ExecutionLocationSpec) -> str | None:
    """Say which declared need of a step is not carried out yet, or None if all are."""
    if location.run_on == "targets":
        return "steps on deployment targets are not carried out yet"
    if location.on_behalf_of:
        return "steps on behalf of targets are not carried out yet"
    if location.container is not None:
        return "execution containers are not carried out yet"
    if step.packages:
        return "packages are not acquired yet"
    if step.action[0] == "group":
        return "rolling groups are not carried out yet"
    return None


def needs_of(step: Step, pool: str, environment: str, requires: Iterable[tuple[str, str]]) -> Needs:
    """Return what a step asks of its machine, once its pool is known; its location's `requires` holds beside its own."""
    return Needs(
        pool=pool,
        environment=environment,
        selector=tuple(sorted(step.selector.items())),
        requires=tuple(sorted({*step.requires.items(), *requires})),
        promises=promises_of(step),
    )


def choose_pool(
    location: ExecutionLocationSpec, fleet: Fleet, pool_of_variable: PoolOfVariable
) -> PoolChoice | Nowhere:
    """Resolve the pool of a location: its own, by variable, or the space's default one."""
    requires = tuple(sorted(location.requires.items()))
    if location.run_on == "workerPool" and location.pool is not None:
        return PoolChoice(location.pool, f"its location names the pool {location.pool}", requires)
    if location.run_on == "workerPool" and location.pool_variable is not None:
        name = location.pool_variable
        pool = pool_of_variable(name)
        if pool is None:
            return Nowhere(f"the worker-pool variable {name} has no value here", final=True)
        return PoolChoice(pool, f"the worker-pool variable {name} says {pool} here", requires)
    because = f"it names no pool, so the default pool {fleet.default_pool} is used"
    return PoolChoice(fleet.default_pool, because, requires)


def candidates(needs: Needs, fleet: Fleet) -> tuple[Member, ...] | Nowhere:
    """Return the machines that belong to what is needed, fit or not, or say why there are none."""
    if needs.machine:
        found = fleet.machine(needs.machine)
        return (found,) if found is not None else Nowhere(f"the machine {needs.machine} is not registered", final=True)
    pool = fleet.pools.get(needs.pool)
    if pool is None:
        return Nowhere(f"the pool {needs.pool} does not exist", final=True)
    if (
        needs.environment
        and pool.allowed_environments is not None
        and needs.environment not in pool.allowed_environments
    ):
        return Nowhere(f"the pool {pool.name} does not allow the environment {needs.environment}", final=True)
    if fleet.runs_builtin(pool.name):
        if fleet.builtin_enabled:
            return (fleet.builtin,)
        return Nowhere(f"the default pool {pool.name} has no workers and {fleet.builtin_obstacle}", final=True)
    if pool.dynamic:
        return Nowhere(f"the pool {pool.name} is dynamic, and dynamic workers are not made yet", final=True)
    if not pool.workers:
        return Nowhere(f"the pool {pool.name} has no workers", final=True)
    return tuple(fleet.workers[name] for name in pool.workers)


def can_take(machine: str, needs: Needs, fleet: Fleet) -> bool:
    """Say whether a machine is one of the candidates, and fits; without a look at all the others."""
    found, pool = fleet.machine(machine), fleet.pools.get(needs.pool)
    if found is None or found.unfit(needs) is not None:
        return False
    if needs.machine or machine == BUILTIN or pool is None:
        others = candidates(needs, fleet)
        return not isinstance(others, Nowhere) and found in others
    environments = pool.allowed_environments
    is_allowed = not needs.environment or environments is None or needs.environment in environments
    return is_allowed and not pool.dynamic and pool.name in found.pools


def place(
    step: Step, choice: PoolChoice, fleet: Fleet, environment: str, running: Mapping[str, int] | None = None
) -> Placed | Nowhere:
    """Choose the worker of a step in its pool, or say in words why nobody can take it.

    `running` says how many attempts live on each worker; absent, none.
    """
    needs = needs_of(step, choice.pool, environment, choice.requires)
    found = candidates(needs, fleet)
    if isinstance(found, Nowhere):
        return found
    if fleet.runs_builtin(choice.pool):
        return _on_builtin(needs, choice, fleet)
    obstacles, able = [], []
    counts = running or {}
    for worker in found:
        obstacle = worker.unfit(needs) or worker.busy(counts.get(worker.name, 0))
        if obstacle is None:
            able.append(worker)
        else:
            obstacles.append((worker.name, obstacle))
    if able:
        return _least_busy(able, counts, choice)
    name, obstacle = obstacles[0]
    others = f" (and {len(obstacles) - 1} more)" if len(obstacles) > 1 else ""
    return Nowhere(
        f"no worker of the pool {choice.pool} can take it: {name} {obstacle}{others}", obstacles=tuple(obstacles)
    )


def _on_builtin(needs: Needs, choice: PoolChoice, fleet: Fleet) -> Placed | Nowhere:
    here = fleet.builtin
    if lack := here.unfit(needs):
        reason = f"the pool {choice.pool} has no workers, and the built-in worker {lack}"
        return Nowhere(reason, obstacles=((BUILTIN, lack),))
    because = f"{choice.because}; it has no workers, so the built-in worker runs it"
    return Placed(BUILTIN, because, here.isolation, here.run_as)


def _least_busy(able: Sequence[Member], running: Mapping[str, int], choice: PoolChoice) -> Placed:
    """Choose the worker with the fewest attempts, of equals the first by name."""
    best = min(able, key=lambda worker: (running.get(worker.name, 0), worker.name))
    if len(able) == 1:
        because = f"{choice.because}; {best.name} alone can take it"
    else:
        count = running.get(best.name, 0)
        because = f"{choice.because}; {best.name} runs {count} attempts, the fewest of {len(able)} that can take it"
    return Placed(best.name, because, best.isolation, best.run_as)
