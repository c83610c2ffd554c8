"""Certificates run out and keys change: by themselves, without a gap, whatever dies in between."""

import datetime as dt
import signal
from pathlib import Path

import pytest

from reconciler.agent import identities, settings
from reconciler.protocol import messages
from reconciler.protocol.messages import Certified, Config, Trust
from tests.agent.installation import NOW, YEAR, Agent, Authority, Peer, Server, installed, pem, until

pytestmark = pytest.mark.end_to_end  # an agent is started in each, and often waited for

OLD = {"since": NOW - YEAR, "until": NOW + dt.timedelta(days=90)}  # more than two thirds are over
RUN_OUT = {"since": NOW - 2 * YEAR, "until": NOW - YEAR}


def identity(agent: Agent, name: str = identities.CURRENT) -> identities.Identity:
    found = identities.identity(str(agent.state), name)
    assert found is not None
    return found


def certified(authority: Authority, question: messages.Renew) -> Certified:
    return Certified(authority.certify(question.request, "web-01"), authority.trust())


async def rotating(agent: Agent, authority: Authority, server: Server) -> Peer:
    """Bring an agent to where its next key is certified and not yet declared."""
    await agent.enrolled(server, authority)
    await agent.start()
    peer = await server.peer()
    await peer.greet()
    assert agent.command("rotate").returncode == 0
    agent.process.send_signal(signal.SIGHUP)  # type: ignore[union-attr] # it was started above
    question = await peer.hear(messages.Renew)
    peer.say(certified(authority, question))
    await until(lambda: identity(agent, identities.NEXT).certificate)
    return peer


async def test_a_certificate_is_renewed_in_the_session_after_two_thirds_of_its_life(tmp_path: Path) -> None:
    async with installed(tmp_path) as (authority, server, agent):
        await agent.enrolled(server, authority, **OLD)
        before = identity(agent)
        await agent.start()
        peer = await server.peer()
        await peer.greet()
        question = await peer.hear(messages.Renew)
        assert question.request == before.request
        peer.say(certified(authority, question))
        await until(lambda: identity(agent).certificate != before.certificate)
        assert identity(agent).thumbprint == before.thumbprint
        assert identity(agent).validity[1] == (NOW + YEAR).replace(microsecond=0).timestamp()
        peer.close()
        assert (await server.peer()).thumbprint == before.thumbprint


async def test_an_agent_whose_certificate_has_run_out_is_let_in_to_renew(tmp_path: Path) -> None:
    async with installed(tmp_path) as (authority, server, agent):
        await agent.enrolled(server, authority, **RUN_OUT)
        await agent.start()
        peer = await server.peer()
        await peer.hear(messages.Hello)
        peer.reject("expired", "the certificate has run out")
        peer = await server.peer()
        peer.say(certified(authority, await peer.hear(messages.Renew)))
        await peer.rest()
        await (await server.peer()).greet()
        assert identity(agent).validity[1] > NOW.timestamp()


async def test_rotate_says_what_to_change_and_repeating_it_makes_no_third_key(tmp_path: Path) -> None:
    async with installed(tmp_path) as (authority, server, agent):
        await agent.enrolled(server, authority)
        done = agent.command("rotate")
        present, following = identity(agent).thumbprint, identity(agent, identities.NEXT).thumbprint
        assert done.stdout == f"{present}\n{following}\n"
        assert f'thumbprints: ["{present}", "{following}"]' in done.stderr
        assert agent.command("rotate").stdout == done.stdout


async def test_the_next_key_is_certified_at_once_and_used_when_git_declares_it(tmp_path: Path) -> None:
    async with installed(tmp_path) as (authority, server, agent):
        peer = await rotating(agent, authority, server)
        present, following = identity(agent).thumbprint, identity(agent, identities.NEXT).thumbprint
        peer.say(Config(authority.trust(), (present,)))
        peer.say(Config(authority.trust(), (present, following)))
        assert (await peer.hear(messages.Bye)).reason == "the agent's identity has changed"
        assert (await server.peer()).thumbprint == following
        assert identity(agent).thumbprint == following
        assert not (agent.state / "identity" / identities.NEXT).exists()


async def test_a_change_of_key_survives_the_death_of_the_agent_at_either_side_of_it(tmp_path: Path) -> None:
    async with installed(tmp_path) as (authority, server, agent):
        await rotating(agent, authority, server)
        following = identity(agent, identities.NEXT).thumbprint
        await agent.stop(signal.SIGKILL)  # before Git declares it
        await agent.start()
        peer = await server.peer()
        await peer.greet()
        peer.say(Config(authority.trust(), (peer.thumbprint, following)))
        await until(lambda: identity(agent).thumbprint == following)
        await agent.stop(signal.SIGKILL)  # after the one rename that changes it
        await agent.start()
        assert (await server.peer()).thumbprint == following


async def test_the_next_key_is_tried_where_the_present_one_is_declared_no_more(tmp_path: Path) -> None:
    async with installed(tmp_path) as (authority, server, agent):
        peer = await rotating(agent, authority, server)
        following = identity(agent, identities.NEXT).thumbprint
        peer.close()
        peer = await server.peer()
        await peer.hear(messages.Hello)
        peer.reject("undeclared", "no Worker bears this identity")
        peer = await server.peer()
        assert peer.thumbprint == following
        await peer.greet()
        peer.say(Config(authority.trust(), (following,)))
        await until(lambda: identity(agent).thumbprint == following)


async def test_whom_to_trust_is_kept_and_nobody_is_never_trusted(tmp_path: Path) -> None:
    async with installed(tmp_path) as (authority, server, agent):
        await agent.enrolled(server, authority)
        await agent.start()
        peer = await server.peer()
        await peer.greet()
        present = authority.trust()
        following = Trust((*present.authorities, pem(authority.new_server("next"))), (*present.pins, "SHA256:next"))
        peer.say(Config(Trust((), ()), (peer.thumbprint,)))
        peer.say(Config(following, (peer.thumbprint,)))
        await until(lambda: settings.trust(str(agent.state)) == following)


async def test_a_new_certificate_is_asked_for_as_soon_as_another_authority_certifies(tmp_path: Path) -> None:
    async with installed(tmp_path) as (authority, server, agent):
        await agent.enrolled(server, authority)
        await agent.start()
        peer = await server.peer()
        await peer.greet()
        present = authority.trust()
        peer.say(Config(present, (peer.thumbprint,)))
        other = pem(authority.new_server("another authority"))
        peer.say(Config(Trust((other, *present.authorities), present.pins), (peer.thumbprint,)))
        await peer.hear(messages.Renew)


async def test_a_refused_renewal_is_not_repeated_at_once(tmp_path: Path) -> None:
    async with installed(tmp_path) as (authority, server, agent):
        await agent.enrolled(server, authority, **OLD)
        await agent.start()
        peer = await server.peer()
        await peer.greet()
        await peer.hear(messages.Renew)
        peer.reject("request", "the key is too short")
        peer = await server.peer()
        await peer.greet()
        peer.say(messages.Ping(1.0))
        await peer.hear(messages.Pong)
        await agent.stop()
        assert b"RENEW" not in await peer.rest()
