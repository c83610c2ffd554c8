"""A token makes one key known, Git alone lets it in, and whatever else a peer says is refused in words."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509

from reconciler.execute.listener import Admitted
from reconciler.execute.peers import Peer
from reconciler.model.trust import Revocation
from reconciler.protocol.messages import Hello
from reconciler.server.state.registered import Registered
from reconciler.server.trust.enrolment import REFUSALS_TOLD_MAX, admit
from reconciler.server.trust.tokens import parse_token, revoke_token
from reconciler.store import audit, enrolment
from tests.server.parties import DAY, HOUR, NOW, Agent, Installation, agent, issued, refused

HELLO = Hello((1,), "store", "boot", 1, 0, subscription="poll://worker-1")
WORKER = Registered("worker-1", ("pool",), ("SHA256:x",), "poll://worker-1")


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Installation]:
    found = Installation(tmp_path / "data")
    yield found
    found.store.close()


def events(here: Installation) -> list[tuple[str, str, str, str]]:
    """Return what was recorded after the installation's keys were made."""
    keys, found = here.store.read_now(audit.events)[:2], here.store.read_now(lambda tx: audit.events(tx, after=2))
    assert {event.action for event in keys} == {"trust make"}
    return [(event.actor.split(" ")[0], event.action, event.subject, event.outcome) for event in found]


def revoke(here: Installation, one: Agent) -> None:
    revocation = Revocation(one.thumbprint, "worker-1", "stolen", "ann", NOW)
    here.store.write_now(lambda tx: enrolment.revoke(tx, revocation))


def test_a_token_is_certified_as_the_worker_that_it_names(here: Installation) -> None:
    one = agent()
    certified = issued(here.enrol(one, here.token()))
    assert (certified.worker, certified.pools, certified.trust) == ("worker-1", ("pool",), here.ring().trust)
    found = here.store.read_now(lambda tx: enrolment.identity(tx, one.thumbprint))
    assert found is not None
    assert (found.worker, found.subscription, found.expires_at) == ("worker-1", "poll://worker-1", NOW + 365 * DAY)
    assert events(here) == [
        ("ann", "token create", "Worker/worker-1", "done"),
        ("agent", "enrol", "Worker/worker-1", "done"),
    ]


def test_nothing_that_a_request_says_of_itself_is_certified(here: Installation) -> None:
    certificate = x509.load_pem_x509_certificate(issued(here.enrol(agent(), here.token())).certificate.encode())
    assert certificate.subject.rfc4514_string() == "CN=worker-1"
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_the_secret_of_a_token_is_nowhere_in_the_store(here: Installation) -> None:
    text = parse_token(here.token())
    assert text is not None
    assert text.pin == here.ring().pin
    rows = here.store.read_now(lambda tx: tx.all("SELECT * FROM enrolment_tokens") + tx.all("SELECT * FROM events"))
    assert text.secret not in str(rows)
    assert text.secret not in repr(text)


def test_a_lost_answer_is_asked_for_again_with_the_same_key_alone(here: Installation) -> None:
    one, token = agent(), here.token()
    issued(here.enrol(one, token))
    issued(here.enrol(one, token, NOW + HOUR - 1))
    assert refused(here.enrol(agent(), token))[0] == "token"
    assert refused(here.enrol(one, token, NOW + HOUR))[0] == "token"
    assert [found[1:2] + found[3:] for found in events(here)][1:] == [
        ("enrol", "done"),
        ("enrol", "token"),
        ("enrol", "token"),
    ]


@pytest.mark.parametrize(
    "token",
    ["", "rct1", "rct1.a.b.c", "rct2.00000000.x.y", "rct1.ффффффff.x.y", "rct1." + "a" * 10_000 + ".x.y", "." * 50],
)
def test_what_is_no_token_is_unknown_and_leaves_no_line(here: Installation, token: str) -> None:
    assert refused(here.enrol(agent(), token)) == ("token", "the token is unknown")
    assert events(here) == []


def test_the_id_of_a_token_without_its_secret_opens_nothing(here: Installation) -> None:
    text = parse_token(here.token())
    assert text is not None
    assert refused(here.enrol(agent(), str(replace(text, secret="guessed")))) == ("token", "the token is unknown")


def test_a_revoked_token_opens_nothing(here: Installation) -> None:
    token = here.token()
    text = parse_token(token)
    assert text is not None
    here.store.write_now(lambda tx: revoke_token(tx, text.id, "ann", NOW))
    assert refused(here.enrol(agent(), token)) == ("token", f"the token {text.id} was revoked")


def test_a_bearer_who_asks_for_ever_does_not_fill_the_audit(here: Installation) -> None:
    token = here.token()
    for _ in range(REFUSALS_TOLD_MAX + 5):
        refused(here.enrol(agent(), token, NOW + DAY))
    assert len(events(here)) == 1 + REFUSALS_TOLD_MAX


def test_a_name_with_another_identity_in_git_is_taken_unless_the_token_replaces_it(here: Installation) -> None:
    here.declare("worker-1", agent())
    assert refused(here.enrol(agent(), here.token())) == ("taken", "worker-1 has another identity in Git")
    issued(here.enrol(agent(), here.token(replace=True)))


