"""Every operation asks for a token and for the permission that its description names."""

import json
import re
import time
from typing import Any

import pytest

from reconciler.model.access import ROLES, Permission
from reconciler.server.engine.control import decide
from reconciler.server.orders.orders import RevokeAccess
from tests.api.premises import Premises

VALUES = {
    "space": "shop", "task": "1", "kind": "Project", "name": "shop", "worker": "worker-1", "plan": "plan-0123456789ab",
    "token": "0a1b2c3d", "commit": "0123456789abcdef", "digest": "0a" * 32,
    "purpose": "ca",
}  # fmt: skip
BODIES: dict[str, Any] = {
    "DrainBody": {"reason": "x", "seconds": 60.0}, "SuspendBody": {"reason": "x", "seconds": 60.0},
    "TokenBody": {"worker": "w", "pools": ["p"]}, "RevocationBody": {"whom": "w", "reason": "x"},
    "LiftBody": {"whom": "w"}, "ReleaseBody": {"whom": "w", "reason": "x"}, "Notes": {}, "Reply": {}, "PlanBody": {},
    "AccessBody": {"name": "made", "roles": ["viewer"]}, "SwitchBody": {}, "RetireBody": {},
    "RehearsalBody": {},
}  # fmt: skip
UNSAID = {"JsonValue", "Obstacle"}
"""Schemas of things that have no words of their own."""
QUERIES = {"/why": "?address=Project/shop", "/explain": "?step=Work&environment=test"}
OWN_ANSWERS = {200, 400, 404, 409}
"""What an operation answers to who may call it, as nothing of this shop waits, drains or is revoked."""


def operations(shop: Premises) -> list[tuple[str, str, Permission, Any]]:
    """Return each operation with its method, path, permission and a body that it takes."""
    described = shop.call("GET", "/api/openapi.json").expect(200)
    found = []
    for template, methods in described["paths"].items():
        path = re.sub(r"\{(\w+)\}", lambda match: VALUES[match[1]], template)
        for method, operation in methods.items():
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
            sent = BODIES[body["$ref"].rpartition("/")[2]] if body else None
            query = next((query for end, query in QUERIES.items() if path.endswith(end)), "")
            found.append((method.upper(), path + query, Permission(operation["x-permission"]), sent))
    return found


def test_the_description_is_whole(shop: Premises) -> None:
    described = shop.call("GET", "/api/openapi.json").expect(200)
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            where = f"{method} {path}"
            assert operation["summary"], where
            assert operation["description"], where
            assert operation["operationId"], where
            assert operation["security"] == [{"HTTPBearer": []}], where
            assert {"401", "403", "404", "429", "503"} <= operation["responses"].keys(), where
            assert "422" not in operation["responses"], where
            for parameter in operation.get("parameters", []):
                if parameter["name"] not in {"step", "environment", "tenant", "project"}:
                    assert parameter.get("description"), f"{where}: {parameter['name']}"
    for name, schema in described["components"]["schemas"].items():
        assert schema.get("description") or name in UNSAID, name


def test_nobody_comes_in_without_a_token(shop: Premises) -> None:
    for method, path, _, body in operations(shop):
        for token in ("", "rcl_" + "A" * 43, "a.b.c", "rcl_"):
            reply = shop.call(method, path, token, body)
            while reply.status == 429:
                time.sleep(int(reply.headers["retry-after"]))
                reply = shop.call(method, path, token, body)
            said = reply.expect(401)
            assert said["code"] == 1, path
            assert said["error"] == (
                "the token is unknown, expired or revoked" if token else "the request shows no token"
            )
            assert reply.headers["www-authenticate"] == "Bearer"


def test_a_token_without_the_permission_is_refused_and_one_with_it_is_not(shop: Premises) -> None:
    tokens = {role: shop.token(role) for role in ROLES}
    for method, path, permission, body in operations(shop):
        if path.endswith("/stream") or (path.endswith(("/suspend", "/tokens")) and method == "POST"):
            continue  # what has no end or leaves something is shown elsewhere to be let in
        for role, token in tokens.items():
            reply = shop.call(method, path, token, body)
            if permission in ROLES[role]:
                assert reply.status in OWN_ANSWERS, (role, method, path, reply)
            else:
                said = reply.expect(403)
                assert said["error"].endswith(f"has no role in shop that gives {permission}"), path


def test_streams_and_what_leaves_something_need_their_permission_too(shop: Premises) -> None:
    poor = {"/events/stream": "viewer", "/suspend": "operator", "/tokens": "deployer"}
    for end, role in poor.items():
        method = "GET" if end.endswith("stream") else "POST"
        body = {"/suspend": {"reason": "x", "seconds": 60.0}, "/tokens": {"worker": "w", "pools": ["p"]}}.get(end)
        shop.call(method, f"/api/v1/spaces/shop{end}", shop.token(role), body).expect(403)


def test_a_token_of_another_space_sees_nothing_of_this_one(shop: Premises) -> None:
    other = shop.token("administrator", space="other")
    for method, path, _, body in operations(shop):
        reply = shop.call(method, path, other, body)
        if path == "/api/v1/spaces":
            assert reply.expect(403)["error"] == "the token has no role that gives WorkerView in any space here"
        else:
            assert reply.expect(404)["error"] == 'there is no space "shop" that this token has a role in'


def test_a_space_that_is_not_there_looks_like_one_that_is_hidden(shop: Premises) -> None:
    said = shop.call("GET", "/api/v1/spaces/nowhere/status", shop.token("viewer")).expect(404)
    assert said["error"] == 'there is no space "nowhere" that this token has a role in'


def test_a_token_of_every_space_is_one_of_this_space(shop: Premises) -> None:
    shop.get("/status", shop.token("viewer", space="*")).expect(200)


def test_a_token_that_is_revoked_or_has_expired_lets_nobody_in(shop: Premises) -> None:
    revoked = shop.token("viewer", name="soon-revoked")
    shop.get("/status", revoked).expect(200)
    decide(shop.service.place, RevokeAccess("ann", "soon-revoked"))
    assert shop.get("/status", revoked).status in {401, 429}


def test_the_state_knows_no_token_but_its_digest(shop: Premises) -> None:
    token = shop.token("viewer", name="kept-as-digest")
    shop.get("/status", token).expect(200)
    secret = token.removeprefix("rcl_").encode()
    assert len(secret) == 43
    for file in shop.work.data.iterdir():
        if file.is_file() and not file.is_socket():
            assert secret not in file.read_bytes(), file
    assert json.dumps(token) not in (shop.work.root.parent / "serve.log").read_text()


@pytest.mark.parametrize("role", ROLES)
def test_every_role_can_look(role: str) -> None:
    assert Permission.WORKER_VIEW in ROLES[role]
