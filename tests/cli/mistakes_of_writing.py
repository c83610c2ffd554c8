"""What can be wrong where a command changes what Git declares, one case for each sentence."""

import subprocess
from collections.abc import Callable
from pathlib import Path

from reconciler.declare.source import open_tree
from reconciler.server.forge.writeback import rewritten, write
from tests.cli.said import Said, cases, raised, told
from tests.cli.workplace import POOL, Workplace, worker
from tests.server.test_writeback import DRAIN, moving

ADA = ("--author", "Ada <ada@example.org>")


def declared(folder: Path) -> Workplace:
    """Make a repository with a pool and two workers, and a remote that has them."""
    place = Workplace(folder / "space")
    place.write("pool.yaml", POOL % "blue")
    place.write("worker.yaml", worker("worker-1", "blue"))
    place.write("other.yaml", worker("worker-2", "blue").replace("spec: {", "spec: {state: disabled, "))
    place.commit()
    remote = folder / "remote.git"
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(remote)], check=True)
    place.git("remote", "add", "origin", str(remote))
    place.git("push", "-q", "-u", "origin", "main")
    return place


def refused(folder: Path, *arguments: str, first: Callable[[Workplace], object] = lambda place: None) -> Said:
    place = declared(folder)
    first(place)
    return told(place.run(arguments[0], *arguments[1:]))


def a_patch_that_is_committed(folder: Path) -> Said:
    return refused(folder, "drain", "worker-1", "--print", "--commit")


def an_author_of_no_commit(folder: Path) -> Said:
    return refused(folder, "enable", "worker-1", *ADA)


def a_remote_without_a_push(folder: Path) -> Said:
    return refused(folder, "disable", "worker-1", "--commit", "--remote", "origin")


def a_change_of_a_bare_repository(folder: Path) -> Said:
    place = declared(folder)
    place.root = folder / "remote.git"
    return told(place.run("drain", "worker-1"))


def a_commit_by_nobody(folder: Path) -> Said:
    done = declared(folder).process("drain", "worker-1", "--commit", HOME=str(folder), XDG_CONFIG_HOME=str(folder))
    return told(done)


def a_commit_that_nothing_signs(folder: Path) -> Said:
    return refused(
        *(folder, "drain", "worker-1", "--commit", "--sign", *ADA),
        first=lambda place: place.git("config", "gpg.program", "false"),
    )


def an_author_without_an_address(folder: Path) -> Said:
    return refused(folder, "drain", "worker-1", "--commit", "--author", "Ada")


def a_drain_of_git_that_ends_by_itself(folder: Path) -> Said:
    return refused(folder, "drain", "worker-1", "--until", "2h")


def a_live_drain_that_is_committed(folder: Path) -> Said:
    return refused(folder, "drain", "worker-1", "--live", "--commit", "--reason", "disk swap")


def a_live_undrain_that_is_pushed(folder: Path) -> Said:
    return refused(folder, "undrain", "worker-1", "--live", "--push")


def an_undrain_of_one_that_is_disabled(folder: Path) -> Said:
    return refused(folder, "undrain", "worker-2", "--commit", *ADA)


def a_worker_that_is_not_declared(folder: Path) -> Said:
    return refused(folder, "drain", "worker-9")


def a_worker_that_is_not_committed(folder: Path) -> Said:
    def first(place: Workplace) -> None:
        place.git("rm", "-q", "--cached", "worker.yaml")
        place.git("-c", "user.name=a", "-c", "user.email=a@x", "commit", "-q", "--amend", "-m", "without it")

    said = refused(folder, "drain", "worker-1", "--commit", *ADA, first=first)
    commit = Workplace(folder / "space").git("rev-parse", "HEAD")
    return Said(said.message.replace(commit[:12], "COMMIT"), said.hint)


def a_worker_whose_state_is_an_alias(folder: Path) -> Said:
    text = (
        worker("worker-1", "&name blue")
        .replace("spec: {", "spec: {state: *state, ")
        .replace("metadata: {", "metadata: {annotations: {is: &state enabled}, ")
    )
    return refused(folder, "drain", "worker-1", first=lambda place: place.write("worker.yaml", text))


def a_change_of_what_holds_errors(folder: Path) -> Said:
    return refused(folder, "drain", "worker-1", first=lambda place: place.write("bad.yaml", POOL % "Not a name"))


def a_change_that_would_make_an_error(folder: Path) -> Said:
    return refused(folder, "drain", "worker-1", "--deadline", "soon")


def a_commit_outside_of_git(folder: Path) -> Said:
    place = declared(folder)
    (place.root / ".git").rename(folder / "away")
    return told(place.run("drain", "worker-1", "--commit", *ADA))


def a_commit_to_no_branch(folder: Path) -> Said:
    return refused(
        folder, "drain", "worker-1", "--commit", *ADA, first=lambda place: place.git("checkout", "-q", "--detach")
    )


def a_first_commit(folder: Path) -> Said:
    place = Workplace(folder / "space")
    place.write("pool.yaml", POOL % "blue")
    place.write("worker.yaml", worker("worker-1", "blue"))
    return told(place.run("drain", "worker-1", "--commit", *ADA))


def a_file_with_other_changes(folder: Path) -> Said:
    def first(place: Workplace) -> None:
        place.write("worker.yaml", worker("worker-1", "blue") + "# half a thought\n")

    return refused(folder, "drain", "worker-1", "--commit", *ADA, first=first)


def a_file_that_changes_meanwhile(folder: Path) -> Said:
    place = declared(folder)
    change = rewritten(open_tree(place.root), DRAIN)
    place.write("worker.yaml", worker("worker-1", "blue") + "# half a thought\n")
    return raised(lambda: write(place.root, change))


def a_push_to_no_remote(folder: Path) -> Said:
    return refused(folder, "drain", "worker-1", "--push", "--remote", "upstream", *ADA)


def a_push_of_a_branch_that_the_remote_has_not(folder: Path) -> Said:
    return refused(
        folder, "drain", "worker-1", "--push", *ADA, first=lambda place: place.git("switch", "-q", "-c", "x")
    )


def a_push_beside_commits_of_ones_own(folder: Path) -> Said:
    return refused(folder, "drain", "worker-1", "--push", *ADA, first=lambda place: place.commit())


def a_push_that_the_remote_refuses(folder: Path) -> Said:
    def first(place: Workplace) -> None:
        hook = folder / "remote.git" / "hooks" / "pre-receive"
        hook.write_text("#!/bin/sh\necho 'main is protected'\nexit 1\n")
        hook.chmod(0o755)

    return refused(folder, "drain", "worker-1", "--push", *ADA, first=first)


def a_push_that_others_outrun(folder: Path) -> Said:
    def first(place: Workplace) -> None:
        hook = folder / "remote.git" / "hooks" / "pre-receive"
        hook.write_text(f"#!/bin/sh\n{moving(times=100)}\n")
        hook.chmod(0o755)

    return refused(folder, "drain", "worker-1", "--push", *ADA, first=first)


CASES = cases(vars())
