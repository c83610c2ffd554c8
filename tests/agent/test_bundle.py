"""The agent as one file: small, the same each time, and whole under the oldest Python that it promises."""

import asyncio
import signal
from importlib import metadata
from pathlib import Path

import pytest

from reconciler.agent import bundle
from reconciler.agent.release import RELEASE
from reconciler.protocol.tickets import Exited
from tests.agent.installation import installed
from tests.agent.test_old_python import oldest_python
from tests.agent.test_polling import linked

pytestmark = pytest.mark.end_to_end  # an agent is started in each, and often waited for

SIZE_MAX = 200 << 10


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "reconcile-agent.pyz"
    bundle.write(str(path))
    return path


def test_the_agent_is_of_the_release_of_the_product() -> None:
    assert metadata.version("reconciler") == RELEASE


def test_equal_sources_give_equal_bytes_and_few(archive: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.pyz"
    bundle.write(str(again))
    assert again.read_bytes() == archive.read_bytes()
    assert archive.stat().st_size <= SIZE_MAX
    assert archive.stat().st_mode & 0o111


async def test_the_archive_enrols_and_runs_scripts_on_an_old_python(archive: Path, tmp_path: Path) -> None:
    async with installed(tmp_path, (oldest_python(), "-I", str(archive))) as (authority, server, agent):
        await agent.enrolled(server, authority)
        await agent.start()
        async with linked(tmp_path, server) as worker:
            ticket = worker.begin("set_output greeting hello; echo from a file")
            await worker.news.until(lambda: worker.news.finals[ticket])
            final = worker.news.finals[ticket][0]
            assert final.ending == Exited(0)
            assert [output.value for output in final.outputs] == ["hello"]
            assert worker.text() == "from a file\n"
        assert await agent.stop() == 0


async def test_the_archive_shows_the_agent_and_its_machine(archive: Path, tmp_path: Path) -> None:
    async with installed(tmp_path, (oldest_python(), "-I", str(archive))) as (authority, server, agent):
        document = await agent.enrolled(server, authority)
        shown = await asyncio.to_thread(agent.command, "show")
        assert "worker:               web-01\n" in shown.stdout
        assert "".join(f"  {line}\n" for line in document.splitlines()) in shown.stdout
        assert "PRIVATE KEY" not in shown.stdout
        assert shown.stderr == ""
        await agent.start()
        await (await server.peer()).greet()
        await agent.stop(signal.SIGKILL)
