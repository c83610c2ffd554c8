"""Streams: complete and in order, gone on with anywhere byte for byte, alive while quiet, and with an end."""

import asyncio
import http.client
import json
import random
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from reconciler.api import connections, streams
from reconciler.api.visits import Visit
from reconciler.execute.logs import LogStore
from reconciler.model.errors import UsageMistake
from reconciler.model.live import Attempt, AttemptState, Slot, StepRun, StepState, Task, TaskId, TaskState
from reconciler.protocol.journal import Kind, Level, Record, encoded
from reconciler.protocol.tickets import TicketId
from reconciler.server.answers.log_walk import Cursor, Ended, Entry, Facts, Printed, Walk, reading
from reconciler.server.engine.control import decide
from reconciler.server.orders.orders import RevokeAccess
from tests.api.premises import PATIENCE, Premises, premises, until

SLOW = "while [ ! -e {gate} ]; do sleep 0.05; done; echo opened; for i in $(seq 300); do echo line $i; done"


@dataclass(frozen=True, slots=True)
class Heard:
    """One event of a stream."""

    id: str
    name: str
    data: str


def listen(found: Premises, path: str, token: str, last: str = "", most: int = 10**9) -> Iterator[Heard]:
    """Yield the events of a stream, `most` of them, and comments as events without a name."""
    connection = http.client.HTTPConnection(found.address, timeout=PATIENCE)
    headers = {"Authorization": f"Bearer {token}"} | ({"Last-Event-ID": last} if last else {})
    connection.request("GET", f"/api/v1/spaces/shop{path}", headers=headers)
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    assert answer.headers["content-type"].startswith("text/event-stream")
    fields: dict[str, str] = {}
    try:
        while most > 0 and (line := answer.readline()):
            text = line.decode().rstrip("\n")
            if text.startswith(":"):
                yield Heard("", "", text)
            elif text:
                name, _, value = text.partition(": ")
                fields[name] = value
            elif fields:
                yield Heard(fields.get("id", ""), fields["event"], fields["data"])
                fields, most = {}, most - 1
    finally:
        connection.close()


def output(events: list[Heard]) -> bytes:
    """Return what scripts printed."""
    return b"".join(
        piece["text"].encode()
        for event in events
        if event.name == "printed"
        for piece in json.loads(event.data)["pieces"]
    )


