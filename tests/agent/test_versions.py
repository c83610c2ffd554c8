"""What an agent knows of the programs on its machine: asked once, and again when a program's file is another."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from reconciler.agent import versions
from reconciler.agent.answers import answers
from tests.agent.installation import installed


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a directory the whole PATH."""
    found = tmp_path / "bin"
    found.mkdir()
    monkeypatch.setenv("PATH", str(found))
    return found


@pytest.fixture
def state(tmp_path: Path) -> Path:
    made = tmp_path / "state"
    made.mkdir()
    return made


def script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def says(state: Path, name: str, version: str) -> None:
    """Write another version into what is kept, so that it shows whether the program is asked."""
    kept = json.loads((state / "versions").read_text())
    kept["programs"][name]["version"] = version
    (state / "versions").write_text(json.dumps(kept))


def told_by(program: str) -> str:
    """Return the version that one of this machine's programs tells."""
    text = answers({"": (program, "--version")}, 10.0)[""]
    assert text is not None
    found = versions.VERSION.search(text)
    assert found is not None, text
    return found[0]


def test_a_program_is_asked_once_and_again_when_its_file_is_another(programs: Path, state: Path) -> None:
    shutil.copy("/bin/bash", programs / "git")
    assert versions.versions_kept(str(state)) == {"git": told_by("/bin/bash")}
    says(state, "git", "1.2.3 as kept")
    assert versions.versions_kept(str(state)) == {"git": "1.2.3 as kept"}
    assert versions.versions() == {"git": told_by("/bin/bash")}, "a person who asks is told what is so now"
    shutil.copy("/usr/bin/env", programs / "git.new")
    os.replace(programs / "git.new", programs / "git")
    assert versions.versions_kept(str(state)) == {"git": told_by("/usr/bin/env")}
    (programs / "git").unlink()
    assert versions.versions_kept(str(state)) == {}
    assert json.loads((state / "versions").read_text()) == {"programs": {}}


def test_the_same_bytes_written_at_another_time_are_asked_again(programs: Path, state: Path) -> None:
    shutil.copy("/bin/bash", programs / "bash")
    versions.versions_kept(str(state))
    says(state, "bash", "1.2.3 as kept")
    os.utime(programs / "bash", (1, 1))
    assert versions.versions_kept(str(state)) == {"bash": told_by("/bin/bash")}


def test_a_script_and_a_link_to_another_program_are_asked_each_time(programs: Path, state: Path) -> None:
    shutil.copy("/bin/bash", programs / "dispatcher")
    (programs / "kubectl").symlink_to("dispatcher")
    script(programs / "helm", "echo v3.1.4")
    found = versions.versions_kept(str(state))
    assert found["helm"] == "3.1.4"
    assert set(found) == {"helm", "kubectl"}
    assert not (state / "versions").exists()
    script(programs / "helm", "echo v3.1.5")
    assert versions.versions_kept(str(state))["helm"] == "3.1.5"


def test_a_link_to_a_program_of_its_name_is_kept_by_the_file_it_leads_to(programs: Path, state: Path) -> None:
    shutil.copy("/bin/bash", programs / "python3.11")
    (programs / "python3").symlink_to("python3.11")
    versions.versions_kept(str(state))
    says(state, "python3", "1.2.3 as kept")
    assert versions.versions_kept(str(state)) == {"python3": "1.2.3 as kept"}
    shutil.copy("/usr/bin/env", programs / "python3.12")
    (programs / "python3").unlink()
    (programs / "python3").symlink_to("python3.12")
    assert versions.versions_kept(str(state)) == {"python3": told_by("/usr/bin/env")}


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"programs": {"bash": 1}}', '{"programs": {"bash": {"mark": ""}}}']
)
def test_what_is_kept_and_cannot_be_read_is_asked_anew(programs: Path, state: Path, content: str) -> None:
    shutil.copy("/bin/bash", programs / "bash")
    (state / "versions").write_text(content)
    assert versions.versions_kept(str(state)) == {"bash": told_by("/bin/bash")}
    says(state, "bash", "1.2.3 as kept")
    assert versions.versions_kept(str(state)) == {"bash": "1.2.3 as kept"}


def test_a_state_that_cannot_be_written_costs_the_memory_only(programs: Path, state: Path) -> None:
    shutil.copy("/bin/bash", programs / "bash")
    (state / "versions").mkdir()
    assert versions.versions_kept(str(state)) == {"bash": told_by("/bin/bash")}


def test_a_program_that_does_not_start_is_said_and_not_kept(programs: Path, state: Path) -> None:
    (programs / "docker").write_bytes(b"\x7fELF and nothing more")
    (programs / "docker").chmod(0o755)
    assert versions.versions_kept(str(state)) == {"docker": "does not tell its version"}
    assert not (state / "versions").exists()


def test_programs_answer_at_the_same_time_and_who_is_late_is_killed(tmp_path: Path) -> None:
    script(tmp_path / "quick", "echo out; echo err >&2")
    script(tmp_path / "slow", f"echo $$ > {tmp_path}/pid; echo early; exec sleep 100")
    script(tmp_path / "endless", "exec yes")
    script(tmp_path / "closed", "exec >&- 2>&-; exec sleep 100")
    begun = time.monotonic()
    found = answers({name: (str(tmp_path / name),) for name in ("quick", "slow", "endless", "closed", "none")}, 2.0)
    assert time.monotonic() - begun < 10.0
    assert (found["quick"], found["slow"], found["closed"], found["none"]) == ("out\nerr\n", None, "", None)
    assert (found["endless"] or "").startswith("y\ny\n")
    pid = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_an_agent_that_starts_again_does_not_ask_again(tmp_path: Path) -> None:
    async with installed(tmp_path) as (authority, server, agent):
        await agent.enrolled(server, authority)
        await agent.start()
        hello = await (await server.peer()).greet()
        assert hello.capabilities["bash"] == told_by("/bin/bash")
        await agent.stop()
        says(agent.state, "bash", "1.2.3 as kept")
        await agent.start()
        hello = await (await server.peer()).greet()
        assert hello.capabilities["bash"] == "1.2.3 as kept"
