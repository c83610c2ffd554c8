"""What callers may send and how often: hostile bodies and paths, repeated requests, tags, buckets."""

import json
import resource
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.api import bounds, connections
from reconciler.api.bounds import BODY_BYTES_MAX, CALLERS_MAX, Rates
from reconciler.declare.mirror import Mirror, Remote
from reconciler.declare.signatures import Signers, Unsigned
from reconciler.model.access import ROLES
from reconciler.server.configuration import EMBEDDED
from reconciler.server.engine.control import decide
from reconciler.server.orders.granting import digest_of_text
from reconciler.server.orders.orders import RevokeAccess
from reconciler.server.sources.sources import CheckedOut, Fetched
from reconciler.server.trust.access_settings import HttpTable
from reconciler.store import access, audit
from tests.api.premises import PATIENCE, SPACE, Premises, premises, until
from tests.cli.workplace import POOL, Workplace, worker


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
    assert said["hint"] == (
        "what is on another branch is planned in a checkout, by a snapshot: reconcile plan --snapshot; of what came "
        "before the server's first fetch it has nothing"
    )


def test_what_is_not_signed_is_not_planned_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with premises(tmp_path) as found:
        token = found.token("administrator")
        found.post("/suspend", token, SUSPEND).expect(200)
        found.work.write("extra.yaml", "kind: [")
        head = found.work.commit()

        def unsigned(source: CheckedOut, revision: str) -> str:
            raise Unsigned(f"the commit {revision[:12]} is not signed", "sign it with a key that the server knows")

        monkeypatch.setattr(CheckedOut, "signer", unsigned)
        found.post("/look", token).expect(200)
        said = {"error": f"the commit {head[:12]} is not signed", "hint": "sign it with a key that the server knows"}
        assert found.post("/plan", token).expect(400).items() >= said.items()  # not judged yet
        found.post("/resume", token).expect(200)
        until(lambda: found.get("/conditions", token).json["conditions"][0]["reason"] == "Unsigned", "the judgement")
        for body in ({}, {"commit": head}):
            assert found.post("/plan", token, body).expect(400)["error"] == (
                f"the commit {head[:12]} is not signed (sign it with a key that the server knows)"
            )


def test_where_every_commit_has_to_be_signed_a_plan_asks_for_all_of_them(tmp_path: Path) -> None:
    key, allowed = tmp_path / "ann", tmp_path / "allowed"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ann", "-f", str(key)], check=True)
    allowed.write_text(f"ann@example.com {key.with_suffix('.pub').read_text()}")
    with premises(tmp_path) as found:
        token, work, files = found.token("administrator"), found.work, found.service.place.files
        controller = found.service.post.controller
        assert controller is not None
        found.post("/suspend", token, SUSPEND).expect(200)  # what comes is not judged
        last = work.git("rev-parse", "HEAD").strip()

        def sign(name: str) -> str:
            work.write(f"{name}.yaml", POOL % name)
            work.commit()
            work.git("-c", "gpg.format=ssh", "-c", f"user.signingKey={key}", "commit", "--amend", "--no-edit", "-S")
            return work.git("rev-parse", "HEAD").strip()

        work.git("config", "uploadpack.allowFilter", "true")
        branch = work.git("symbolic-ref", "HEAD").strip()
        mirror = Mirror(files.root / "mirror", Remote(f"file://{work.root}", branch))
        signers = Signers(every=True, ssh=allowed)
        controller.source = Fetched(mirror, "shop", "", signers, files.root / "keyrings")
        sign("green")
        found.post("/look", token).expect(200)
        found.post("/plan", token).expect(200)
        work.write("blue.yaml", POOL % "blue")
        unsigned = work.commit()
        head = sign("red")
        found.post("/look", token).expect(200)
        for body in ({}, {"commit": head}):
            assert found.post("/plan", token, body).expect(400)["error"] == (
                f"the commit {unsigned[:12]} is not signed, and it is one of the 3 since {last[:12]}, "
                "which was carried out last"
            )


def test_what_is_not_there_is_said(own: Premises) -> None:
    assert own.call("GET", "/api/v2", own.reader).expect(404)["error"] == "there is nothing at /api/v2"
    assert own.call("PUT", "/api/v1/spaces", own.reader).expect(405)["error"] == "PUT is not what /api/v1/spaces takes"
    assert own.get("/tasks/99", own.reader).expect(404)["error"] == "there is no task 99"
    for number in ("9223372036854775807", "9223372036854775808", "9" * 200):
        for answer in (own.get(f"/tasks/{number}", own.reader), own.post(f"/tasks/{number}/cancel", own.reader)):
            assert answer.expect(404)["error"] == f"there is no task {number}"
    in_other_digits = own.get("/tasks/%D9%A1", own.reader).expect(404)
    assert in_other_digits["error"] == 'there is no task of a deployment "١"'
    assert own.get("/objects/Worker/nobody", own.reader).expect(404)["error"] == 'there is no Worker "nobody"'
    assert (
        own.get("/objects/Wrker", own.reader).expect(404)["error"] == 'there is no kind "Wrker"; did you mean "Worker"?'
    )


