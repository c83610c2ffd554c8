"""An agent that calls and one that listens, over TLS and through bad weather, while everything is killed that can be.

    pytest tests/chaos/test_rounds.py --rounds=300      what `make chaos` runs; --rounds-from=SEED begins with another seed

Each round is a deployment of six steps on two workers: an output variable, an artifact, two scripts side by side, a flood
of output. A round is judged from outside, by what its scripts wrote beside their logs.
"""

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from tests.chaos.conftest import ROUNDS_OF_INSTALLATION
from tests.chaos.fleet import Fleet, free_port
from tests.chaos.rounds import Round, install
from tests.chaos.space import space_in
from tests.chaos.troubles import Storm
from tests.chaos.weather import weather

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(900)]


def test_whatever_happens_each_step_starts_once_and_its_log_is_whole(
    campaign: int, tmp_path: Path, package: dict[str, str], record_property: Callable[[str, object], None]
) -> None:
    with space_in(tmp_path, **package) as space, weather() as skies:
        fleet = Fleet(space, port=free_port())
        install(fleet, skies)
        for number in range(ROUNDS_OF_INSTALLATION):
            this = Round(fleet, f"{campaign}.{number}", [])
            space.deploy(this.release)
            fleet.commit()
            Storm(this, skies, Random(this.release)).rage()
            try:
                state = this.judge()
            except AssertionError as error:
                error.add_note(f"round {this.release}, its troubles: {', '.join(this.troubles)}; see {tmp_path}")
                raise
            record_property("round", (state.value, this.troubles))
