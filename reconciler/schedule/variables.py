"""Which value of a variable holds: the most specific one, and where two could hold alike, an error.

A value's scope holds where each of its keys names something of the context (OR within a key, AND across keys). Its
specificity is the sum of the weights of its keys:

| key | weight |
|---|---|
| steps | 10,000,000 |
| targets | 1,000,000 |
| targetTags, a tag that the step targets | 100,000 |
| targetTags, another tag of the target | 10,000 |
| tenants, or a variable of the tenant itself | 1,001 |
| tenantTags | 1,000 |
| environments | 100 |
| processes | 5 |

Where the sum is equal, a tenant's own variable beats the project's, and that beats a shared set's. What a deployment
sets beats every scope.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from itertools import combinations

from reconciler.model.organisation import TenantSpec, VariableSetSpec
from reconciler.model.spec import Address
from reconciler.model.variables import Scope, ScopedValue, Variable, VariableType, VariableValue
from reconciler.model.work import ProjectSpec
from reconciler.schedule.fleet import Described

STEP, TARGET, TARGETED_TAG, TARGET_TAG = 10**7, 10**6, 10**5, 10**4
TENANT, TENANT_TAG, ENVIRONMENT, PROCESS = 1001, 1000, 100, 5


class Source(IntEnum):
    """Where a variable is declared; of two equally specific values the higher source's holds."""

    SHARED = 0
    PROJECT = 1
    TENANT = 2
    DEPLOYMENT = 3


@dataclass(frozen=True, slots=True)
class Sourced:
    """A variable and where it is declared: `owner` is the name of the set, project, tenant or deployment."""

    variable: Variable
    source: Source
    owner: str

    @property
    def name(self) -> str:
        """The variable's name."""
        return self.variable.name

    def weigh(self, scope: Scope, context: "VariableContext") -> int | None:
        """Return how specific a value of this variable is in the context, or None where it does not hold."""
        if self.source is not Source.TENANT:
            return specificity(scope, context)
        if context.tenant != self.owner:
            return None
        found = specificity(scope, context)
        return found if found is None or scope.tenants else found + TENANT


@dataclass(frozen=True, slots=True)
class VariableContext:
    """Where a value is asked for; `targeted_tags` are those target tags by which the step chose its targets.

    `target_tags` are all tags of the target at hand. A step that runs once, without a target, has no targets.
    """

    environment: str | None = None
    tenant: str | None = None
    tenant_tags: Collection[str] = ()
    step: str | None = None
    process: str | None = None
    targets: Collection[str] = ()
    target_tags: Collection[str] = ()
    targeted_tags: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Chosen:
    """The value that holds; `sensitive` where any source declares the variable so."""

    name: str
    value: VariableValue
    type: VariableType
    source: Source
    owner: str
    specificity: int

    @property
    def sensitive(self) -> bool:
        """Must the value never be shown?"""
        return self.type == "sensitive"


@dataclass(frozen=True, slots=True)
class Unscoped:
    """The variable is declared, but none of its values holds here."""

    name: str

    @property
    def reason(self) -> str:
        """The sentence for people."""
        return f"vars.{self.name} has no value here; give it one whose scope holds, or one without a scope"


@dataclass(frozen=True, slots=True)
class Tie:
    """Two values hold alike; `first` and `second` are the owners that declare them."""

    name: str
    first: str
    second: str

    @property
    def reason(self) -> str:
        """The sentence for people."""
        where = self.first if self.first == self.second else f"{self.first} and {self.second}"
        return f"vars.{self.name} has two equally specific values here, declared in {where}; narrow the scope of one"


Choice = Chosen | Unscoped | Tie


def specificity(scope: Scope, context: VariableContext) -> int | None:
    """Return the sum of the weights of the scope's keys, or None where it does not hold."""
    total = 0
    for names, here, weight in _keys(scope, context):
        if names and set(names).isdisjoint(here):
            return None
        total += weight if names else 0
    return total


