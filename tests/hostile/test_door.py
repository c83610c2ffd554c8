"""Strangers at the agents' port: those who say nothing, too much, something else, or what is not theirs to say."""

import asyncio
import json
import os
import socket
import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from reconciler.protocol import messages
from reconciler.protocol.frames import HEADER
from reconciler.protocol.messages import Enrol
from reconciler.store import enrolment
from tests.hostile.intruder import Identity, Line, hello
from tests.hostile.premises import PATIENCE, Premises, until

pytestmark = pytest.mark.end_to_end

STRANGER = "127.0.0.66"
"""Where the hostile crowd comes from; honest agents come from elsewhere."""


def dialled(premises: Premises) -> socket.socket:
    """Open a connection from the stranger's address."""
    return socket.create_connection(("127.0.0.1", premises.agents_port), source_address=(STRANGER, 0))


def self_signed(identity: Identity, name: str) -> str:
    """Return a certificate (PEM) that calls itself `name` and that nobody else vouches for."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(subject, subject, identity.key.public_key(), 1, now, now + timedelta(days=1))
    return builder.sign(identity.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


async def test_a_certificate_of_somebody_else_ends_the_handshake(premises: Premises) -> None:
    stranger = Identity("stranger", premises.home)
    stranger.keep(self_signed(stranger, "w1"))
    before = premises.metric("failed_handshakes")
    line = await Line.opened(premises, stranger)  # TLS 1.3: the client is done before the server has judged
    line.say(hello("poll://hostile-w1"))
    assert await line.is_closed()
    assert premises.metric("failed_handshakes") == before + 1


async def test_who_shows_no_certificate_may_only_enrol(premises: Premises) -> None:
    nobody = Identity("nobody", premises.home)
    for greeting in (hello(), messages.Renew(nobody.request())):
        line = await Line.opened(premises, nobody, STRANGER)
        line.say(greeting)
        assert (await line.refusal()).code == "undeclared"
        assert await line.is_closed()
    told = [event for event in premises.events("refuse") if event.subject == f"agent/{STRANGER}"]
    assert [event.outcome for event in told] == ["undeclared"]  # twice refused, told once


async def test_a_certified_key_that_git_does_not_declare_gets_nothing(premises: Premises) -> None:
    late = Identity("late", premises.home)
    token = premises.token("late", "hostile")
    line = await Line.opened(premises, late)
    line.say(Enrol((1,), token, late.request(), "poll://hostile-late"))
    late.keep((await line.hear(messages.Certified)).certificate)
    line = await Line.opened(premises, late)
    line.say(hello("poll://hostile-late"))
    assert (await line.refusal()).code == "undeclared"


async def test_a_token_gives_its_own_name_and_pools_and_nothing_that_is_claimed(premises: Premises) -> None:
    token = premises.token("modest", "hostile")
    greedy = Identity("w1", premises.home / "space")  # its request calls itself w1
    line = await Line.opened(premises, greedy)
    plain = json.loads(messages.frame_of(Enrol((1,), token, greedy.request(), "poll://modest"))[HEADER.size :])
    claims = {"worker": "w1", "pools": ["honest"], "labels": {"role": "db"}, "environments": ["production"]}
    line.say(json.dumps(plain | claims).encode())
    certified = await line.hear(messages.Certified)
    assert (certified.worker, certified.pools) == ("modest", ("hostile",))
    certificate = x509.load_pem_x509_certificate(certified.certificate.encode())
    assert certificate.subject.rfc4514_string() == "CN=modest"
    assert not premises.workers() & {"modest", "late"}


async def test_tokens_that_are_used_up_unknown_or_for_another_are_refused(premises: Premises, w2: Identity) -> None:
    async def refused(token: str, identity: Identity, **more: str) -> tuple[str, str]:
        line = await Line.opened(premises, Identity("bare", premises.home))
        wish = Enrol((1,), token, identity.request(), "poll://somebody")
        line.say(replace(wish, **more))  # type: ignore[arg-type]  # the fields are the caller's to know
        reject = await line.refusal()
        return reject.code, reject.text

    first, second = Identity("first", premises.home), Identity("second", premises.home)
    good = premises.token("somebody", "hostile")
    line = await Line.opened(premises, first)
    line.say(Enrol((1,), good, first.request(), "poll://somebody"))
    await line.hear(messages.Certified)
    short = premises.token("brief", "hostile", "--ttl", "1s")
    assert await refused(good, second) == ("token", f"the token {good.split('.')[1]} was used already, for another key")
    for token in ("", "rct1.0123abcd.x.y", good.replace(good.split(".")[2], "A" * 43), "x" * 60_000):
        assert await refused(token, second) == ("token", "the token is unknown")
    taken = premises.token("w1", "hostile")
    assert await refused(taken, second) == ("taken", "w1 has another identity in Git")
    mine = premises.token("somebody-else", "hostile")
    assert (await refused(mine, w2))[0] == "taken"
    for request in ("", "x" * 20_000, "-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----\n"):
        assert (await refused(mine, second, request=request))[0] == "request"
    for listen in ("[::1]:10933\nspec: evil", "a b:1", "host:99999999", '"; rm -rf /'):
        assert (await refused(mine, second, subscription="", listen=listen))[0] == "request"
    brief = premises.read(enrolment.token, short.split(".")[1])
    until(lambda: time.time() >= brief.expires_at, "the end of the token")
    assert (await refused(short, second))[1] == f"the token {short.split('.')[1]} has expired"


async def test_ten_thousand_guesses_of_a_token_are_a_few_lines_in_the_audit(premises: Premises) -> None:
    nobody = Identity("guesser", premises.home)
    token = premises.token("prize", "hostile")
    wrong = token.replace(token.split(".")[2], "A" * 43)
    before = len(premises.events("refuse") + premises.events("enrol"))
    for _ in range(50):
        line = await Line.opened(premises, nobody, "127.0.0.67")
        line.say(Enrol((1,), wrong, "x", "poll://prize"))
        assert (await line.refusal()).code == "token"
    assert len(premises.events("refuse") + premises.events("enrol")) - before == 1


async def test_a_handshake_or_a_greeting_that_drips_ends_in_time(premises: Premises) -> None:
    before, begun = premises.metric("rejects:slow"), time.monotonic()
    handshake = dialled(premises)
    line = await Line.opened(premises, Identity("slow", premises.home), STRANGER)
    dripping = HEADER.pack(1000, 1, 0, 0) + bytes(1000)
    for first, second in zip(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100), dripping, strict=False):
        with suppress(OSError):
            handshake.send(bytes([first]))
        line.writer.write(bytes([second]))
        if line.reader.at_eof() or time.monotonic() - begun > PATIENCE:
            break
        await asyncio.sleep(0.5)
    assert await line.is_closed()
    assert 9 < time.monotonic() - begun < 13
    until(lambda: premises.metric("rejects:slow") == before + 2, "both to be counted")
    handshake.close()


async def test_a_crowd_at_the_door_is_shed_and_the_honest_come_in(premises: Premises, w2: Identity) -> None:
    """2,000 connections: silent ones, halves of handshakes, nonsense; meanwhile w2 calls from another address."""
    before, memory = premises.metric("shed"), premises.memory()
    halves = [b"", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET / HTTP/1.0\r\n\r\n", os.urandom(100)]
    with ExitStack() as crowd:
        for number in range(2_000):
            connection = crowd.enter_context(dialled(premises))
            connection.send(halves[number % len(halves)])
            if number % 400 == 200:
                line = await Line.opened(premises, w2)
                await line.greet()
                line.cut()
        until(lambda: premises.metric("shed") - before > 500, "the crowd to be shed")
        assert premises.memory() - memory < 50 << 20
        assert premises.is_healthy()


async def test_those_who_are_refused_and_do_not_leave_hold_little_memory(premises: Premises) -> None:
    """Each shakes hands, is refused, reads nothing, and sends as much as is taken."""
    nobody, enough = Identity("stayer", premises.home), asyncio.Event()
    memory, wish = premises.memory(), messages.frame_of(Enrol((1,), "no token", "x", "poll://stayer"))
    before = premises.dismissed()

    async def stay() -> None:
        with suppress(OSError):  # it was shed
            line = await Line.opened(premises, nobody, STRANGER)
            line.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a TLS transport reads, too
            line.writer.write(wish + bytes(1 << 20))
            await enough.wait()
            line.cut()

    peak = 0
    staying = [asyncio.create_task(stay()) for _ in range(400)]
    while premises.dismissed() < before + len(staying):
        await asyncio.sleep(0.1)  # between two looks
        peak = max(peak, premises.memory() - memory)
    enough.set()
    await asyncio.gather(*staying)
    assert peak < 60 << 20


async def test_new_keys_without_end_are_not_certified(premises: Premises, line: Line) -> None:
    await line.greet()
    keys = [Identity(f"key-{number}", premises.home) for number in range(8)]
    line.say(*[messages.Renew(key.request()) for key in keys])
    assert (await line.refusal()).code == "busy"
    assert len(premises.events("renew")) <= 4
