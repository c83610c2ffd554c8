"""Have an order carried out for a caller, once, however often they send it under the same `Idempotency-Key`."""

import time
from typing import Annotated, Protocol

from fastapi import Header

from reconciler.api.visits import Visit
from reconciler.model.errors import Conflict
from reconciler.model.spec import canonical_json, digest_of
from reconciler.protocol.objects import dumped, loaded
from reconciler.server.engine.control import Request, carry_out
from reconciler.server.orders.decisions import Decision, decision_to
from reconciler.server.orders.orders import Answer, order_to
from reconciler.store import access
from reconciler.store.access import KeptAnswer
from reconciler.store.database import Transaction

KEY = r"^[\x21-\x7e]{1,200}$"

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=KEY,
        description="For a day, the same key with the same request gets the same answer, and nothing is done again.",
    ),
]


class Check(Protocol):
    """What a request rests on beside the permission of its caller."""

    def check(self, tx: Transaction) -> None:
        """Raise ApiFault where it may not be carried out."""


async def ordered(visit: Visit, request: Request, key: str | None, premise: Check | None = None) -> Answer:
    """Carry a request out in one transaction with its premise and the note of its answer; raises what they raise.

    Raises Conflict for a key of another request.
    """
    sealer = visit.controller.engine.sealer
    digest = digest_of(
        canonical_json(dict(decision_to(request) if isinstance(request, Decision) else order_to(request)))
    )
    row = (visit.bearer.key, key or "")

    def work(tx: Transaction) -> Answer:
        kept = access.kept_answer(tx, *row, time.time()) if key is not None else None
        if kept is not None and kept.request != digest:
            raise Conflict("this Idempotency-Key was used for another request", "use a new one for each request")
        if kept is not None:
            return loaded(Answer, sealer.unseal(kept.answer, *row).encode())
        if premise is not None:
            premise.check(tx)
        answer = carry_out(tx, request, lambda _: sealer, visit.origin)
        if key is not None:
            sealed = sealer.seal(dumped(answer).decode(), *row)
            access.keep_answer(tx, *row, KeptAnswer(digest, sealed), time.time())
        return answer

    answer = await visit.write(work)
    visit.controller.running.change()
    return answer
