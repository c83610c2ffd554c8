"""What a step requires, against what a machine has."""

import pytest
from pydantic import ValidationError

from reconciler.model.infrastructure import ExecutionLocationSpec
from reconciler.schedule.capabilities import unmet
from reconciler.schedule.fleet import Member
from reconciler.schedule.requests import Needs

FOUND = {"bash": "5.2.15", "terraform": "v1.5", "gpu": "a100", "sh": "", "git": "2.39.5-rc1"}


@pytest.mark.parametrize(
    "wanted",
    [
        {"bash": ">=4"},
        {"bash": ">=5.2,<6"},
        {"bash": ">= 5.2.15 , <= 5.2.15.0"},
        {"bash": "5.2.15"},
        {"bash": "=5.2.15"},
        {"bash": "*"},
        {"bash": ""},
        {"terraform": "1.5.0"},
        {"terraform": "!=1.4"},
        {"gpu": "a100"},
        {"gpu": "!=v100"},
        {"sh": ""},
        {"git": ">2.39.4"},
    ],
)
def test_met(wanted: dict[str, str]) -> None:
    ((name, text),) = ExecutionLocationSpec.model_validate({"requires": wanted}).requires.items()
    assert unmet(name, text, FOUND) is None


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ({"helm": "*"}, "has no helm"),
        ({"bash": ">=6"}, "has bash 5.2.15, and >=6 is required"),
        ({"bash": ">=4,<5"}, "has bash 5.2.15, and >=4,<5 is required"),
        ({"bash": "5.2"}, "has bash 5.2.15, and 5.2 is required"),
        ({"terraform": ">1.5.0"}, "has terraform v1.5, and >1.5.0 is required"),
        ({"gpu": "v100"}, "has gpu a100, and v100 is required"),
        ({"gpu": ">=1"}, "has gpu a100, and >=1 is required"),
        ({"sh": ">=1"}, "has sh of an unknown version, and >=1 is required"),
        ({"bash": "!=5.2.15.0"}, "has bash 5.2.15, and !=5.2.15.0 is required"),
    ],
)
def test_unmet(wanted: dict[str, str], reason: str) -> None:
    ((name, text),) = wanted.items()
    assert unmet(name, text, FOUND) == reason


@pytest.mark.parametrize("text", [">=new", "<", ">=1.5,<", "> =1", ">=*"])
def test_what_is_no_requirement_is_refused(text: str) -> None:
    with pytest.raises(ValidationError) as refused:
        ExecutionLocationSpec.model_validate({"requires": {"bash": text}})
    assert [error["type"] for error in refused.value.errors()] == ["bad-requirement"]


def test_who_is_awaited_has_not_told_yet_what_it_has() -> None:
    member = Member("built-in", (), "built-in", awaited=True)
    needs = Needs(machine="built-in", requires=(("docker", "*"),))
    assert [(obstacle.what, obstacle.mended) for obstacle in member.obstacles(needs)] == [
        ("has not told yet what it has", "it had told what it has")
    ]
