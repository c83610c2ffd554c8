"""The auditor tells once of each thing that does not agree."""

import asyncio
from pathlib import Path

from reconciler.execute.auditing import audit_claims
from reconciler.schedule.requests import Claim
from reconciler.store import audit, claims
from reconciler.store.writer import Store


async def test_what_does_not_agree_is_an_event(tmp_path: Path) -> None:
    with Store.open(str(tmp_path), tmp_path) as store:
        await store.write(lambda tx: claims.claim(tx, "t1", [Claim("pool/omaha")], {}))
        auditor = asyncio.create_task(audit_claims(store, every=0.01))

        async def until(count: int) -> list[str]:
            while True:
                events = await store.read(audit.events)
                if len(events) >= count:
                    return [f"{event.actor} {event.action} {event.outcome}: {event.detail}" for event in events]
                await asyncio.sleep(0)

        assert await until(1) == ["engine audit failed: t1 holds pool/omaha and has ended"]
        await store.write(lambda tx: tx.execute("UPDATE resources SET used = 3"))
        assert (await until(2))[-1] == (
            "engine audit failed: pool/omaha counts 3 claims, alone nobody; there are 1, alone nobody"
        )
        assert len(await store.read(audit.events)) == 2
        auditor.cancel()
