"""Whom a live object goes on as, where validation could not prevent that two claim it."""

from reconciler.declare.documents import parse_file
from reconciler.model.desired import DesiredState
from reconciler.model.space import SpaceSpec
from reconciler.model.spec import Address
from reconciler.plan.renames import declared
from tests.plan.living import live_of

TEAM = "apiVersion: reconciler/v1\nkind: Team\nmetadata: {%s}\nspec: {members: [ada]}\n"


def team_space(*metadata: str) -> DesiredState:
    found = parse_file("teams.yaml", "---\n".join(TEAM % each for each in metadata).encode()).declared
    return DesiredState("default", SpaceSpec(), {each.address: each for each in found}, "commit")


def test_of_two_that_claim_one_former_name_the_first_by_name_has_it_whatever_the_order_of_the_files() -> None:
    live = live_of(team_space("name: people"))
    heirs = ("name: operators, renamedFrom: people", "name: builders, renamedFrom: people")
    for order in (heirs, heirs[::-1]):
        assert declared(team_space(*order), live) == {Address("Team", "builders"): Address("Team", "people")}
