"""Tokens of the API and kept answers are the same on every database."""

from reconciler.model.access import AccessToken, Grant
from reconciler.store import access
from reconciler.store.access import ANSWERS_KEPT, TOKENS_KEPT, KeptAnswer
from reconciler.store.writer import Store

NOW = 1_700_000_000.0
DAY = 86_400.0


def token(name: str, digest: str, at: float = NOW) -> AccessToken:
    return AccessToken(name, digest, (Grant("viewer", "shop"), Grant("auditor", "*")), "ann", at, at + DAY)


def test_a_token_is_found_by_its_digest_and_by_its_name(store: Store) -> None:
    store.write_now(lambda tx: access.put_token(tx, token("ci", "d1")))
    assert store.read_now(lambda tx: access.token_of(tx, "d1")) == token("ci", "d1")
    assert store.read_now(lambda tx: access.token(tx, "ci")) == token("ci", "d1")
    assert store.read_now(lambda tx: access.token_of(tx, "d2")) is None


def test_a_new_token_of_a_name_takes_the_place_of_the_former_and_old_ones_go(store: Store) -> None:
    for each in (token("ci", "d1"), token("old", "d0"), token("ci", "d2", NOW + DAY)):
        store.write_now(lambda tx, each=each: access.put_token(tx, each))
    assert [found.digest for found in store.read_now(access.tokens)] == ["d2", "d0"]
    later = token("new", "d3", NOW + 2 * DAY + TOKENS_KEPT)
    store.write_now(lambda tx: access.put_token(tx, later))
    assert [found.name for found in store.read_now(access.tokens)] == ["ci", "new"]


def test_use_and_revocation_are_remembered(store: Store) -> None:
    store.write_now(lambda tx: access.put_token(tx, token("ci", "d1")))
    store.write_now(lambda tx: access.see_use(tx, "d1", NOW + 5))
    assert store.write_now(lambda tx: access.revoke_token(tx, "ci", NOW + 9))
    assert not store.write_now(lambda tx: access.revoke_token(tx, "ci", NOW + 10))
    found = store.read_now(lambda tx: access.token(tx, "ci"))
    assert found is not None
    assert (found.last_used_at, found.revoked_at, found.state(NOW + 10)) == (NOW + 5, NOW + 9, "revoked")
    assert token("ci", "d1").state(NOW + 10) == "open"
    assert token("ci", "d1").state(NOW + DAY) == "expired"


def test_an_answer_is_kept_for_a_day(store: Store) -> None:
    kept = KeptAnswer("request", b"\x00sealed\xff")
    store.write_now(lambda tx: access.keep_answer(tx, "ci", "key", kept, NOW))
    assert store.read_now(lambda tx: access.kept_answer(tx, "ci", "key", NOW + 1)) == kept
    assert store.read_now(lambda tx: access.kept_answer(tx, "other", "key", NOW + 1)) is None
    assert store.read_now(lambda tx: access.kept_answer(tx, "ci", "key", NOW + ANSWERS_KEPT)) is None
    store.write_now(lambda tx: access.keep_answer(tx, "ci", "key", kept, NOW + ANSWERS_KEPT))
    assert store.read_now(lambda tx: access.kept_answer(tx, "ci", "key", NOW + ANSWERS_KEPT + 1)) == kept
