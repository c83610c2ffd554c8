"""Whom TLS lets in: known and unknown agents at a running engine's two contexts, in real handshakes."""

import socket
import ssl
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from reconciler.model.trust import Purpose
from reconciler.protocol.identity import thumbprint
from reconciler.server.trust.authority import Authority
from reconciler.server.trust.keyring import retire, stage, switch
from tests.server.parties import DAY, NOW, Agent, Installation, agent

SECONDS = 10.0  # for one handshake and a few bytes


@dataclass(frozen=True, slots=True)
class Met:
    """What both ends of a connection saw of each other; None where it failed."""

    by_server: bytes | None
    by_client: bytes | None
    failure: str = ""


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Installation]:
    found = Installation(tmp_path / "data")
    yield found
    found.store.close()


def meet(server: ssl.SSLContext, client: ssl.SSLContext) -> Met:
    """Shake hands and exchange a byte."""
    failures: list[str] = []
    seen: list[bytes | None] = []

    def serve(end: socket.socket) -> None:
        try:
            with server.wrap_socket(end, server_side=True) as tls:
                seen.append(tls.getpeercert(binary_form=True))
                tls.sendall(b"!")
        except OSError as error:
            failures.append(str(error))

    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.settimeout(SECONDS)
    serving = threading.Thread(target=serve, args=(ours,))
    serving.start()
    by_client = None
    try:
        with client.wrap_socket(theirs, server_hostname="agent" if client.check_hostname else None) as tls:
            if tls.recv(1) == b"!":
                by_client = tls.getpeercert(binary_form=True)
    except OSError as error:
        failures.append(str(error))
    serving.join()
    return Met(seen[0] if seen else None, by_client, " ".join(failures))


def caller(certificate: str = "", one: Agent | None = None) -> ssl.SSLContext:
    """Return the context of an agent that calls."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if one is not None:
        one.present(context, certificate)
    return context


def listener(one: Agent, certificate: str, authorities: str) -> ssl.SSLContext:
    """Return the context of an agent that listens and takes only its server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=authorities)
    one.present(context, certificate)
    return context


async def test_an_agent_that_was_certified_is_known_by_its_key(here: Installation) -> None:
    authority, one = await Authority.open(here.store, here.sealer, NOW), agent()
    certificate = authority.certify(one.request(), "worker-1", NOW)
    met = meet(authority.listener_context(), caller(certificate.pem, one))
    assert met.by_server is not None
    assert met.by_client is not None
    assert thumbprint(met.by_server) == one.thumbprint == certificate.thumbprint
    assert thumbprint(met.by_client) == authority.pin


async def test_who_has_no_certificate_may_come_in_to_enrol(here: Installation) -> None:
    authority = await Authority.open(here.store, here.sealer, NOW)
    met = meet(authority.listener_context(), caller())
    assert met.by_server is None
    assert met.by_client is not None


async def test_a_stranger_with_a_certificate_of_its_own_is_cut_off(here: Installation) -> None:
    authority, one = await Authority.open(here.store, here.sealer, NOW), agent()
    met = meet(authority.listener_context(), caller(one.self_signed(), one))
    assert met.by_client is None
    assert "self-signed certificate" in met.failure


async def test_a_certificate_of_another_installation_is_cut_off(here: Installation, tmp_path: Path) -> None:
    authority, one = await Authority.open(here.store, here.sealer, NOW), agent()
    other = Installation(tmp_path / "other")
    foreign = await Authority.open(other.store, other.sealer, NOW)
    met = meet(authority.listener_context(), caller(foreign.certify(one.request(), "worker-1", NOW).pem, one))
    other.store.close()
    assert met.by_client is None
    assert "certificate verify failed" in met.failure


async def test_a_certificate_that_has_run_out_gets_through_tls_to_be_renewed(here: Installation) -> None:
    long_ago = NOW - 3_000 * DAY
    authority, one = await Authority.open(here.store, here.sealer, long_ago), agent()
    certificate = authority.certify(one.request(), "worker-1", long_ago)
    assert certificate.expires_at == long_ago + 365 * DAY
    assert meet(authority.listener_context(), caller(certificate.pem, one)).by_server is not None


async def test_an_older_tls_than_1_3_is_refused(here: Installation) -> None:
    authority = await Authority.open(here.store, here.sealer, NOW)
    old = caller()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    assert meet(authority.listener_context(), old).by_client is None


async def test_a_listening_agent_that_is_self_signed_is_reached_and_takes_only_its_server(
    here: Installation, tmp_path: Path
) -> None:
    authority, one = await Authority.open(here.store, here.sealer, NOW), agent()
    listening = listener(one, one.self_signed(), "".join(authority.trust().authorities))
    met = meet(listening, authority.dialling_context())
    assert met.by_server is not None
    assert met.by_client is not None
    assert (thumbprint(met.by_server), thumbprint(met.by_client)) == (authority.pin, one.thumbprint)
    other = Installation(tmp_path / "other")
    foreign = await Authority.open(other.store, other.sealer, NOW)
    other.store.close()
    assert meet(listening, foreign.dialling_context()).by_client is None


async def test_through_a_change_of_authority_known_agents_stay_known_until_it_is_retired(here: Installation) -> None:
    authority, one, two = await Authority.open(here.store, here.sealer, NOW), agent(), agent()
    old = authority.certify(one.request(), "worker-1", NOW).pem
    for act in (stage, switch):
        here.store.write_now(lambda tx, act=act: act(tx, here.sealer, Purpose.CA, NOW))
    assert await authority.refresh()
    assert not await authority.refresh()
    new = authority.certify(two.request(), "worker-2", NOW).pem
    for certificate, machine in ((old, one), (new, two)):
        assert meet(authority.listener_context(), caller(certificate, machine)).by_server is not None
    here.store.write_now(lambda tx: retire(tx, here.sealer, Purpose.CA, NOW, forced=True))
    assert await authority.refresh()
    assert meet(authority.listener_context(), caller(old, one)).by_client is None
    assert meet(authority.listener_context(), caller(new, two)).by_server is not None


async def test_a_listening_agent_takes_the_server_through_a_change_of_its_authority(here: Installation) -> None:
    authority, one = await Authority.open(here.store, here.sealer, NOW), agent()
    here.store.write_now(lambda tx: stage(tx, here.sealer, Purpose.CA, NOW))
    await authority.refresh()
    listening = listener(one, one.self_signed(), "".join(authority.trust().authorities))
    for act in (switch, retire):
        here.store.write_now(lambda tx, act=act: act(tx, here.sealer, Purpose.CA, NOW))
        await authority.refresh()
        met = meet(listening, authority.dialling_context())
        assert met.by_server is not None, met
        assert thumbprint(met.by_server) == authority.pin


async def test_no_private_key_is_left_in_a_file(here: Installation, tmp_path: Path) -> None:
    await Authority.open(here.store, here.sealer, NOW)
    assert holding(tmp_path, b"PRIVATE KEY") == []


def holding(folder: Path, words: bytes) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and words in path.read_bytes()]