def _keys(scope: Scope, context: VariableContext) -> Iterator[tuple[tuple[str, ...], Collection[str], int]]:
    """Yield each key's names, what the context has of that kind, and the key's weight."""
    yield scope.steps, _one(context.step), STEP
    yield scope.targets, context.targets, TARGET
    targeted = set(scope.target_tags).intersection(context.target_tags).intersection(context.targeted_tags)
    yield scope.target_tags, context.target_tags, TARGETED_TAG if targeted else TARGET_TAG
    yield scope.tenants, _one(context.tenant), TENANT
    yield scope.tenant_tags, context.tenant_tags, TENANT_TAG
    yield scope.environments, _one(context.environment), ENVIRONMENT
    yield scope.processes, _one(context.process), PROCESS


def _one(name: str | None) -> tuple[str, ...]:
    return () if name is None else (name,)


def visible(
    project_name: str,
    project: ProjectSpec,
    sets: Mapping[str, VariableSetSpec],
    tenant: tuple[str, TenantSpec] | None = None,
    deployment: tuple[str, Mapping[str, str]] | None = None,
) -> tuple[Sourced, ...]:
    """Return the variables that a process of the project sees; sets that it does not take are left out."""
    found = [
        Sourced(variable, Source.SHARED, name)
        for name in project.variable_sets
        if name in sets
        for variable in sets[name].variables
    ]
    found += [Sourced(variable, Source.PROJECT, project_name) for variable in project.variables]
    if tenant is not None:
        found += [Sourced(variable, Source.TENANT, tenant[0]) for variable in tenant[1].variables]
    if deployment is not None:
        name, values = deployment
        found += [Sourced(_plain(key, text), Source.DEPLOYMENT, name) for key, text in values.items()]
    return tuple(found)


def _plain(name: str, text: str) -> Variable:
    """Make the variable that a deployment sets; its name is whatever the deployment says."""
    return Variable.model_construct(name=name, type="string", value=text, values=None, description="")


def choose(name: str, variables: Iterable[Sourced], context: VariableContext) -> Choice:
    """Return the value of `name` that holds in `context`, or why there is none; variables of other names are ignored."""
    ours = [sourced for sourced in variables if sourced.name == name]
    holding = [
        ((sourced.source is Source.DEPLOYMENT, weight, sourced.source), sourced, scoped.value)
        for sourced in ours
        for scoped in sourced.variable.scoped()
        if (weight := sourced.weigh(scoped.scope, context)) is not None
    ]
    if not holding:
        return Unscoped(name)
    holding.sort(key=lambda found: found[0], reverse=True)
    (rank, best, value), *others = holding
    if others and others[0][0] == rank:
        return Tie(name, best.owner, others[0][1].owner)
    kind = "sensitive" if any(sourced.variable.type == "sensitive" for sourced in ours) else _declared_type(ours)
    return Chosen(name, value, kind, best.source, best.owner, rank[1])


def _declared_type(ours: list[Sourced]) -> VariableType:
    """Return the type by the highest source that declares one; what a deployment sets takes it over."""
    declaring = [sourced for sourced in ours if sourced.source is not Source.DEPLOYMENT]
    return max(declaring or ours, key=lambda sourced: sourced.source).variable.type


def choose_all(variables: Iterable[Sourced], context: VariableContext) -> dict[str, Choice]:
    """Return the choice for every name that is declared anywhere."""
    by_name: dict[str, list[Sourced]] = {}
    for sourced in variables:
        by_name.setdefault(sourced.name, []).append(sourced)
    return {name: choose(name, ours, context) for name, ours in by_name.items()}


def pool_of(variable: str, variables: Iterable[Sourced], context: VariableContext) -> "Pool | NoPool":
    """Return the pool that a worker-pool variable names while a task is planned; scopes by target never hold then."""
    ours = [sourced for sourced in variables if sourced.name == variable]
    if not ours:
        return NoPool(f"the worker-pool variable {variable} is not declared")
    match choose(variable, ours, context):
        case Chosen(type=kind) if kind != "workerPool":
            return NoPool(f"the variable {variable} is of type {kind}, not workerPool")
        case Chosen(value=str(name)):
            return Pool(name)
        case Chosen():
            return NoPool(f"the worker-pool variable {variable} names its pool by a source; write the pool's name")
        case Unscoped() | Tie() as undecided:
            return NoPool(undecided.reason)


