"""What agent and shim tell each other: in order, and of lengths in a row the last alone."""

import socket

from reconciler.agent.errands import GREW, Channel, Errand, Grew, Started, Stop, Taken


def told(*errands: Errand) -> list[Errand] | None:
    ours, theirs = map(Channel, socket.socketpair())
    try:
        for errand in errands:
            assert theirs.send(errand)
        return ours.receive()
    finally:
        ours.close()
        theirs.close()


def test_of_lengths_in_a_row_the_last_alone_is_told() -> None:
    said = (Grew(1), Grew(2), Started(), Grew(3), Taken(3), Grew(4), Grew(5))
    assert told(*said) == [Grew(2), Started(), Grew(3), Taken(3), Grew(5)]


def test_what_is_no_length_is_told_each_time() -> None:
    said = (Taken(1), Taken(2), Stop(1.0), Stop(1.0))
    assert told(*said) == list(said)


def test_a_length_is_written_as_it_is_recognised() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        channel = Channel(ours)
        channel.send(Grew(7))
        assert GREW in theirs.recv(1000)
