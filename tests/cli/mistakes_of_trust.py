"""What can be wrong with tokens, revocations, keys and certificate requests, one case for each sentence."""

import sqlite3
from pathlib import Path

from reconciler.store import objects
from reconciler.store.certificates import read_request
from tests.cli.said import Said, cases, raised, shop, told
from tests.cli.workplace import Outcome, Workplace, reconcile
from tests.server.parties import agent, live, polling_worker

TOKEN = ("token", "create", "--worker", "worker-1", "--pool", "blue")
DECLARED = "SHA256:" + "a" * 42 + "A"


def installed(folder: Path) -> Workplace:
    """Make a state with a pool and a worker, which nobody has ever seen."""
    place = shop(folder)
    with place.store() as store:
        found = (live("WorkerPool", "blue"), polling_worker("worker-0", "poll://worker-0", DECLARED))
        store.write_now(lambda tx: objects.put_many(tx, found))
    return place


def said(place: Workplace, *arguments: str) -> Outcome:
    return reconcile(*arguments, "-C", place.root)


def a_token_for_no_name(folder: Path) -> Said:
    return told(said(installed(folder), "token", "create", "--worker", "Worker 1", "--pool", "blue"))


def a_token_for_the_built_in_worker(folder: Path) -> Said:
    return told(said(installed(folder), "token", "create", "--worker", "built-in", "--pool", "blue"))


def a_token_for_ever(folder: Path) -> Said:
    return told(said(installed(folder), *TOKEN, "--ttl", "7d"))


def a_token_of_no_time(folder: Path) -> Said:
    return told(said(installed(folder), *TOKEN, "--ttl", "soon"))


def no_such_token(folder: Path) -> Said:
    return told(said(installed(folder), "token", "revoke", "0a1b2c3d"))


def a_revocation_without_a_reason(folder: Path) -> Said:
    return told(said(installed(folder), "revoke", "worker-0"))


def a_revocation_of_nobody(folder: Path) -> Said:
    return told(said(installed(folder), "revoke", "worker-9", "--reason", "gone"))


def a_revocation_given_and_taken_back(folder: Path) -> Said:
    return told(said(installed(folder), "revoke", "worker-0", "--reason", "gone", "--lift"))


def nothing_to_lift(folder: Path) -> Said:
    return told(said(installed(folder), "revoke", "worker-0", "--lift"))


def no_authority_yet(folder: Path) -> Said:
    return told(said(installed(folder), "trust", "show"))


def a_key_staged_twice(folder: Path) -> Said:
    place = installed(folder)
    said(place, "trust", "stage", "server").expect(0)
    return told(said(place, "trust", "stage", "server"))


def a_key_staged_before_the_former_is_retired(folder: Path) -> Said:
    place = installed(folder)
    said(place, "trust", "stage", "ca").expect(0)
    said(place, "trust", "switch", "ca").expect(0)
    return told(said(place, "trust", "stage", "ca"))


def no_next_key(folder: Path) -> Said:
    return told(said(installed(folder), "trust", "switch", "ca"))


def a_next_key_that_workers_do_not_know(folder: Path) -> Said:
    place = installed(folder)
    said(place, "trust", "stage", "server").expect(0)
    return told(said(place, "trust", "switch", "server"))


def no_former_key(folder: Path) -> Said:
    return told(said(installed(folder), "trust", "retire", "server"))


def a_former_authority_that_is_needed(folder: Path) -> Said:
    place = installed(folder)
    said(place, "trust", "stage", "ca").expect(0)
    said(place, "trust", "switch", "ca").expect(0)
    return told(said(place, "trust", "retire", "ca"))


def no_certificate_request(folder: Path) -> Said:
    return raised(lambda: read_request(agent().self_signed()))


def a_state_of_an_older_version(folder: Path) -> Said:
    place = installed(folder)
    with sqlite3.connect(place.data / "state.db") as connection:
        connection.execute("UPDATE reconciler_schema SET version = 1")
    connection.close()
    return told(said(place, "status"))


CASES = cases(vars())
