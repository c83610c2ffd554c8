"""What a plan may not do: remove the protected, remove too much, take a machine for another."""

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TypedDict

from pydantic import JsonValue

from reconciler.model.desired import Declared, DesiredState
from reconciler.model.live import LiveObject, LiveState
from reconciler.model.order import IMPLICIT
from reconciler.model.space import SpaceSpec
from reconciler.model.spec import Address
from reconciler.model.text import Removals
from reconciler.plan.changes import Action, Change, Run
from reconciler.plan.consequences import FLEET_KINDS
from reconciler.plan.dependencies import Dependencies

BUDGETED = ("Worker", "WorkerPool", "DeploymentTarget", "Account")
"""Kinds whose removals are counted: a mistake in them stops other people's work."""


class Marks(TypedDict):
    """How a change or run is marked that depends on a refused change."""

    refusal: str
    refused_now: bool


def new_identity(declared: Declared, before: LiveObject) -> str:
    """Say why the object is another machine than before, or "" if it is the same one."""
    if declared.address.kind not in {"Worker", "DeploymentTarget"}:
        return ""
    old, new = (json.loads(found.spec)["endpoint"] for found in (before, declared))
    (old_kind, old_facts), (new_kind, new_facts) = next(iter(old.items())), next(iter(new.items()))
    if old_kind != new_kind:
        return f"its endpoint was {old_kind} and is {new_kind} now"
    for key, words in (
        ("thumbprints", "none of its thumbprints stays"),
        ("subscription", "its subscription is another one"),
        ("hostKey", "its host key is another one"),
    ):
        if not _overlap(old_facts.get(key), new_facts.get(key)):
            return f"{words}, so it is another machine"
    return ""


def _overlap(before: JsonValue, after: JsonValue) -> bool:
    if isinstance(before, list) and isinstance(after, list):
        return any(item in after for item in before)
    return before == after


def guard(
    changes: list[Change],
    desired: DesiredState,
    live: LiveState,
    applied: SpaceSpec,
    removals_max: Removals | None,
    *,
    ceiling: bool = False,
) -> list[Change]:
    """Return the changes with a refusal on each one that protection or the removal budget stands against."""
    allowed = removals_max or applied.max_removals
    removed = Counter(change.address.kind for change in changes if change.action is Action.REMOVE)
    totals = Counter(address.kind for address in live.objects) if removed else Counter[str]()
    last_of = {} if removals_max is not None else _last_workers(changes, desired, live)
    guarded = []
    for change in changes:
        refusal = _protection(change, live)
        if not refusal and change.action is Action.REMOVE:
            kind = change.address.kind
            most = allowed.most(totals[kind])
            if kind in BUDGETED and removed[kind] > most:
                bound = (
                    f"the server's removals_max {allowed} allows {most}, whoever approves it"
                    if ceiling
                    else f"maxRemovals {allowed} allows {most}; if that is meant, apply with --max-removals {removed[kind]}, or approve it at the server"
                )
                refusal = f"this plan removes {removed[kind]} of {totals[kind]} {kind}s and {bound}"
            elif change.address in last_of:
                refusal = (
                    f"it would leave the pool {last_of[change.address]} without a worker; "
                    f"if that is meant, apply with --max-removals {removed[kind]}, or approve it at the server"
                )
        guarded.append(replace(change, refusal=refusal) if refusal else change)
    return guarded if removals_max is not None else _not_stranding(guarded, desired, live, applied, removed)


def _not_stranding(
    guarded: list[Change], desired: DesiredState, live: LiveState, applied: SpaceSpec, removed: Mapping[str, int]
) -> list[Change]:
    """Refuse for now, beside what is refused already, what leaves a step without a worker that can take it."""
    made = [change for change in guarded if not change.refusal] if applied.apply == "isolated" else guarded
    found, allowing = _stranded(made, desired, live), max(1, *(removed[kind] for kind in BUDGETED))
    return [
        replace(
            change,
            refusal=(
                f"it would leave {found[change.address]} without a worker that can take it; "
                f"if that is meant, apply with --max-removals {allowing}, or approve it at the server"
            ),
            refused_now=True,
        )
        if not change.refusal and change.address in found
        else change
        for change in guarded
    ]


def _protection(change: Change, live: LiveState) -> str:
    before = live.objects.get(change.former or change.address)
    if before is None or not before.protected or change.action not in {Action.REMOVE, Action.REPLACE}:
        return ""
    return f"it is protected; apply it once with metadata.protect: false, and {change.action} it afterwards"


def _last_workers(changes: list[Change], desired: DesiredState, live: LiveState) -> dict[Address, str]:
    """Map each removed worker to a pool that stays and that it leaves empty."""
    leaving = [
        change.address for change in changes if change.action is Action.REMOVE and change.address.kind == "Worker"
    ]
    if not leaving:
        return {}
    staying = Counter(
        pool
        for address, declared in desired.objects.items()
        if address.kind == "Worker"
        for pool in json.loads(declared.spec)["pools"]
    )
    found = {}
    for address in leaving:
        for pool in json.loads(live.objects[address].spec)["pools"]:
            address_of_pool = Address("WorkerPool", pool)
            if not staying[pool] and (address_of_pool in desired.objects or address_of_pool in IMPLICIT):
                found[address] = pool
    return found


def may_end_a_worker(change: Change) -> bool:
    """Say whether a live worker may take nothing new after a change."""
    if change.address.kind != "Worker" or change.action is Action.CREATE:
        return False
    return change.action in {Action.REMOVE, Action.REPLACE} or any(field.path == "state" for field in change.fields)


def _may_take_workers(change: Change) -> bool:
    """Say whether a change may take a worker from a step: those of the fleet do, but for a worker that comes."""
    comes = change.address.kind == "Worker" and change.action is Action.CREATE
    return change.address.kind in FLEET_KINDS and not comes


def _stranded(changes: list[Change], desired: DesiredState, live: LiveState) -> Mapping[Address, str]:
    """Map each change that takes workers away to a step of an unfinished task that nobody could take any more."""
    if not any(map(_may_take_workers, changes)):
        return {}
    from reconciler.plan.stranding import stranded  # here, for few plans take workers away

    return stranded(changes, desired, live)


def isolate(
    changes: Sequence[Change], runs: Sequence[Run], desired: DesiredState, live: LiveState
) -> tuple[list[Change], list[Run]]:
    """Mark everything that depends on a refused change as refused too, so that the rest can be carried out."""
    refused = [change for change in changes if change.refusal]
    if not refused:
        return list(changes), list(runs)
    dependencies = Dependencies(changes, desired, live)
    held = dependencies.with_users(change.address for change in refused)
    lastingly = dependencies.with_users(change.address for change in refused if not change.refused_now)
    why = "it depends on a change that is refused"

    def marks(address: Address) -> Marks:
        return {"refusal": why, "refused_now": address not in lastingly}

    marked = [
        replace(change, **marks(change.address)) if change.address in held and _open(change, lastingly) else change
        for change in changes
    ]
    of_runs = [(run, Address("Deployment", run.deployment)) for run in runs]
    held_runs = [
        replace(run, **marks(address)) if address in held and not run.refusal else run for run, address in of_runs
    ]
    return marked, held_runs


def _open(change: Change, lastingly: Collection[Address]) -> bool:
    """Say whether a change that is held is not refused yet, or for now alone though it depends on one that lasts."""
    return not change.refusal or (change.refused_now and change.address in lastingly)
