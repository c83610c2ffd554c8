"""Keys and certificates, and what is read from them without a library; waiting times and log lines."""

import datetime as dt
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from reconciler.agent import identities, settings
from reconciler.agent.backoff import LONGEST, LONGEST_BUSY, Backoff
from reconciler.agent.declaration import worker_document
from reconciler.agent.faults import AgentError
from reconciler.agent.settings import Address, Listening, Settings
from reconciler.agent.voice import Voice
from reconciler.protocol.identity import CertificateError, thumbprint, thumbprint_of_request, validity

KEY = ec.generate_private_key(ec.SECP256R1())
NAME = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "web-01")])
MOMENTS = st.integers(-20 * 365 * 86400, 230 * 365 * 86400)  # seconds since 1970: from 1950 on


@given(MOMENTS, MOMENTS)
def test_validity_is_read_on_both_sides_of_2050(one: int, other: int) -> None:
    begin, end = sorted((one, other))
    moments = [dt.datetime.fromtimestamp(when, dt.UTC) for when in (begin, end)]
    builder = x509.CertificateBuilder(NAME, NAME, KEY.public_key(), 1, *moments)
    certificate = builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.DER)
    assert validity(certificate) == (begin, end)


@given(st.binary(max_size=60))
def test_bytes_that_are_no_certificate_are_refused(data: bytes) -> None:
    for read in (validity, thumbprint, thumbprint_of_request):
        with pytest.raises(CertificateError):
            read(data)


def test_a_request_and_its_certificate_have_one_thumbprint(tmp_path: Path) -> None:
    made = identities.made_self_signed(str(tmp_path), "web-01")
    assert identities.thumbprint_of_certificate(made.certificate) == made.thumbprint
    certificate = x509.load_pem_x509_certificate(made.certificate.encode())
    assert certificate.subject == NAME
    assert certificate.version is x509.Version.v3
    assert certificate.not_valid_after_utc.timestamp() == made.validity[1]
    assert identities.made_self_signed(str(tmp_path), "web-01") == made


def test_a_broken_identity_is_a_sentence(tmp_path: Path) -> None:
    identities.made(str(tmp_path), "web-01")
    path = tmp_path / "identity" / "current.pem"
    path.write_text(path.read_text()[:-100])
    with pytest.raises(AgentError, match="it is broken; enrol again"):
        identities.identity(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "host", "port", "shown"),
    [
        ("server", "server", 10943, "server:10943"),
        ("server:1", "server", 1, "server:1"),
        ("[::1]:2", "::1", 2, "[::1]:2"),
        ("[fe80::1]", "fe80::1", 10943, "[fe80::1]:10943"),
    ],
)
def test_addresses_are_read_and_shown(text: str, host: str, port: int, shown: str) -> None:
    found = settings.address(text, 10943)
    assert (found, str(found)) == (Address(host, port), shown)


@pytest.mark.parametrize(
    "text", ["", ":1", "a:0", "a:65536", "a:b", "::1", "::1:2", "a b", "user@a:1", "a/b", "a?b", "[::1"]
)
def test_what_is_no_address_is_a_sentence(text: str) -> None:
    with pytest.raises(AgentError, match="is no address; write HOST:PORT"):
        settings.address(text, 10943)


def test_names_that_yaml_reads_as_something_else_are_quoted() -> None:
    found = Settings("true", ("1e3", "linux"), listening=Listening("10.0.0.1:5"))
    document = worker_document(found, "SHA256:a")
    assert '  name: "true"\n' in document
    assert '  pools: ["1e3", linux]\n' in document


@given(st.integers(0, 2000), st.floats(0, 100), st.booleans())
def test_waiting_has_a_bound_and_respects_the_server(failures: int, retry_after: float, busy: bool) -> None:
    backoff = Backoff()
    for _ in range(failures % 20):
        backoff.delay()
    assert (
        retry_after
        <= backoff.delay(retry_after=retry_after, busy=busy)
        <= retry_after + (LONGEST_BUSY if busy else min(LONGEST, retry_after / 5 or LONGEST))
    )


def test_a_line_of_the_log_stays_one_line_and_is_said_once(capfd: pytest.CaptureFixture[str]) -> None:
    voice = Voice()
    for reason in ("a\nb \x1b[31m", "a\nb \x1b[31m", "c"):
        voice.say_once("gone", level="warning", reason=reason)
    first, second = capfd.readouterr().err.splitlines()
    assert first.endswith(' warning gone reason="a\\nb \\u001b[31m"')
    assert second.endswith(" warning gone reason=c")
