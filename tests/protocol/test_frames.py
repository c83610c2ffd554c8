"""Frames and messages: what goes in comes out, however the network cuts it, and nonsense is refused."""

import dataclasses
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.protocol import frames, journal, messages
from reconciler.protocol.frames import Control, Decoder, FileBytes, Frame, FrameError, LogBytes, encoded
from reconciler.protocol.journal import Kind, Level, Record
from reconciler.protocol.messages import frame_of, message_of
from reconciler.protocol.objects import MalformedError, dumped, loaded
from reconciler.protocol.tickets import (
    Artifact,
    Cancelled,
    Digest,
    Ended,
    Exited,
    Final,
    Lost,
    NotStarted,
    Offered,
    Output,
    OutputLimit,
    Running,
    Secrets,
    Signalled,
    TicketId,
    TicketReport,
    TicketSpec,
    TimedOut,
    Usage,
)

names = st.text("abcdef0123456789-", min_size=1, max_size=40)
offsets = st.integers(0, 2**64 - 1)
amounts = st.integers(0, 2**53 - 1)
some_frames: st.SearchStrategy[Frame] = st.one_of(
    st.builds(Control, st.binary(max_size=60)),
    st.builds(LogBytes, names.map(TicketId), offsets, st.binary(max_size=60)),
    st.builds(FileBytes, names.map(Digest), offsets, st.binary(max_size=60), st.booleans()),
)
endings = st.one_of(
    st.builds(Exited, st.integers(0, 255)),
    st.builds(Signalled, st.integers(1, 64)),
    st.just(TimedOut()),
    st.just(Cancelled()),
    st.builds(NotStarted, st.text()),
    st.builds(Lost, st.text()),
)
finals = st.builds(
    Final,
    names.map(TicketId),
    endings,
    amounts,
    names.map(Digest),
    st.lists(st.builds(Output, st.text(), st.text(), st.booleans()), max_size=3).map(tuple),
    st.lists(st.builds(Artifact, st.text(), amounts, names.map(Digest)), max_size=3).map(tuple),
    st.builds(Usage, st.floats(0, 1e9), st.floats(0, 1e9), amounts),
    st.text(),
)
specs = st.builds(
    TicketSpec,
    names.map(TicketId),
    st.lists(st.text(), min_size=1, max_size=3).map(tuple),
    st.sampled_from(["bash", "sh", "python"]),
    st.none() | st.text(),
    names.map(Digest),
    environment=st.dictionaries(st.text(), st.text(), max_size=3),
    timeout=st.none() | st.floats(0, 1e9),
    output_limit=st.none() | st.builds(OutputLimit, amounts, st.sampled_from(["truncate", "kill"])),
)


def in_chunks(data: st.DataObject, stream: bytes) -> list[bytes]:
    """Cut a stream anywhere."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    return [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


@given(sent=st.lists(some_frames, max_size=6), data=st.data())
def test_the_chunks_of_the_network_do_not_matter(sent: list[Frame], data: st.DataObject) -> None:
    decoder = Decoder()
    received = [frame for chunk in in_chunks(data, b"".join(map(encoded, sent))) for frame in decoder.feed(chunk)]
    assert received == sent


@given(st.binary(max_size=200))
def test_nonsense_is_refused_or_waited_for_but_never_crashes(noise: bytes) -> None:
    try:
        Decoder().feed(noise)
    except FrameError:
        return


def test_a_frame_that_is_too_long_is_refused_before_it_is_read() -> None:
    header = frames.HEADER.pack(frames.CONTROL_BYTES_MAX + 1, frames.CONTROL, 0, 0)
    with pytest.raises(frames.FrameTooLongError):
        Decoder().feed(header)


@given(size=st.integers(0, 3 * frames.DATA_BYTES_MAX))
def test_a_file_that_is_cut_tells_its_end_once(size: int) -> None:
    pieces = frames.cut(Digest("d"), 0, bytes(size), size)
    assert sum(len(piece.data) for piece in pieces) == size
    assert [piece.last for piece in pieces] == [False] * (len(pieces) - 1) + [True]


@given(st.one_of(
    st.builds(messages.Offer, specs),
    st.builds(messages.Finished, finals),
    st.builds(messages.State, st.builds(
        TicketReport, names.map(TicketId),
        st.one_of(st.just(Offered()), st.just(Running()), finals.map(Ended)), amounts, amounts,
    )),
    st.builds(messages.Run, names.map(TicketId), st.builds(Secrets, st.dictionaries(st.text(), st.text(), max_size=2))),
    st.builds(messages.Get, names.map(Digest), amounts, amounts, st.none() | names.map(TicketId)),
))  # fmt: skip
def test_a_message_survives_the_journey(message: messages.Message) -> None:
    assert message_of(frame_of(message)[frames.HEADER.size :]) == message


def test_fields_and_messages_of_a_later_version_are_ignored() -> None:
    assert message_of(b'{"message": "VOID", "ticket": "t1", "colour": "red"}') == messages.Void(TicketId("t1"))
    assert message_of(b'{"message": "HOVER", "height": 3}') is None


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{}", b'{"message": "VOID"}', b'{"message": "VOID", "ticket": 3}', b"[" * 9999]
)
def test_a_broken_message_is_refused(text: bytes) -> None:
    with pytest.raises(MalformedError):
        message_of(text)


def test_secrets_are_never_shown() -> None:
    run = messages.Run(TicketId("t"), Secrets({"TOKEN": "hunter2"}, ("hunter2",)))
    final = Final(TicketId("t"), Exited(0), 0, Digest(""), (Output("name", "hunter2", sensitive=True),))
    assert "hunter2" not in repr(run) + repr(final) + repr(messages.Finished(final))


@given(specs)
def test_a_spec_on_disk_reads_back(spec: TicketSpec) -> None:
    assert loaded(TicketSpec, dumped(spec)) == spec


def test_every_message_has_its_name() -> None:
    assert set(messages.KINDS.values()) == set(get_args(messages.Message))
    assert all(dataclasses.is_dataclass(kind) for kind in messages.KINDS.values())


some_records = st.builds(
    Record, st.sampled_from(Kind), st.sampled_from(Level), st.integers(0, 2**63), st.binary(max_size=50)
)


@given(written=st.lists(some_records, max_size=6), missing=st.integers(0, 30))
def test_a_journal_that_still_grows_gives_its_whole_records(written: list[Record], missing: int) -> None:
    data = b"".join(map(journal.encoded, written))
    records, length = journal.decoded(data[: len(data) - missing])
    assert records == written[: len(records)]
    assert length == sum(len(journal.encoded(record)) for record in records)


def test_a_journal_that_is_no_journal_is_refused() -> None:
    with pytest.raises(journal.BrokenJournalError):
        journal.decoded(b"hello, this is no journal at all")
