"""Reading one object often: the short way answers as the operation does, and lets nobody in whom that refuses."""

import http.client
import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from reconciler.api.connections import HEAD_BYTES_MAX
from reconciler.api.objects import encoded
from reconciler.model.live import LiveObject, LiveState
from reconciler.model.spec import Address, Position, canonical_json
from reconciler.server.answers.overview import ObjectRow, object_rows
from reconciler.server.binding import bound
from reconciler.server.configuration import EMBEDDED
from reconciler.server.engine.control import decide
from reconciler.server.orders.granting import digest_of_text
from reconciler.server.orders.orders import RevokeAccess
from reconciler.server.trust.access_settings import HttpTable
from reconciler.store import access
from tests.api.premises import PATIENCE, Premises, Reply, premises

OBJECT = "/api/v1/spaces/shop/objects/Project/shop"
MUCH = 1 << 26
"""More bytes than two sockets hold of what nobody reads."""

WAYS = {"the short way": "Bearer", "the operation": "bearer"}
"""How a token is shown decides which way is taken: the short one knows one spelling."""

TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
SPECS = st.dictionaries(TEXTS, VALUES, max_size=4).map(canonical_json)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Premises]:
    """Serve a shop whose tokens these tests may change."""
    with premises(tmp_path_factory.mktemp("own")) as found:
        yield found


def ask(shop: Premises, scheme: str, token: str, path: str = OBJECT, **headers: str) -> Reply:
    shown = {"Authorization": f"{scheme} {token}", **{name.replace("_", "-"): said for name, said in headers.items()}}
    return shop.call("GET", path, headers=shown)


def without_date(reply: Reply) -> dict[str, str]:
    return {name: value for name, value in reply.headers.items() if name != "date"}


OBJECTS = st.builds(
    LiveObject,
    st.builds(Address, st.just("Project"), TEXTS),
    SPECS,
    SPECS,
    TEXTS,
    st.builds(Position, TEXTS, st.integers(1, 10**6)),
    TEXTS,
    st.integers(1, 10**6),
    st.booleans(),
)


@given(found=OBJECTS)
def test_an_object_is_written_as_its_row_is(found: LiveObject) -> None:
    (row,) = object_rows(LiveState({found.address: found}, {}))
    assert json.loads(encoded(found)) == TypeAdapter(ObjectRow).dump_python(row, mode="json")


def test_both_ways_give_the_same_answer(own: Premises) -> None:
    token = own.token("viewer")
    for row in own.get("/objects", token).expect(200)["items"]:
        path = f"/api/v1/spaces/shop/objects/{row['kind']}/{row['name']}"
        short, long = (ask(own, scheme, token, path) for scheme in WAYS.values())
        assert short.expect(200) == row
        assert (short.body, without_date(short)) == (long.body, without_date(long))
        tag = short.headers["etag"]
        kept = [ask(own, scheme, token, path, If_None_Match=tag) for scheme in WAYS.values()]
        assert {(reply.status, reply.body, reply.headers["etag"]) for reply in kept} == {(304, b"", tag)}


@pytest.mark.parametrize("scheme", WAYS.values(), ids=WAYS)
def test_no_way_lets_anybody_in_whom_the_gate_refuses(own: Premises, scheme: str) -> None:
    good = own.token("viewer")
    for wrong in ("", "rcl_" + "A" * 43, f"{good}x", good[:-1], f" {good[4:]}", "a.b.c", "rcl_\xe9"):
        assert ask(own, scheme, wrong).status == 401, wrong
    assert ask(own, scheme, own.token("administrator", space="other")).expect(404)["error"] == (
        'there is no space "shop" that this token has a role in'
    )
    for path in ("/objects/Projekt/shop", "/objects/Project/shopp", "/objects/Project/%00"):
        assert ask(own, scheme, good, f"/api/v1/spaces/shop{path}").status in {400, 404}, path
    assert ask(own, scheme, good, OBJECT.replace("shop/objects", "other/objects")).status == 404
    assert ask(own, scheme, good, "/api/v1/spaces/shop/objects/Project/shopp").expect(404)["error"] == (
        'there is no Project "shopp"; did you mean "shop"?'
    )
    with_two = own.call("GET", OBJECT, headers={"Authorization": f"{scheme} {good}", "authorization": "Bearer x"})
    assert with_two.status == 200, "the first one counts"