def test_what_callers_say_is_one_line_and_not_nothing(own: Premises) -> None:
    forged = "a freeze\nReady True\u001b[31m"
    own.post("/suspend", own.reader, {"reason": forged, "seconds": 60}).expect(200)
    shown = own.get("/suspension", own.reader).expect(200)
    assert shown["suspension"]["reason"] == "a freeze Ready True�[31m"
    own.post("/resume", own.reader).expect(200)
    assert own.post("/suspend", own.reader, {"reason": " \n", "seconds": 60}).expect(400) == {
        "error": "a suspension needs a reason", "hint": "give one of at most 1000 characters with --reason", "code": 1,
    }  # fmt: skip


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
    bearer = f"token {digest_of_text(own.reader)}"
    row = controller.engine.store.read_now(lambda tx: access.kept_answer(tx, bearer, "once", 0.0))
    assert row is not None
    assert secret not in row.answer, "an answer that holds a secret is sealed"


def test_a_task_that_is_named_by_its_deployment_is_retried_once_under_one_key(tmp_path: Path) -> None:
    with premises(tmp_path, "exit 3") as found:
        token = found.token("deployer")
        until(lambda: found.get("/tasks/1", token).expect(200)["task"]["state"] == "failed", "the end of the task")
        retry = f"/tasks/{found.get('/tasks/1', token).json['task']['deployment']}/retry"
        first = found.post(retry, token, Idempotency_Key="again").expect(200)
        until(lambda: found.get("/tasks/2", token).expect(200)["task"]["state"] == "failed", "the end of the second")
        assert found.post(retry, token, Idempotency_Key="again").expect(200) == first
        assert [task["id"] for task in found.get("/tasks", token).expect(200)["items"]] == [2, 1]
        assert found.post("/tasks/nobody/retry", token, Idempotency_Key="other").expect(404)["code"] == 1


def test_a_token_of_a_name_that_was_used_before_gets_no_answers_of_that_one(own: Premises) -> None:
    order = {"worker": "w", "pools": ["p"]}
    first = own.post("/tokens", own.token("operator", name="ci"), order, Idempotency_Key="k").expect(200)
    decide(own.service.place, RevokeAccess("ann", "ci"))
    second = own.post("/tokens", own.token("operator", name="ci"), order, Idempotency_Key="k").expect(200)
    assert second["made"] != first["made"]


