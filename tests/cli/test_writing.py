"""Commands that change what Git declares: the file, the patch, a commit, a push, and a death at any moment of it."""

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from reconciler.declare import signatures
from reconciler.declare.signatures import Signers
from tests.cli.workplace import DEPLOYMENT, ENVIRONMENT, POOL, PROJECT, Workplace, worker

PLAIN = f"# Ours.\n{worker('worker-1', 'blue')}"
DRAINED = PLAIN.replace("spec: {", "spec: {state: draining, ")
PATCH = f"""\
diff --git a/worker.yaml b/worker.yaml
--- a/worker.yaml
+++ b/worker.yaml
@@ -2,4 +2,4 @@
 apiVersion: reconciler/v1
 kind: Worker
 metadata: {{name: worker-1}}
-{PLAIN.splitlines()[-1]}
+{DRAINED.splitlines()[-1]}
"""


class Cloned(Workplace):
    """A repository with a worker, a deployment and a remote that has them; the person is known to Git."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.remote = root.parent / "remote.git"
        self.git("config", "user.name", "Ada")
        self.git("config", "user.email", "ada@example.org")
        self.write("pool.yaml", POOL % "blue")
        self.write("worker.yaml", PLAIN)
        self.write("environment.yaml", ENVIRONMENT % "test")
        self.write("project.yaml", PROJECT % ("shop", "true"))
        self.write("deployment.yaml", DEPLOYMENT % ("shop-test", "shop", "1"))
        self.commit()
        subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(self.remote)], check=True)
        self.git("remote", "add", "origin", str(self.remote))
        self.git("push", "-q", "-u", "origin", "main")

    @property
    def text(self) -> str:
        """The worker's file as it is here."""
        return (self.root / "worker.yaml").read_text()

    def held(self, revision: str) -> str:
        """Return the worker's file of a revision, with its last line's end."""
        return self.git("show", f"{revision}:worker.yaml") + "\n"

    def pushed(self) -> str:
        """Return the worker's file as the remote's branch has it."""
        shown = subprocess.run(["git", "show", "main:worker.yaml"], cwd=self.remote, capture_output=True, check=True)
        return shown.stdout.decode()


@pytest.fixture
def cloned(tmp_path: Path) -> Cloned:
    return Cloned(tmp_path / "space")


