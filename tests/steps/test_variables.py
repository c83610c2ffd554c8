"""Which value of a variable holds, and which declarations leave that open."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.desired import Declared
from reconciler.model.organisation import TenantSpec, VariableSetSpec
from reconciler.model.spec import Address, Position
from reconciler.model.variables import Scope, Variable
from reconciler.model.work import ProjectSpec
from reconciler.schedule.variables import (
    Chosen,
    NoPool,
    Pool,
    Source,
    Sourced,
    Tie,
    Unscoped,
    VariableContext,
    choose,
    choose_all,
    find_ties,
    pool_in_context,
    pool_of,
    prefix_conflicts,
    specificity,
    visible,
)

HERE = VariableContext(
    environment="production",
    tenant="acme",
    tenant_tags=("tier/gold",),
    step="backup",
    process="shop",
    targets=("web-1",),
    target_tags=("web", "eu"),
    targeted_tags=("web",),
)


def variable(name: str = "V", kind: str = "string", **values: dict[str, list[str]]) -> Variable:
    """Make a variable whose values are called by their keys and hold in the given scopes."""
    return Variable.model_validate(
        {
            "name": name,
            "type": kind,
            "values": tuple({"value": value, "scope": scope_of(scope)} for value, scope in values.items()),
        }
    )


def scope_of(keys: dict[str, list[str]]) -> Scope:
    return Scope.model_validate({key: tuple(names) for key, names in keys.items()})


def in_project(*variables: Variable) -> list[Sourced]:
    return [Sourced(each, Source.PROJECT, "shop") for each in variables]


@pytest.mark.parametrize(
    ("scope", "weight"),
    [
        ({}, 0),
        ({"processes": ["shop"]}, 5),
        ({"environments": ["production"]}, 100),
        ({"environments": ["production"], "processes": ["shop"]}, 105),
        ({"tenantTags": ["tier/gold"]}, 1000),
        ({"tenants": ["acme"]}, 1001),
        ({"tenants": ["acme", "other"], "environments": ["development", "production"]}, 1101),
        ({"targetTags": ["eu"]}, 10**4),
        ({"targetTags": ["web"]}, 10**5),
        ({"targetTags": ["eu", "web"]}, 10**5),
        ({"targets": ["web-1"]}, 10**6),
        ({"steps": ["backup"]}, 10**7),
        ({"environments": ["development"]}, None),
        ({"environments": ["production"], "steps": ["other"]}, None),
        ({"targetTags": ["db"]}, None),
        ({"tenants": ["other"], "environments": ["production"]}, None),
    ],
)
def test_the_weights_of_the_keys_add_up_where_all_hold(scope: dict[str, list[str]], weight: int | None) -> None:
    assert specificity(scope_of(scope), HERE) == weight


@given(st.dictionaries(st.sampled_from(["environments", "tenants", "steps", "processes", "targets"]), st.just(["x"])))
def test_a_scope_holds_nowhere_outside_of_its_keys(scope: dict[str, list[str]]) -> None:
    assert specificity(scope_of(scope), VariableContext()) == (None if scope else 0)


def test_environment_and_process_beat_environment_and_lose_to_a_tenant_tag() -> None:
    both = {"environments": ["production"], "processes": ["shop"]}
    found = in_project(variable(one={"environments": ["production"]}, two=both))
    assert choose("V", found, HERE) == Chosen("V", "two", "string", Source.PROJECT, "shop", 105)
    found = in_project(variable(two=both, three={"tenantTags": ["tier/gold"]}))
    assert choose("V", found, HERE) == Chosen("V", "three", "string", Source.PROJECT, "shop", 1000)


def chosen(found: list[Sourced]) -> Any:
    choice = choose("V", found, HERE)
    assert isinstance(choice, Chosen)
    return choice.value


def test_a_tenant_beats_the_project_which_beats_a_shared_set_which_wins_only_by_specificity() -> None:
    shared = Sourced(variable(shared={}), Source.SHARED, "common")
    project = Sourced(variable(project={}), Source.PROJECT, "shop")
    tenant = Sourced(variable(tenant={}), Source.TENANT, "acme")
    other = Sourced(variable(other={}), Source.TENANT, "other")
    narrow = Sourced(variable(narrow={"processes": ["shop"]}), Source.SHARED, "common")
    assert chosen([shared, project]) == "project"
    assert chosen([project, narrow]) == "narrow"
    assert chosen([narrow, tenant, other, project]) == "tenant"
    assert chosen([Sourced(variable(scoped={"tenants": ["acme"]}), Source.PROJECT, "shop"), tenant]) == "tenant"


def test_what_a_deployment_sets_beats_every_scope_and_keeps_the_declared_type() -> None:
    project = ProjectSpec.model_validate(
        {
            "variables": (variable(kind="sensitive", one={"steps": ["backup"]}),),
            "process": ({"name": "Back up", "script": {}},),
        }
    )
    found = visible("shop", project, {}, deployment=("shop-production", {"V": "set", "Extra": "x"}))
    assert choose("V", found, HERE) == Chosen("V", "set", "sensitive", Source.DEPLOYMENT, "shop-production", 0)
    assert set(choose_all(found, HERE)) == {"V", "Extra"}


def test_without_a_value_that_holds_there_is_a_reason() -> None:
    choice = choose("V", in_project(variable(dev={"environments": ["development"]})), HERE)
    assert isinstance(choice, Unscoped)
    assert choice.reason == "vars.V has no value here; give it one whose scope holds, or one without a scope"


def test_two_values_that_hold_alike_are_a_tie_and_never_a_guess() -> None:
    found = [Sourced(variable(a={}), Source.SHARED, "one"), Sourced(variable(b={}), Source.SHARED, "two")]
    choice = choose("V", found, HERE)
    assert isinstance(choice, Tie)
    assert (
        choice.reason == "vars.V has two equally specific values here, declared in one and two; narrow the scope of one"
    )


TENANTS = {"acme": ("tier/gold", "region/eu"), "tiny": ("tier/free",)}
TARGETS = {"web-1": ("web", "eu"), "db-1": ("db",)}


def ties(*found: Sourced) -> list[str]:
    return [tie.sentence for tie in find_ties(found, TENANTS, TARGETS)]


MEND = "; narrow the scope of one, or remove it"


@pytest.mark.parametrize(
    ("one", "other", "where"),
    [
        ({}, {}, " everywhere"),
        ({"environments": ["production", "test"]}, {"environments": ["test", "development"]}, " in test"),
        ({"environments": ["production"]}, {"environments": ["test"]}, None),
        ({"environments": ["production"]}, {}, None),
        ({"environments": ["production"]}, {"environments": ["production"], "processes": ["shop"]}, None),
        ({"tenantTags": ["tier/gold"]}, {"tenantTags": ["region/eu"]}, " for the tenant acme"),
        ({"tenantTags": ["tier/free"]}, {"tenantTags": ["region/eu"]}, None),
        ({"tenants": ["acme"]}, {"tenants": ["acme", "tiny"]}, " for the tenant acme"),
        ({"tenants": ["acme"], "tenantTags": ["tier/free"]}, {"tenants": ["acme"], "tenantTags": ["tier/gold"]}, None),
        ({"targetTags": ["web"]}, {"targetTags": ["eu"]}, " on the target web-1"),
        ({"targetTags": ["web"]}, {"targetTags": ["db"]}, None),
        ({"steps": ["a", "b"]}, {"steps": ["b"]}, " in the step b"),
    ],
)
def test_a_tie_is_found_exactly_where_two_values_can_meet(
    one: dict[str, list[str]], other: dict[str, list[str]], where: str | None
) -> None:
    found = ties(*in_project(variable(a=one, b=other)))
    assert found == ([] if where is None else [f"two values of the variable V hold alike{where}{MEND}"])


def test_values_of_different_ranks_never_tie_but_two_shared_sets_do() -> None:
    project, shared = in_project(variable(a={})), Sourced(variable(a={}), Source.SHARED, "one")
    assert ties(*project, shared) == []
    assert len(ties(shared, Sourced(variable(b={}), Source.SHARED, "two"))) == 1
    tenant = Sourced(variable(a={}), Source.TENANT, "acme")
    assert ties(tenant, Sourced(variable(b={}), Source.TENANT, "tiny")) == []


SCOPES = st.fixed_dictionaries(
    {},
    optional={
        "environments": st.lists(st.sampled_from(["production", "test"]), min_size=1, unique=True),
        "tenants": st.lists(st.sampled_from(["acme", "tiny"]), min_size=1, unique=True),
        "tenantTags": st.lists(st.sampled_from(["tier/gold", "tier/free", "region/eu"]), min_size=1, unique=True),
        "processes": st.lists(st.sampled_from(["shop", "till"]), min_size=1, unique=True),
    },
)


@given(SCOPES, SCOPES, st.sampled_from(["production", "test"]), st.sampled_from(["shop", "till"]))
def test_where_validation_finds_no_tie_there_is_none_when_it_runs(
    one: dict[str, list[str]], other: dict[str, list[str]], environment: str, process: str
) -> None:
    found = in_project(variable(a=one, b=other))
    for tenant, tags in ((None, ()), *TENANTS.items()):
        context = VariableContext(environment=environment, tenant=tenant, tenant_tags=tags, process=process)
        if isinstance(choose("V", found, context), Tie):
            assert ties(*found)


def test_a_name_that_is_the_beginning_of_another_is_found() -> None:
    names = ["Db", "Db.Password", "Database", "Db.User.Name", "A.B.C", "A.B"]
    assert prefix_conflicts(names) == (("A.B", "A.B.C"), ("Db", "Db.Password"), ("Db", "Db.User.Name"))


POOLS = variable("Pool", "workerPool", dev={"environments": ["development"]}, omaha={"environments": ["production"]})


@pytest.mark.parametrize(
    ("name", "variables", "answer"),
    [
        ("Pool", [POOLS], Pool("omaha")),
        ("Nope", [POOLS], NoPool("the worker-pool variable Nope is not declared")),
        ("V", [variable(a={})], NoPool("the variable V is of type string, not workerPool")),
        (
            "Pool",
            [variable("Pool", "workerPool", dev={"environments": ["development"]})],
            NoPool("vars.Pool has no value here; give it one whose scope holds, or one without a scope"),
        ),
        (
            "Pool",
            [Variable.model_validate({"name": "Pool", "type": "workerPool", "value": {"env": "POOL"}})],
            NoPool("the worker-pool variable Pool names its pool by a source; write the pool's name"),
        ),
    ],
)
def test_a_pool_variable_names_its_pool_or_says_why_not(
    name: str, variables: list[Variable], answer: Pool | NoPool
) -> None:
    assert pool_of(name, in_project(*variables), HERE) == answer


def test_a_pool_is_found_among_declared_objects() -> None:
    project = ProjectSpec.model_validate(
        {"variableSets": ("common", "missing"), "process": ({"name": "Back up", "script": {}},)}
    )
    shared, tenant = VariableSetSpec(variables=(POOLS,)), TenantSpec(variables=())
    objects = {
        at: Declared(at, spec.canonical(), "{}", "", Position("a.yaml", 1))
        for at, spec in ((Address("VariableSet", "common"), shared), (Address("Tenant", "acme"), tenant))
    }
    assert pool_in_context("Pool", project, objects, HERE) == "omaha"
    assert pool_in_context("Other", project, objects, HERE) is None
