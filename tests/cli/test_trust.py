"""Tokens, revocations and keys from the command line: without an engine, and through a live one."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from reconciler.model.spec import Address
from reconciler.server.engine.control import ControlSocket
from reconciler.server.state.sealing import sealer_of
from reconciler.server.trust.enrolment import enrol
from reconciler.server.trust.keyring import keyring
from reconciler.server.trust.tokens import parse_token
from reconciler.store import audit, objects
from reconciler.store.directory import DataDirectory, EngineLock
from tests.cli.workplace import Outcome, Workplace, reconcile
from tests.server.parties import Agent, agent, issued, live, polling_worker

DECLARED = "SHA256:" + "a" * 42 + "A"
CREATE = ("create", "--worker", "worker-1", "--pool", "blue")


@pytest.fixture
def installed(place: Workplace) -> Workplace:
    """Make a place whose state has a pool and a worker that is declared with an identity."""
    with place.store() as store:
        found = (live("WorkerPool", "blue"), polling_worker("worker-0", "poll://worker-0", DECLARED))
        store.write_now(lambda tx: objects.put_many(tx, found))
    return place


@asynccontextmanager
async def engine(place: Workplace) -> AsyncIterator[list[str]]:
    """Be a live engine; what is yielded grows with each change that it takes up."""
    files = DataDirectory(place.data)
    changes: list[str] = []
    with EngineLock.take(files), place.store() as store:
        sealer = await store.write(lambda tx: sealer_of(tx, files))
        control = ControlSocket(files.socket, store, sealer, changed=lambda: changes.append("changed"))
        async with control.listening():
            yield changes


def said(place: Workplace, noun: str, *arguments: str, expect: int = 0) -> Outcome:
    """Run a verb on a place: `-C` belongs behind it."""
    verb = arguments[:1] if noun in {"token", "trust"} else ()
    return reconcile(noun, *verb, "-C", place.root, *arguments[len(verb) :]).expect(expect)


def record(place: Workplace, noun: str, *arguments: str) -> list[dict[str, object]]:
    """Return the JSON records of a command, without the one of the version."""
    return [json.loads(line) for line in said(place, noun, *arguments, "--json").out.splitlines()[1:]]


def enrolled(place: Workplace, token: str, one: Agent) -> None:
    """Let an agent use a token, as the server does."""
    now = time.time()
    with place.store() as store:
        sealer = store.write_now(lambda tx: sealer_of(tx, DataDirectory(place.data)))
        ring = store.write_now(lambda tx: keyring(tx, sealer, now))
        issued(store.write_now(lambda tx: enrol(tx, ring, one.wish(token), now)))


def test_a_token_is_all_that_stands_on_stdout(installed: Workplace) -> None:
    made = said(installed, "token", *CREATE)
    text = parse_token(made.out.strip())
    assert text is not None
    assert made.out == f"{text}\n"
    assert made.err == f"made the token {text.id}: one agent may become worker-1 with it, within 1 h\n"
    assert said(installed, "trust", "show", "--pin").out == f"{text.pin}\n"


def test_a_pool_that_is_not_live_is_doubted_and_the_token_made(installed: Workplace) -> None:
    made = said(installed, "token", *CREATE, "--pool", "green", "--ttl", "90m")
    assert parse_token(made.out.strip()) is not None
    warning, sentence = made.err.splitlines()
    assert warning == 'Warning: there is no live WorkerPool "green" yet; commit it with the worker'
    assert sentence.endswith("within 90 min")


def test_a_name_that_is_taken_is_doubted_unless_it_is_to_be_replaced(installed: Workplace) -> None:
    again = ("create", "--worker", "worker-0", "--pool", "blue")
    doubt = "Warning: worker-0 has an identity in Git; an agent with another key needs a token made with --replace\n"
    assert said(installed, "token", *again).err.startswith(doubt)
    assert "Warning" not in said(installed, "token", *again, "--replace").err


def test_a_token_that_would_take_a_worker_out_of_its_pools_is_doubted(installed: Workplace) -> None:
    moved = ("create", "--worker", "worker-0", "--pool", "blue", "--pool", "default")
    doubt = (
        "Warning: worker-0 is in the pool pool in Git, and the token is for the pools blue, default; made with --replace "
        "it takes worker-0 out of all others, and else it is of no use\n"
    )
    assert doubt in said(installed, "token", *moved).err
    assert "Warning" not in said(installed, "token", *moved, "--replace").err


def test_tokens_are_listed_without_their_secrets(installed: Workplace) -> None:
    used, open_one, revoked = (said(installed, "token", *CREATE).out.strip() for _ in range(3))
    one = agent()
    enrolled(installed, used, one)
    said(installed, "token", "revoke", revoked.split(".")[1])
    states = {found["token"]: (found["state"], found["used_by"]) for found in record(installed, "token", "list")}
    assert states == {
        used.split(".")[1]: ("used", one.thumbprint),
        open_one.split(".")[1]: ("open", ""),
        revoked.split(".")[1]: ("revoked", ""),
    }
    listed = said(installed, "token", "list")
    assert listed.out.splitlines()[0].split()[:4] == ["TOKEN", "WORKER", "POOLS", "STATE"]
    for token in (used, open_one, revoked):
        assert token.split(".")[2] not in listed.out + (installed.data / "state.db").read_bytes().decode("latin-1")


def test_a_revoked_token_names_who_has_used_it(installed: Workplace) -> None:
    token, one = said(installed, "token", *CREATE).out.strip(), agent()
    enrolled(installed, token, one)
    name = token.split(".")[1]
    revoked = said(installed, "token", "revoke", name).out
    assert revoked == f"revoked the token {name} for worker-1, which {one.thumbprint} has used\n"


def test_a_worker_is_revoked_with_all_its_identities_and_lifted(installed: Workplace) -> None:
    one = agent()
    enrolled(installed, said(installed, "token", *CREATE).out.strip(), one)
    revoked = said(installed, "revoke", "worker-1", "--reason", "stolen").out
    assert revoked == f"revoked {one.thumbprint} of worker-1; it is let in no longer, whatever Git declares\n"
    assert (
        said(installed, "revoke", one.thumbprint, "--reason", "again").out == f"{one.thumbprint} was revoked already\n"
    )
    assert "stolen" in said(installed, "trust", "show").out
    lifted = said(installed, "revoke", "worker-1", "--lift").out
    assert lifted == f"lifted the revocation of {one.thumbprint} of worker-1\n"
    assert "stolen" not in said(installed, "trust", "show").out


def test_what_git_declares_can_be_revoked_before_it_ever_enrolled(installed: Workplace) -> None:
    said(installed, "revoke", "worker-0", "--reason", "sold")
    revoked = [found for found in record(installed, "trust", "show") if found["type"] == "revocation"]
    assert [(found["worker"], found["reason"]) for found in revoked] == [("worker-0", "sold")]


def test_the_keys_are_shown_for_people_for_agents_and_for_scripts(installed: Workplace) -> None:
    said(installed, "token", *CREATE)
    shown = said(installed, "trust", "show").out.splitlines()
    assert [line.split()[:2] for line in shown] == [["KEY", "STATE"], ["ca", "current"], ["server", "current"]]
    assert said(installed, "trust", "show", "--ca").out.count("BEGIN CERTIFICATE") == 1
    keys = record(installed, "trust", "show")
    assert [found["purpose"] for found in keys] == ["ca", "server"]
    assert "PRIVATE" not in json.dumps(keys)


@pytest.mark.parametrize("purpose", ["ca", "server"])
def test_a_key_is_changed_in_three_steps_and_each_is_in_the_audit(installed: Workplace, purpose: str) -> None:
    with installed.store() as store:
        store.write_now(lambda tx: objects.remove(tx, Address("Worker", "worker-0")))
    said(installed, "token", *CREATE)
    before = said(installed, "trust", "show").out
    said(installed, "trust", "stage", purpose)
    assert f"{purpose} next" in " ".join(said(installed, "trust", "show").out.split())
    assert len(said(installed, "trust", "show", "--pin").out.splitlines()) == (2 if purpose == "server" else 1)
    said(installed, "trust", "switch", purpose)
    said(installed, "trust", "retire", purpose)
    after = said(installed, "trust", "show").out
    assert len(after.splitlines()) == len(before.splitlines())
    assert after != before
    with installed.store() as store:
        found = store.read_now(lambda tx: audit.events(tx, subject=f"trust/{purpose}"))
    assert [event.action for event in found] == ["trust make", "trust stage", "trust switch", "trust retire"]


def test_a_worker_that_has_not_heard_keeps_the_servers_key_until_it_is_forced(installed: Workplace) -> None:
    said(installed, "trust", "stage", "server")
    refused = said(installed, "trust", "switch", "server", expect=5)
    assert "the next server key is unknown to worker-0, not seen since it was made" in refused.err
    said(installed, "trust", "switch", "server", "--force")


async def test_a_live_engine_carries_orders_out_and_takes_them_up(installed: Workplace) -> None:
    async with engine(installed) as changes:
        made = await asyncio.to_thread(said, installed, "token", *CREATE, "--pool", "green")
        assert parse_token(made.out.strip()) is not None
        assert made.err.startswith("Warning: there is no live WorkerPool")
        assert len(changes) == 1
        await asyncio.to_thread(said, installed, "trust", "stage", "server")
        refused = await asyncio.to_thread(said, installed, "trust", "switch", "server", expect=5)
        again = await asyncio.to_thread(said, installed, "trust", "stage", "server", expect=3)
        wrong = await asyncio.to_thread(said, installed, "token", "revoke", "ffffffff", expect=1)
    assert "unknown to worker-0" in refused.err
    assert "is made already" in again.err
    assert 'there is no token "ffffffff"' in wrong.err
    assert len(changes) == 2
