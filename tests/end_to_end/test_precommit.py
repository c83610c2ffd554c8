"""The real pre-commit with our hook: as `reconcile init` writes it, and from our manifest."""

import errno
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.cli.workplace import RECONCILE, Outcome, Workplace, environment, reconcile
from tests.declare.repository import IDENTITY

ROOT = Path(__file__).parent.parent.parent
MANIFEST = ROOT / ".pre-commit-hooks.yaml"
PRE_COMMIT = RECONCILE.parent / "pre-commit"
HOW_INSTALLED = {"language", "description"}
"""Keys that differ: our manifest has the command installed, a repository's own hook finds it on PATH."""

pytestmark = pytest.mark.end_to_end

FROM_MANIFEST = """\
repos:
  - repo: {repository}
    rev: {revision}
    hooks:
      - id: reconcile-validate
        language: system  # the command is on PATH here; elsewhere pre-commit installs it
"""


def pre_commit(place: Workplace, *arguments: str | Path, through: tuple[str, ...] = ()) -> Outcome:
    own = {
        "PATH": f"{RECONCILE.parent}:{os.environ['PATH']}",
        "HOME": str(place.root.parent),
        "PRE_COMMIT_HOME": str(place.root.parent / "pre-commit"),
        "PRE_COMMIT_COLOR": "never",
    }
    done = subprocess.run(
        [*through, PRE_COMMIT, *arguments], cwd=place.root, env=environment(**IDENTITY, **own), capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip
    return Outcome(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def skeleton(tmp_path: Path) -> Workplace:
    """Make a repository as `reconcile init` does, committed."""
    reconcile("init", tmp_path / "space").expect(0)
    place = Workplace(tmp_path / "space")
    place.commit()
    return place


def break_a_file(place: Workplace) -> None:
    text = (place.root / "project.yaml").read_text()
    place.write("project.yaml", text.replace("kind: Project", "kind: Projekt", 1))
    place.git("add", "-A")


def hook(text: str) -> dict[str, object]:
    """Return the one hook of a configuration, without how it is installed."""
    (repository,) = YAML(typ="safe").load(text)["repos"]
    (found,) = repository["hooks"]
    return {key: value for key, value in found.items() if key not in HOW_INSTALLED}


def test_the_manifest_the_documentation_and_a_new_repository_say_the_same(skeleton: Workplace) -> None:
    (manifest,) = YAML(typ="safe").load(MANIFEST.read_text())
    written = hook((skeleton.root / ".pre-commit-config.yaml").read_text())
    assert written == {key: value for key, value in manifest.items() if key not in HOW_INSTALLED}
    example = ROOT / "examples" / "ci" / "pre-commit" / ".pre-commit-config.yaml"
    assert written == hook(example.read_text())
    (documented,) = re.findall(r"```text\n(repos:\n.*?)```", (ROOT / "docs" / "validation.md").read_text(), re.DOTALL)
    assert written == hook(documented)


def test_the_manifest_is_valid(skeleton: Workplace) -> None:
    assert pre_commit(skeleton, "validate-manifest", MANIFEST).expect(0).err == ""


def test_the_hook_of_a_new_repository_passes_and_then_finds_a_mistake(skeleton: Workplace) -> None:
    pre_commit(skeleton, "validate-config").expect(0)
    assert "reconcile validate" in pre_commit(skeleton, "run", "--all-files").expect(0).out
    break_a_file(skeleton)
    said = pre_commit(skeleton, "run", "--all-files").expect(1).out
    assert "Failed" in said
    assert "error[unknown-kind]" in said
    assert 'did you mean "Project"?' in said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take the network away")
def test_the_hook_needs_no_network(skeleton: Workplace) -> None:
    """The namespace has no interface that is up, not even the loopback."""
    alone = ("unshare", "--net")
    refused = "import socket; print(socket.socket().connect_ex(('127.0.0.1', 9)))"
    probe = subprocess.run([*alone, sys.executable, "-c", refused], capture_output=True, text=True, check=True)
    assert probe.stdout.strip() == str(errno.ENETUNREACH)
    shutil.copy(ROOT / "examples" / "ci" / "pre-commit" / ".pre-commit-config.yaml", skeleton.root)
    skeleton.commit()
    assert "Passed" in pre_commit(skeleton, "run", "--all-files", through=alone).expect(0).out
    break_a_file(skeleton)
    assert "error[unknown-kind]" in pre_commit(skeleton, "run", "--all-files", through=alone).expect(1).out


def test_a_commit_with_a_mistake_is_stopped(skeleton: Workplace) -> None:
    pre_commit(skeleton, "install").expect(0)
    break_a_file(skeleton)
    before = skeleton.git("rev-parse", "HEAD")
    own = environment(**IDENTITY, HOME=str(skeleton.root.parent), PATH=f"{RECONCILE.parent}:{os.environ['PATH']}")
    done = subprocess.run(
        ["git", "commit", "-m", "a mistake"], cwd=skeleton.root, env=own, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "error[unknown-kind]" in done.stdout + done.stderr
    assert skeleton.git("rev-parse", "HEAD") == before


def test_a_commit_that_removes_a_script_is_checked_too(skeleton: Workplace) -> None:
    """No YAML is touched, and pre-commit lists no file that a commit removes."""
    text = (skeleton.root / "project.yaml").read_text()
    skeleton.write("project.yaml", text.replace('body: echo "$GREETING"', "file: greet.sh"))
    skeleton.write("greet.sh", 'echo "$GREETING"\n')
    skeleton.commit()
    assert "Passed" in pre_commit(skeleton, "run").expect(0).out
    skeleton.git("rm", "--quiet", "greet.sh")
    assert "error[missing-file]" in pre_commit(skeleton, "run").expect(1).out


def test_the_hook_of_our_manifest_runs_on_another_repository(skeleton: Workplace, tmp_path: Path) -> None:
    """A repository that holds our manifest stands for ours; pre-commit fetches it by its path."""
    ours = Workplace(tmp_path / "ours")
    shutil.copy(MANIFEST, ours.root)
    revision = ours.commit()
    skeleton.write(".pre-commit-config.yaml", FROM_MANIFEST.format(repository=ours.root, revision=revision))
    skeleton.git("add", "-A")
    assert "Passed" in pre_commit(skeleton, "run", "--all-files").expect(0).out
    break_a_file(skeleton)
    assert "error[unknown-kind]" in pre_commit(skeleton, "run", "--all-files").expect(1).out
