"""Sessions without a network: golden transcripts of the handshake, and what brings a ticket to where it should be."""

import pytest

from reconciler.protocol import messages
from reconciler.protocol.frames import FrameTooLongError
from reconciler.protocol.session import (
    AgentSession,
    Connected,
    Desire,
    ProtocolError,
    RejectedError,
    ServerSession,
    verbs,
)
from reconciler.protocol.tickets import (
    Digest,
    Ended,
    Exited,
    Final,
    Offered,
    Output,
    Running,
    Secrets,
    TicketId,
    TicketReport,
    TicketSpec,
)

TICKET = TicketId("t1")
HELLO = messages.Hello((1,), "store", "boot", 3, epoch=41)
SPEC = TicketSpec(TICKET, ("sh",), "sh", "true", Digest("d"))
FINAL = Final(TICKET, Exited(0), 0, Digest("d"), (Output("a", "b"),))


def handshake(epoch_floor: int, reports: list[TicketReport]) -> tuple[AgentSession, Connected]:
    agent, server = AgentSession(HELLO), ServerSession(interval=5.0)
    assert server.receive(agent.outgoing()) == [HELLO]
    server.welcome(epoch_floor)
    [welcome] = agent.receive(server.outgoing())
    assert isinstance(welcome, messages.HelloOk)
    agent.send_inventory(reports)
    [connected] = server.receive(agent.outgoing())
    assert isinstance(connected, Connected)
    return agent, connected


@pytest.mark.parametrize(("floor", "epoch"), [(0, 42), (41, 42), (99, 100)])
def test_an_epoch_is_higher_than_any_that_either_end_has_seen(floor: int, epoch: int) -> None:
    agent, connected = handshake(floor, [])
    assert connected.epoch == agent.epoch == epoch


def test_an_inventory_of_many_pages_arrives_as_one() -> None:
    reports = [TicketReport(TicketId(f"t{number}"), Running()) for number in range(450)]
    assert list(handshake(0, reports)[1].reports.values()) == reports


def test_ended_tickets_stand_in_the_inventory_without_what_final_brings() -> None:
    state = handshake(0, [TicketReport(TICKET, Ended(FINAL))])[1].reports[TICKET].state
    assert isinstance(state, Ended)
    assert state.final.outputs == ()


def test_an_agent_of_another_protocol_is_told_so() -> None:
    agent, server = AgentSession(messages.Hello((7,), "s", "b", 1, 0)), ServerSession(5.0)
    with pytest.raises(ProtocolError):
        server.receive(agent.outgoing())
    with pytest.raises(RejectedError, match="it speaks versions \\[7\\], this server 1; update it"):
        agent.receive(server.outgoing())


@pytest.mark.parametrize("greeting", [messages.Enrol((1,), "t", "csr"), messages.Renew("csr")])
def test_a_peer_may_ask_for_a_certificate_instead_of_a_session(greeting: messages.Message) -> None:
    stranger, server = AgentSession(HELLO), ServerSession(5.0)
    stranger.outgoing()
    stranger.send(greeting)
    assert server.receive(stranger.outgoing()) == [greeting]
    assert server.hello is None


def test_nothing_is_taken_between_hello_and_welcome() -> None:
    agent, server = AgentSession(HELLO), ServerSession(5.0)
    agent.send_inventory([])
    with pytest.raises(ProtocolError, match="Inventory came where nothing before HELLO_OK was expected"):
        server.receive(agent.outgoing())


def test_a_rejected_agent_reads_why() -> None:
    agent, server = AgentSession(HELLO), ServerSession(5.0)
    server.receive(agent.outgoing())
    server.reject("undeclared", "no Worker in Git bears its thumbprint", 30.0)
    with pytest.raises(RejectedError, match="the server refused this agent: no Worker in Git bears") as refusal:
        agent.receive(server.outgoing())
    assert (refusal.value.code, refusal.value.retry_after) == ("undeclared", 30.0)


def test_a_stranger_may_not_send_a_long_frame() -> None:
    stranger, server = AgentSession(HELLO), ServerSession(5.0)
    stranger.outgoing()
    stranger.send(messages.Renew("x" * (65 << 10)))
    with pytest.raises(FrameTooLongError, match=r"a control frame has 66\d+ bytes, 65536 are allowed"):
        server.receive(stranger.outgoing())


def test_nothing_is_heard_before_the_greeting() -> None:
    stranger = AgentSession(HELLO)
    stranger.outgoing()
    stranger.send(messages.Ping(1.0))
    with pytest.raises(ProtocolError, match="Ping came where HELLO was expected"):
        ServerSession(5.0).receive(stranger.outgoing())


OFFER, RUN = messages.Offer(SPEC), messages.Run(TICKET, Secrets())
WANTED = Desire(TICKET, SPEC, Secrets())


@pytest.mark.parametrize(
    ("desire", "state", "said"),
    [
        (Desire(TICKET, SPEC), None, [OFFER]),
        (WANTED, None, [OFFER, RUN]),
        (WANTED, Offered(), [RUN]),
        (WANTED, Running(), []),
        (WANTED, Ended(FINAL), []),
        (Desire(TICKET, SPEC, Secrets(), cancel_grace=2.0), Running(), [messages.Cancel(TICKET, 2.0)]),
        (Desire(TICKET, SPEC, Secrets(), cancel_grace=2.0), None, [OFFER, messages.Cancel(TICKET, 2.0)]),
        (Desire(TICKET, SPEC, Secrets(), cancel_grace=2.0), Offered(), [messages.Cancel(TICKET, 2.0)]),
        (Desire(TICKET, SPEC, Secrets(), void=True), Offered(), [messages.Void(TICKET)]),
        (Desire(TICKET, forget=True), Ended(FINAL), [messages.Forget(TICKET)]),
        (Desire(TICKET, forget=True), None, [messages.Forget(TICKET)]),
    ],
)
def test_only_what_is_missing_is_said(desire: Desire, state: object, said: list[object]) -> None:
    assert verbs(desire, state) == said  # type: ignore[arg-type]  # a table of all states