def test_the_file_changes_and_the_next_command_is_said(cloned: Cloned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(cloned.root)
    said = cloned.run("drain", "worker-1", "--reason", "Ada's\ndisk").expect(0)
    assert said.out == PATCH
    assert said.err == (
        "wrote worker.yaml\nNext: git commit -m 'Drain worker-1: Ada'\"'\"'s disk' -- worker.yaml && reconcile plan\n"
    )
    assert cloned.text == DRAINED
    assert cloned.git("diff", "--name-only", "HEAD") == "worker.yaml"


def test_the_command_that_is_said_does_it(cloned: Cloned) -> None:
    said = cloned.process("drain", "worker-1", "--reason", "Ada's disk").expect(0)
    following = said.err.partition("Next: ")[2].partition(" && ")[0]
    subprocess.run(["sh", "-c", following], cwd=cloned.root, check=True, capture_output=True)
    assert cloned.held("HEAD") == DRAINED
    assert cloned.git("log", "-1", "--format=%s") == "Drain worker-1: Ada's disk"


def test_a_patch_alone_writes_nothing_and_git_applies_it(cloned: Cloned) -> None:
    said = cloned.run("drain", "worker-1", "--print").expect(0)
    assert (said.out, said.err) == (PATCH, "")
    assert cloned.text == PLAIN
    subprocess.run(["git", "apply", "-"], cwd=cloned.root, input=said.out.encode(), check=True)
    assert cloned.text == DRAINED


def test_what_is_so_already_is_said_and_fine(cloned: Cloned) -> None:
    cloned.run("drain", "worker-1", "--commit").expect(0)
    said = cloned.run("drain", "worker-1").expect(0)
    assert (said.out, said.err) == ("", "worker.yaml:2 says so already; nothing was changed.\n")
    again = cloned.run("drain", "worker-1", "--commit").expect(0)
    assert (again.out, again.err) == ("", "main says so already: worker.yaml:2\nNext: git push\n")


def test_each_command_writes_its_own_word(cloned: Cloned) -> None:
    cloned.run("disable", "worker-1", "--commit", "--reason", "sold").expect(0)
    assert cloned.text == PLAIN.replace("spec: {", "spec: {state: disabled, ")
    assert (
        cloned.git("log", "-1", "--format=%B") == "Disable worker-1: sold\n\nreconcile disable worker-1 --reason sold"
    )
    cloned.run("enable", "worker-1").expect(0)
    assert cloned.text == PLAIN.replace("spec: {", "spec: {state: enabled, ")
    cloned.run("drain", "worker-1", "--deadline", "2h").expect(0)
    assert cloned.text == PLAIN.replace("spec: {", "spec: {drain: {deadline: 2h}, state: draining, ")
    cloned.run("undrain", "worker-1").expect(0)
    assert cloned.text == PLAIN.replace("spec: {", "spec: {drain: {deadline: 2h}, state: enabled, ")


def test_a_deployment_is_promoted(cloned: Cloned) -> None:
    said = cloned.run("promote", "shop-test", "--release", "1.10", "--commit").expect(0)
    assert '-spec: {project: shop, environment: test, release: "1"}\n' in said.out
    assert '+spec: {project: shop, environment: test, release: "1.10"}\n' in said.out
    assert (
        cloned.git("log", "-1", "--format=%B")
        == "Promote shop-test to 1.10\n\nreconcile promote shop-test --release 1.10"
    )


def test_undrain_ends_an_override_where_git_does_not_drain(cloned: Cloned) -> None:
    cloned.apply()
    cloned.run("drain", "worker-1", "--live", "--reason", "disk swap").expect(0)
    said = cloned.run("undrain", "worker-1").expect(0)
    assert said.out == "ended the live override of worker-1; it takes work again\n"
    assert cloned.text == PLAIN


def test_a_commit_has_its_message_and_its_author(cloned: Cloned) -> None:
    said = cloned.run("drain", "worker-1", "--commit", "-m", "Disk swap", "--author", "Bo <bo@example.org>").expect(0)
    assert said.out == PATCH
    assert said.err == f"committed it to main as {cloned.git('rev-parse', 'HEAD')[:12]}\nNext: git push\n"
    assert cloned.git("log", "-1", "--format=%an <%ae>, %cn") == "Bo <bo@example.org>, Ada"
    assert cloned.git("log", "-1", "--format=%B") == "Disk swap\n\nreconcile drain worker-1"
    assert cloned.git("status", "--porcelain") == ""
    assert cloned.pushed() == PLAIN


def test_what_was_written_before_is_committed_by_the_same_command(cloned: Cloned) -> None:
    cloned.run("drain", "worker-1").expect(0)
    cloned.run("drain", "worker-1", "--commit").expect(0)
    assert cloned.held("HEAD") == DRAINED
    assert cloned.git("status", "--porcelain") == ""


def test_a_folder_of_the_repository_that_is_the_space(tmp_path: Path) -> None:
    place = Workplace(tmp_path / "all")
    place.write("infra/reconcile.yaml", "apiVersion: reconciler/v1\nkind: Space\nmetadata: {name: infra}\nspec: {}\n")
    place.write("infra/pool.yaml", POOL % "blue")
    place.write("infra/worker.yaml", PLAIN)
    place.commit()
    place.root = place.root / "infra"
    said = place.run("drain", "worker-1", "--commit", "--author", "Ada <ada@example.org>").expect(0)
    assert said.out == PATCH.replace("a/worker", "a/infra/worker").replace("b/worker", "b/infra/worker")
    assert place.git("show", "--format=", "--name-only", "HEAD") == "infra/worker.yaml"
    assert place.git("status", "--porcelain") == ""


def test_outside_of_git_the_file_alone_changes(cloned: Cloned) -> None:
    shutil.rmtree(cloned.root / ".git")
    said = cloned.run("drain", "worker-1").expect(0)
    assert said.err.endswith("worker.yaml\nNext: reconcile plan\n")
    assert cloned.text == DRAINED


def rival(cloned: Cloned, name: str, text: str) -> None:
    """Let somebody else push another content of a file."""
    other = Workplace(cloned.root.parent / "rival")
    other.git("pull", "-q", str(cloned.remote), "main")
    other.write(name, text)
    other.commit()
    other.git("push", "-q", str(cloned.remote), "HEAD:main")


@pytest.mark.parametrize("name", ["worker.yaml", "new.yaml"])
def test_a_push_goes_on_top_of_what_others_pushed_and_the_checkout_follows(cloned: Cloned, name: str) -> None:
    more = {"worker.yaml": f"{PLAIN}# By others.\n", "new.yaml": POOL % "green"}[name]
    rival(cloned, name, more)
    cloned.write("half.txt", "a thought")
    said = cloned.run("drain", "worker-1", "--push").expect(0)
    head = cloned.git("rev-parse", "HEAD")
    assert (
        said.err == f"pushed it to origin/main as {head[:12]}\nNext: reconcile wait --commit {head[:12]} --server URL\n"
    )
    assert cloned.pushed() == cloned.text == (f"{DRAINED}# By others.\n" if name == "worker.yaml" else DRAINED)
    assert (cloned.root / name).read_text() == (cloned.text if name == "worker.yaml" else more)
    assert cloned.git("log", "--format=%s") == "Drain worker-1\na change\na change"
    assert cloned.git("status", "--porcelain") == "?? half.txt"


def test_a_checkout_that_cannot_follow_stays_and_is_told_to_pull(cloned: Cloned) -> None:
    rival(cloned, "pool.yaml", (POOL % "blue") + "# By others.\n")
    cloned.write("pool.yaml", (POOL % "blue") + "# Half a thought.\n")
    head = cloned.git("rev-parse", "HEAD")
    said = cloned.run("drain", "worker-1", "--push").expect(0)
    assert said.err.endswith("\nNext: git pull\n")
    assert cloned.pushed() == DRAINED
    assert cloned.git("rev-parse", "HEAD") == head
    assert cloned.text == PLAIN
    assert cloned.git("status", "--porcelain") == "M pool.yaml"


def test_a_remote_that_refuses_leaves_all_as_it_was_and_the_patch_is_printed(cloned: Cloned) -> None:
    hook = cloned.remote / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho 'main is protected'\nexit 1\n")
    hook.chmod(0o755)
    said = cloned.run("drain", "worker-1", "--push").expect(1)
    assert said.out == PATCH
    assert said.err.startswith("Error: origin does not take the commit: main is protected\n")
    assert cloned.text == PLAIN
    assert cloned.git("log", "--format=%s") == "a change"
    assert cloned.git("status", "--porcelain") == ""


def test_the_settings_of_a_person_lead_to_the_remote_and_those_of_the_system_do_not_matter(cloned: Cloned) -> None:
    home = cloned.root.parent / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(
        f'[url "{cloned.remote}"]\n  insteadOf = https://git.example.org/ours\n[user]\n  name = Eve\n  email = eve@x\n'
    )
    cloned.git("remote", "set-url", "origin", "https://git.example.org/ours")
    cloned.process("drain", "worker-1", "--push", HOME=str(home), XDG_CONFIG_HOME=str(home)).expect(0)
    assert cloned.pushed() == DRAINED
    assert cloned.git("log", "-1", "--format=%an") == "Ada", "the repository's own comes first"


def signer(folder: Path) -> Path:
    """Make a key for SSH, which nothing protects, and return its file."""
    key = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ada", "-f", str(key)], check=True)
    return key


def signed_by(cloned: Cloned, key: Path, revision: str) -> str:
    """Return who signed a commit, of those whose key it is."""
    allowed = key.parent / "allowed"
    allowed.write_text(f"ada@example.org {key.with_suffix('.pub').read_text()}")
    return signatures.signed_by(cloned.root, cloned.git("rev-parse", revision), Signers(ssh=allowed), key.parent)


@pytest.mark.parametrize("where", ["repository", "person"])
def test_a_commit_is_signed_where_git_is_set_to(cloned: Cloned, where: str) -> None:
    key = signer(cloned.root.parent)
    settings = {"gpg.format": "ssh", "user.signingkey": str(key), "commit.gpgsign": "true"}
    home = cloned.root.parent / "home"
    home.mkdir()
    for name, value in settings.items():
        file = ("--local",) if where == "repository" else ("--file", str(home / ".gitconfig"))
        cloned.git("config", *file, name, value)
    person = {"HOME": str(home), "XDG_CONFIG_HOME": str(home)}
    cloned.process("drain", "worker-1", "--commit", **person).expect(0)
    assert signed_by(cloned, key, "HEAD").startswith("ada@example.org (ED25519 SHA256:")
    cloned.git("push", "-q", "origin", "main")
    cloned.process("undrain", "worker-1", "--push", **person).expect(0)
    assert signed_by(cloned, key, "origin/main").startswith("ada@example.org (ED25519 SHA256:")
    cloned.process("drain", "worker-1", "--commit", "--no-sign", **person).expect(0)
    with pytest.raises(signatures.Unsigned, match="is not signed"):
        signed_by(cloned, key, "HEAD")


def test_a_commit_is_signed_where_that_is_asked_for(cloned: Cloned) -> None:
    key = signer(cloned.root.parent)
    cloned.git("config", "gpg.format", "ssh")
    cloned.git("config", "user.signingkey", str(key))
    cloned.run("promote", "shop-test", "--release", "2", "--commit").expect(0)
    with pytest.raises(signatures.Unsigned, match="is not signed"):
        signed_by(cloned, key, "HEAD")
    cloned.run("drain", "worker-1", "--commit", "--sign").expect(0)
    assert signed_by(cloned, key, "HEAD").startswith("ada@example.org (ED25519 SHA256:")


def test_what_cannot_be_signed_changes_nothing(cloned: Cloned) -> None:
    cloned.git("config", "gpg.format", "ssh")
    cloned.git("config", "user.signingkey", str(cloned.root.parent / "none"))
    head = cloned.git("rev-parse", "HEAD")
    said = cloned.run("drain", "worker-1", "--push", "--sign").expect(1)
    assert said.err.startswith("Error: Git does not sign the commit: ")
    assert said.err.endswith(
        "\n  nothing was changed; see that `git commit -S` works here, or leave --commit away and sign it by hand\n"
    )
    assert (cloned.text, cloned.pushed(), cloned.git("rev-parse", "HEAD")) == (PLAIN, PLAIN, head)


def test_where_a_server_follows_the_commit_is_waited_for(cloned: Cloned, monkeypatch: pytest.MonkeyPatch) -> None:
    cloned.apply()
    cloned.follow()
    said = cloned.run("drain", "worker-1", "--commit").expect(0)
    assert said.err.endswith(f"Next: reconcile wait --commit {cloned.git('rev-parse', 'HEAD')[:12]}\n")
    monkeypatch.chdir(cloned.root)
    said = cloned.run("undrain", "worker-1").expect(0)
    assert said.err == "wrote worker.yaml\nNext: git commit -m 'Undrain worker-1' -- worker.yaml\n"


DEADLY = """#!/bin/sh
case " $* " in
*" {command} "*)
    if [ ! -e {marker} ]; then
        touch {marker}
        {before}
        kill -9 $PPID
        exit 1
    fi ;;
esac
exec {git} "$@"
"""
MOMENTS = (
    "hash-object -w",
    "write-tree",
    "commit-tree",
    "--cacheinfo",
    "update-ref -m",
    "push --porcelain",
    "fetch --quiet",
)


def deadly(cloned: Cloned, moment: str, *, done: bool) -> tuple[str, Path]:
    """Put a git into a PATH that kills its caller once, before or after a moment, and leaves a marker; return both."""
    folder, git = cloned.root.parent / "bin", shutil.which("git")
    folder.mkdir()
    script, marker = folder / "git", folder / "dead"
    script.write_text(DEADLY.format(command=moment, marker=marker, before=f'{git} "$@"' if done else ":", git=git))
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return f"{folder}:{os.environ['PATH']}", marker


@pytest.mark.end_to_end
@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_death_at_any_moment_leaves_the_old_or_the_new_and_the_same_command_finishes_it(
    cloned: Cloned, moment: str, done: bool
) -> None:
    path, marker = deadly(cloned, moment, done=done)
    died = cloned.process("drain", "worker-1", "--push", PATH=path)
    assert (died.code, marker.exists()) == (-9, True)
    for text in (cloned.text, cloned.held("HEAD"), cloned.held(""), cloned.pushed()):
        assert text in {PLAIN, DRAINED}
    cloned.process("drain", "worker-1", "--push", PATH=path).expect(0)
    assert [cloned.text, cloned.held("HEAD"), cloned.held(""), cloned.pushed()] == [DRAINED] * 4
    assert cloned.git("status", "--porcelain") == ""
    assert cloned.git("log", "--format=%s") == "Drain worker-1\na change"


@pytest.mark.end_to_end
def test_a_drain_that_is_pushed_is_what_the_next_plan_shows(cloned: Cloned) -> None:
    cloned.process("apply", "--auto-approve", "--new-state").expect(0)
    cloned.process("drain", "worker-1", "--commit", "--push", "--reason", "disk swap").expect(0)
    shown = cloned.process("plan", "--detailed-exitcode").expect(2).out
    head = cloned.git("rev-parse", "--short=7", "origin/main")
    assert shown.startswith(f"{head} asks for these changes:\n")
    assert "  # Worker/worker-1 will be updated in place\n  #   (because worker.yaml:2 differs)\n" in shown
    assert "    +   state: draining\n\nPlan: 0 to add, 1 to change, 0 to remove.\n" in shown
