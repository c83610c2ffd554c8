"""The herald: what a forge hears of commits, and that nothing waits for it."""

import asyncio
import io
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from threading import Event

import pytest

from reconciler.model.errors import UsageMistake
from reconciler.model.following import Condition, Judged, SourceState, Suspension, Verdict
from reconciler.server.controller.conditions import Facts, conditions_of
from reconciler.server.controller.controller import Controller
from reconciler.server.forge.forges import Status, forge_of
from reconciler.server.forge.herald import UNTOLD_MAX, Herald
from reconciler.server.forge.line import ForgeProblem, Line
from reconciler.server.forge.settings import ForgeTable
from reconciler.server.voice import Voice
from tests.server.following import PATIENCE, followed, until
from tests.server.listening_forge import Answer, ListeningForge, listening

TOKEN = "planted-token"
A, B = "a" * 40, "b" * 40
HEAD = SourceState("u", "r", "", A)


@pytest.fixture
def there() -> Iterator[ListeningForge]:
    with listening() as forge:
        yield forge


@asynccontextmanager
async def herald_of(there: ListeningForge) -> AsyncIterator[tuple[Herald, io.StringIO]]:
    """Let a herald speak with a forge while the context stands, and return what it logs."""
    said = io.StringIO()
    forge = forge_of("github", Line(there.url, TOKEN), "ann/shop")
    herald = Herald(forge, Voice("text", said), "reconcile/shop", retry_seconds=(0.01, 0.02))
    running = asyncio.create_task(herald.run())
    try:
        yield herald, said
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        assert TOKEN not in said.getvalue()


def judged(revision: str, verdict: Verdict = Verdict.APPLIED, reason: str = "") -> Judged:
    return Judged(revision, "Ann", "Change", verdict, reason)


def standing(facts: Facts) -> Sequence[Condition]:
    return conditions_of(facts)


def heard(there: ListeningForge) -> list[tuple[str, str, str]]:
    """Return the commit, state and description of each status that came."""
    return [
        (each.path.rpartition("/")[2], each.body["state"], each.body["description"])
        for each in there.asked
        if isinstance(each.body, dict)
    ]


@pytest.mark.parametrize(
    ("facts", "state", "description"),
    [
        (Facts(HEAD, judged(A)), "success", f"everything is as {A[:12]} declares it"),
        (Facts(HEAD, judged(A), running=2), "pending", "2 tasks under way"),
        (Facts(HEAD, judged(A), running=3, asking=1), "pending", "3 tasks under way; 1 waits for a person"),
        (Facts(HEAD, judged(A), running=1, asking=1), "pending", "1 task under way; 1 waits for a person"),
        (Facts(HEAD, judged(A), running=3, asking=2), "pending", "3 tasks under way; 2 wait for a person"),
        (Facts(HEAD, judged(A, Verdict.FAILED, "a lock is held")), "pending", "a lock is held"),
        (Facts(HEAD, judged(A, Verdict.WAITS, "plan-1 waits")), "pending", "plan-1 waits"),
        (Facts(HEAD, judged(A, Verdict.INVALID, "1 error in the declarations")), "failure", "1 error in the declarations"),
        (Facts(HEAD, judged(A, Verdict.REFUSED, "it is protected")), "failure", "it is protected"),
        (Facts(HEAD, judged(A), failed=("Deployment/shop failed",)), "failure", "Deployment/shop failed"),
    ],
)  # fmt: skip
async def test_a_commit_has_the_status_of_its_condition(
    there: ListeningForge, facts: Facts, state: str, description: str
) -> None:
    async with herald_of(there) as (herald, said):
        herald.tell(standing(facts))
        await until(lambda: "forge was told" in said.getvalue())
    assert heard(there) == [(A, state, description)]


async def test_what_says_nothing_about_a_commit_is_not_told(there: ListeningForge) -> None:
    async with herald_of(there) as (herald, said):
        herald.tell(standing(Facts()))
        herald.tell(standing(Facts(HEAD, judged(A), suspension=Suspension("ann", "holidays", 0.0, 9.0))))
        unreadable = SourceState("u", "r", "", A, failed_since=1.0, problem="no route")
        herald.tell(standing(Facts(unreadable, judged(A))))
        herald.tell(standing(Facts(HEAD, judged(A))))
        herald.tell(standing(Facts(HEAD, judged(A))))
        await until(lambda: "forge was told" in said.getvalue())
    assert heard(there) == [(A, "success", f"everything is as {A[:12]} declares it")]


async def test_a_commit_that_was_under_way_when_another_came_is_superseded(there: ListeningForge) -> None:
    async with herald_of(there) as (herald, said):
        herald.tell(standing(Facts(HEAD, judged(A), running=1)))
        herald.tell(standing(Facts(HEAD, judged(B))))
        await until(lambda: said.getvalue().count("forge was told") == 2)
    assert heard(there) == [
        (A, "error", f"superseded by {B[:12]}"),
        (B, "success", f"everything is as {B[:12]} declares it"),
    ]


@pytest.mark.parametrize("code", [401, 404, 422])
async def test_what_is_refused_for_good_is_said_once_and_given_up(there: ListeningForge, code: int) -> None:
    there.answers = [Answer(code, {"message": "no"})]
    async with herald_of(there) as (herald, said):
        herald.tell(standing(Facts(HEAD, judged(A, Verdict.REFUSED, "it is protected"))))
        await until(lambda: "forge was not told" in said.getvalue())
        herald.tell(standing(Facts(HEAD, judged(B))))
        await until(lambda: "forge was told" in said.getvalue())
        assert said.getvalue().count("forge was not told") == 1
        assert f'reason="the forge at {there.url} refuses ({code}: no)"' in said.getvalue()
    assert [commit for commit, _, _ in heard(there)] == [A, B]


