"""The page about the protocol names every message, field, code and limit as the protocol has it."""

import re

import pytest

from reconciler.agent.talk import SCRIPT_BYTES_MAX
from reconciler.protocol import frames, journal, messages, session, tickets
from tests import docs_protocol

TEXT = docs_protocol.PAGE.read_text()


@pytest.mark.parametrize("name", docs_protocol.objects())
def test_every_field_has_its_type_its_default_and_a_meaning(name: str) -> None:
    said = docs_protocol.said()[name]
    assert [row[:3] for row in said] == docs_protocol.rows(docs_protocol.objects()[name])
    assert all(row[3] for row in said)


def test_nothing_is_described_that_does_not_travel() -> None:
    assert docs_protocol.said().keys() == docs_protocol.objects().keys()


@pytest.mark.parametrize("union", [tickets.TicketState, tickets.Ending], ids=["state", "ending"])
def test_every_form_has_its_fields(union: object) -> None:
    rows = dict(re.findall(r"^\| `([A-Z]\w+)` \| (.*?) \| .* \|$", TEXT, re.MULTILINE))
    for form, fields in docs_protocol.forms(union).items():
        assert rows[form] == (", ".join(f"`{field}`" for field in fields) or "–")


def test_every_code_of_reject_has_its_reason() -> None:
    rows = re.findall(r"^\| `([a-z]+)` \| (.*?) \| .* \|$", TEXT.partition("## Codes of REJECT")[2], re.MULTILINE)
    assert dict(rows) == messages.REJECT_CODES


def test_the_limits_are_those_of_the_protocol() -> None:
    rows = re.findall(r"^\| ([a-z ]+) \| (\d+)(?: bytes)? \|$", TEXT.partition("## Limits")[2], re.MULTILINE)
    assert {what: int(number) for what, number in rows} == {
        "a control frame": frames.CONTROL_BYTES_MAX,
        "the first message of a peer": messages.GREETING_BYTES_MAX,
        "data of a log or file frame": frames.DATA_BYTES_MAX,
        "a subject": frames.SUBJECT_BYTES_MAX,
        "reports in a page of the inventory": messages.INVENTORY_PAGE_MAX,
        "tickets in an inventory": session.INVENTORY_MAX,
        "the pages of an inventory together": session.INVENTORY_BYTES_MAX,
        "log under way without acknowledgement": messages.LOG_WINDOW,
        "a piece of a file": messages.PIECE_BYTES_MAX,
        "a script by digest": SCRIPT_BYTES_MAX,
        "data of a log record": journal.RECORD_BYTES_MAX,
        "silent intervals": session.SILENT_INTERVALS,
    }


def test_the_example_of_a_frame_is_one() -> None:
    found = re.search(r"```text\n([0-9a-f ]+)\n(\{.*\})\n```", TEXT)
    assert found is not None
    assert bytes.fromhex(found[1]) + found[2].encode() == messages.frame_of(messages.Pong(12.5))