def test_a_log_that_grows_is_followed_to_its_end(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with premises(tmp_path, SLOW.format(gate=gate)) as found:
        token = found.token("viewer")
        until(lambda: found.get("/tasks/1", token).json["task"]["state"] == "running", "the start")
        stream = listen(found, "/tasks/1/log/stream", token)
        first = next(stream)
        assert first.name == "entered"
        gate.touch()
        rest = list(stream)
        assert rest[-1].name == "end"
        whole = b"opened\n" + b"".join(b"line %d\n" % number for number in range(1, 301))
        assert output(rest) == whole
        assert json.loads(rest[-2].data)["state"] == "succeeded"


def test_a_stream_goes_on_behind_any_event_byte_for_byte(tmp_path: Path) -> None:
    with premises(tmp_path, "for i in $(seq 20); do echo line $i; sleep 0.01; done") as found:
        token = found.token("viewer")
        until(lambda: found.get("/tasks/1", token).json["task"]["state"] == "succeeded", "the end")
        whole = list(listen(found, "/tasks/1/log/stream", token))
        for place, event in enumerate(whole[:-1]):
            before, after = whole[: place + 1], list(listen(found, "/tasks/1/log/stream", token, event.id))
            assert [*before, *after] == whole


def test_who_does_not_read_is_let_go_and_goes_on_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with premises(tmp_path, "seq 2000000") as found:
        token = found.token("viewer")
        until(lambda: found.get("/tasks/1", token).json["task"]["state"] == "succeeded", "the end")
        monkeypatch.setattr(connections, "ASKED_WITHIN", 0.3)
        host, port = found.address.split(":")
        heard = b""
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.settimeout(PATIENCE)
            deaf.connect((host, int(port)))
            head = f"GET /api/v1/spaces/shop/tasks/1/log/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
            deaf.sendall(head.encode())
            until(lambda: answering(found), "the answer")
            until(lambda: not answering(found), "the end of the answer")
            with suppress(ConnectionError):
                while data := deaf.recv(1 << 16):
                    heard += data
        assert b"event: end" not in heard
        last = re.findall(rb"^id: (.*)\n", heard, re.MULTILINE)[-2].decode()  # the last one may be cut
        rest = output(list(listen(found, "/tasks/1/log/stream", token, last)))
        whole = b"".join(b"%d\n" % number for number in range(1, 2_000_001))
        assert whole.endswith(rest)
        assert 0 < len(rest) < len(whole)


def answering(found: Premises) -> bool:
    """Is a request under way?"""
    return any("run_asgi" in repr(task.get_coro()) for task in asyncio.all_tasks(found.loop))


@pytest.mark.parametrize("seed", range(20))
def test_walks_that_are_broken_off_anywhere_tell_the_same(tmp_path: Path, seed: int) -> None:
    """Steps side by side, attempts that fail, a journal that grows: each look may be the last of its walk."""
    chance, logs = random.Random(seed), LogStore(tmp_path)
    task = Task(TaskId(1), "d", Slot("p", "e"), "1", "", "", "", TaskState.RUNNING)
    straight, told = Walk(reading(logs)), []
    broken, retold = Cursor(), []
    runs = [StepRun(TaskId(1), index, f"s{index}", f"Step {index}", StepState.RUNNING) for index in range(4)]
    tries = [Attempt(f"t{index}", TaskId(1), index, 1, "w", 1, AttemptState.RUNNING, "{}") for index in range(4)]
    for moment in range(60):
        for index, attempt in enumerate(tries):
            if not runs[index].state.ended and chance.random() < 0.5:
                ticket = TicketId(attempt.ticket)
                record = Record(Kind.STDOUT, Level.INFO, moment, f"{index}:{moment}\n".encode())
                logs.append(ticket, logs.received(ticket), encoded(record))
            if moment == 50 or (not runs[index].state.ended and chance.random() < 0.02):
                runs[index] = StepRun(TaskId(1), index, f"s{index}", f"Step {index}", StepState.SUCCEEDED)
                length = logs.received(TicketId(attempt.ticket))
                tries[index] = Attempt(
                    *(attempt.ticket, TaskId(1), index, 1, "w", 1, AttemptState.ENDED, "{}"),
                    finished_at=1.0,
                    log_length=length,
                )
        facts = Facts(task, tuple(runs), tuple(tries))
        told += list(straight.look(facts))
        while True:
            walk = Walk(reading(logs), cursor=Cursor.parse(str(broken)))
            for entry in walk.look(facts):
                retold.append(entry)
                broken = Cursor.parse(str(walk.cursor))
                if chance.random() < 0.3:
                    break
            else:
                break
    assert text_of(told) == text_of(retold)
    assert [entry for entry in told if isinstance(entry, Ended)] == [
        entry for entry in retold if isinstance(entry, Ended)
    ]
    assert str(straight.cursor) == str(broken) == "0-3;"


def text_of(entries: list[Entry]) -> dict[str, str]:
    """Return what each attempt printed."""
    texts: dict[str, str] = {}
    for entry in entries:
        if isinstance(entry, Printed):
            texts[entry.ticket] = texts.get(entry.ticket, "") + "".join(piece.text for piece in entry.pieces)
    return texts


@pytest.mark.parametrize("text", ["nonsense", "1-2", "0;1.2", "9" * 20_000, "0-999999999;", ";1.1.1x", "-1;", "a;b"])
def test_a_cursor_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageMistake, match="what stands as the cursor is none"):
        Cursor.parse(text)


def test_a_cursor_of_many_steps_is_bounded() -> None:
    assert Cursor.parse(";") == Cursor()
    assert len(Cursor.parse("0-999999;").ended) <= 10_001


