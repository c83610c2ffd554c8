"""What can be wrong with a drain by hand, one case for each sentence."""

from pathlib import Path

from reconciler.model.live import TaskState
from reconciler.store import objects
from reconciler.store.directory import DataDirectory
from tests.cli.mistakes_of_trust import installed, said
from tests.cli.said import Said, cases, told
from tests.server.histories import History
from tests.server.parties import live

LIVE = ("--live", "--reason", "disk swap")


def a_drain_of_nobody(folder: Path) -> Said:
    return told(said(installed(folder), "drain", "worker-9", *LIVE))


def a_drain_without_a_reason(folder: Path) -> Said:
    return told(said(installed(folder), "drain", "worker-0", "--live", "--reason", " "))


def a_drain_for_ever(folder: Path) -> Said:
    return told(said(installed(folder), "drain", "worker-0", *LIVE, "--until", "31d"))


def a_drain_until_yesterday(folder: Path) -> Said:
    return told(said(installed(folder), "drain", "worker-0", *LIVE, "--until", "2020-01-31T06:00"))


def a_release_of_what_may_run(folder: Path) -> Said:
    place = installed(folder)
    with place.store() as store:
        History(store, DataDirectory(place.data)).task(1, TaskState.RUNNING)
    return told(said(place, "release", "w1", "--reason", "it burnt"))


def a_release_of_nothing(folder: Path) -> Said:
    return told(said(installed(folder), "release", "w1", "--reason", "it burnt"))


def a_release_without_a_reason(folder: Path) -> Said:
    return told(said(installed(folder), "release", "w1", "--reason", " "))


def a_drain_until_no_time(folder: Path) -> Said:
    return told(said(installed(folder), "drain", "worker-0", *LIVE, "--until", "soon"))


def a_drain_of_one_that_git_drains(folder: Path) -> Said:
    place = installed(folder)
    with place.store() as store:
        store.write_now(lambda tx: objects.put(tx, live("Worker", "worker-1", '{"state":"draining"}')))
    return told(said(place, "drain", "worker-1", *LIVE))


def an_undrain_of_one_that_git_drains(folder: Path) -> Said:
    place = installed(folder)
    with place.store() as store:
        store.write_now(lambda tx: objects.put(tx, live("Worker", "worker-1", '{"state":"draining"}')))
    return told(said(place, "undrain", "worker-1"))


def an_undrain_of_one_that_is_not_drained(folder: Path) -> Said:
    return told(said(installed(folder), "undrain", "worker-0"))


CASES = cases(vars())
