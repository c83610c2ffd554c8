"""What a worker says of attempts that are not its own, and asks for that it was not given."""

from hashlib import sha256

import pytest

from reconciler.protocol import messages
from reconciler.protocol.frames import FileBytes, LogBytes
from reconciler.protocol.tickets import Declined, Digest, Ended, Running, TicketReport
from tests.hostile.intruder import Identity, Line, final, hello, printed
from tests.hostile.premises import Premises

pytestmark = pytest.mark.end_to_end


async def test_no_word_on_another_workers_ticket_has_an_effect(premises: Premises, line: Line) -> None:
    ticket = premises.honest_ticket()
    forged = printed("forged\n")
    before = premises.metric("rejects:foreign ticket")
    await line.greet(None, TicketReport(ticket, Ended(final(ticket, code=0))))
    line.say(messages.State(TicketReport(ticket, Declined("not mine"))))
    line.say(LogBytes(ticket, 0, forged), LogBytes(ticket, 1 << 20, forged), LogBytes(ticket, 1 << 63, forged))
    line.say(messages.Finished(final(ticket, forged, code=0)))
    line.say(messages.Ping(1.0))
    await line.hear(messages.Pong)
    assert premises.metric("rejects:foreign ticket") - before >= 4
    assert premises.honest_ticket() == ticket
    assert "forged" not in premises.log(ticket)


async def test_the_length_of_another_workers_log_is_not_told(premises: Premises, line: Line) -> None:
    line.say(hello())
    await line.hear(messages.HelloOk)
    line.say(messages.Inventory((TicketReport(premises.honest_ticket(), Running()),), last=True))
    word = await line.hear(object, lambda word: isinstance(word, (messages.Rewind, messages.Forget)))
    assert word == messages.Forget(premises.honest_ticket())


async def test_files_are_given_to_those_alone_whose_attempts_need_them(premises: Premises, line: Line) -> None:
    blobs = premises.data / "blobs"
    foreign = Digest(sha256(b"the secret of another").hexdigest())
    (blobs / foreign[:2]).mkdir(parents=True, exist_ok=True)
    (blobs / foreign[:2] / foreign).write_bytes(b"the secret of another")
    await line.greet()
    spec = await line.taken()
    before = premises.metric("rejects:foreign file")
    for digest in (foreign, Digest("../../key"), Digest("/etc/passwd"), Digest("")):
        line.say(messages.Get(digest, 0, 1 << 20))
        refused = await line.hear(messages.Missing)
        assert refused == messages.Missing(digest, "it is no script of a ticket that was offered to this worker")
    assert premises.metric("rejects:foreign file") - before == 4
    line.say(messages.Get(spec.script_digest, 0, 1 << 20))
    assert (await line.hear(FileBytes)).digest == spec.script_digest


async def test_an_older_session_of_the_same_machine_is_dead(premises: Premises, w2: Identity, line: Line) -> None:
    first = await line.greet()
    spec = await line.taken()
    second = await Line.opened(premises, w2)
    assert (await second.greet(None, TicketReport(spec.ticket, Running()))).epoch > first.epoch
    line.say(LogBytes(spec.ticket, 0, printed("too late\n")))
    assert await line.is_closed()
    assert premises.log(spec.ticket) == ""
    second.cut()


async def test_a_second_machine_with_the_same_identity_is_refused(premises: Premises, w2: Identity, line: Line) -> None:
    await line.greet()
    clone = await Line.opened(premises, w2)
    clone.say(hello(store="another"))
    assert (await clone.refusal()).code == "duplicate"
    line.say(messages.Ping(1.0))
    await line.hear(messages.Pong)


async def test_nobody_gets_the_place_of_another_by_his_subscription(premises: Premises, line: Line) -> None:
    line.say(hello("poll://hostile-w1"))
    refused = await line.refusal()
    assert refused.code == "undeclared"
    assert "Git declares that w2 calls under poll://hostile-w2" in refused.text
    assert refused.text in premises.events("refuse")[-1].detail


@pytest.mark.parametrize("epoch", [1 << 40, (1 << 53) - 1])
async def test_an_epoch_from_the_far_future_does_not_use_them_up(
    epoch: int, premises: Premises, w2: Identity, line: Line
) -> None:
    line.say(hello(epoch=epoch))
    assert (await line.hear(messages.HelloOk)).epoch < 1 << 34
    line.cut()


async def test_an_ending_that_is_told_ten_times_counts_once(premises: Premises, line: Line) -> None:
    await line.greet()
    spec = await line.taken()
    line.say(*[messages.Finished(final(spec.ticket, code=code)) for code in range(3, 13)])
    await line.hear(messages.Forget)
    again = await line.taken()
    assert again.ticket != spec.ticket
    line.say(messages.Finished(final(spec.ticket, code=0)))  # the attempt before
    assert await line.hear(messages.Forget) == messages.Forget(spec.ticket)
    attempts = [attempt.ticket for attempt in premises.live() if attempt.worker == "w2"]
    assert attempts == [again.ticket]
