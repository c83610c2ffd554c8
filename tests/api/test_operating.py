"""What the owner of a state does beside it can be done at a server: tokens of the API, keys, a checkup, a backup."""

import asyncio
import io
import json
import logging
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from reconciler.api.apart import Apart
from reconciler.api.complaints import LOGGER, MEANT, complaints_told
from reconciler.cli.main import COMMANDS
from reconciler.cli.main import reconcile as reconcile_command
from reconciler.model.access import Permission
from reconciler.model.errors import Conflict
from reconciler.model.trust import Purpose
from reconciler.server.state.archive import KEY, read_backup
from reconciler.server.state.backup import ROOM
from reconciler.server.voice import Voice
from tests.api.cutting import cutting
from tests.api.premises import PATIENCE, Premises, premises, until
from tests.cli.workplace import RECONCILE, environment, reconcile

EVERYWHERE = {"space": "*"}


def order(found: Premises, *arguments: str | Path) -> str:
    """Run a command that works, as the reader of the premises."""
    code, out, err = found.at_server(found.reader, *arguments)
    assert code == 0, err
    return out


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Premises]:
    """Serve a shop whose task has ended, with keys of each purpose."""
    with premises(tmp_path_factory.mktemp("owned")) as found:
        token = found.token("administrator")
        until(lambda: found.get("/tasks/1", token).expect(200)["task"]["state"] == "succeeded", "the end of the task")
        found.get("/snapshot/keys", token)
        yield found


def test_a_token_is_made_listed_and_revoked_at_a_server(shop: Premises) -> None:
    shop.reader = shop.token("administrator", name="owner")
    text = order(shop, "access", "create", "made-afar", "--role", "viewer", "--expires", "2h").strip()
    shop.get("/status", text).expect(200)
    (row,) = (
        record
        for record in map(json.loads, order(shop, "access", "list", "--json").splitlines())
        if record.get("name") == "made-afar"
    )
    assert row["grants"] == [{"role": "viewer", "space": "shop"}]
    assert (row["created_by"], row["state"]) == ("owner", "open")
    assert text not in order(shop, "access", "list", "--json")
    assert order(shop, "access", "revoke", "made-afar") == "revoked the token made-afar\n"
    shop.get("/status", text).expect(401)
    created, revoked = (event for event in audited(shop) if event["subject"] == "access/made-afar")
    assert (created["action"], created["actor"]) == ("access create", "owner")
    assert (revoked["action"], revoked["actor"]) == ("access revoke", "owner")


def audited(found: Premises) -> list[dict[str, object]]:
    events: list[dict[str, object]] = found.get("/events?after=0&limit=1000", found.reader).expect(200)["items"]
    return events


def test_nobody_gives_or_takes_more_than_they_have(shop: Premises) -> None:
    here, everywhere = shop.token("administrator", name="here"), shop.token("administrator", name="all", **EVERYWHERE)
    body = {"name": "too-much", "roles": ["viewer"], "every_space": True}
    said = shop.post("/access", here, body).expect(403)
    assert said["error"] == "here does not administer every space"
    shop.post("/access", everywhere, body).expect(200)
    said = shop.post("/access/too-much/revoke", here).expect(403)
    assert said["error"] == "here does not administer every space"
    shop.post("/access/too-much/revoke", everywhere).expect(200)
    assert shop.post("/access/too-much/revoke", everywhere).expect(200)["message"] == "too-much was revoked already"
    assert shop.post("/access/nobody/revoke", here).expect(404)["error"] == 'there is no token "nobody"'


def test_a_token_of_every_space_is_made_and_revoked_by_one(shop: Premises) -> None:
    shop.reader = shop.token("administrator", name="root", **EVERYWHERE)
    text = order(shop, "access", "create", "roaming", "--role", "viewer", "--space", "*").strip()
    shop.get("/status", text).expect(200)
    assert "roaming" in order(shop, "access", "list", "--space", "*")
    assert order(shop, "access", "revoke", "roaming", "--space", "*") == "revoked the token roaming\n"


def test_the_same_key_makes_one_token_and_shows_it_again(shop: Premises) -> None:
    owner = shop.token("administrator")
    body = {"name": "sent-twice", "roles": ["viewer"]}
    made = [shop.post("/access", owner, body, Idempotency_Key="once").expect(200)["made"] for _ in range(2)]
    assert made[0] == made[1]
    shop.get("/status", made[0]).expect(200)


