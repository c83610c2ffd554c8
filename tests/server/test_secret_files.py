"""A server gives steps what stands in files of the directories that it allows, named absolutely or by their path there."""

import asyncio
from pathlib import Path

import pytest

from reconciler.execute.secrets import SecretRules
from reconciler.model.live import Task
from reconciler.server.sources.policy import Policy
from tests.server.following import PATIENCE, Followed, followed

PROJECT = """\
apiVersion: reconciler/v1
kind: Project
metadata: {{name: shop}}
spec:
  variables:
    - {{name: Password, type: sensitive, value: {{file: "{file}"}}}}
  process:
    - name: Work
      location: {{runOn: server}}
      script: {{syntax: sh, body: 'test "$PASSWORD" = hunter2-is-it'}}
      env: {{PASSWORD: "${{{{ vars.Password }}}}"}}
"""
CONTENT = "hunter2-is-it\n"


async def ended(here: Followed) -> Task:
    async with asyncio.timeout(PATIENCE):
        while not (task := await here.task(1)).state.ended:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)
    return task


@pytest.fixture
def allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory that is allowed; the process runs in one beside it that is not, with files of like names."""
    for name in ("allowed", "here"):
        (tmp_path / name / "shop").mkdir(parents=True)
    (tmp_path / "allowed/shop/db").write_text(CONTENT)
    (tmp_path / "here/shop/db").write_text("not this one")
    (tmp_path / "here/shop/alone").write_text(CONTENT)
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "allowed"


@pytest.mark.parametrize("file", ["{allowed}/shop/db", "shop/db"])
async def test_a_secret_comes_from_a_file_in_a_directory_that_the_server_allows(
    tmp_path: Path, allowed: Path, file: str
) -> None:
    async with followed(
        tmp_path / "server", Policy(new_state=True), secrets=SecretRules(directories=(allowed,))
    ) as here:
        here.repository.shop(PROJECT.format(file=file.format(allowed=allowed)))
        await here.look()
        task = await ended(here)
        assert (task.state, task.reason) == ("succeeded", "")


@pytest.mark.parametrize("file", ["{folder}/here/shop/db", "shop/alone", "project.yaml"])
async def test_no_other_file_of_the_server_is_a_secret(tmp_path: Path, allowed: Path, file: str) -> None:
    async with followed(
        tmp_path / "server", Policy(new_state=True), secrets=SecretRules(directories=(allowed,))
    ) as here:
        named = file.format(folder=tmp_path)
        here.repository.shop(PROJECT.format(file=named))
        await here.look()
        task = await ended(here)
        assert task.state == "failed"
        assert task.reason == (
            f'"Work" failed: the value of Password cannot be had from the file {named}: '
            "there is no such file in the directories that the server's configuration allows"
        )
