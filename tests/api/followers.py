"""Follow the log of task 1 many times at once: `followers ADDRESS COUNT GATE`, the token on standard input.

Opens the gate once all have heard the first event; prints how many different texts they heard, and the first.
"""

import asyncio
import json
import sys
from pathlib import Path

PATH = "/api/v1/spaces/shop/tasks/1/log/stream"


async def follow(address: str, token: str, begun: asyncio.Semaphore) -> str:
    """Return what one follower has heard."""
    host, port = address.rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 22)
    request = f"GET {PATH} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n"
    writer.write(request.encode())
    assert b" 200 " in await reader.readline()
    while (await reader.readline()).strip():
        pass
    text, name = "", ""
    async for line in reader:
        if line.startswith(b"event: "):
            name = line[7:].decode().strip()
            if name == "entered":
                begun.release()
        elif line.startswith(b"data: ") and name == "printed":
            text += "".join(piece["text"] for piece in json.loads(line[6:])["pieces"])
        elif name == "end":
            break
    writer.close()
    return text


async def main(address: str, count: int, gate: Path, token: str) -> None:
    """Follow, open the gate, and print what was heard."""
    begun = asyncio.Semaphore(0)
    followers = [asyncio.create_task(follow(address, token, begun)) for _ in range(count)]
    for _ in range(count):
        await begun.acquire()
    await asyncio.to_thread(gate.touch)
    texts = await asyncio.gather(*followers)
    json.dump({"followers": len(texts), "different": len(set(texts)), "text": texts[0]}, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), sys.stdin.read().strip()))
