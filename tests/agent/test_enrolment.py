"""Enrolment: two commands make a worker, repeating them is harmless, and no secret goes to a stranger."""

import re
from pathlib import Path

import pytest

from reconciler.agent import identities, settings
from reconciler.protocol import messages
from reconciler.protocol.messages import Certified
from tests.agent.installation import Agent, installed, thumbprint_of


async def test_enrolment_prints_the_worker_document_and_nothing_else_on_stdout(tmp_path: Path) -> None:
    async with installed(tmp_path) as (authority, server, agent):
        document = await agent.enrolled(server, authority)
        assert re.fullmatch(
            "apiVersion: reconciler/v1\nkind: Worker\nmetadata:\n  name: web-01\nspec:\n  pools: \\[linux\\]\n"
            "  endpoint:\n    polling:\n      subscription: poll://[a-z0-9]{16}\n"
            '      thumbprints: \\["SHA256:[A-Za-z0-9+/]{43}"\\]\n',
            document,
        )
        assert settings.trust(str(agent.state)) == authority.trust()


async def test_what_enrolment_leaves_on_disk_is_for_the_agent_alone(tmp_path: Path) -> None:
    async with installed(tmp_path) as (authority, server, agent):
        await agent.enrolled(server, authority)
        found = [path for path in agent.state.rglob("*") if path.is_file()]
        assert sorted(path.name for path in found) == ["agent.json", "current.pem", "trust.json"]
        assert {path.stat().st_mode & 0o777 for path in found} == {0o600}
        assert {path.stat().st_mode & 0o777 for path in (agent.state, agent.state / "identity")} == {0o700}
        assert all("sesame" not in path.read_text() for path in found)


async def test_an_answer_that_was_lost_is_asked_for_again_with_the_same_key(tmp_path: Path) -> None:
    async with installed(tmp_path) as (authority, server, agent):
        running = agent.enrolling(server, authority.token())
        peer = await server.peer()
        first = await peer.hear(messages.Enrol)
        peer.close()
        failed = await running
        assert failed.returncode == 1
        assert failed.stdout == ""
        assert "closed the connection without an answer" in failed.stderr

        running = agent.enrolling(server, authority.token())
        peer = await server.peer()
        second = await peer.hear(messages.Enrol)
        assert second == first
        peer.say(Certified(authority.certify(second.request, "web-01"), authority.trust(), "web-01", ("linux",)))
        document = (await running).stdout
        assert await agent.enrolled(server, authority) == document


async def test_a_token_is_not_shown_to_a_server_that_it_does_not_name(tmp_path: Path) -> None:
    async with installed(tmp_path) as (authority, server, agent):
        named = authority.new_server("another")
        token = authority.token()
        authority.server = named
        running = agent.enrolling(server, authority.token())
        peer = await server.peer()
        assert await peer.rest() == b""
        refused = await running
        assert refused.returncode == 1
        assert f"trusted is {thumbprint_of(named)}; nothing was sent to it" in refused.stderr
        assert "sesame" not in refused.stderr
        assert token != authority.token()


async def test_a_refused_token_is_a_sentence_with_what_to_do(tmp_path: Path) -> None:
    async with installed(tmp_path) as (authority, server, agent):
        running = agent.enrolling(server, authority.token())
        peer = await server.peer()
        await peer.hear(messages.Enrol)
        peer.reject("token", "the token was used by another machine")
        refused = await running
        assert refused.stderr == (
            "reconcile-agent: the server refused this agent (token): the token was used by another machine; "
            "make a new one with `reconcile token create`\n"
        )
        assert not (agent.state / "agent.json").exists()


async def test_a_listening_agent_says_where_it_is_reached(tmp_path: Path) -> None:
    async with installed(tmp_path) as (authority, server, agent):
        running = agent.enrolling(server, authority.token(), "--listen", "[::1]:10933")
        peer = await server.peer()
        question = await peer.hear(messages.Enrol)
        assert (question.listen, question.subscription) == ("[::1]:10933", "")
        peer.say(Certified(authority.certify(question.request, "web-01"), authority.trust(), "web-01", ("linux",)))
        assert '    listening:\n      host: "::1"\n      port: 10933\n' in (await running).stdout


async def test_a_certificate_for_another_key_is_not_stored(tmp_path: Path) -> None:
    async with installed(tmp_path) as (authority, server, agent):
        other = identities.made(str(tmp_path / "other"), "web-01")
        running = agent.enrolling(server, authority.token())
        peer = await server.peer()
        await peer.hear(messages.Enrol)
        peer.say(Certified(authority.certify(other.request, "web-01"), authority.trust(), "web-01"))
        assert "a certificate for another key than ours" in (await running).stderr
        found = identities.identity(str(agent.state))
        assert found is not None
        assert found.certificate == ""


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--server", "nowhere::1:2"), "'nowhere::1:2' is no address; write HOST:PORT"),
        (("--server", "a:1", "--proxy", "http://me:secret@proxy:3128"), "the proxy's URL holds credentials"),
        (("--server", "a:1", "--proxy", "socks://proxy:1"), "'socks://proxy:1' is no proxy; write http://HOST:PORT"),
    ],
)
def test_a_mistake_on_the_command_line_is_a_sentence(tmp_path: Path, arguments: tuple[str, ...], sentence: str) -> None:
    token = "rct1.0123abcd.sesame." + "A" * 43
    refused = Agent(tmp_path / "agent").command("enrol", "--token-file", "-", *arguments, stdin=token)
    assert refused.returncode == 1
    assert sentence in refused.stderr
    assert "secret" not in refused.stderr


def test_a_text_that_is_no_token_is_not_repeated(tmp_path: Path) -> None:
    refused = Agent(tmp_path / "agent").command("enrol", "--token-file", "-", "--server", "a:1", stdin="hunter2")
    assert refused.stderr == (
        "reconcile-agent: the token cannot be read; give the whole line that `reconcile token create` printed\n"
    )


def test_a_token_that_is_empty_is_said_to_be_so(tmp_path: Path) -> None:
    refused = Agent(tmp_path / "agent").command("enrol", "--token-file", "-", "--server", "a:1", stdin="\n")
    assert refused.stderr == (
        "reconcile-agent: the token is empty; give the whole line that `reconcile token create` printed\n"
    )


def test_an_agent_that_is_not_enrolled_says_so(tmp_path: Path) -> None:
    for name in ("run", "show", "rotate"):
        refused = Agent(tmp_path / "agent").command(name)
        assert refused.returncode == 1
        assert refused.stderr.endswith(": this agent is not enrolled; run `reconcile agent enrol` first\n")
    assert not (tmp_path / "agent").exists()
