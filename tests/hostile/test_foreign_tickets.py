"""What a worker says of attempts that are not its own, and asks for that it was not given."""

import pytest

from reconciler.protocol import messages
from reconciler.protocol.frames import LogBytes
from reconciler.protocol.tickets import Declined, Digest, TicketId, TicketReport
from tests.hostile.intruder import Line, final, printed
from tests.hostile.premises import Premises

pytestmark = pytest.mark.end_to_end


async def test_first(premises: Premises, line: Line) -> None:
    await line.greet()
    spec = await line.taken()
    print(spec.ticket)
