"""What can be wrong with a source, with the steering of a controller, and with waiting for it."""

import re
import time
from pathlib import Path

from reconciler.declare.load import load
from reconciler.declare.source import open_tree
from reconciler.model.following import Proposal, Why
from reconciler.model.live import Binding, LiveState
from reconciler.server.configuration import read_configuration
from reconciler.server.controller.controller import invalid
from reconciler.server.planning.planning import check_reader
from reconciler.server.service import Wishes, service_of
from reconciler.server.sources.settings import SourceTable
from reconciler.server.state.place import place_of
from reconciler.server.voice import Voice
from reconciler.store import following, objects
from reconciler.store.writer import Store
from tests.cli.said import Said, applied, cases, raised, shop, told

SOURCES = """
[[source]]
space = "one"
url = "https://git.example.com/one.git"
[[source]]
space = "two"
url = "git@git.example.com:two.git"
"""


BAD = "apiVersion: reconciler/v1\nkind: Environment\nmetadata: {name: x}\nspec: {oops: 1}\n"


def served(folder: Path, text: str, *, data: str | None = None, **wishes: object) -> Said:
    (folder / "server.toml").write_text(text)
    files = str(folder / "files") if data else None
    place = place_of(str(shop(folder).root), data or str(folder / "data"), files)
    configuration = read_configuration(folder / "server.toml")
    wished = Wishes(**{"agents": None, "http": None, "node": "here", **wishes})  # type: ignore[arg-type]  # of the case
    return raised(lambda: service_of(place, configuration, Voice(), wished))


def configured(folder: Path, text: str) -> Said:
    (folder / "server.toml").write_text(text)
    return raised(lambda: read_configuration(folder / "server.toml"))


def a_source_with_a_password_in_its_address(folder: Path) -> Said:
    return configured(folder, '[[source]]\nspace = "shop"\nurl = "https://ann:secret@git.example.com/shop.git"\n')


def a_source_of_a_strange_kind(folder: Path) -> Said:
    return configured(folder, '[[source]]\nspace = "shop"\nurl = "ftp://git.example.com/shop.git"\n')


def a_source_behind_a_proxy_with_a_password(folder: Path) -> Said:
    proxy = 'login = {proxy = "http://ann:secret@proxy.example.com:3128"}\n'
    return configured(folder, f'[[source]]\nspace = "shop"\nurl = "git@git.example.com:shop.git"\n{proxy}')


def a_source_at_a_port_that_is_none(folder: Path) -> Said:
    return configured(folder, '[[source]]\nspace = "shop"\nurl = "ssh://git@git.example.com:99999/shop.git"\n')


def a_source_with_two_refs(folder: Path) -> Said:
    return configured(folder, '[[source]]\nspace = "shop"\nurl = "/srv/shop.git"\nbranch = "main"\ntag = "v1"\n')


def a_source_whose_tags_are_signed_and_that_follows_a_branch(folder: Path) -> Said:
    (folder / "signers").write_text("")
    signatures = f'signatures = {{of = "tag", ssh_allowed_signers_file = "{folder}/signers"}}\n'
    return configured(folder, f'[[source]]\nspace = "shop"\nurl = "/srv/shop.git"\n{signatures}')


def a_source_that_nobody_may_sign(folder: Path) -> Said:
    return configured(folder, '[[source]]\nspace = "shop"\nurl = "/srv/shop.git"\nsignatures = {}\n')


def a_source_with_a_file_that_is_missing(folder: Path) -> Said:
    login = 'login = {password_file = "/nowhere/token"}\n'
    return configured(folder, f'[[source]]\nspace = "shop"\nurl = "https://git.example.com/shop.git"\n{login}')


def a_source_with_a_relative_file(folder: Path) -> Said:
    login = 'login = {password_file = "token"}\n'
    return configured(folder, f'[[source]]\nspace = "shop"\nurl = "https://git.example.com/shop.git"\n{login}')


def a_source_with_a_folder_that_leads_out(folder: Path) -> Said:
    return configured(folder, '[[source]]\nspace = "shop"\nurl = "/srv/shop.git"\npath = "../other"\n')


