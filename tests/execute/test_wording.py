"""What an agent says in words is stored and shown, so it holds nothing that cannot be."""

from reconciler.execute.wording import NAME_MAX, final_in_words
from reconciler.protocol.tickets import Digest, Final, Lost, NotStarted, Output, TicketId

TICKET, NO_LOG = TicketId("a" * 32), Digest("0" * 64)


def test_the_sentences_of_an_ending_are_one_line_each() -> None:
    for ending in (Lost("a\0\nb"), NotStarted("a\0\nb")):
        found = final_in_words(Final(TICKET, ending, 0, NO_LOG, message="\x1b[31mred"))
        assert found.ending == type(ending)("a\ufffd b")
        assert found.message == "\ufffd[31mred"


def test_the_name_of_an_output_is_no_longer_than_a_key_and_holds_nothing_hidden() -> None:
    outputs = (Output("Url", "a\0b"), Output("a\0b" + "c" * 10_000, "x", sensitive=True))
    found = final_in_words(Final(TICKET, Lost(""), 0, NO_LOG, outputs=outputs))
    assert found.outputs == (outputs[0], Output("a\ufffdb" + "c" * (NAME_MAX - 3), "x", sensitive=True))
