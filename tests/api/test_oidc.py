"""Tokens of CI jobs: whom the configuration trusts, for what, and everything that lets nobody in."""

import base64
import hmac
import json
import threading
import time
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from reconciler.model.access import Grant
from reconciler.model.live import ActorKind
from reconciler.server.trust import oidc
from reconciler.server.trust.access_settings import OidcTable
from reconciler.server.trust.oidc import Issuers, KeySet
from reconciler.store import audit
from tests.api.premises import UNHURRIED, premises

ISSUER, AUDIENCE, SUBJECT = "https://ci.example.org", "reconcile", "repo:acme/shop:ref:refs/heads/main"


class Forge:
    """An issuer with a key, and a file that shows its public half."""

    def __init__(self, folder: Path, kid: str = "k1") -> None:
        self.kid, self.file = kid, folder / f"{kid}.json"
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.show(self.jwk())

    def jwk(self, **more: object) -> dict[str, Any]:
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
        return {**public, "kid": self.kid, "alg": "RS256", "use": "sig", **more}

    def show(self, *keys: dict[str, Any]) -> None:
        self.file.write_text(json.dumps({"keys": keys}))

    def token(self, key: object = None, algorithm: str = "RS256", kid: str | None = None, **claims: object) -> str:
        now = int(time.time())
        said = {"iss": ISSUER, "aud": AUDIENCE, "sub": SUBJECT, "iat": now, "exp": now + 300, "ref": "refs/heads/main"}
        left = {name: value for name, value in {**said, **claims}.items() if value is not None}
        return jwt.encode(left, key or self.key, algorithm, {"kid": self.kid if kid is None else kid})  # type: ignore[arg-type]  # any key

    def table(self, **more: object) -> OidcTable:
        known = {"issuer": ISSUER, "audience": AUDIENCE, "jwks_file": str(self.file), "subject": "repo:acme/shop:*"}
        return OidcTable.model_validate({**known, "roles": ["deployer"], "spaces": ["shop"], **more})


@pytest.fixture
def forge(tmp_path: Path) -> Forge:
    return Forge(tmp_path)


async def test_a_job_is_let_in_for_what_its_subject_may(forge: Forge) -> None:
    bearer = await Issuers.of([forge.table()]).bearer(forge.token())
    assert bearer is not None
    assert (bearer.name, bearer.grants) == (SUBJECT, (Grant("deployer", "shop"),))


async def test_tables_that_fit_give_together(forge: Forge) -> None:
    tables = [
        forge.table(),
        forge.table(roles=["auditor"], spaces=["*"], claims={"ref": "refs/heads/*"}),
        forge.table(roles=["administrator"], claims={"ref": "refs/tags/*"}),
        forge.table(roles=["administrator"], audience="another"),
    ]
    bearer = await Issuers.of(tables).bearer(forge.token())
    assert bearer is not None
    assert bearer.grants == (Grant("deployer", "shop"), Grant("auditor", "*"))


def unsigned(forge: Forge) -> str:
    return jwt.encode({"iss": ISSUER, "aud": AUDIENCE, "sub": SUBJECT, "exp": time.time() + 60}, "", "none")  # type: ignore[arg-type]  # no key


def with_the_public_key_as_a_secret(forge: Forge) -> str:
    """Sign with HMAC and what everybody knows, which a careless reader takes for the key."""
    public = forge.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )

    def part(value: bytes) -> bytes:
        return base64.urlsafe_b64encode(value).rstrip(b"=")

    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": SUBJECT, "exp": time.time() + 60}
    text = part(json.dumps({"alg": "HS256", "kid": forge.kid}).encode()) + b"." + part(json.dumps(claims).encode())
    return (text + b"." + part(hmac.new(public, text, sha256).digest())).decode()


def with_a_changed_claim(forge: Forge) -> str:
    head, _, sign = forge.token().split(".")
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": SUBJECT, "exp": time.time() + 9_000}
    return ".".join([head, base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode(), sign])


