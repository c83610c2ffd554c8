"""The installation's keys are made once, and changed without a moment in which somebody is locked out unasked."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.model.errors import Conflict, Refused
from reconciler.model.trust import Purpose
from reconciler.server.trust.keyring import keyring, retire, stage, switch
from reconciler.store.certificates import thumbprint_of
from reconciler.store.database import Transaction
from reconciler.store.keys import Sealer, sealer
from tests.conformance.conftest import Place, pgbouncer, place, postgres, spaces  # noqa: F401 - fixtures of both databases
from tests.server.parties import DAY, HOUR, NOW, Installation, agent, issued

Step = Callable[[Transaction, Sealer, Purpose, float], str]


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Installation]:
    found = Installation(tmp_path / "data")
    yield found
    found.store.close()


def step(here: Installation, act: Step, purpose: Purpose, now: float) -> str:
    return here.store.write_now(lambda tx: act(tx, here.sealer, purpose, now))


def by_force(act: Callable[..., str]) -> Step:
    return lambda tx, seal, purpose, now: act(tx, seal, purpose, now, forced=True)


def test_the_keys_are_made_once_and_are_the_same_after_opening_again(tmp_path: Path) -> None:
    first = Installation(tmp_path)
    ring = first.ring()
    first.store.close()
    again = Installation(tmp_path)
    assert again.ring(NOW + DAY) == ring
    again.store.close()


def test_nodes_that_begin_at_once_share_one_authority(place: Place, tmp_path: Path) -> None:  # noqa: F811 - the fixture
    with place.open() as one, place.open() as two:
        seal = one.write_now(lambda tx: sealer(tx, tmp_path / "key"))
        rings = [store.write_now(lambda tx: keyring(tx, seal, NOW)) for store in (one, two)]
    assert rings[0] == rings[1]


def test_the_next_server_key_is_announced_and_then_used(here: Installation) -> None:
    before = here.ring()
    step(here, stage, Purpose.SERVER, NOW + 1)
    staged = here.ring()
    assert staged.pin == before.pin
    assert staged.trust.pins[0] == before.pin
    step(here, switch, Purpose.SERVER, NOW + 2)
    after = here.ring()
    assert after.trust.pins == staged.trust.pins[1:] == (after.pin,)
    step(here, retire, Purpose.SERVER, NOW + 3)
    assert len(here.ring().keys) == len(before.keys)


def test_the_server_keeps_its_key_while_workers_have_not_heard_of_the_next(here: Installation) -> None:
    heard, enrolled, deaf = agent(), agent(), agent()
    here.declare("heard", heard, subscription="poll://heard")
    here.declare("enrolled", enrolled, subscription="poll://enrolled")
    here.declare("deaf", deaf, subscription="poll://deaf")
    for name in ("heard", "deaf"):
        here.greet(name, NOW)
    step(here, stage, Purpose.SERVER, NOW + HOUR)
    here.greet("heard", NOW + 2 * HOUR)
    issued(here.enrol(enrolled, here.token("enrolled", now=NOW + 2 * HOUR), NOW + 2 * HOUR))
    with pytest.raises(Refused) as refused:
        step(here, switch, Purpose.SERVER, NOW + 3 * HOUR)
    assert refused.value.message == "the next server key is unknown to deaf, not seen since it was made"
    here.greet("deaf", NOW + 3 * HOUR)
    step(here, switch, Purpose.SERVER, NOW + 4 * HOUR)


def test_a_person_may_give_deaf_workers_up(here: Installation) -> None:
    here.declare("deaf", agent())
    step(here, stage, Purpose.SERVER, NOW + HOUR)
    step(here, by_force(switch), Purpose.SERVER, NOW + 2 * HOUR)


def test_a_next_authority_is_trusted_at_once_and_certifies_after_its_switch(here: Installation) -> None:
    first = here.ring()
    step(here, stage, Purpose.CA, NOW + 1)
    staged = here.ring()
    assert staged.trust.authorities[0] == first.ca.certificate
    assert len(staged.trust.authorities) == 2
    assert staged.ca == first.ca
    step(here, switch, Purpose.CA, NOW + 2)
    switched = here.ring()
    assert switched.trust.authorities == staged.trust.authorities[::-1]
    assert switched.ca.certificate == switched.trust.authorities[0]


def test_a_former_authority_is_trusted_until_every_worker_has_renewed(here: Installation) -> None:
    one = agent()
    issued(here.enrol(one, here.token()))
    here.declare("worker-1", one)
    step(here, stage, Purpose.CA, NOW + HOUR)
    step(here, switch, Purpose.CA, NOW + 2 * HOUR)
    here.greet("worker-1", NOW + 3 * HOUR)
    with pytest.raises(Refused) as refused:
        step(here, retire, Purpose.CA, NOW + 4 * HOUR)
    assert refused.value.message == "the former certificate authority still certifies worker-1"
    issued(here.renew(one, one, NOW + 5 * HOUR))
    step(here, retire, Purpose.CA, NOW + 6 * HOUR)
    assert len(here.ring().trust.authorities) == 1


def test_the_servers_pin_outlives_the_authority_that_signed_its_certificate(here: Installation) -> None:
    before = here.ring()
    for act in (stage, switch, retire):
        step(here, act, Purpose.CA, NOW + HOUR)
    after = here.ring()
    assert after.pin == before.pin
    assert after.server.certificate != before.server.certificate


@pytest.mark.parametrize("purpose", Purpose)
def test_steps_out_of_order_are_refused(here: Installation, purpose: Purpose) -> None:
    here.ring()
    for act, words in ((switch, "there is no next"), (retire, "there is no former")):
        with pytest.raises(Conflict, match=words):
            step(here, act, purpose, NOW)
    step(here, stage, purpose, NOW)
    with pytest.raises(Conflict, match="is made already"):
        step(here, stage, purpose, NOW)
    step(here, switch, purpose, NOW)
    with pytest.raises(Conflict, match="is not retired yet"):
        step(here, stage, purpose, NOW)


def test_many_unseen_workers_are_counted_after_the_first_twenty(here: Installation) -> None:
    for number in range(25):
        here.declare(f"w-{number:02}", agent(), subscription=f"poll://w-{number:02}")
    step(here, stage, Purpose.SERVER, NOW)
    with pytest.raises(Refused, match=r"unknown to w-00, w-01, .*, w-19 and 5 more, not seen"):
        step(here, switch, Purpose.SERVER, NOW + 1)


def test_a_certificate_says_what_it_is_for(here: Installation) -> None:
    ring = here.ring()
    assert thumbprint_of(ring.server.certificate) == ring.pin
    assert "PRIVATE" not in repr(ring)