@pytest.mark.parametrize("code", [429, 500, 503])
async def test_what_may_pass_is_tried_again_until_it_is_told(there: ListeningForge, code: int) -> None:
    there.answers = [Answer(code, {"message": "later"})] * 3
    async with herald_of(there) as (herald, said):
        herald.tell(standing(Facts(HEAD, judged(A))))
        await until(lambda: "forge was told" in said.getvalue())
        assert said.getvalue().count("forge was not told") == 3
    assert len(there.asked) == 4


async def test_of_what_waits_the_latest_of_a_commit_is_told_and_the_oldest_is_given_up(there: ListeningForge) -> None:
    there.held = Event()
    async with herald_of(there) as (herald, said):
        begun = time.monotonic()
        for number in range(UNTOLD_MAX + 5):
            herald.tell(standing(Facts(HEAD, judged(f"{number:040}", Verdict.REFUSED, "one"))))
            herald.tell(standing(Facts(HEAD, judged(f"{number:040}", Verdict.REFUSED, "two"))))
        assert time.monotonic() - begun < 1.0
        assert said.getvalue().count('reason="too much waits to be told"') == 5
        there.held.set()
        await until(lambda: said.getvalue().count("forge was told") == UNTOLD_MAX)
    assert {description for _, _, description in heard(there)} == {"two"}


class Away:
    """A forge that is away for so many tries."""

    def __init__(self, tries: int) -> None:
        self.left = tries

    def status(self, status: Status) -> None:
        self.left -= 1
        if self.left >= 0:
            raise ForgeProblem(f"nobody is there to hear of {status.commit}", after=0.0)

    def comment(self, pull: int, marker: str, body: str) -> None:
        raise ForgeProblem("never asked")


async def test_a_forge_that_is_away_for_a_week_is_told_when_it_is_back() -> None:
    said, tries = io.StringIO(), 1_100
    herald = Herald(Away(tries), Voice("text", said), "reconcile/shop", retry_seconds=(1e-6, 1e-6))
    running = asyncio.create_task(herald.run())
    herald.tell(standing(Facts(HEAD, judged(A))))
    await until(lambda: running.done() or "forge was told" in said.getvalue())
    assert not running.done()
    assert said.getvalue().count("forge was not told") == tries
    running.cancel()


class Broken:
    """A forge with a bug."""

    def status(self, status: Status) -> None:
        raise ZeroDivisionError(TOKEN)

    def comment(self, pull: int, marker: str, body: str) -> None:
        raise ForgeProblem("never asked")


async def test_a_bug_of_ours_stops_nobody() -> None:
    said = io.StringIO()
    herald = Herald(Broken(), Voice("text", said), "reconcile/shop")
    running = asyncio.create_task(herald.run())
    herald.tell(standing(Facts(HEAD, judged(A))))
    await until(lambda: 'reason="a bug of ours: ZeroDivisionError"' in said.getvalue())
    assert not running.done()
    assert TOKEN not in said.getvalue()
    running.cancel()


async def test_a_controller_goes_on_while_its_forge_is_silent_and_tells_it_afterwards(
    there: ListeningForge, tmp_path: Path
) -> None:
    there.held = Event()
    async with followed(tmp_path) as here, herald_of(there) as (herald, said):
        old = here.controller
        here.controller = Controller(old.engine, old.running, old.source, old.voice, old.policy, herald=herald)
        async with asyncio.timeout(PATIENCE):
            for name in ("linux", "windows"):
                last = here.repository.pools(name)
                await here.look()
                assert await here.pools() == {name}
        here.repository.write("pool-windows.yaml", "kind: [\n")
        broken = here.repository.commit()
        await here.look()
        there.held.set()
        await until(lambda: broken in said.getvalue())
    told = {commit: (state, description) for commit, state, description in heard(there)}
    assert told[last] == ("success", f"everything is as {last[:12]} declares it")
    assert told[broken][0] == "failure"
    assert told[broken][1].startswith("1 error in the declarations, the first at pool-windows.yaml:")


def test_the_configuration_makes_the_forge(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n# of the bot\n")
    table = ForgeTable(kind="github", repository="ann/shop", token_file=str(tmp_path / "token"))
    assert table.address == "https://api.github.com"
    assert table.forge() == forge_of("github", Line("https://api.github.com", TOKEN), "ann/shop")
    for content in (b"\xff\xfe", b"", b"two\xa0words\n", b"\n" + TOKEN.encode()):
        (tmp_path / "token").write_bytes(content)
        with pytest.raises(UsageMistake) as refused:
            table.forge()
        assert refused.value.message == f"{tmp_path}/token holds no token"
        assert refused.value.hint == "write the token that the forge gave into its first line, as it is"
    with pytest.raises(ValueError, match="name the api_url: there is no gitea that everybody uses"):
        ForgeTable(kind="gitea", repository="ann/shop", token_file=str(tmp_path / "token"))
    with pytest.raises(ValueError, match="the token would go in clear"):
        ForgeTable(kind="gitea", repository="a/b", token_file=str(tmp_path / "token"), api_url="http://git.example.org")