def test_keys_are_changed_in_three_steps_at_a_server(shop: Premises) -> None:
    shop.reader = shop.token("administrator", name="keeper")
    for purpose in Purpose:
        order(shop, "trust", "stage", purpose)
        staged = {
            record["state"]: record["thumbprint"]
            for record in map(json.loads, order(shop, "trust", "show", "--json").splitlines())
            if record.get("purpose") == purpose
        }
        order(shop, "trust", "switch", purpose)
        order(shop, "trust", "retire", purpose)
        (left,) = (
            record
            for record in map(json.loads, order(shop, "trust", "show", "--json").splitlines())
            if record.get("purpose") == purpose
        )
        assert (left["state"], left["thumbprint"]) == ("current", staged["next"])
    told = [event["action"] for event in audited(shop) if event["actor"] == "keeper"]
    assert told == [f"trust {verb}" for _ in range(3) for verb in ("stage", "switch", "retire")]


def test_a_server_finds_of_itself_what_is_found_beside_it(shop: Premises) -> None:
    shop.reader = shop.token("administrator")

    def found(records: str) -> list[tuple[str, str]]:
        lines = map(json.loads, records.splitlines())
        return [(each["check"], each["verdict"]) for each in lines if each.get("type") == "finding"]

    code, out, err = shop.at_server(shop.reader, "doctor", "--json")
    beside = reconcile("doctor", "--json", "-C", shop.work.root)
    assert (found(out), code, err) == (found(beside.out), beside.code, "")
    assert ("audit", "fine") in found(out)


def test_a_backup_of_a_server_is_whole_and_makes_the_state_again(shop: Premises, tmp_path: Path) -> None:
    shop.reader = shop.token("administrator", name="archivist")
    file = tmp_path / "b.tar"
    code, out, err = shop.at_server(shop.reader, "backup", "--to", file)
    assert (code, out) == (0, "")
    assert err.startswith("backed up shop as it was at ")
    assert err.endswith("The key is not in it; without the key no secret of it can be read. Keep a copy elsewhere.\n")
    assert file.stat().st_mode & 0o777 == 0o600
    assert not read_backup(file).has(KEY)
    event = next(event for event in audited(shop) if event["action"] == "backup")
    assert (event["actor"], event["subject"]) == ("archivist", "space")
    (tmp_path / "again").mkdir()
    reconcile("restore", file, "--data", tmp_path / "again").expect(0)
    tasks = reconcile("tasks", "--data", tmp_path / "again").expect(0).out
    assert tasks == reconcile("tasks", "-C", shop.work.root).expect(0).out


def test_a_backup_goes_on_through_a_pipe(shop: Premises) -> None:
    token = shop.work.root.parent / "token"
    token.write_text(shop.token("administrator"))
    command = [RECONCILE, "backup", "--to", "-", "--server", shop.url, "--token-file", token]
    done = subprocess.run(command, env=environment(), stdout=subprocess.PIPE, check=True, timeout=PATIENCE)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
        assert tar.getnames()[-1] == "manifest.json"


def test_a_backup_that_breaks_off_is_none(shop: Premises, tmp_path: Path) -> None:
    shop.reader = shop.token("administrator")
    token = tmp_path / "token"
    token.write_text(shop.reader)
    with cutting(shop.address, 60_000) as (address, _):
        url = f"http://{address}"
        said = reconcile(
            "backup", "--to", tmp_path / "cut.tar", "--server", url, "--token-file", token, "--space", "shop"
        )
    assert said.expect(3).err == f"Error: {url} has not sent the whole backup\n  run the command again\n"
    assert [path.name for path in tmp_path.iterdir()] == ["token"]
    until(lambda: not list(shop.service.place.cache.glob(f"{ROOM}*")), "the end of the copy")


