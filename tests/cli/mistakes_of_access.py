"""What can be wrong with tokens of the API, with a server that is asked, and with what it is reached by."""

import asyncio
import json
import re
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from reconciler.api import rehearsals, spaces
from reconciler.api.apart import Apart
from reconciler.api.plans import load_head
from reconciler.model.following import SourceState
from reconciler.model.live import StoredArtifact, TaskId
from reconciler.server.answers.log_walk import Cursor
from reconciler.server.answers.overview import Overview
from reconciler.server.planning.planning import EMPTY
from reconciler.server.planning.shown import Form, ShownPlan
from reconciler.server.trust.access_settings import HttpTable
from reconciler.store.blobs import open_blob
from tests.api.premises import premises
from tests.cli.said import Said, cases, raised, shop, told
from tests.cli.workplace import RECONCILE, Outcome, environment, reconcile
from tests.server.parties import agent

CREATE = ("access", "create")


def made(folder: Path, name: str, *options: str) -> Outcome:
    place = shop(folder)
    place.store().close()
    return reconcile(*CREATE, name, *options, "-C", place.root)


def a_token_of_no_name(folder: Path) -> Said:
    return told(made(folder, "two words", "--role", "viewer", "--space", "shop"))


def a_role_that_is_none(folder: Path) -> Said:
    return told(made(folder, "ci", "--role", "viewr", "--space", "shop"))


def a_space_of_no_name(folder: Path) -> Said:
    return told(made(folder, "ci", "--role", "viewer", "--space", "My Shop"))


def an_access_for_ever(folder: Path) -> Said:
    return told(made(folder, "ci", "--role", "viewer", "--space", "shop", "--expires", "400d"))


def an_access_of_no_span(folder: Path) -> Said:
    return told(made(folder, "ci", "--role", "viewer", "--space", "shop", "--expires", "soon"))


def an_access_for_longer_than_anything(folder: Path) -> Said:
    return told(made(folder, "ci", "--role", "viewer", "--space", "shop", "--expires", f"{'9' * 20}d"))


def an_access_to_no_space_yet(folder: Path) -> Said:
    return told(made(folder, "ci", "--role", "viewer"))


def an_access_that_is_there(folder: Path) -> Said:
    outcome = made(folder, "ci", "--role", "viewer", "--space", "shop")
    assert outcome.expect(0).out.startswith("rcl_")
    again = told(reconcile(*CREATE, "ci", "--role", "viewer", "--space", "shop", "-C", folder / "space"))
    return Said(re.sub(r"until \S+", "until TIME", again.message), again.hint)


def no_such_access(folder: Path) -> Said:
    place = shop(folder)
    place.store().close()
    return told(reconcile("access", "revoke", "ci", "-C", place.root))


def a_server_and_a_repository(folder: Path) -> Said:
    return told(reconcile("status", "--server", "https://deploy.example.org", "-C", str(folder)))


def a_token_and_no_server(folder: Path) -> Said:
    return told(reconcile("status", "--token-file", str(folder / "token")))


def asked(folder: Path, url: str, *arguments: str, token: str = "rcl_x") -> Said:
    (folder / "token").write_text(token)
    said = told(reconcile(*(arguments or ("status",)), "--server", url, "--token-file", str(folder / "token")))
    port = re.compile(r"127\.0\.0\.1:\d+")
    return Said(port.sub("127.0.0.1:PORT", said.message), said.hint)


def no_token(folder: Path) -> Said:
    return asked(folder, "https://deploy.example.org", token="\n")


def a_token_of_strange_letters(folder: Path) -> Said:
    return asked(folder, "https://deploy.example.org", token="naïve\n")


def a_token_file_that_is_missing(folder: Path) -> Said:
    return told(reconcile("status", "--server", "https://deploy.example.org", "--token-file", str(folder / "none")))


def an_address_of_no_server(folder: Path) -> Said:
    return asked(folder, "deploy.example.org")


def a_token_in_clear(folder: Path) -> Said:
    return asked(folder, "http://deploy.example.org")


def an_authority_that_is_missing(folder: Path) -> Said:
    return asked(folder, "https://deploy.example.org", "status", "--ca-file", str(folder / "ca.pem"))


def an_authority_that_is_none(folder: Path) -> Said:
    (folder / "ca.pem").write_text("nothing\n")
    return asked(folder, "https://deploy.example.org", "status", "--ca-file", str(folder / "ca.pem"))


def nobody_there(folder: Path) -> Said:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    return asked(folder, f"http://{address}")


@contextmanager
def answering(*answers: tuple[int, bytes], context: ssl.SSLContext | None = None) -> Iterator[str]:
    """Answer requests in turn, each of the last ones the same; yields the address."""
    left = list(answers)

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = left.pop(0) if len(left) > 1 else left[0]
            if status == 0:
                return  # the connection ends without an answer
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - the name is the library's

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answering)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def refused(status: int, error: str, hint: str = "", code: int = 1) -> tuple[int, bytes]:
    return status, json.dumps({"error": error, "hint": hint, "code": code}).encode()