def pool_in_context(
    variable: str, project: ProjectSpec, objects: Mapping[Address, Described], context: VariableContext
) -> str | None:
    """Return the pool that a worker-pool variable names for a declared project, or None where it names none."""
    sets = {name: Address("VariableSet", name) for name in project.variable_sets}
    specs = {name: VariableSetSpec.parse(objects[at].spec) for name, at in sets.items() if at in objects}
    found = objects.get(Address("Tenant", context.tenant)) if context.tenant else None
    tenant = (context.tenant, TenantSpec.parse(found.spec)) if found and context.tenant else None
    match pool_of(variable, visible(context.process or "", project, specs, tenant), context):
        case Pool(name):
            return name
        case NoPool():
            return None


@dataclass(frozen=True, slots=True)
class Pool:
    """The pool that a variable names."""

    name: str


@dataclass(frozen=True, slots=True)
class NoPool:
    """Why a variable names no pool, in a sentence."""

    reason: str


@dataclass(frozen=True, slots=True)
class FoundTie:
    """Two values that can hold alike: each by its variable and the index of its value, and where they meet."""

    first: Sourced
    first_index: int
    second: Sourced
    second_index: int
    where: str

    @property
    def sentence(self) -> str:
        """What is wrong and how to mend it."""
        return (
            f"two values of the variable {self.first.name} hold alike{self.where}; "
            "narrow the scope of one, or remove it"
        )


def find_ties(
    variables: Iterable[Sourced],
    tenants: Mapping[str, Collection[str]],
    targets: Mapping[str, Collection[str]],
) -> Iterator[FoundTie]:
    """Yield each pair of values of one variable in sources of one rank that can hold at once, equally specific.

    `variables` are all those that one process sees; `tenants` and `targets` give the tags of each declared one, since
    two tags meet only on somebody who bears both. Sums of weights are equal only where both values use the same keys.
    """
    by_name: dict[tuple[str, Source, str], list[tuple[Sourced, int, ScopedValue]]] = {}
    for sourced in variables:
        group = (sourced.name, sourced.source, sourced.owner if sourced.source is Source.TENANT else "")
        values = by_name.setdefault(group, [])
        values += [(sourced, index, scoped) for index, scoped in enumerate(sourced.variable.scoped())]
    for values in by_name.values():
        for (first, first_index, one), (second, second_index, other) in combinations(values, 2):
            where = _meeting(one.scope, other.scope, tenants, targets)
            if where is not None:
                yield FoundTie(first, first_index, second, second_index, where)


def _meeting(
    one: Scope, other: Scope, tenants: Mapping[str, Collection[str]], targets: Mapping[str, Collection[str]]
) -> str | None:
    """Return where two scopes hold at once, equally specific, as words that follow a verb; None where nowhere."""
    if {key for key in Scope.model_fields if getattr(one, key)} != {
        key for key in Scope.model_fields if getattr(other, key)
    }:
        return None
    words = ""
    for key, word in (("environments", "in"), ("processes", "in the process"), ("steps", "in the step")):
        shared = set(getattr(one, key)) & set(getattr(other, key))
        if getattr(one, key) and not shared:
            return None
        words += f" {word} {min(shared)}" if shared else ""
    for keys, declared, word in (
        (("tenants", "tenant_tags"), tenants, "for the tenant"),
        (("targets", "target_tags"), targets, "on the target"),
    ):
        if any(getattr(one, key) for key in keys):
            bearers = [name for name, tags in declared.items() if _bears(name, tags, keys, (one, other))]
            if not bearers:
                return None
            words += f" {word} {min(bearers)}"
    return words or " everywhere"


def _bears(name: str, tags: Collection[str], keys: tuple[str, str], scopes: tuple[Scope, Scope]) -> bool:
    """Say whether somebody of this name, with these tags, is within both scopes."""
    by_name, by_tag = keys
    return all(
        (not getattr(scope, by_name) or name in getattr(scope, by_name))
        and (not getattr(scope, by_tag) or not set(tags).isdisjoint(getattr(scope, by_tag)))
        for scope in scopes
    )


def prefix_conflicts(names: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Return the pairs of names of which one is the dotted beginning of the other: `Db` and `Db.Password`."""
    known = set(names)
    return tuple(
        (shorter, longer)
        for longer in sorted(known)
        for at, sign in enumerate(longer)
        if sign == "." and (shorter := longer[:at]) in known
    )
