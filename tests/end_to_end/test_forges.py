"""A server that is configured with a forge tells it what becomes of commits, whatever the forge answers at first."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.chaos.processes import until
from tests.cli.workplace import RECONCILE, environment
from tests.server.following import Repository
from tests.server.listening_forge import Answer, ListeningForge, listening

pytestmark = pytest.mark.end_to_end

TOKEN = "planted-token"
CONFIGURATION = """\
[[source]]
space = "shop"
url = "{repository}"
poll = "1s"

[source.forge]
kind = "github"
repository = "ann/shop"
token_file = "{folder}/token"
api_url = "{url}"
target_url = "https://deploy.example.org/shop"
"""


@contextmanager
def serving(folder: Path, repository: Repository, there: ListeningForge) -> Iterator[Path]:
    """Serve the repository while the context stands, and return where the log is."""
    (folder / "token").write_text(f"{TOKEN}\n")
    configuration = CONFIGURATION.format(repository=repository.root, folder=folder, url=there.url)
    (folder / "server.toml").write_text(configuration)
    log = folder / "server.log"
    options = ("--data", folder / "data", "--config", folder / "server.toml")
    with log.open("wb") as stream:
        server = subprocess.Popen(
            [RECONCILE, "serve", *options], stdout=stream, stderr=stream, env=environment(), cwd=folder
        )
    try:
        yield log
    finally:
        server.terminate()
        assert server.wait(20) == 0, log.read_text()


def test_the_forge_of_a_source_hears_of_each_commit(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "repository")
    first = repository.pools("linux")
    with listening() as there:
        there.answers = [Answer(503, {"message": "try later"})]
        with serving(tmp_path, repository, there) as log:

            def told() -> dict[str, object]:
                return {each.path.rpartition("/")[2]: each.body for each in there.asked}

            until(lambda: log.exists() and log.read_text().count("forge was told") == 1, "the first commit")
            assert told()[first] == {
                "state": "success",
                "context": "reconcile/shop",
                "description": f"everything is as {first[:12]} declares it",
                "target_url": "https://deploy.example.org/shop",
            }
            repository.write("pool-linux.yaml", "kind: [\n")
            broken = repository.commit()
            until(lambda: broken in told(), "the second commit")
            body = told()[broken]
            assert isinstance(body, dict)
            assert body["state"] == "failure"
            assert body["description"].startswith("1 error in the declarations, the first at pool-linux.yaml:")
            assert f'reason="the forge at {there.url} fails (503: try later)"' in log.read_text()
            assert TOKEN not in log.read_text()