def answered(
    folder: Path, *answers: tuple[int, bytes], arguments: tuple[str, ...] = ("status", "--space", "shop")
) -> Said:
    with answering(*answers) as address:
        return asked(folder, f"http://{address}", *arguments)


def a_certificate_of_nobody(folder: Path) -> Said:
    party = agent()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    party.present(context, party.self_signed())
    with answering((200, b"{}"), context=context) as address:
        return asked(folder, f"https://{address}")


def a_server_without_tls(folder: Path) -> Said:
    with answering((200, b"{}")) as address:
        return asked(folder, f"https://{address}")


def a_server_that_is_none_of_ours(folder: Path) -> Said:
    return answered(folder, (404, b"<html>not here</html>"))


def a_server_that_says_something_else(folder: Path) -> Said:
    return answered(folder, (200, b'{"welcome": true}'))


def a_server_that_never_answers(folder: Path) -> Said:
    return answered(folder, (0, b""))


def an_unknown_token(folder: Path) -> Said:
    return answered(folder, refused(401, "the token is unknown, expired or revoked"))


def a_token_that_may_not(folder: Path) -> Said:
    return answered(folder, refused(403, "ci has no role in shop that gives WorkerView", "ask for another"))


def a_space_that_is_not_there(folder: Path) -> Said:
    return answered(folder, refused(404, 'there is no space "shop" that this token has a role in'))


def too_many_requests(folder: Path) -> Said:
    return answered(folder, refused(429, "more than 50 requests a second", "come again in 1 s"))


def a_server_that_stands_by(folder: Path) -> Said:
    return answered(folder, refused(503, "the node a leads shop", "call that node", 3))


def several_spaces(folder: Path) -> Said:
    listed = json.dumps({"items": [{"name": "shop"}, {"name": "bank"}], "next": None}).encode()
    return answered(folder, (200, listed), arguments=("status",))


def a_log_that_breaks_off(folder: Path) -> Said:
    from reconciler.cli import calling

    before, calling.TRIES = calling.TRIES, 1
    try:
        return answered(folder, (200, b"id: 0;\n"), arguments=("logs", "1", "-f", "--space", "shop"))
    finally:
        calling.TRIES = before


def a_drain_in_git_at_a_server(folder: Path) -> Said:
    return asked(folder, "http://127.0.0.1:1", "drain", "worker-1", "--reason", "x")


def a_state_that_only_its_own_machine_has(folder: Path) -> Said:
    (folder / "b.tar").touch()
    return told(reconcile("restore", folder / "b.tar", "--server", "http://127.0.0.1:1"))


def a_server_named_by_the_environment_for_a_restore(folder: Path) -> Said:
    (folder / "b.tar").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECONCILE_SERVER", "http://127.0.0.1:1")
        return told(reconcile("restore", folder / "b.tar"))


def a_backup_that_nobody_reads_to_its_end(folder: Path) -> Said:
    place = shop(folder)
    place.store().close()
    command = f"'{RECONCILE}' backup --to - -C '{place.root}' | head -c 10 >/dev/null; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    return told(Outcome(1, "", done.stderr))


def a_name_of_nothing_at_a_server(folder: Path) -> Said:
    return asked(folder, "http://127.0.0.1:1", "access", "revoke", "a/b", "--space", "shop")


def a_suspension_of_every_space(folder: Path) -> Said:
    spaces = {"items": [{"name": "shop"}, {"name": "blog"}], "next": None}
    arguments = ("suspend", "--reason", "x", "--until", "1h", "--space", "*")
    return answered(folder, (200, json.dumps(spaces).encode()), arguments=arguments)


def a_backup_with_the_key_of_a_server(folder: Path) -> Said:
    return asked(folder, "http://127.0.0.1:1", "backup", "--to", folder / "b.tar", "--with-key")


def a_backup_of_a_server_that_is_none(folder: Path) -> Said:
    return answered(folder, (200, b"no tar"), arguments=("backup", "--to", folder / "b.tar", "--space", "shop"))


def a_second_backup_at_once(folder: Path) -> Said:
    return raised(lambda: Apart("backup", {"shop"}).begin("shop", list))


def a_check_of_what_is_named_at_a_server(folder: Path) -> Said:
    return asked(folder, "http://127.0.0.1:1", "doctor", "--config", folder / "server.toml")


def a_rehearsal_that_takes_too_long(folder: Path) -> Said:
    before, rehearsals.WITHIN = rehearsals.WITHIN, 0.0
    try:
        with premises(folder) as found:
            said = found.post("/rehearsal", found.token("viewer"), {"everything": True, "repeat": 3}).expect(400)
    finally:
        rehearsals.WITHIN = before
    return Said(said["error"], said["hint"])


def an_access_to_every_space_by_who_has_one(folder: Path) -> Said:
    with premises(folder) as found:
        body = {"name": "ci", "roles": ["viewer"], "every_space": True}
        said = found.post("/access", found.token("administrator", name="ann"), body).expect(403)
    return Said(said["error"], said["hint"])


