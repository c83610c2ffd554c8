"""What holds for every plan, whatever is declared and whatever is live."""

from collections.abc import Iterable
from dataclasses import replace
from random import Random
from typing import TypeVar

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from reconciler.model.desired import DesiredState
from reconciler.model.live import LiveState
from reconciler.model.spec import Address
from reconciler.model.text import Removals
from reconciler.plan import text
from reconciler.plan.changes import Plan
from reconciler.plan.planner import Options, plan
from reconciler.plan.saved import plan_lines
from tests.plan.living import dangling, live_of
from tests.plan.spaces import ENVIRONMENTS, POOLS, PROJECTS, WORKERS, desired_states
from tests.scenarios.applying import EMPTY, applied, settled

T = TypeVar("T")
FREE = Options(removals_max=Removals("100%"))
ADDRESSES = [
    *(Address("Environment", name) for name in ENVIRONMENTS),
    *(Address("WorkerPool", name) for name in POOLS),
    *(Address("Worker", name) for name in WORKERS),
    *(Address("Project", name) for name in PROJECTS),
    *(Address("Deployment", f"{project}-{environment}") for project in PROJECTS for environment in ENVIRONMENTS),
]
few = settings(max_examples=25, deadline=None)


@given(desired_states())
@few
def test_what_is_live_as_it_is_declared_needs_nothing(desired: DesiredState) -> None:
    found = plan(desired, live_of(desired))
    assert found.empty
    assert not found.refused
    assert found.warnings == found.failed == found.facts == ()


@given(desired_states(), desired_states())
@few
def test_carrying_a_plan_out_leaves_what_was_refused_and_nothing_else(
    before: DesiredState, after: DesiredState
) -> None:
    live = live_of(before)
    first = plan(after, live, FREE)
    assume(not first.refused or first.isolated)
    second = plan(after, settled(applied(first, after, live), {}), FREE)
    assert {change.address for change in second.changes} == {item.address for item in first.changes if item.refusal}
    assert {run.slot for run in second.runs} == {run.slot for run in first.runs if run.refusal}


@given(desired_states())
@few
def test_the_first_apply_creates_everything(desired: DesiredState) -> None:
    first = plan(desired, EMPTY)
    assert {change.address for change in first.changes} == desired.objects.keys()
    assert first.new_state is bool(first.runs)
    if not first.refused:
        assert plan(desired, settled(applied(first, desired, EMPTY), {})).empty


@given(desired_states(), desired_states(), st.data())
@few
def test_whatever_is_left_out_nothing_that_is_used_is_gone(
    before: DesiredState, after: DesiredState, data: st.DataObject
) -> None:
    chosen = st.lists(st.sampled_from(ADDRESSES), max_size=2).map(tuple)
    options = Options(data.draw(chosen, "targets"), data.draw(chosen, "excludes"), FREE.removals_max)
    live = live_of(before)
    found = plan(after, live, options)
    assume(not found.refused or found.isolated)
    assert dangling(applied(found, after, live)) == set()


@given(desired_states(), desired_states(), st.data())
@few
def test_what_is_excluded_neither_changes_nor_runs(
    before: DesiredState, after: DesiredState, data: st.DataObject
) -> None:
    excluded = data.draw(st.sampled_from(ADDRESSES))
    found = plan(after, live_of(before), Options(excludes=(excluded,)))
    assert excluded not in {change.address for change in found.changes}
    if excluded.kind == "Project":
        assert excluded.name not in {run.slot.project for run in found.runs}


@given(desired_states(), desired_states(), st.randoms(use_true_random=False))
@few
def test_the_order_of_objects_does_not_matter(before: DesiredState, after: DesiredState, random: Random) -> None:
    live = live_of(before)
    shuffled_after = replace(after, objects=dict(shuffled(after.objects.items(), random)))
    shuffled_live = replace(
        live,
        objects=dict(shuffled(live.objects.items(), random)),
        last_tasks=dict(shuffled(live.last_tasks.items(), random)),
    )
    one, other = plan(after, live), plan(shuffled_after, shuffled_live)
    assert text.render(one) == text.render(other)
    assert one == other


def shuffled(items: Iterable[T], random: Random) -> list[T]:
    found = list(items)
    random.shuffle(found)
    return found


@given(desired_states(), desired_states(), desired_states())
@few
def test_plans_have_one_digest_if_and_only_if_they_do_the_same(
    before: DesiredState, one: DesiredState, other: DesiredState
) -> None:
    live = live_of(before)
    first, second = plan(one, live), plan(other, live)
    same = plan_lines(first) == plan_lines(second)
    assert (first.digest == second.digest) is same
    if same:
        assert written(first, one, live) == written(second, other, live)


def written(found: Plan, desired: DesiredState, live: LiveState) -> dict[Address, str]:
    return {address: item.digest for address, item in applied(found, desired, live).objects.items()}


@given(desired_states(), desired_states())
@few
def test_every_update_shows_a_field(before: DesiredState, after: DesiredState) -> None:
    for change in plan(after, live_of(before)).changes:
        assert change.fields or change.action.value in {"rename", "remove", "create"}
