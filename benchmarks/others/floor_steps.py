"""The floor under every remote step: ask another process over TLS to start `sh -c :`, and hear that it has ended."""

import asyncio
import json
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path

KEY = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x")


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Start a process for every line, and answer when it has ended."""
    while await reader.readline():
        process = await asyncio.create_subprocess_exec("sh", "-c", ":")
        await process.wait()
        writer.write(b"done\n")
    writer.close()


async def serve(pem: str) -> None:
    """Serve on a port that is printed."""
    asyncio.set_child_watcher(watcher := asyncio.PidfdChildWatcher())
    watcher.attach_loop(asyncio.get_running_loop())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def ask(port: int, count: int) -> list[float]:
    """Ask one by one; return the seconds of each."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    found = []
    for _ in range(count):
        begun = time.perf_counter()
        writer.write(b"go\n")
        await reader.readline()
        found.append(time.perf_counter() - begun)
    writer.close()
    return found


async def measure(port: int, steps: int, parallel: int, at_a_time: int) -> None:
    """Print the seconds one by one, and the rate of several at a time."""
    seconds = await ask(port, steps)
    begun = time.perf_counter()
    await asyncio.gather(*(ask(port, parallel // at_a_time) for _ in range(at_a_time)))
    print(json.dumps({"seconds": seconds, "rate": parallel / (time.perf_counter() - begun)}))


def main() -> None:
    """Start the server as a process of its own and measure it."""
    if sys.argv[1] == "serve":
        asyncio.run(serve(sys.argv[2]))
        return
    steps, parallel, at_a_time = map(int, sys.argv[1:])
    with tempfile.TemporaryDirectory() as folder:
        pem = Path(folder) / "key.pem"
        subprocess.run([*KEY, "-keyout", pem, "-out", f"{folder}/certificate.pem"], check=True, capture_output=True)
        pem.write_text(pem.read_text() + Path(folder, "certificate.pem").read_text())
        with subprocess.Popen([sys.executable, __file__, "serve", pem], stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None, "it was asked for"
            try:
                asyncio.run(measure(int(server.stdout.readline()), steps, parallel, at_a_time))
            finally:
                server.kill()


if __name__ == "__main__":
    main()