def test_a_body_that_does_not_come_is_waited_for_no_longer(own: Premises, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "BODY_WITHIN", 0.3)
    head = b"POST /api/v1/spaces/shop/suspend HTTP/1.1\r\nHost: x\r\nContent-Length: 40\r\n\r\n{"
    answer = said_until_closed(own, head)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {
        "error": "the body did not come within 0.3 s", "hint": "send it again", "code": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET /healthz HTTP/1.1\r\nX: ", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\r\nX: "],
    ids=["nothing", "half-a-head", "half-a-second-one"],
)
def test_a_connection_that_asks_for_nothing_is_closed(
    own: Premises, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(connections, "ASKED_WITHIN", 0.3)
    answer = said_until_closed(own, sent)
    assert answer.count(b"HTTP/1.1 200 ") == sent.count(b"\r\n\r\n")


BIG = 12_000_000
"""Bytes: more than the buffers of both ends of a connection hold."""


def test_who_reads_slowly_and_steadily_gets_all_of_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with premises(tmp_path, f"head -c {BIG} /dev/zero > zeros; add_artifact zeros") as found:
        token = found.token("viewer")
        until(lambda: found.get("/tasks/1", token).expect(200)["task"]["state"] == "succeeded", "the end of the task")
        (made,) = found.get("/tasks/1/artifacts", token).expect(200)["items"]
        monkeypatch.setattr(connections, "ASKED_WITHIN", 0.5)
        with socket.create_connection(found.address.split(":"), timeout=PATIENCE) as connection:  # type: ignore[arg-type]  # texts do
            path = f"/api/v1/spaces/shop/tasks/1/artifacts/{made['digest']}"
            head = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
            connection.sendall(head.encode())
            heard, asked = 0, time.monotonic()
            while data := connection.recv(1 << 16):
                heard += len(data)
                while heard > (time.monotonic() - asked) * BIG / 5:  # five seconds for all of it: ten looks
                    time.sleep(0.001)
        assert heard > BIG


def test_connections_leave_the_engine_files_of_its_own(own: Premises, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "SHARE_MAX", 3 / resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    host, port = own.address.split(":")
    with ExitStack() as stack:
        opened = [stack.enter_context(socket.create_connection((host, int(port)), timeout=PATIENCE)) for _ in range(8)]
        for one in opened:
            one.settimeout(PATIENCE)
        with suppress(ConnectionError):
            assert opened[-1].recv(1) == b""
        for one in opened:
            one.close()
        until(lambda: answers(own), "a connection that is taken again")


def answers(found: Premises) -> bool:
    try:
        return found.call("GET", "/healthz").status == 200
    except OSError:
        return False


def said_until_closed(found: Premises, sent: bytes) -> bytes:
    """Send something and nothing more, and return all that is answered until the server closes the connection."""
    host, port = found.address.split(":")
    answer = b""
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        connection.sendall(sent)
        with suppress(ConnectionError):
            while data := connection.recv(65536):
                answer += data
    return answer


def test_a_refusal_is_not_kept(own: Premises) -> None:
    own.post("/resume", own.reader, Idempotency_Key="later").expect(409)
    own.post("/suspend", own.reader, SUSPEND).expect(200)
    own.post("/resume", own.reader, Idempotency_Key="later").expect(200)


STALE = {"error": "it is not what it was when it was read", "hint": "read it again, and decide anew", "code": 3}


def test_a_write_that_rests_on_what_was_is_refused(own: Premises) -> None:
    nothing = own.get("/suspension", own.reader)
    assert nothing.expect(200) == {"suspension": None}
    tag = nothing.headers["etag"]
    assert own.post("/suspend", own.reader, SUSPEND, If_Match="*").expect(412) == STALE, "there is nothing to match"
    own.post("/suspend", own.reader, SUSPEND, If_Match=tag).expect(200)
    assert own.post("/suspend", own.reader, SUSPEND, If_Match=tag).expect(412) == STALE
    now = own.get("/suspension", own.reader)
    assert now.expect(200)["suspension"]["by"] == "boss"
    assert now.headers["etag"] == own.get("/suspension", own.reader).headers["etag"] != tag
    assert own.post("/resume", own.reader, If_Match=f"W/{now.headers['etag']}").expect(412) == STALE, "a weak tag"
    own.post("/resume", own.reader, If_Match=f'"x", {now.headers["etag"]}', Idempotency_Key="resumed").expect(200)
    again = own.post("/resume", own.reader, If_Match=f'"x", {now.headers["etag"]}', Idempotency_Key="resumed")
    assert again.status == 200, "the same request gets the same answer"
    same = own.get("/suspension", own.reader, **{"If-None-Match": own.get("/suspension", own.reader).headers["etag"]})
    assert same.status == 304


def test_a_drain_that_rests_on_what_was_is_refused(tmp_path: Path) -> None:
    def declare(work: Workplace) -> None:
        work.write("pools.yaml", POOL % "blue")
        work.write("workers.yaml", worker("blue-1", "blue"))

    with premises(tmp_path, declare=declare) as found:
        token, drain = found.token("administrator", name="boss"), {"reason": "disk", "seconds": 60.0}
        tag = found.get("/workers/blue-1/override", token).headers["etag"]
        found.post("/workers/blue-1/drain", token, drain, If_Match=tag).expect(200)
        assert found.post("/workers/blue-1/drain", token, drain, If_Match=tag).expect(412) == STALE
        now = found.get("/workers/blue-1/override", token)
        assert now.expect(200)["override"]["reason"] == "disk"
        assert found.post("/workers/blue-1/undrain", token, If_Match=tag).expect(412) == STALE
        found.post("/workers/blue-1/undrain", token, If_Match=now.headers["etag"]).expect(200)


def test_a_decision_that_rests_on_what_was_is_refused(tmp_path: Path) -> None:
    def declare(work: Workplace) -> None:
        work.write("reconcile.yaml", SPACE.replace("{}", "{approval: manual}"))

    with premises(tmp_path, declare=declare) as found:
        token = found.token("administrator", name="boss")
        until(lambda: found.get("/plans", token).expect(200)["items"], "the plan that waits")
        name = f"plan-{found.get('/plans', token).json['items'][0]['digest'][:12]}"
        plan = found.get(f"/plans/{name}", token)
        assert plan.expect(200)["decision"] == ""
        assert found.get("/plans/plan-0123456789ab", token).expect(404)["error"] == "no plan plan-0123456789ab waits"
        assert found.post(f"/plans/{name}/approve", token, If_Match='"0"').expect(412) == STALE
        found.post(f"/plans/{name}/approve", token, If_Match=plan.headers["etag"]).expect(200)


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
