"""Bad days: each ends as documented, and is told alike by CLI, API, events and the status of the commit."""

import hmac
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from subprocess import run

import pytest

from reconciler.model.spec import Address
from reconciler.store import objects
from reconciler.store.database import Transaction
from reconciler.store.writer import Store
from tests.chaos.processes import until
from tests.cli.workplace import worker
from tests.server.awkward_host import Mood
from tests.server.following import DEPLOYMENT, ENVIRONMENT, POOL, PROJECT
from tests.server.watched_world import Watched, World, short, world

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(300)]

PATIENCE = 90.0  # seconds; the server follows a score of spaces on a machine that may be busy
SECRET = "secret-of-the-hook"
APPLIED = "everything is as {commit} declares it"
OVER_BUDGET = "it takes more away than the space allows by itself; approve it with: reconcile approve {plan}"
BROKEN = (
    "1 error in the declarations, the first at a.yaml:1: did not find expected node content "
    "(see them with: reconcile validate)"
)
OTHER_HISTORY = (
    "the commit does not descend from the one carried out last, and the plan removes 1 object; "
    "approve it with: reconcile approve {plan}"
)
SHARED = (
    "Worker/shared is the machine poll://shared, which the space first-on-a-machine declares as Worker/shared: "
    "one machine belongs to one space"
)
SIGN = "sign it with a key that the server knows"


@dataclass(frozen=True, slots=True)
class Day:
    """What was before, what happens then, and what is told of it.

    `reason` and `sentence` are those of Ready, of the head; `event` is the outcome of the last event of `subject`, and
    `detail` what it says where that is not the sentence. `forge` is the state that the head has at the forge, with the
    sentence, or with the one before where the day says nothing about a commit.
    """

    begin: Callable[[Watched], object]
    happens: Callable[[Watched], object]
    reason: str
    sentence: str
    event: str
    forge: str
    subject: str = "space"
    detail: str | None = None
    silent: bool = False
    """Is the day one of which the forge is not told?"""
    settings: str = ""
    by_https: bool = False


# Who signs.


def sign(space: Watched, name: str) -> None:
    """Have the next commits signed with a key, which is made where there is none."""
    key = space.world.folder / f"key-{name}"
    if not key.exists():
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", key], check=True)
    for setting, value in (("gpg.format", "ssh"), ("user.signingKey", str(key))):
        space.repository.git("config", setting, value)


def signed(space: Watched) -> None:
    """Begin with a commit that is signed by somebody who may."""
    sign(space, "ann")
    (space.world.folder / "signers").write_text(f"ann@example.com {(space.world.folder / 'key-ann.pub').read_text()}")
    space.pools("a")
    space.repository.commit("Signed", "--gpg-sign")


def not_signed(space: Watched) -> None:
    space.pools("a", "b")


def wrongly_signed(space: Watched) -> None:
    sign(space, "eve")
    space.repository.write("pool.yaml", POOL.format(name="b"))
    space.repository.commit("Signed", "--gpg-sign")


# What is pushed.


def two_commits(space: Watched) -> None:
    space.pools("a", "b")
    space.pools("a", "b", "c")


def back_to_an_older_one(space: Watched) -> None:
    space.repository.git("reset", "--quiet", "--hard", "HEAD~1")


def to_an_unrelated_one(space: Watched) -> None:
    space.repository.git("checkout", "--quiet", "--orphan", "other")
    space.pools("a", "b")
    space.repository.git("branch", "--quiet", "--force", "--move", "main")


def a_file_that_does_not_parse(space: Watched) -> None:
    space.repository.write("a.yaml", "kind: [\n")
    space.repository.commit()


def workers(**members: str) -> Callable[[Watched], object]:
    """Declare the pools a and b, and workers by their pools."""

    def declare(space: Watched) -> None:
        pools = {f"pool-{name}": POOL.format(name=name) for name in ("a", "b")}
        space.declare(**pools, **{name: worker(f"{space.name}-{name}", pool) for name, pool in members.items()})

    return declare


def renamed(space: Watched) -> None:
    space.declare(a=POOL.format(name="b").replace("{name: b}", "{name: b, renamedFrom: a}"))


def the_machine_of_another(space: Watched) -> None:
    space.declare(pool=POOL.format(name="a"), w=worker("shared", "a"))


