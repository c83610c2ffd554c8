"""What callers may send and how often: hostile bodies and paths, repeated requests, tags, buckets."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.api.bounds import BODY_BYTES_MAX, CALLERS_MAX, Rates
from reconciler.model.access import ROLES
from reconciler.server.access_settings import HttpTable
from reconciler.server.configuration import EMBEDDED
from reconciler.store import access, audit
from tests.api.premises import Premises, premises


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Premises]:
    """Serve a shop that these tests may change."""
    with premises(tmp_path_factory.mktemp("own")) as found:
        found.reader = found.token("administrator", name="boss")
        yield found


SUSPEND = {"reason": "tests", "seconds": 60.0}


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"reason":' * 50_000,
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b"\xff\xfe",
        b'{"reason": "x", "seconds": NaN}',
        b'{"reason": "x", "seconds": Infinity}',
        b'{"reason": "x", "seconds": 1e999}',
        b'{"reason": "x", "seconds": ' + b"9" * 10_000 + b"}",
        b'{"reason": "x", "seconds": "soon"}',
        b'{"reason": "x", "seconds": -1}',
        b'{"reason": "\\ud800", "seconds": 60}',
        b'{"reason": {"a": 1}, "seconds": 60}',
        b'{"reason": ["x"], "seconds": 60}',
        json.dumps({"reason": "x" * 2_000, "seconds": 60}).encode(),
    ],
    ids=lambda body: body[:24].decode(errors="replace"),
)
def test_a_hostile_body_is_refused_in_our_form(own: Premises, body: bytes) -> None:
    said = own.call("POST", "/api/v1/spaces/shop/suspend", own.reader, body).expect(400)
    assert set(said) == {"error", "hint", "code"}
    assert len(said["error"]) < 500
    assert said["code"] == 1


def test_a_body_of_more_than_a_mebibyte_is_refused_before_it_is_held(own: Premises) -> None:
    path = "/api/v1/spaces/shop/suspend"
    long = json.dumps({"reason": "x" * BODY_BYTES_MAX, "seconds": 60}).encode()
    assert own.call("POST", path, own.reader, long).expect(413) == {
        "error": "a body has 1 MiB at most", "hint": "send less", "code": 1,
    }  # fmt: skip
    host, port = own.address.split(":")
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {own.reader}\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(head.encode())
        answer = b""
        try:
            for _ in range(40):
                connection.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n")
        except OSError:
            pass
        while b"\r\n\r\n" not in answer and (data := connection.recv(65536)):
            answer += data
        assert answer.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "path",
    [
        "/objects/../../etc/passwd", "/objects/Project/%2e%2e%2f", "/tasks/1%00", "/tasks/%ff%fe", "/tasks/1/log?after=%00",
        "/objects/" + "A" * 5_000, "/commits/--help/standing", "/commits/HEAD/standing", "/commits/..%2fHEAD/standing",
        "/why?address=" + "%2e%2e%2f" * 50, "/tasks?limit=1001", "/tasks?limit=0", "/tasks?limit=x", "/tasks?after=-1",
        "/tasks?after=99999999999999999999", "/events?after=99999999999999999999", "/tasks?state=nothing", "//tasks", "/tasks/",
    ],
)  # fmt: skip
def test_a_trick_of_a_path_is_refused_in_our_form(own: Premises, path: str) -> None:
    reply = own.get(path, own.reader)
    assert reply.status in {400, 404}, reply
    assert set(reply.json) == {"error", "hint", "code"}


def test_a_commit_that_the_server_does_not_have_is_not_planned(own: Premises) -> None:
    said = own.post("/plan", own.reader, {"commit": "0123456789"}).expect(404)
    assert said["error"] == "the server has no commit 0123456789"


def test_what_is_not_there_is_said(own: Premises) -> None:
    assert own.call("GET", "/api/v2", own.reader).expect(404)["error"] == "there is nothing at /api/v2"
    assert own.call("PUT", "/api/v1/spaces", own.reader).expect(405)["error"] == "PUT is not what /api/v1/spaces takes"
    assert own.get("/tasks/99", own.reader).expect(404)["error"] == "there is no task 99"
    assert own.get("/objects/Worker/nobody", own.reader).expect(404)["error"] == 'there is no Worker "nobody"'
    assert (
        own.get("/objects/Wrker", own.reader).expect(404)["error"] == 'there is no kind "Wrker"; did you mean "Worker"?'
    )


def test_the_same_request_under_the_same_key_is_carried_out_once(own: Premises) -> None:
    first = own.post("/tokens", own.reader, {"worker": "w", "pools": ["p"]}, Idempotency_Key="once").expect(200)
    again = own.post("/tokens", own.reader, {"worker": "w", "pools": ["p"]}, Idempotency_Key="once").expect(200)
    assert first["made"].startswith("rct1.")
    assert again == first
    said = own.post("/tokens", own.reader, {"worker": "v", "pools": ["p"]}, Idempotency_Key="once").expect(409)
    assert said == {
        "error": "this Idempotency-Key was used for another request", "hint": "use a new one for each request", "code": 3,
    }  # fmt: skip
    other = own.token("operator", name="other")
    assert own.post("/tokens", other, {"worker": "w", "pools": ["p"]}, Idempotency_Key="once").expect(200) != first
    own.post("/tokens", own.reader, {"worker": "w", "pools": ["p"]}, Idempotency_Key="two words").expect(400)
    controller = own.service.post.controller
    assert controller is not None
    made = [event for event in controller.engine.store.read_now(audit.events) if event.action == "token create"]
    assert len(made) == 2
    secret = first["made"].split(".")[2].encode()
    row = controller.engine.store.read_now(lambda tx: access.kept_answer(tx, "token boss", "once", 0.0))
    assert row is not None
    assert secret not in row.answer, "an answer that holds a secret is sealed"


def test_a_refusal_is_not_kept(own: Premises) -> None:
    own.post("/resume", own.reader, Idempotency_Key="later").expect(409)
    own.post("/suspend", own.reader, SUSPEND).expect(200)
    own.post("/resume", own.reader, Idempotency_Key="later").expect(200)


def test_an_answer_is_not_sent_twice_to_who_has_it(own: Premises) -> None:
    first = own.get("/objects", own.reader)
    tag = first.headers["etag"]
    second = own.call("GET", "/api/v1/spaces/shop/objects", own.reader, headers={"If-None-Match": f'"x", W/{tag}'})
    assert (second.status, second.body, second.headers["etag"]) == (304, b"", tag)
    third = own.call("GET", "/api/v1/spaces/shop/objects", own.reader, headers={"If-None-Match": '"x"'})
    assert (third.status, third.body) == (200, first.body)


def test_pages_together_are_the_list(own: Premises) -> None:
    whole = own.get("/objects", own.reader).expect(200)
    assert whole["next"] is None
    found, after = [], ""
    while True:
        page = own.get(f"/objects?limit=1{f'&after={after}' if after else ''}", own.reader).expect(200)
        found += page["items"]
        after = page["next"]
        if after is None:
            break
    assert found == whole["items"]
    events = own.get("/events?after=0", own.reader).expect(200)["items"]
    page = own.get("/events?after=0&limit=2", own.reader).expect(200)
    assert page["items"] == events[:2]
    assert page["next"] == str(events[1]["id"])


def test_who_calls_too_often_is_told_when_to_come_again(tmp_path: Path) -> None:
    hurried = EMBEDDED.model_copy(update={"http": HttpTable(rate=0.01, burst=30)})
    with premises(tmp_path, configuration=hurried) as found:
        token, other = found.token("viewer"), found.token("viewer")
        replies = [found.get("/conditions", token) for _ in range(31)]
        assert {reply.status for reply in replies[:30]} == {200}
        said = replies[30].expect(429)
        assert said["error"] == "more than 0.01 requests a second"
        assert said["hint"] == f"come again in {replies[30].headers['retry-after']} s"
        assert found.get("/conditions", other).status == 200, "each token has a bucket of its own"
        strangers = [found.get("/conditions", f"rcl_{number}").status for number in range(4)]
        assert strangers == [401, 401, 401, 429]
        assert found.get("/conditions", other).status == 200, "a good token is none of the strangers'"


@given(moments=st.lists(st.floats(0.0, 5.0), max_size=60), rate=st.floats(0.1, 10.0), burst=st.integers(1, 10))
def test_a_bucket_never_gives_more_than_its_rate(moments: list[float], rate: float, burst: int) -> None:
    now = 0.0
    rates, given_out = Rates(rate, burst, lambda: now), 0
    for pause in moments:
        now += pause
        waits = rates.take("x")
        given_out += waits == 0
        assert given_out <= burst + now * rate + 1e-6
        if waits:
            now += waits
            assert rates.take("x") == 0, "who comes when told to is served"
            given_out += 1


def test_buckets_are_bounded() -> None:
    rates = Rates(1.0, 1)
    for number in range(CALLERS_MAX + 10):
        rates.take(str(number))
    assert len(rates._buckets) == CALLERS_MAX


def test_roles_are_known(own: Premises) -> None:
    for role in ROLES:
        own.get("/conditions", own.token(role)).expect(200)