def a_space_with_two_sources(folder: Path) -> Said:
    source = '[[source]]\nspace = "shop"\nurl = "/srv/shop.git"\n'
    return configured(folder, source + source)


def a_working_tree_beside_sources(folder: Path) -> Said:
    return served(folder, SOURCES, dev=True)


def sources_and_the_state_of_one_space(folder: Path) -> Said:
    return served(folder, SOURCES, data="postgresql://db.example.com/reconciler/one")


def a_source_whose_space_no_database_can_hold_beside_others(folder: Path) -> Said:
    return served(folder, SOURCES.replace("one", "public"), data="postgresql://db.example.com/reconciler")


def several_spaces_at_one_address_of_agents(folder: Path) -> Said:
    return served(folder, SOURCES, agents="127.0.0.1:10943")


def a_commit_of_another_space(folder: Path) -> Said:
    loaded = load(shop(folder).root)
    settings = SourceTable(space="bookshop", url=str(folder / "space"))
    live = LiveState({}, {}, binding=Binding("bookshop", "", ""))
    return raised(lambda: settings.source(folder).check(loaded, live))


def a_checkout_without_the_commit_applied_last(folder: Path) -> Said:
    loaded = load(shop(folder).root)
    live = LiveState({}, {}, binding=Binding("default", "", "https://git.example.com/shop.git"), revision="c" * 40)
    return raised(lambda: check_reader(loaded, live))


def a_commit_with_errors(folder: Path) -> Said:
    place = shop(folder)
    place.write("bad.yaml", BAD)
    error = invalid(load(place.root), Voice())
    return Said(error.message, error.hint)


def a_suspension_without_a_reason(folder: Path) -> Said:
    return told(applied(folder).run("suspend", "--reason", " \t"))


def a_suspension_that_is_over(folder: Path) -> Said:
    place = applied(folder)
    return told(place.run("suspend", "--reason", "a freeze", "--until", "2020-01-01"))


def a_suspension_until_nobody_knows_when(folder: Path) -> Said:
    place = applied(folder)
    return told(place.run("suspend", "--reason", "a freeze", "--until", "soon"))


def nothing_that_is_suspended(folder: Path) -> Said:
    return told(applied(folder).run("resume"))


def a_plan_that_nobody_made(folder: Path) -> Said:
    return told(applied(folder).run("approve", "plan-0123456789ab"))


def a_plan_that_was_decided_before(folder: Path) -> Said:
    place = applied(folder)
    state = place.root / ".reconcile"
    waiting = Proposal("ab" * 32, "c" * 40, Why.MANUAL, "1 to add", time.time())
    with Store.open(str(state), state) as store:
        store.write_now(lambda tx: following.propose(tx, waiting))
    place.run("approve", waiting.name)
    return told(place.run("reject", waiting.name))


def waiting_for_how_long(folder: Path) -> Said:
    return told(applied(folder).run("wait", "--commit", "HEAD", "--timeout", "soon"))


def drift_from_no_commit(folder: Path) -> Said:
    place = shop(folder)
    place.write("more.yaml", "apiVersion: reconciler/v1\nkind: Environment\nmetadata: {name: more}\nspec: {}\n")
    place.apply()
    return told(place.run("drift"))


def drift_from_a_commit_that_holds_errors(folder: Path) -> Said:
    place = applied(folder)
    place.write("bad.yaml", BAD)
    state = place.root / ".reconcile"
    with Store.open(str(state), state) as store:
        store.write_now(lambda tx: objects.record_revision(tx, place.commit(), time.time()))
    said = told(place.run("drift"))
    return Said(re.sub(r"commit [0-9a-f]{12}", "commit COMMIT", said.message), said.hint)


def a_folder_that_a_commit_does_not_have(folder: Path) -> Said:
    said = raised(lambda: open_tree(shop(folder).root, "HEAD", "deploy"))
    return Said(re.sub(r"commit [0-9a-f]{12}", "commit COMMIT", said.message), said.hint)


CASES = cases(vars())