def test_one_backup_is_made_at_a_time(shop: Premises) -> None:
    owner = shop.token("administrator")
    ends: list[int] = []
    callers = [threading.Thread(target=lambda: ends.append(shop.get("/backup", owner).status)) for _ in range(6)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert set(ends) <= {200, 409}
    assert 200 in ends
    assert shop.get("/backup", owner).status == 200


def test_no_more_than_two_are_at_work_for_all_spaces_and_what_fails_makes_room() -> None:
    going = threading.Event()
    work = Apart("backup")
    first, second = (work.begin(space, going.wait) for space in ("a", "b"))
    with pytest.raises(Conflict, match=r"^a backup of a, b is being made already$"):
        work.begin("c", list)
    with pytest.raises(Conflict, match=r"^a backup of a is being made already$"):
        work.begin("a", list)
    going.set()
    assert first.result() is second.result() is True

    def fails() -> None:
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        asyncio.run(work.result("c", fails))
    assert asyncio.run(work.result("c", lambda: 7)) == 7


def test_nothing_but_tokens_is_of_every_space(shop: Premises) -> None:
    shop.reader = shop.token("administrator", name="everywhere", **EVERYWHERE)
    code, out, err = shop.at_server(shop.reader, "suspend", "--reason", "x", "--until", "1h", "--space", "*")
    assert (code, out) == (1, "")
    assert err == "Error: this works in one space, and * is every one\n  name one of: shop\n"


@pytest.mark.parametrize("name", ["", "a/b", "a\x1bb", "x\udcff"])
def test_what_nothing_can_be_called_is_refused_before_anything_is_asked(shop: Premises, name: str) -> None:
    shop.reader = shop.token("administrator")
    code, out, err = shop.at_server(shop.reader, "access", "revoke", name)
    shown = name.replace("\x1b", "\ufffd").replace("\udcff", "\ufffd")
    assert (code, out) == (1, "")
    assert err == f'Error: nothing is called "{shown}"\n  a name is not empty, and has no slash\n'


def test_an_argument_that_is_no_text_is_told_as_far_as_it_is(shop: Premises) -> None:
    shop.reader = shop.token("administrator")
    code, _, err = shop.at_server(shop.reader, "why", "Project/x\udcff")
    assert (code, err.partition("\n")[0]) == (1, "Error: Project/x? is not applied")
    assert shop.at_server(shop.reader, "suspend", "--reason", "x\udcff", "--until", "1h")[0] == 0
    assert shop.get("/suspension", shop.reader).expect(200)["suspension"]["reason"] == "x?"
    assert shop.at_server(shop.reader, "resume")[0] == 0


def test_a_backup_that_nobody_reads_to_its_end_has_failed(shop: Premises) -> None:
    command = f"'{RECONCILE}' backup --to - -C '{shop.work.root}' | head -c 10 >/dev/null; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        "Error: what reads the backup ended before it was whole\n"
        "  what it has kept is no backup; run the command again\n"
    )


def test_what_the_web_server_complains_of_is_in_the_log_and_its_form() -> None:
    said, logger = io.StringIO(), logging.getLogger(LOGGER)
    with complaints_told(Voice("json", said)):
        logger.error(MEANT)
        logger.warning("Invalid HTTP request received.")
        try:
            raise ValueError("no such thing")
        except ValueError:
            logger.exception("Exception in ASGI application\n")
    first, second = map(json.loads, said.getvalue().splitlines())
    assert (first["event"], first["reason"]) == ("http", "Invalid HTTP request received.")
    assert second["reason"] == "Exception in ASGI application"
    assert second["traceback"].endswith("ValueError: no such thing\n")


def test_what_the_owner_does_needs_the_permission_of_an_owner(shop: Premises) -> None:
    operator = shop.token("operator")
    for method, path in (("GET", "/access"), ("GET", "/backup"), ("GET", "/checkup"), ("POST", "/trust/ca/stage")):
        said = shop.call(method, f"/api/v1/spaces/shop{path}", operator).expect(403)
        assert said["error"].endswith(f"has no role in shop that gives {Permission.ADMINISTER}")


HERE_ALONE = {
    "init",
    "validate",
    "schema",
    "declare",
    "disable",
    "enable",
    "promote",
    "serve",
    "restore",
    "agent",
    "ci",
}
"""What works on files here, or where no server runs: `docs/commands.md` says why."""


def test_whatever_can_be_asked_beside_the_state_can_be_asked_of_a_server() -> None:
    found = {name: reconcile_command.get_command(click.Context(reconcile_command), name) for name in COMMANDS}
    asking = {name for name, command in found.items() if any(map(_names_server, _verbs(command)))}
    assert found.keys() - asking == HERE_ALONE


def _verbs(command: click.Command | None) -> list[click.Command]:
    assert command is not None, "it is listed"
    return list(command.commands.values()) if isinstance(command, click.Group) else [command]


def _names_server(command: click.Command) -> bool:
    return any(
        isinstance(option, click.Option) and option.name == "server" and not option.hidden for option in command.params
    )
