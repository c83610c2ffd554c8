"""Names are looked up without holding up anything else."""

import asyncio
import socket
import threading

import pytest

from reconciler.execute.lookups import AT_ONCE, addresses_of

PATIENCE = 10.0  # seconds; a test that waits longer has failed


async def test_an_address_is_its_own_answer_and_takes_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "Thread", None)
    assert {found[4] for found in await addresses_of("127.0.0.1", 80)} == {("127.0.0.1", 80)}
    assert {found[4][0] for found in await addresses_of("::1", 80)} == {"::1"}


async def test_a_name_is_looked_up() -> None:
    assert "127.0.0.1" in {found[4][0] for found in await addresses_of("localhost", 80)}


async def test_a_name_that_nobody_knows_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(socket.gaierror, match="Name or service not known"):
        await addresses_of("nobody.example.com", 80)


async def test_a_silent_name_server_holds_up_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    answers, under_way = threading.Event(), []
    asked = socket.getaddrinfo

    def silent(host: str, *arguments: object, **more: object) -> object:
        if more.get("flags") == socket.AI_NUMERICHOST:
            return asked(host, *arguments, **more)  # type: ignore[arg-type]  # as it was called
        under_way.append(host)
        answers.wait(PATIENCE)
        return asked("127.0.0.1", 80, type=socket.SOCK_STREAM)

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    waiting = [asyncio.create_task(addresses_of(f"host-{number}.example.com", 80)) for number in range(3 * AT_ONCE)]
    async with asyncio.timeout(PATIENCE):
        while len(under_way) < AT_ONCE:  # noqa: ASYNC110 - threads tell nobody
            await asyncio.sleep(0.01)
        assert await asyncio.to_thread(lambda: "done") == "done"
        assert len(under_way) == AT_ONCE
        answers.set()
        assert len(await asyncio.gather(*waiting)) == 3 * AT_ONCE
