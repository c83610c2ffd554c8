"""A checkout beside the state of a server: what only reads is answered, where it has the commit that was applied last."""

from pathlib import Path

from tests.cli.workplace import command, reconcile
from tests.server.following import ENVIRONMENT, PROJECT, Followed, followed

MOVED = (
    "Error: {checkout} does not have the commit {commit:.12}, which was applied last from file://{root}\n"
    "  run `git fetch` there, or name another state with --data\n"
)
FOREIGN = (
    "Error: this state belongs to another repository: it was applied from file://{root}\n"
    "  name another state with --data\n"
)


async def declare(server: Followed) -> str:
    """Have a space with a project carried out, and return the commit."""
    server.repository.write("project.yaml", PROJECT.format(body="true"))
    server.repository.write("environment.yaml", ENVIRONMENT)
    commit = server.repository.pools("one")
    await server.look()
    return commit


def checkout_of(server: Followed, folder: Path) -> Path:
    server.repository.git("clone", "--quiet", str(server.repository.root), str(folder))
    return folder


async def test_plan_explain_and_rehearse_work_in_a_clone_of_what_a_server_fetched(tmp_path: Path) -> None:
    async with followed(tmp_path) as server:
        commit = await declare(server)
        beside = ("-C", checkout_of(server, tmp_path / "clone"), "--data", server.place.data)
    shown = reconcile("plan", *beside).expect(0)
    assert shown.out.startswith(f"No changes. The live state is what {commit[:7]} declares.\n")
    explained = reconcile("explain", "Work", "--environment", "live", *beside).expect(0)
    assert explained.out.startswith('"Work" of shop in live is declared at project.yaml:1\n')
    reconcile("rehearse", *beside).expect(0)


async def test_a_clone_from_before_the_last_commit_has_to_fetch(tmp_path: Path) -> None:
    async with followed(tmp_path) as server:
        await declare(server)
        checkout = checkout_of(server, tmp_path / "clone")
        commit = server.repository.pools("one", "two")
        await server.look()
        root, data = server.repository.root, server.place.data
    refused = reconcile("plan", "-C", checkout, "--data", data).expect(3)
    assert refused.err == MOVED.format(checkout=checkout, commit=commit, root=root)


async def test_apply_in_a_clone_is_refused_on_the_state_of_a_server(tmp_path: Path) -> None:
    async with followed(tmp_path) as server:
        await declare(server)
        checkout, root, data = checkout_of(server, tmp_path / "clone"), server.repository.root, server.place.data
    refused = command("apply", "--auto-approve", "--data", data, folder=checkout).expect(3)
    assert refused.err == FOREIGN.format(root=root)