def a_drain_in_git_outside_of_any(folder: Path) -> Said:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECONCILE_SERVER", "http://127.0.0.1:1")
        patch.setenv("RECONCILE_TOKEN", "rcl_x")
        patch.chdir(folder)
        return told(reconcile("drain", "worker-1"))


def an_artifact_that_breaks_off(folder: Path) -> Said:
    left = StoredArtifact(TaskId(1), "Work", "1-1-1-0a", "a.txt", 3, "0a" * 32)
    listed = json.dumps({"items": [asdict(left)], "next": None}).encode()
    arguments = ("artifacts", "1", "a.txt", "--out", str(folder / "a.txt"), "--space", "shop")
    said = answered(folder, (200, listed), (200, b"ab"), arguments=arguments)
    assert not (folder / "a.txt").exists()
    return Said(re.sub(r"127.0.0.1:\d+", "127.0.0.1:PORT", said.message), said.hint)


def an_export_that_breaks_off(folder: Path) -> Said:
    said = answered(folder, (0, b""), arguments=("audit", "export", "--space", "shop"))
    return Said(re.sub(r"127.0.0.1:\d+", "127.0.0.1:PORT", said.message), said.hint)


def a_waiting_plan_of_another_space(folder: Path) -> Said:
    name = "plan-0123456789ab"
    found = ShownPlan("shop", "", 1, "", True, False, False, True, Form.TEXT)
    body = json.dumps(asdict(found)).encode()
    return answered(folder, (200, body), arguments=("plan", name, "--space", "kiosk"))


def an_artifact_that_is_gone(folder: Path) -> Said:
    return raised(lambda: open_blob(folder, "0a" * 32))


def a_branch_of_which_only_signed_commits_count(folder: Path) -> Said:
    place = shop(folder)
    standing = Overview(None, "", 0, {}, (), (), (), SourceState("u", "refs/heads/main", "", "", "commit"))
    (folder / "token").write_text("rcl_x\n")
    listed = json.dumps({"items": [{"name": "shop"}], "next": None}).encode()
    shown = TypeAdapter(Overview).dump_json(standing)
    with answering((200, listed), (200, shown)) as address, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECONCILE_SERVER", f"http://{address}")
        patch.setenv("RECONCILE_TOKEN", "rcl_x")
        promote = ("promote", "shop-test", "--release", "2", "-C", place.root, "--author", "Ada <ada@example.org>")
        said = told(reconcile(*promote, "--commit"))
        assert place.git("status", "--porcelain") == ""
        reconcile(*promote, "--commit", "--no-sign").expect(0)
    return said


def an_apply_of_a_choice_at_a_server(folder: Path) -> Said:
    return asked(folder, "http://127.0.0.1:1", "apply", "--target", "Project/shop")


def an_apply_at_a_server_that_is_to_repeat_what_failed(folder: Path) -> Said:
    return asked(folder, "http://127.0.0.1:1", "apply", "--retry-failed", "--target", "Project/shop")


def an_apply_of_a_source_that_cannot_be_read(folder: Path) -> Said:
    seen = {"url": "u", "ref": "r", "folder": "", "head": "", "failed_since": 1.0, "problem": "no way to the host"}
    return answered(folder, (200, json.dumps(seen).encode()), arguments=("apply", "--space", "shop"))


def a_commit_that_only_a_repository_knows(folder: Path) -> Said:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # which is no checkout
        return asked(folder, "http://127.0.0.1:1", "wait", "--commit", "HEAD", "--space", "shop")


def a_key_of_another_request(folder: Path) -> Said:
    with premises(folder) as found:
        token = found.token("administrator")
        found.post("/suspend", token, {"reason": "x", "seconds": 60}, Idempotency_Key="k").expect(200)
        said = found.post("/suspend", token, {"reason": "y", "seconds": 60}, Idempotency_Key="k").expect(409)
    return Said(said["error"], said["hint"])


def an_event_that_is_not_there_yet(folder: Path) -> Said:
    with premises(folder) as found:
        said = found.get("/events/stream?after=4711", found.token("administrator")).expect(409)
    return Said(re.sub(r"\d+$", "LAST", said["error"]), said["hint"])


def a_plan_before_any_commit(folder: Path) -> Said:
    return raised(lambda: load_head(None, EMPTY, None))  # type: ignore[arg-type]  # it refuses without it


def a_look_that_hangs(folder: Path) -> Said:
    class Hanging:
        @property
        def controller(self) -> "Hanging":
            return self

        async def look(self) -> None:
            await asyncio.sleep(60)

    before, spaces.LOOK_WITHIN = spaces.LOOK_WITHIN, 0.01
    try:
        return raised(lambda: asyncio.run(spaces.look(Hanging())))  # type: ignore[arg-type]  # it asks for no more
    finally:
        spaces.LOOK_WITHIN = before


def tokens_in_clear(folder: Path) -> Said:
    return raised(lambda: HttpTable().check(":8080"))


def a_cursor_that_is_none(folder: Path) -> Said:
    return raised(lambda: Cursor.parse("nonsense"))


CASES = cases(vars())