def test_a_worker_is_not_taken_out_of_its_pools_unless_the_token_replaces_them(here: Installation) -> None:
    one = agent()
    here.declare("worker-1", one)
    for pools, listed in (("tokyo",), "pool tokyo"), (("pool", "tokyo"), "pools pool, tokyo"):
        told = refused(here.enrol(one, here.token("worker-1", *pools)))
        assert told == ("taken", f"worker-1 is in the pool pool in Git, and the token is for the {listed}")
    certified = issued(here.enrol(one, here.token("worker-1", "tokyo", replace=True)))
    assert certified.pools == ("tokyo",)


def test_a_key_that_git_declares_may_be_enrolled_again(here: Installation) -> None:
    one = agent()
    here.declare("worker-1", one)
    issued(here.enrol(one, here.token()))


def test_a_copied_key_does_not_become_a_second_worker(here: Installation) -> None:
    one = agent()
    here.declare("worker-1", one)
    code, text = refused(here.enrol(one, here.token("worker-2")))
    assert (code, text) == ("taken", "the key is that of worker-1, and the token is for worker-2")


def test_a_revoked_key_is_not_certified_again(here: Installation) -> None:
    one = agent()
    here.declare("worker-1", one)
    revoke(here, one)
    assert refused(here.enrol(one, here.token(replace=True)))[0] == "revoked"
    assert refused(here.renew(one, one))[0] == "revoked"


@pytest.mark.parametrize(
    ("subscription", "listen"),
    [
        ("", ""),
        ("poll://abc", "host:10933"),
        ("poll://\x1b[2Jabc", ""),
        ("abc", ""),
        ("", "host"),
        ("", "host:1\nspec: {}"),
        ("", "$(id):10933"),
    ],
)
def test_what_could_not_stand_in_a_document_is_refused(here: Installation, subscription: str, listen: str) -> None:
    token = here.token()
    code, text = refused(here.enrol(agent(), token, subscription=subscription, listen=listen))
    assert code == "request"
    assert text.isprintable()
    issued(here.enrol(agent(), token, subscription="", listen="[::1]:10933"))


def test_a_declared_worker_is_let_in() -> None:
    assert admit(Peer("SHA256:x", NOW + 1), HELLO, {"SHA256:x": WORKER}, (), NOW) == Admitted("worker-1")


def test_a_self_signed_identity_has_no_end_to_judge() -> None:
    listening = replace(WORKER, subscription="")
    peer = Peer("SHA256:x", None)
    assert admit(peer, replace(HELLO, subscription=""), {"SHA256:x": listening}, (), NOW) == Admitted("worker-1")


@pytest.mark.parametrize(
    ("thumbprint", "expires_at", "subscription", "code", "text"),
    [
        (
            "SHA256:y",
            1.0,
            "poll://worker-1",
            "undeclared",
            "no Worker that was carried out bears the thumbprint SHA256:y",
        ),
        ("SHA256:x", 0.0, "poll://worker-1", "expired", "the certificate of worker-1 has run out"),
        (
            "SHA256:x",
            1.0,
            "poll://\x1bc",
            "undeclared",
            "this agent calls under 'poll://\\x1bc'; Git declares that worker-1 calls under poll://worker-1",
        ),
        (
            "SHA256:x",
            1.0,
            "",
            "undeclared",
            "this agent listens; Git declares that worker-1 calls under poll://worker-1",
        ),
        ("SHA256:z", 1.0, "poll://worker-1", "revoked", "the identity SHA256:z was revoked"),
    ],
)
def test_who_is_not_let_in_hears_why(
    thumbprint: str, expires_at: float, subscription: str, code: str, text: str
) -> None:
    hello = replace(HELLO, subscription=subscription)
    peer = Peer(thumbprint, NOW + expires_at)
    declared = {"SHA256:x": WORKER, "SHA256:z": WORKER}
    assert refused(admit(peer, hello, declared, {"SHA256:z"}, NOW)) == (code, text)


def test_a_certificate_is_renewed_for_the_same_key_and_for_the_next_one(here: Installation) -> None:
    one, following = agent(), agent()
    issued(here.enrol(one, here.token()))
    here.declare("worker-1", one)
    later = NOW + 400 * DAY
    assert issued(here.renew(one, one, later)).worker == "worker-1"
    issued(here.renew(one, following, later))
    known = {found.thumbprint: found for found in here.store.read_now(lambda tx: enrolment.identities(tx, "worker-1"))}
    assert {found.certified_at for found in known.values()} == {later}
    assert known.keys() == {one.thumbprint, following.thumbprint}


def test_a_certificate_is_not_renewed_for_strangers_and_not_for_the_key_of_another(here: Installation) -> None:
    one, two = agent(), agent()
    here.declare("worker-1", one)
    here.declare("worker-2", two)
    assert refused(here.renew(agent(), one))[0] == "undeclared"
    assert refused(here.renew(one, two)) == ("taken", "the key is that of worker-2")
    gone = agent()
    revoke(here, gone)
    assert refused(here.renew(one, gone))[0] == "revoked"