@pytest.mark.parametrize("scheme", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("how", ["revoked", "expired"])
def test_a_token_is_of_no_use_from_the_next_request_on(own: Premises, scheme: str, how: str) -> None:
    name = f"{scheme}-{how}"
    token = own.token("viewer", name=name)
    controller = own.service.post.controller
    assert controller is not None
    store = controller.engine.store
    with closing(http.client.HTTPConnection(own.address, timeout=PATIENCE)) as connection:
        assert [status(connection, scheme, token) for _ in range(20)] == [200] * 20
        if how == "revoked":
            decide(own.service.place, RevokeAccess("ann", name))
        else:
            sql = "UPDATE access_tokens SET expires_at = ? WHERE name = ?"
            store.write_now(lambda tx: tx.execute(sql, time.time(), name))
        assert status(connection, scheme, token) == 401


@pytest.mark.parametrize("scheme", WAYS.values(), ids=WAYS)
def test_a_token_whose_roles_give_nothing_reads_nothing(own: Premises, scheme: str) -> None:
    name = f"{scheme}-poor"
    token = own.token("viewer", name=name)
    controller = own.service.post.controller
    assert controller is not None
    sql = "UPDATE access_tokens SET grants = ? WHERE name = ?"
    controller.engine.store.write_now(lambda tx: tx.execute(sql, '[["nobody", "shop"]]', name))
    assert ask(own, scheme, token).expect(403)["error"] == f"{name} has no role in shop that gives WorkerView"
    described = own.call("GET", "/api/openapi.json").expect(200)["paths"]
    assert described["/api/v1/spaces/{space}/objects/{kind}/{name}"]["get"]["x-permission"] == "WorkerView"


def status(connection: http.client.HTTPConnection, scheme: str, token: str) -> int:
    connection.request("GET", OBJECT, headers={"Authorization": f"{scheme} {token}"})
    answer = connection.getresponse()
    answer.read()
    return answer.status


@pytest.mark.parametrize("scheme", WAYS.values(), ids=WAYS)
def test_the_use_of_a_token_is_noted(own: Premises, scheme: str) -> None:
    token, begun = own.token("viewer"), time.time()
    ask(own, scheme, token).expect(200)
    controller = own.service.post.controller
    assert controller is not None
    found = controller.engine.store.read_now(lambda tx: access.token_of(tx, digest_of_text(token)))
    assert found is not None
    assert found.last_used_at is not None
    assert found.last_used_at >= begun - 1.0


def test_both_ways_take_from_one_bucket(tmp_path: Path) -> None:
    hurried = EMBEDDED.model_copy(update={"http": HttpTable(rate=0.01, burst=6)})
    with premises(tmp_path, configuration=hurried) as found:
        token = found.token("viewer")
        asked: list[tuple[str, str, int]] = [
            ("Bearer", OBJECT, 200),
            ("bearer", OBJECT, 200),
            ("Bearer", f"{OBJECT}x", 404),
            ("Bearer", OBJECT, 200),
            ("Bearer", OBJECT, 200),
            ("bearer", OBJECT, 200),
        ]
        assert [ask(found, scheme, token, path).status for scheme, path, _ in asked] == [each[2] for each in asked]
        for scheme in WAYS.values():
            reply = ask(found, scheme, token)
            said: Any = reply.expect(429)
            assert said["error"] == "more than 0.01 requests a second"
            assert said["hint"] == f"come again in {reply.headers['retry-after']} s"


def test_a_node_that_does_not_lead_answers_on_neither_way(own: Premises) -> None:
    token, post = own.token("viewer"), own.service.post
    controller, post.controller, post.leader = post.controller, None, "node-b"
    try:
        for scheme in WAYS.values():
            assert ask(own, scheme, token).expect(503)["error"] == "the node node-b leads the space"
    finally:
        post.controller = controller
    assert {ask(own, scheme, token).status for scheme in WAYS.values()} == {200}


def test_what_is_changed_is_read_anew(own: Premises) -> None:
    token = own.token("viewer")
    controller = own.service.post.controller
    assert controller is not None
    sql = "UPDATE objects SET generation = generation + 1 WHERE kind = 'Project' AND name = 'shop'"
    before = ask(own, "Bearer", token)
    controller.engine.store.write_now(lambda tx: tx.execute(sql))
    after = ask(own, "Bearer", token, If_None_Match=before.headers["etag"])
    assert after.expect(200)["generation"] == before.expect(200)["generation"] + 1


@pytest.mark.parametrize("address", ["127.0.0.1:0", ":0"])
def test_connections_send_small_writes_at_once(address: str) -> None:
    with closing(bound(address)) as listening:
        port = listening.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE), closing(listening.accept()[0]) as taken:
            assert taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize(
    "begin",
    [
        b"GET /healthz HTTP/1.1\r\nX: ",
        b"GET /",
        b"POST /api/v1/spaces/shop/resume HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;x=",
        b"POST /api/v1/spaces/shop/resume HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ",
    ],
    ids=["a-header", "a-path", "an-extension-of-a-chunk", "a-trailer"],
)
def test_a_head_without_an_end_is_not_held(own: Premises, begin: bytes) -> None:
    host, port = own.address.split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        connection.sendall(begin)
        with pytest.raises(OSError, match=r"reset|Broken pipe"):
            connection.sendall(b"a" * MUCH)


def test_whoever_sends_a_head_that_is_too_long_is_told(own: Premises) -> None:
    host, port = own.address.split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nX: " + b"a" * HEAD_BYTES_MAX)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.endswith(b"\r\n\r\nThe head of the request is too long.")