def test_the_audit_is_followed_and_gone_on_with(tmp_path: Path) -> None:
    with premises(tmp_path) as found:
        token = found.token("administrator")
        recorded = found.get("/events?after=0", token).expect(200)["items"]
        half = str(recorded[len(recorded) // 2]["id"])
        behind = list(listen(found, "/events/stream", token, half, most=len(recorded) - len(recorded) // 2 - 1))
        assert [json.loads(event.data) for event in behind] == recorded[len(recorded) // 2 + 1 :]
        assert [event.id for event in behind] == [str(event["id"]) for event in recorded[len(recorded) // 2 + 1 :]]
        stream = listen(found, f"/events/stream?after={recorded[-1]['id']}", token, most=1)
        found.post("/suspend", token, {"reason": "tests", "seconds": 60}).expect(200)
        (event,) = list(stream)
        assert json.loads(event.data)["action"] in {"suspend", "access create"}


@pytest.mark.parametrize("shown", ["header", "query", "list"])
def test_who_has_heard_more_than_there_is_begins_anew_and_loses_nothing(tmp_path: Path, shown: str) -> None:
    with premises(tmp_path) as found:
        token = found.token("administrator")
        last = found.get("/events?after=0", token).expect(200)["items"][-1]["id"]
        beyond = str(last + 1_000)
        if shown == "header":
            answer = found.get("/events/stream", token, **{"Last-Event-ID": beyond})
        elif shown == "list":
            answer = found.get(f"/events?after={beyond}", token)
        else:
            answer = found.get(f"/events/stream?after={beyond}", token)
        said = answer.expect(409)
        assert re.fullmatch(rf"there is no event {beyond} to go on behind: the last one is \d+", said["error"])
        assert said["hint"] == "the state was restored, or is another; begin anew behind 0"
        heard = list(listen(found, "/events/stream?after=0", token, most=last))
        assert [event.id for event in heard] == [str(number) for number in range(1, last + 1)]
        (event,) = listen(found, "/events/stream", token, str(last - 1), most=1)
        assert event.id == str(last)


def test_a_quiet_stream_shows_that_it_stands_and_ends_with_its_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "QUIET_SECONDS", 0.3)
    with premises(tmp_path, SLOW.format(gate=tmp_path / "gate")) as found:
        token = found.token("viewer", name="short-lived")
        until(lambda: found.get("/tasks/1", token).json["task"]["state"] == "running", "the start")
        stream = listen(found, "/tasks/1/log/stream", token)
        heard = [next(stream), next(stream)]
        assert heard[1] == Heard("", "", ": still here")
        decide(found.service.place, RevokeAccess("ann", "short-lived"))
        rest = list(stream)
        assert all(event.name == "" for event in rest), "nothing more, and no end: the caller is to come again"
        (tmp_path / "gate").touch()


def test_a_stream_that_always_has_more_to_tell_ends_with_its_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "QUIET_SECONDS", 0.0)
    monkeypatch.setattr(streams, "CHUNK_BYTES", 1)
    monkeypatch.setattr(streams, "EVENTS_MAX", 1)
    with premises(tmp_path, "echo done") as found:
        token = found.token("administrator", name="short-lived")
        until(lambda: found.get("/tasks/1", token).json["task"]["state"] == "succeeded", "the end")

        async def revoked(visit: Visit) -> bool:
            return False

        monkeypatch.setattr(Visit, "holds", revoked)
        assert len(list(listen(found, "/tasks/1/log/stream", token))) == 1
        assert len(list(listen(found, "/events/stream?after=0", token))) == 1


def test_an_export_is_broken_off_with_its_token_and_nobody_takes_it_for_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "QUIET_SECONDS", 0.0)
    monkeypatch.setattr(streams, "CHUNK_BYTES", 1)
    with premises(tmp_path, "echo done") as found:
        token = found.token("auditor", name="short-lived")
        whole = found.at_server(token, "audit", "export")
        assert (whole[0], whole[2]) == (0, "")
        visits = iter((True, False))

        async def revoked(visit: Visit) -> bool:
            return next(visits)

        monkeypatch.setattr(Visit, "holds", revoked)
        code, out, err = found.at_server(token, "audit", "export")
        assert whole[1].startswith(out)
        assert len(out.splitlines()) <= 2
        assert (code, err) == (3, f"Error: {found.url} has not sent the whole answer\n  run the command again\n")


@pytest.mark.end_to_end
def test_five_hundred_followers_hear_one_log_whole(tmp_path: Path) -> None:
    """Followers in a process of their own, so that the server has one to itself."""
    gate = tmp_path / "gate"
    with premises(tmp_path, SLOW.format(gate=gate)) as found:
        token = found.token("viewer")
        until(lambda: found.get("/tasks/1", token).json["task"]["state"] == "running", "the start")
        done = subprocess.run(
            [sys.executable, "-m", "tests.api.followers", found.address, "500", str(gate)],
            input=token, capture_output=True, text=True, check=False, timeout=110,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2_000:]
        heard = json.loads(done.stdout)
        whole = "opened\n" + "".join(f"line {number}\n" for number in range(1, 301))
        assert heard == {"followers": 500, "different": 1, "text": whole}