def an_agent_that_works(space: Watched) -> None:
    """Have an agent run the step of a deployment, and remove it from Git meanwhile: it is the last one of its pool."""
    project = PROJECT.format(body=f"while [ ! -e {space.world.gate} ]; do sleep 0.1; done")
    project = project.replace("runOn: server", "runOn: workerPool, pool: a")
    work = {"environment": ENVIRONMENT, "project": project, "deployment": DEPLOYMENT.format(release="1")}
    space.declare(pool=POOL.format(name="a"), worker=space.enrol("last-1", "a"), **work)
    until(lambda: '"Work" running' in space.run("status"), "the step", PATIENCE)
    space.declare(pool=POOL.format(name="a"), **work)


# What is done to the state.


def behind_gits_back(space: Watched) -> None:
    def work(tx: Transaction) -> None:
        objects.remove(tx, Address("WorkerPool", "a"))
        objects.next_serial(tx)

    with Store.open(str(space.data), space.data) as store:
        store.write_now(work)


# What is fetched.


def fetching(mood: Mood) -> Callable[[Watched], object]:
    def happens(space: Watched) -> None:
        space.world.host.moods[space.name] = mood

    return happens


def call(space: Watched, secret: str) -> int:
    """Say as a forge does that the repository has moved; return the status of the answer."""
    proof = "sha256=" + hmac.new(secret.encode(), b"{}", sha256).hexdigest()
    request = urllib.request.Request(f"{space.world.url}/hooks/{space.name}", b"{}", {"X-Reconciler-Signature": proof})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def a_flood_of_calls(space: Watched) -> None:
    space.pools("a", "b")
    assert {call(space, SECRET) for _ in range(100)} == {202}
    assert {call(space, "another") for _ in range(20)} <= {403, 429}


def a_hundred_commits(space: Watched) -> None:
    for number in range(100):
        space.repository.write("a.yaml", f"# {number}\n" + POOL.format(name="a"))
        space.repository.commit(f"Number {number}")
    space.pools("a", "b")


def one_pool(space: Watched) -> None:
    space.pools("a")


def two_pools(spec: str = "{}") -> Callable[[Watched], object]:
    return lambda space: space.pools("a", "b", spec=spec)


