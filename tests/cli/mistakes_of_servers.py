"""What can be wrong with a server: its configuration, its addresses, the commits that it follows, an agent beside it."""

import time
from pathlib import Path

from reconciler.server.binding import bound
from reconciler.store.certificates import authority_certificate, new_private_key
from tests.cli.said import Said, cases, raised, shop, told
from tests.cli.workplace import Outcome, reconcile


def configured(folder: Path, text: str) -> Said:
    place = shop(folder)
    (folder / "server.toml").write_text(text)
    return told(reconcile("serve", "-C", place.root, "--config", str(folder / "server.toml")))


def a_configuration_that_is_missing(folder: Path) -> Said:
    return told(reconcile("serve", "-C", shop(folder).root, "--config", str(folder / "none.toml")))


def a_configuration_that_is_no_toml(folder: Path) -> Said:
    return configured(folder, "[secrets\n")


def a_configuration_with_an_unknown_key(folder: Path) -> Said:
    return configured(folder, "[secrets]\nenviroment = ['SHOP_*']\n")


def an_account_that_is_none(folder: Path) -> Said:
    return configured(folder, "[builtin_worker]\nrun_as = 'no-such-account'\n")


def two_ways_of_a_new_state(folder: Path) -> Said:
    return told(reconcile("serve", "-C", shop(folder).root, "--new-state", "--adopt"))


def an_address_that_is_none(folder: Path) -> Said:
    return raised(lambda: bound("somewhere"))


def an_address_that_is_taken(folder: Path) -> Said:
    with bound("127.0.0.1:0") as taken:
        taken.listen()
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        said = raised(lambda: bound(where))
    return Said(said.message.replace(where, "127.0.0.1:PORT"), said.hint)


def a_node_without_a_proper_name(folder: Path) -> Said:
    return told(reconcile("serve", "-C", shop(folder).root, "--node", "two words"))


def an_agent_without_a_directory(folder: Path) -> Said:
    (folder / "file").write_text("")
    return told(reconcile("agent", "show", "--state", str(folder / "file")))


def a_commit_of_no_file(folder: Path) -> Said:
    state = ("--state", str(folder / "agent"))
    return told(reconcile("agent", "rotate", *state, "--commit"))


def trusted(folder: Path, *options: str) -> Outcome:
    """Make a listening agent by hand, with a certificate that is nobody's authority."""
    agent = folder / "agent"
    agent.mkdir()
    (folder / "ca.pem").write_text(authority_certificate(new_private_key(), time.time()))
    trust = ("trust", "--state", str(agent), "--ca", str(folder / "ca.pem"), "--pin", "SHA256:" + "a" * 42 + "A")
    return reconcile("agent", *trust, "--name", "db-1", "--listen", "127.0.0.1:10933", *options)


def a_worker_written_into_no_repository(folder: Path) -> Said:
    return told(trusted(folder, "--write", str(folder / "workers.yaml"), "--commit"))


def a_worker_that_git_does_not_commit(folder: Path) -> Said:
    place = shop(folder)
    hook = place.root / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho 'not on a Sunday' >&2; exit 1\n")
    hook.chmod(0o755)
    return told(trusted(folder, "--write", str(place.root / "workers.yaml"), "--commit"))


CASES = cases(vars())
