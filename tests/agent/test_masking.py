"""Masking and service messages: no secret in any spelling, however the stream is cut."""

import base64
import json
from urllib.parse import quote, quote_from_bytes, quote_plus, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.agent.masking import MASK, Masker, spellings
from reconciler.agent.service import ServiceMessage, Splitter

secrets = st.text('abcAB/+= \n"\\é', min_size=4, max_size=12)
noise = st.text('abcAB/+= \n"\\é*', max_size=30)


def masked(values: list[str], chunks: list[bytes]) -> bytes:
    masker = Masker(values)
    return b"".join([*map(masker.feed, chunks), masker.close()])


@given(values=st.lists(secrets, min_size=1, max_size=3), parts=st.lists(noise, max_size=5), data=st.data())
def test_no_cut_of_the_stream_lets_a_secret_through(values: list[str], parts: list[str], data: st.DataObject) -> None:
    text = "".join(part + data.draw(st.sampled_from(["", *values])) for part in parts).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=10)))
    chunks = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    shown = masked(values, chunks)
    assert shown == masked(values, [text])
    assert not any(needle in piece for value in values for needle in spellings(value) for piece in shown.split(MASK))


@given(st.binary(max_size=200))
def test_what_holds_no_secret_comes_through_unchanged(data: bytes) -> None:
    assert masked(["a-value-that-is-not-there"], [data]) == data


@pytest.mark.parametrize(
    "spelling",
    [
        lambda value: value,
        lambda value: quote(value, safe=""),
        quote_plus,
        lambda value: json.dumps(value)[1:-1],
        lambda value: base64.b64encode(value.encode()).decode(),
        lambda value: base64.urlsafe_b64encode(value.encode()).decode(),
    ],
)
def test_every_usual_spelling_is_masked(spelling: object) -> None:
    value = 'p@ss "wörd"/+~?'
    assert callable(spelling)
    assert masked([value], [f"<{spelling(value)}>".encode()]) == b"<********>"


@pytest.mark.parametrize("before", ["", "x", "xy", "user:"])
def test_base64_of_a_secret_inside_something_longer_is_masked(before: str) -> None:
    value = "correct horse battery"
    shown = masked([value], [base64.b64encode(f"{before}{value}!".encode())])
    assert MASK in shown
    assert base64.b64encode(value.encode())[4:-4] not in shown


def test_each_line_of_a_secret_is_one() -> None:
    assert masked(["first line\nsecond line\n"], [b"say second line"]) == b"say ********"


def test_short_values_are_not_masked() -> None:
    assert masked(["abc"], [b"abcabc"]) == b"abcabc"


def test_a_stream_that_repeats_a_secret_for_ever_holds_nothing_back() -> None:
    masker = Masker(["aaaa"])
    for _ in range(100):
        masker.feed(b"a" * 10_000)
    assert len(masker._held) < 10


@given(chunks=st.data(), text=st.sampled_from([
    b"a##reconcile[n set_output name=x value=1%5D%0A2]\nb",
    b"##reconcile[n progress percent=5]\r\n##reconcile[n mask value=q]\n",
    b"##reconcile[m set_output name=x]\n##recon",
]))  # fmt: skip
def test_service_messages_are_found_however_they_are_cut(chunks: st.DataObject, text: bytes) -> None:
    def split(pieces: list[bytes]) -> tuple[bytes, list[ServiceMessage]]:
        splitter = Splitter("n")
        found = [part for piece in pieces for part in splitter.feed(piece)]
        plain = b"".join(part for part in found if isinstance(part, bytes)) + splitter.close()
        return plain, [part for part in found if isinstance(part, ServiceMessage)]

    cuts = sorted(chunks.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    assert split([text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]) == split([text])


@given(st.binary(min_size=4, max_size=60))
def test_percent_encoding_is_that_of_every_other_program(raw: bytes) -> None:
    value = raw.decode("utf-8", "surrogateescape")
    assert {quote_from_bytes(raw, safe=safe).encode() for safe in ("", "/")} <= spellings(value)


@given(st.text("%0aFg\u00e9 ", max_size=40))
def test_what_a_script_has_encoded_is_decoded_and_a_lone_percent_sign_stays(value: str) -> None:
    text = value.replace(" ", "+").encode()
    (message,) = Splitter("n").feed(b"##reconcile[n set_output value=" + text + b"]\n")
    assert message == ServiceMessage("set_output", {"value": unquote_to_bytes(text).decode("utf-8", "surrogateescape")})


def test_a_message_that_never_ends_is_shown_as_text() -> None:
    splitter = Splitter("n")
    shown = [*splitter.feed(b"##reconcile[n mask value=" + b"x" * 300_000), splitter.close()]
    assert sum(len(part) for part in shown if isinstance(part, bytes)) == 300_025
