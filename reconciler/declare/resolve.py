"""Check what no document can know alone: names, references, identities, defaults, cycles."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from reconciler.declare.contents import CLAIM, Contents
from reconciler.declare.lint import warnings
from reconciler.declare.machines import machine_problems
from reconciler.declare.partial import Hidden, Partial, names_stand_in
from reconciler.declare.space import NOTHING_HIDDEN, FieldPath, FileKind, Locate, Space
from reconciler.model.desired import Declared
from reconciler.model.diagnostics import Diagnostic, Related, Severity
from reconciler.model.infrastructure import DEFAULT_PORTS
from reconciler.model.order import IMPLICIT
from reconciler.model.space import SpaceSpec
from reconciler.model.spec import Address, Reference


def resolve(
    contents: Contents,
    paths: Mapping[str, FileKind],
    locate: Locate,
    settings: SpaceSpec,
    *,
    partial: Iterable[Partial] = (),
    hidden: Hidden = NOTHING_HIDDEN,
) -> list[Diagnostic]:
    """Return every problem between objects, unsorted.

    Of two objects in conflict the later one is blamed, in the order of their files. Spans point at
    the field that has to change. `partial` objects are faulty ones, of which something is certain; from what they do
    not show, and from what is `hidden`, nothing is concluded.
    """
    space = Space.of(contents, paths, locate, settings, partial=partial, hidden=hidden)
    problems = list(_duplicates(space))
    for check in _checks(space.kinds()):
        problems += check(space)
    told = dict.fromkeys(problems)  # all workers of a set may share one fault of its defaults
    return [problem for problem in told if not (space.partial and names_stand_in(problem.message))]


def _checks(kinds: set[str]) -> Iterator[Callable[[Space], Iterable[Diagnostic]]]:
    """Yield the checks that some kind calls for: a fleet of workers needs no look at templates, nor their import."""
    yield from (_dangling, _defaults, _identities, _renames, machine_problems, warnings)
    if not kinds.isdisjoint({"Account", "Certificate", "Project", "VariableSet", "Tenant"}):
        from reconciler.declare.files import file_problems

        yield file_problems
    if not kinds.isdisjoint({"Deployment", "RunbookRun", "Schedule", "Tenant", "Project", "VariableSet", "Runbook"}):
        from reconciler.declare.deployments import deployment_problems

        yield deployment_problems
    if not kinds.isdisjoint({"Project", "Runbook", "StepTemplate", "VariableSet", "Tenant"}):
        yield from _checks_of_work()


def _checks_of_work() -> Iterator[Callable[[Space], Iterable[Diagnostic]]]:
    from reconciler.declare.fields import strays
    from reconciler.declare.placing import placing_problems
    from reconciler.declare.processes import process_problems
    from reconciler.declare.tags import tag_problems
    from reconciler.declare.values import value_problems
    from reconciler.declare.variables import variable_problems

    yield from (variable_problems, process_problems, value_problems, tag_problems, placing_problems, strays)


def _duplicates(space: Space) -> Iterator[Diagnostic]:
    if len(space.objects) == len(space.declared):
        return
    for item in space.declared:
        first = space.objects[item.address]
        if first is not item:
            yield Diagnostic(
                space.locate(item, _name_of(item)),
                Severity.ERROR,
                "duplicate-name",
                f"{item.address} is declared twice",
                "give one of them another name, or remove it",
                (Related(space.locate(first, _name_of(first)), "it is declared here first"),),
            )


def _name_of(item: Declared) -> FieldPath:
    return ("metadata", "name") if item.item is None else ("spec", "workers", item.item, "name")


def _dangling(space: Space) -> Iterator[Diagnostic]:
    if not space.tally.dangles:
        return
    known: dict[str, set[str]] = {}
    for declared in space.declared:
        for reference in declared.references:
            if reference.target not in space.objects and reference.target not in IMPLICIT:
                kind = reference.target.kind
                if space.may_hold(reference.target):
                    continue
                if kind not in known:
                    known[kind] = space.names(kind)
                yield _unknown(space, declared, reference, known[kind])


def _unknown(space: Space, declared: Declared, reference: Reference, names: set[str]) -> Diagnostic:
    kind, name = reference.target
    return space.error(
        declared,
        ("spec", *reference.path),
        "unknown-reference",
        f'{kind} "{name}" is not declared{space.suggestion(name, names)}',
    )


def _defaults(space: Space) -> Iterator[Diagnostic]:
    for kind, code in (("WorkerPool", "second-default-pool"), ("MachinePolicy", "second-default-policy")):
        marked = (item for item in space.of_kind(kind) if '"default":' in item.spec)
        defaults = [item for item in marked if json.loads(item.spec).get("default")]
        for later in defaults[1:]:
            yield Diagnostic(
                space.locate(later, ("spec", "default")),
                Severity.ERROR,
                code,
                f"{later.address} is a second default; a space has one default {kind}",
                "remove default: true from all but one",
                (Related(space.locate(defaults[0], ("spec", "default")), f"{defaults[0].address} is the default"),),
            )


def _identities(space: Space) -> Iterator[Diagnostic]:
    """Find two objects that claim one machine; a worker and a target may share one when all fields agree."""
    if not space.tally.is_claimed_twice:
        return
    owners: dict[str, tuple[Declared, Mapping[str, object]]] = {}
    for declared in _claimants((*space.of_kind("Worker"), *space.of_kind("DeploymentTarget"))):
        endpoint = json.loads(declared.spec)["endpoint"]
        for identity, path, fields in _identities_of(endpoint):
            if space.partial and space.open_at(declared, *(("spec", "endpoint", *field) for field in fields)):
                continue
            owner, other = owners.setdefault(identity, (declared, endpoint))
            if owner.address == declared.address or _may_share(space, declared, owner, agree=other == endpoint):
                continue
            yield Diagnostic(
                space.locate(declared, (*space.root(declared), "endpoint", *path)),
                Severity.ERROR,
                "duplicate-identity",
                f"{declared.address} and {owner.address} have one identity: {identity}",
                "one machine is declared once; a worker and a target may share it when all endpoint fields agree",
                (Related(space.locate(owner, (*space.root(owner), "endpoint")), f"{owner.address} has it first"),),
            )


def _claimants(machines: Sequence[Declared]) -> list[Declared]:
    """Return the machines that share a host, subscription or thumbprint with another, found without reading JSON."""
    first: dict[str, Declared] = {}
    claimants: dict[int, Declared] = {}
    for declared in machines:
        for word in CLAIM.findall(declared.spec):
            other = first.setdefault(word, declared)
            if other is not declared:
                claimants |= {id(other): other, id(declared): declared}
    return [declared for declared in machines if id(declared) in claimants]


def _may_share(space: Space, declared: Declared, owner: Declared, *, agree: bool) -> bool:
    uncertain = any(space.open_at(item, ("spec", "endpoint")) for item in (declared, owner))
    return owner.address.kind != declared.address.kind and (agree or uncertain)


def _identities_of(endpoint: Mapping[str, dict[str, object]]) -> Iterator[tuple[str, FieldPath, list[FieldPath]]]:
    """Yield each identity that an endpoint claims, the field to blame, and all fields that it is made of."""
    for kind, facts in endpoint.items():
        if kind in DEFAULT_PORTS and "host" in facts:
            port = facts.get("port", DEFAULT_PORTS[kind])
            yield f"{facts['host']}:{port}", (kind, "host"), [(kind, "host"), (kind, "port")]
        if "subscription" in facts:
            yield str(facts["subscription"]), (kind, "subscription"), [(kind, "subscription")]
        thumbprints = facts.get("thumbprints", [])
        if isinstance(thumbprints, list):
            for index, thumbprint in enumerate(thumbprints):
                path = (kind, "thumbprints", index)
                yield str(thumbprint), path, [path]


def _renames(space: Space) -> Iterator[Diagnostic]:
    if not space.tally.renamed:
        return
    heirs: dict[Address, Declared] = {}
    for declared in space.declared:
        if declared.renamed_from is None:
            continue
        former = Address(declared.address.kind, declared.renamed_from)
        first = heirs.setdefault(former, declared)
        if former in space.objects:
            yield space.error(
                declared,
                _rename_of(declared),
                "rename-conflict",
                f"{declared.address} says that it was called {former.name}, and {former} is still declared",
                "remove the old document, or the renamedFrom line",
            )
        elif first.address != declared.address:
            yield Diagnostic(
                space.locate(declared, _rename_of(declared)),
                Severity.ERROR,
                "rename-conflict",
                f"{declared.address} says that it was called {former.name}, and {first.address} says so too",
                "only one can go on with its registration and history: remove the other renamedFrom line",
                (Related(space.locate(first, _rename_of(first)), "it is claimed here first"),),
            )


def _rename_of(item: Declared) -> FieldPath:
    return ("metadata", "renamedFrom") if item.item is None else ("spec", "workers", item.item, "renamedFrom")
