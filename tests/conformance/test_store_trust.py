"""Every dialect keeps the installation's keys (sealed), tokens that are used once, identities and revocations."""

from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.model.trust import AuthorityKey, EnrolmentToken, Identity, KeyState, Purpose, Revocation
from reconciler.store import authority, enrolment, objects
from reconciler.store.keys import Sealer, sealer
from reconciler.store.writer import Store
from tests.server.parties import polling_worker

CA = AuthorityKey(Purpose.CA, 1, "certificate of the CA", "private key of the CA", KeyState.CURRENT, 5.0, 4.0)
SERVER = replace(CA, purpose=Purpose.SERVER, private_key="private key of the server")
TOKEN = EnrolmentToken("0a1b2c3d", "ab" * 32, "worker-1", ("b", "a"), True, "ann", 100.0, 3700.0)
IDENTITY = Identity("SHA256:x", "worker-1", "poll://abc", "", 10.0, 20.0, "0a1b2c3d")
DAY = 86_400.0


@pytest.fixture
def seal(store: Store, tmp_path: Path) -> Sealer:
    return store.write_now(lambda tx: sealer(tx, tmp_path / "key"))


def put_keys(store: Store, seal: Sealer, *keys: AuthorityKey) -> None:
    for key in keys:
        store.write_now(lambda tx, key=key: authority.put_key(tx, key, seal))


def test_keys_come_back_and_private_ones_need_the_sealer(store: Store, seal: Sealer) -> None:
    put_keys(store, seal, SERVER, CA)
    assert store.read_now(lambda tx: authority.keys(tx, seal)) == (CA, SERVER)
    closed = tuple(replace(key, private_key="") for key in (CA, SERVER))
    assert store.read_now(lambda tx: authority.keys(tx, None)) == closed


def test_a_private_key_is_nowhere_in_the_database_and_not_shown(store: Store, seal: Sealer) -> None:
    put_keys(store, seal, CA)
    assert "private key" not in str(store.read_now(lambda tx: tx.all("SELECT * FROM authority_keys")))
    assert "private key of" not in repr(CA)


def test_a_key_goes_its_way_until_it_is_forgotten(store: Store, seal: Sealer) -> None:
    put_keys(store, seal, CA)
    store.write_now(lambda tx: authority.move_key(tx, CA, KeyState.FORMER, 9.0))
    store.write_now(lambda tx: authority.set_certificate(tx, CA, "another certificate"))
    moved = replace(CA, state=KeyState.FORMER, since=9.0, certificate="another certificate")
    assert store.read_now(lambda tx: authority.keys(tx, seal)) == (moved,)
    store.write_now(lambda tx: authority.remove_key(tx, CA))
    assert store.read_now(lambda tx: authority.keys(tx, seal)) == ()


def test_two_keys_of_one_purpose_are_never_in_use_at_once(store: Store, seal: Sealer) -> None:
    put_keys(store, seal, CA)
    with pytest.raises(Exception, match=r"(?i)unique"):
        put_keys(store, seal, replace(CA, number=2))
    assert store.read_now(lambda tx: authority.keys(tx, seal)) == (CA,)


def test_a_token_comes_back_and_an_id_is_given_once(store: Store) -> None:
    assert store.write_now(lambda tx: enrolment.put_token(tx, TOKEN))
    assert not store.write_now(lambda tx: enrolment.put_token(tx, replace(TOKEN, worker="another")))
    assert store.read_now(lambda tx: enrolment.token(tx, TOKEN.id)) == TOKEN
    assert store.read_now(lambda tx: enrolment.token(tx, "ffffffff")) is None


def test_a_token_is_used_once_and_revoked_once(store: Store) -> None:
    store.write_now(lambda tx: enrolment.put_token(tx, TOKEN))
    used = [store.write_now(lambda tx, by=by: enrolment.use_token(tx, TOKEN.id, by, 200.0)) for by in ("one", "two")]
    revoked = [store.write_now(lambda tx, at=at: enrolment.revoke_token(tx, TOKEN.id, at)) for at in (300.0, 301.0)]
    counted = [store.write_now(lambda tx: enrolment.count_refusal(tx, TOKEN.id)) for _ in range(2)]
    assert (used, revoked, counted) == ([True, False], [True, False], [1, 2])
    found = store.read_now(lambda tx: enrolment.token(tx, TOKEN.id))
    assert found == replace(TOKEN, used_by="one", used_at=200.0, revoked_at=300.0, refusals=2)


def test_tokens_are_listed_newest_first_and_dropped_when_long_past(store: Store) -> None:
    for number in range(3):
        token = replace(TOKEN, id=f"{number}", created_at=number * DAY, expires_at=number * DAY + 60.0)
        store.write_now(lambda tx, token=token: enrolment.put_token(tx, token))
    assert [token.id for token in store.read_now(enrolment.tokens)] == ["2", "1", "0"]
    later = replace(TOKEN, id="9", created_at=31.5 * DAY, expires_at=32 * DAY)
    store.write_now(lambda tx: enrolment.put_token(tx, later))
    assert [token.id for token in store.read_now(enrolment.tokens)] == ["9", "2"]


def test_an_identity_is_written_over_and_found_by_its_worker(store: Store) -> None:
    other = replace(IDENTITY, thumbprint="SHA256:y", worker="worker-2")
    renewed = replace(IDENTITY, certified_at=15.0, expires_at=25.0)
    for identity in (IDENTITY, other, renewed):
        store.write_now(lambda tx, identity=identity: enrolment.put_identity(tx, identity))
    assert store.read_now(lambda tx: enrolment.identity(tx, "SHA256:x")) == renewed
    assert store.read_now(lambda tx: enrolment.identity(tx, "SHA256:z")) is None
    assert store.read_now(lambda tx: enrolment.identities(tx, "worker-2")) == [other]
    assert store.read_now(enrolment.identities) == [renewed, other]


def test_live_workers_are_found_by_a_thumbprint_in_their_specs(store: Store) -> None:
    for name, thumbprint in (("worker-1", "SHA256:a+/b"), ("worker-2", "SHA256:A+/B")):
        found = polling_worker(name, "poll://abc", thumbprint)
        store.write_now(lambda tx, found=found: objects.put(tx, found))
    found = store.read_now(lambda tx: enrolment.specs_naming(tx, "SHA256:a+/b"))
    assert "SHA256:a+/b" in found["worker-1"]
    assert store.read_now(lambda tx: enrolment.specs_naming(tx, "SHA256:a+/")) == {}


def test_an_identity_is_revoked_once_and_lifted_once(store: Store) -> None:
    revocation = Revocation("SHA256:x", "worker-1", "stolen", "ann", 30.0)
    again = replace(revocation, reason="lost", at=31.0)
    assert [store.write_now(lambda tx, one=one: enrolment.revoke(tx, one)) for one in (revocation, again)] == [
        True,
        False,
    ]
    assert store.read_now(enrolment.revocations) == {"SHA256:x": revocation}
    assert [store.write_now(lambda tx: enrolment.lift(tx, "SHA256:x")) for _ in range(2)] == [True, False]
    assert store.read_now(enrolment.revocations) == {}