REFUSED = {
    "another issuer": lambda forge: forge.token(iss="https://evil.example.org"),
    "an issuer with a slash more": lambda forge: forge.token(iss=ISSUER + "/"),
    "another audience": lambda forge: forge.token(aud="other"),
    "no audience": lambda forge: forge.token(aud=None),
    "no end": lambda forge: forge.token(exp=None),
    "no subject": lambda forge: forge.token(sub=None),
    "a subject of another repository": lambda forge: forge.token(sub="repo:evil/shop:ref:refs/heads/main"),
    "a subject with something before it": lambda forge: forge.token(sub=f"x{SUBJECT}"),
    "a subject that is no text": lambda forge: forge.token(sub=["repo:acme/shop:x"]),
    "expired": lambda forge: forge.token(exp=int(time.time()) - 60),
    "not yet": lambda forge: forge.token(nbf=int(time.time()) + 600),
    "an unknown key": lambda forge: forge.token(kid="k2"),
    "no key named": lambda forge: forge.token(kid=""),
    "another key under its name": lambda forge: forge.token(
        rsa.generate_private_key(public_exponent=65537, key_size=2048)
    ),
    "another kind of key": lambda forge: forge.token(ec.generate_private_key(ec.SECP256R1()), "ES256"),
    "another algorithm of the same key": lambda forge: forge.token(algorithm="RS512"),
    "unsigned": unsigned,
    "the public key as a secret": with_the_public_key_as_a_secret,
    "a changed claim": with_a_changed_claim,
    "no token": lambda forge: "a.b.c",
    "two dots": lambda forge: "..",
    "much too long": lambda forge: forge.token(noise="x" * 20_000),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_whatever_cannot_be_shown_lets_nobody_in(forge: Forge, case: str) -> None:
    assert await Issuers.of([forge.table()]).bearer(REFUSED[case](forge)) is None


async def test_a_claim_that_is_wanted_has_to_be_there(forge: Forge) -> None:
    issuers = Issuers.of([forge.table(claims={"ref": "refs/heads/main", "environment": "production"})])
    assert await issuers.bearer(forge.token()) is None
    assert await issuers.bearer(forge.token(environment="production")) is not None
    assert await issuers.bearer(forge.token(environment="production", ref="refs/heads/other")) is None


@pytest.mark.parametrize(
    "keys",
    [
        [{"kty": "oct", "kid": "k1", "k": "c2VjcmV0", "alg": "HS256"}],
        [{"kty": "RSA", "kid": "k1"}],
        ["nonsense"],
        [{"kid": "k1"}],
        {},
    ],
    ids=["a secret", "half a key", "no object", "no kind", "no list"],
)
async def test_keys_that_are_none_are_left_out(forge: Forge, keys: Any) -> None:
    forge.file.write_text(json.dumps({"keys": keys}))
    assert await Issuers.of([forge.table()]).bearer(forge.token()) is None
    if isinstance(keys, list):
        forge.show(*keys, forge.jwk())
        assert await Issuers.of([forge.table()]).bearer(forge.token()) is not None


class Shown(BaseHTTPRequestHandler):
    """Answers with what the test has put there."""

    answer = (200, b"{}", {})
    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        status, body, headers = self.answer
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def page() -> Iterator[str]:
    """Serve keys over HTTP on this machine."""
    server = HTTPServer(("127.0.0.1", 0), Shown)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Shown.asked = 0
    yield f"http://127.0.0.1:{server.server_address[1]}/keys"
    server.shutdown()
    server.server_close()


async def test_keys_are_fetched_once_kept_and_fetched_again_for_a_new_one(
    forge: Forge, page: str, tmp_path: Path
) -> None:
    now = 1_000.0
    Shown.answer = (200, forge.file.read_bytes(), {})
    keys = KeySet(page, lambda: now)
    assert await keys.key("k1") is not None
    assert await keys.key("k1") is not None
    assert Shown.asked == 1
    assert await keys.key("k2") is None
    assert Shown.asked == 1, "not for each name that somebody invents"
    now += oidc.AGAIN
    other = Forge(tmp_path, "k2")
    Shown.answer = (200, json.dumps({"keys": [other.jwk()]}).encode(), {})
    assert await keys.key("k2") is not None
    assert await keys.key("k1") is None, "what the issuer shows no longer is trusted no longer"
    assert Shown.asked == 2


@pytest.mark.parametrize(
    "answer",
    [
        (500, b"", {}),
        (200, b"no json", {}),
        (302, b"", {"Location": "http://127.0.0.1:1/"}),
        (200, b" " * (2 << 20), {}),
    ],
    ids=["an error", "no JSON", "a way elsewhere", "too much"],
)
async def test_an_issuer_that_fails_opens_no_door_and_shuts_it_late(forge: Forge, page: str, answer: Any) -> None:
    now = 1_000.0
    Shown.answer = answer
    assert await KeySet(page, lambda: now).key("k1") is None
    Shown.answer = (200, forge.file.read_bytes(), {})
    keys = KeySet(page, lambda: now)
    assert await keys.key("k1") is not None
    Shown.answer = answer
    now += oidc.KEYS_FRESH
    assert await keys.key("k1") is not None, "it may be back in a moment"
    now += oidc.KEYS_OLD
    assert await keys.key("k1") is None


def test_a_job_calls_and_the_audit_names_its_subject(forge: Forge, tmp_path: Path) -> None:
    configured = UNHURRIED.model_copy(update={"oidc": [forge.table(roles=["administrator"])]})
    with premises(tmp_path, configuration=configured) as found:
        found.get("/status", forge.token()).expect(200)
        found.get("/status", forge.token(aud="other")).expect(401)
        found.post("/suspend", forge.token(), {"reason": "release", "seconds": 60}).expect(200)
        controller = found.service.post.controller
        assert controller is not None
        told = [event for event in controller.engine.store.read_now(audit.events) if event.action == "suspend"]
        assert [(event.actor, event.kind) for event in told] == [(SUBJECT, ActorKind.TOKEN)]
