"""`ci comment`: a plan in one comment of a pull request, whatever the job's surroundings are."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.cli.ci import KNOWN
from tests.cli.workplace import ENVIRONMENT, Outcome, Workplace, command, reconcile
from tests.server.listening_forge import Answer, ListeningForge, listening

TOKEN = "planted-token"
GITHUB = {"GITHUB_REPOSITORY": "ann/shop", "RECONCILE_FORGE_TOKEN": TOKEN}


@pytest.fixture
def there() -> Iterator[ListeningForge]:
    with listening() as forge:
        yield forge


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for known in KNOWN.values():
        monkeypatch.delenv(known.repository, raising=False)
        monkeypatch.delenv(known.api_url, raising=False)


def markdown(place: Workplace) -> Path:
    """Return a plan in Markdown, in a file."""
    file = place.root.parent / "plan.md"
    file.write_text(place.run("plan", "--format", "markdown").out)
    return file


def comment(file: Path, *options: str | Path) -> Outcome:
    return reconcile("ci", "comment", file, "--pull", "7", *options)


JOBS = {
    "github": ({"GITHUB_REPOSITORY": "ann/shop", "GITHUB_API_URL": ""}, "/repos/ann/shop/issues/7/comments"),
    "gitlab": ({"CI_PROJECT_ID": "12", "CI_API_V4_URL": "/api/v4"}, "/api/v4/projects/12/merge_requests/7/notes"),
    "gitea": ({"GITHUB_REPOSITORY": "ann/shop", "GITHUB_SERVER_URL": ""}, "/api/v1/repos/ann/shop/issues/7/comments"),
}


@pytest.mark.parametrize("kind", JOBS)
def test_a_job_knows_where_it_is(
    place: Workplace, there: ListeningForge, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables, path = JOBS[kind]
    for name, value in variables.items():
        monkeypatch.setenv(name, there.url + value if name.endswith("URL") else value)
    monkeypatch.setenv("RECONCILE_FORGE_TOKEN", TOKEN)
    there.answers = [Answer(200, [])]
    file = markdown(place)
    done = comment(file, "--forge", kind).expect(0)
    assert there.said[1] == ("POST", path, {"body": file.read_text()})
    assert done.err == f"Put into a comment of {variables.get('GITHUB_REPOSITORY', '12')} 7\n"
    assert done.out == ""


def test_the_plan_comes_through_a_pipe_and_takes_the_place_of_the_former_one(
    place: Workplace, there: ListeningForge
) -> None:
    first, second = markdown(place).read_text(), ""
    place.write("more.yaml", ENVIRONMENT % "more")
    second = markdown(place).read_text()
    assert first != second
    there.answers = [Answer(200, [{"id": 42, "body": first}]), Answer(200, {"id": 42})]
    arguments = ("ci", "comment", "--forge", "github", "--pull", "7", "--api-url", there.url)
    done = command(*arguments, folder=place.root, stdin=second, more=GITHUB).expect(0)
    assert there.said[1:] == [("PATCH", "/repos/ann/shop/issues/comments/42", {"body": second})]
    assert TOKEN not in done.out + done.err


def test_a_forge_that_refuses_is_a_sentence_and_the_token_is_in_none(place: Workplace, there: ListeningForge) -> None:
    (place.root.parent / "token").write_text(f"{TOKEN}\n")
    there.answers = [Answer(401, {"message": f"Bad credentials {TOKEN}"})]
    options = ("--repository", "ann/shop", "--api-url", there.url, "--token-file", place.root.parent / "token")
    done = comment(markdown(place), "--forge", "github", *options).expect(1)
    assert done.err == (
        f"Error: the forge at {there.url} refuses (401: Bad credentials ***)\n  give it a token that is valid\n"
    )
