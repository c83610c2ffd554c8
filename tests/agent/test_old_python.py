"""The agent as one zip file under the oldest Python that it promises, found on this machine or counted as skipped."""

import os
import shutil
import signal
import zipfile
from pathlib import Path

import pytest

import reconciler
from reconciler.protocol.tickets import Exited, Secrets, TicketId
from tests.agent.worker import running

SOURCE = Path(reconciler.__file__).parent


def oldest_python() -> str:
    """Return a Python 3.9, or the nearest newer one, other than the one that runs the tests."""
    pyenv = sorted(Path("/root/.pyenv/versions").glob("3.9.*/bin/python3.9")) if os.access("/root", os.R_OK) else []
    for name in (*map(str, pyenv), *(f"python3.{minor}" for minor in (9, 10))):
        if found := shutil.which(name):
            return found
    pytest.skip("no Python 3.9 or 3.10 on this machine")


@pytest.fixture
def zipped(tmp_path: Path) -> Path:
    path = tmp_path / "agent.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(SOURCE / "__init__.py", "reconciler/__init__.py")
        for package in ("agent", "protocol"):
            for file in (SOURCE / package).rglob("*"):
                if file.is_file() and "__pycache__" not in file.parts:
                    archive.write(file, "reconciler" / file.relative_to(SOURCE))
        archive.writestr("__main__.py", "import sys\nfrom reconciler.agent.main import main\nsys.exit(main())\n")
    return path


async def test_a_zipped_agent_on_an_old_python_lives_a_tickets_life(tmp_path: Path, zipped: Path) -> None:
    gate = tmp_path / "gate"
    async with running(tmp_path, (oldest_python(), str(zipped))) as worker:
        script = "set_output key hunter2-hunter2 --sensitive; echo hunter2-hunter2 tok-en-1; echo a > a.txt"
        secrets = Secrets(masks=("tok-en-1",))
        final = await worker.run(script, secrets=secrets, artifacts=("*.txt",))
        assert final.ending == Exited(0)
        assert worker.text() == "******** ********\n"
        assert [output.value for output in final.outputs] == ["hunter2-hunter2"]
        assert [artifact.name for artifact in final.artifacts] == ["a.txt"]
        worker.link.forget(TicketId("t1"))

        ticket = worker.begin(f"until [ -e {gate} ]; do sleep 0.02; done; exit 6", ticket="t2")
        await worker.news.until(lambda: "Running" in worker.news.states[ticket])
        assert worker.carrier.agent_pid is not None
        os.kill(worker.carrier.agent_pid, signal.SIGKILL)
        gate.touch()
        assert (await worker.final(ticket)).ending == Exited(6)
