"""An agent that calls and one that listens, over TLS and through bad weather, while everything is killed that can be.

    pytest tests/chaos/test_rounds.py --rounds=300      what `make chaos` runs; --rounds-from=SEED begins with another seed

Each round is a deployment of six steps on two workers: an output variable, an artifact, two scripts side by side, a flood
of output. Killed and halted are the server, agents, nurseries, supervisors, scripts and whole machines, some of which
come back with an empty disk; links are cut, held in one direction, slowed, starved and replayed; somebody cancels. A
round is judged from outside, by what its scripts wrote beside their logs. That the suite catches what it is for was seen
with bugs planted on a copy (`--planted=NAME`):

* `no-claim`, a supervisor that starts a script without the claim: a task never ended (1 of 31 rounds);
* `forgotten-early`, a server that lets a worker forget an attempt whose end is not recorded: it was lost (1 of 29);
* `acknowledged-early`, a server that acknowledges bytes of a log that it has not written: logs were not whole (4 of 21);
* `offered-again`, a server that offers again what may have run on a lost disk: a second start (test_lost_disks, both).
"""

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from tests.chaos.conftest import ROUNDS_OF_INSTALLATION
from tests.chaos.fleet import Fleet, free_port
from tests.chaos.rounds import Round, install
from tests.chaos.space import BIN, space_in
from tests.chaos.troubles import Storm
from tests.chaos.weather import weather

PLAIN = {"PATH": f"{BIN}:/usr/bin:/bin"}
"""What agents look at when they start, some hundred times: not each tool of whoever runs the tests."""

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(900)]


def test_whatever_happens_each_step_starts_once_and_its_log_is_whole(
    campaign: int, tmp_path: Path, package: dict[str, str], record_property: Callable[[str, object], None]
) -> None:
    with space_in(tmp_path, **PLAIN, **package) as space, weather() as skies:
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