SIGNED = 'signatures = {{ssh_allowed_signers_file = "{folder}/signers"}}'
HOOK = 'webhook = {{secret_file = "{folder}/hook"}}'
UNREAD = "the source cannot be read since {since}: "
ANSWERED = UNREAD + "{url}: its host answers with the status "
ALL_EIGHT = {f"w{number}": "a" if number < 7 else "b" for number in range(1, 9)}
DAYS: dict[str, Day] = {
    "unsigned": Day(
        *(signed, not_signed, "Unsigned", f"the commit {{commit}} is not signed ({SIGN})", "unsigned", "failure"),
        settings=SIGNED,
    ),
    "wrongly-signed": Day(
        *(signed, wrongly_signed, "Unsigned"),
        *(f"the commit {{commit}} is signed by somebody who may not sign ({SIGN})", "unsigned", "failure"),
        settings=SIGNED,
    ),
    "pushed-back": Day(two_commits, back_to_an_older_one, "AwaitingApproval", OTHER_HISTORY, "waits", "pending"),
    "unrelated": Day(two_commits, to_an_unrelated_one, "AwaitingApproval", OTHER_HISTORY, "waits", "pending"),
    "broken-file": Day(
        *(one_pool, a_file_that_does_not_parse, "Invalid"),
        *(BROKEN, "invalid", "failure"),
    ),
    "half-of-the-workers": Day(
        workers(w1="a", w2="a", w3="b", w4="b"),
        workers(w1="a", w3="b"),
        *("AwaitingApproval", OVER_BUDGET, "waits", "pending"),
    ),
    "all-of-a-pool": Day(
        workers(**ALL_EIGHT),
        workers(**{name: pool for name, pool in ALL_EIGHT.items() if pool == "a"}),
        *("AwaitingApproval", OVER_BUDGET, "waits", "pending"),
    ),
    "last-worker": Day(
        *(one_pool, an_agent_that_works, "AwaitingApproval", OVER_BUDGET, "waits", "pending"),
        settings='agents = "127.0.0.1:{agents}"',
    ),
    "renamed": Day(
        *(one_pool, renamed, "Applied", APPLIED, "done", "success"),
        subject="WorkerPool/b",
        detail="a.yaml:1 says renamedFrom: a",
    ),
    "two-on-a-machine": Day(
        *(one_pool, the_machine_of_another, "Refused"),
        *(SHARED, "refused", "failure"),
    ),
    "changed-and-reported": Day(
        *(two_pools("{drift: report}"), behind_gits_back, "Drifted"),
        *(
            "WorkerPool/a differs from what was applied last, and the space only reports that; see: reconcile drift",
            *("drifted", "failure"),
        ),
    ),
    "changed-and-put-right": Day(
        *(two_pools(), behind_gits_back, "Applied", APPLIED, "done", "success"),
        subject="WorkerPool/a",
        detail="a.yaml:1 declares it",
    ),
    "fetch-hangs": Day(
        *(
            one_pool,
            fetching(Mood.HANGS),
            "SourceUnreadable",
            f"{UNREAD}git ls-remote took longer than 5 s and was stopped",
            "unreadable",
            "success",
        ),
        silent=True,
        by_https=True,
    ),
    "fetch-fails": Day(
        *(one_pool, fetching(Mood.FAILS), "SourceUnreadable", f"{ANSWERED}503", "unreadable", "success"),
        silent=True,
        by_https=True,
    ),
    "fetch-is-throttled": Day(
        *(one_pool, fetching(Mood.THROTTLES), "SourceUnreadable", f"{ANSWERED}429", "unreadable", "success"),
        silent=True,
        by_https=True,
    ),
    "flood-of-calls": Day(
        *(one_pool, a_flood_of_calls, "Applied", APPLIED, "done", "success"),
        subject="WorkerPool/b",
        detail="b.yaml:1 declares it",
        settings=HOOK,
    ),
    "hundred-commits": Day(
        *(one_pool, a_hundred_commits, "Applied", APPLIED, "done", "success"),
        subject="WorkerPool/b",
        detail="b.yaml:1 declares it",
    ),
}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Serve a space for each day, all as declared."""
    with world(tmp_path_factory.mktemp("world")) as made:
        (made.folder / "hook").write_text(f"{SECRET}\n")
        the_machine_of_another(made.space("first-on-a-machine"))
        one_pool(made.space("fetch-heals", by_https=True))
        for name, day in DAYS.items():
            settings = day.settings.format(folder=made.folder, agents=made.agents)
            day.begin(made.space(name, settings, by_https=day.by_https))
        with made.served():
            for space in made.spaces.values():
                head = space.repository.git("rev-parse", "HEAD")
                until(
                    lambda space=space, head=head: space.stands("Applied", head), f"{space.name}: as declared", PATIENCE
                )
            yield made


@pytest.mark.parametrize("name", DAYS)
def test_a_bad_day_ends_as_documented_and_is_told_alike(here: World, name: str) -> None:
    day, space = DAYS[name], here.spaces[name]
    before = space.repository.git("rev-parse", "HEAD")
    day.happens(space)
    commit = space.repository.git("rev-parse", "HEAD")
    until(lambda: space.stands(day.reason, commit) and _has_happened(space, day), f"{day.reason}", PATIENCE)
    reason, sentence = space.ready()
    assert sentence == _sentence(space, day, commit)
    assert set(space.conditions(commit).values()) == {(reason, sentence)}, space.conditions(commit)
    outcome = (day.event, sentence if day.detail is None else day.detail)
    for place, events in space.events(day.subject).items():
        assert events[-1] == outcome, place
    if day.subject == "space" and not day.silent and day.reason != "Drifted":
        assert space.verdict(commit) == (day.event, sentence)
    told = (day.forge, short(APPLIED.format(commit=before[:12]) if day.silent else sentence))
    until(lambda: space.told(commit) == told, f"{told}, not {space.told(commit)}", PATIENCE)


def _has_happened(space: Watched, day: Day) -> bool:
    """Is the last event there that the day ends with?"""
    events = space.events(day.subject)["events"]
    return bool(events) and events[-1][0] == day.event


def _sentence(space: Watched, day: Day, commit: str) -> str:
    source = space.status()["source"]
    assert isinstance(source, dict)
    return day.sentence.format(commit=commit[:12], plan=space.plan(), since=source["failed_since"], url=space.source)


def test_a_source_that_can_be_read_again_is_told(here: World) -> None:
    space = here.spaces["fetch-heals"]
    fetching(Mood.FAILS)(space)
    head = space.repository.git("rev-parse", "HEAD")
    until(lambda: space.stands("SourceUnreadable", head), "the failure", PATIENCE)
    fetching(Mood.WELL)(space)
    commit = space.pools("a", "b")
    space.get("/look", "POST")
    until(lambda: space.stands("Applied", commit), "the commit", PATIENCE)
    for place, events in space.events("space").items():
        assert [outcome for outcome, _ in events] == ["unreadable", "done"], place
        assert events[-1][1] == "the source can be read again", place
    until(lambda: space.told(commit) == ("success", APPLIED.format(commit=commit[:12])), "the status", PATIENCE)
