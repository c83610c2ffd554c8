"""Salt, whose ZeroMQ transport encrypts by itself: `cmd.run` of `sh -c :`, one by one and ten at a time; run by Salt's own Python."""

import json
import multiprocessing
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

PATIENCE = 60  # seconds until the minion is there, and for each answer
LOOK_AGAIN = 0.5
MINION = "measured"


def free_port() -> int:
    """Return a port of the loopback that nobody listens at."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return listener.getsockname()[1]


def configure(folder: Path, at_a_time: int) -> None:
    """Write the configurations of a master that takes every minion, and of a minion of its."""
    publish, answer = free_port(), free_port()
    shared = {"publish_port": publish, "log_level": "error", "user": "root"}
    master = {"interface": "127.0.0.1", "ret_port": answer, "auto_accept": True, "worker_threads": at_a_time}
    minion = {"master": "127.0.0.1", "master_port": answer, "id": MINION, "process_count_max": at_a_time}
    for name, more in (("master", master), ("minion", minion)):
        (folder / name).mkdir()
        (folder / name / name).write_text(json.dumps({**shared, **more, "root_dir": str(folder / name)}))


def run_many(folder: str, count: int) -> list[float]:
    """Run the command so often, and return the seconds until each result was there."""
    from salt.client import LocalClient

    client = LocalClient(str(Path(folder, "master", "master")))
    found = []
    for _ in range(count):
        begun = time.perf_counter()
        answers = client.cmd(MINION, "cmd.run_all", ["sh -c :"], timeout=PATIENCE)
        found.append(time.perf_counter() - begun)
        assert answers[MINION]["retcode"] == 0
    return found


def wait(folder: str) -> None:
    """Wait until the minion answers."""
    from salt.client import LocalClient
    from salt.exceptions import SaltClientError

    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            if LocalClient(str(Path(folder, "master", "master"))).cmd(MINION, "test.ping", timeout=5):
                return
        except SaltClientError:  # the master does not listen yet
            pass
        time.sleep(LOOK_AGAIN)
    raise TimeoutError("the minion does not answer")


def main() -> None:
    """Start master and minion, and measure."""
    steps, parallel, at_a_time = map(int, sys.argv[1:])
    tools = Path(sys.executable).parent
    with tempfile.TemporaryDirectory() as folder:
        configure(Path(folder), at_a_time)
        programs = [
            subprocess.Popen(
                [tools / f"salt-{name}", "-c", f"{folder}/{name}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            for name in ("master", "minion")
        ]
        try:
            wait(folder)
            seconds = run_many(folder, steps)
            with multiprocessing.get_context("spawn").Pool(at_a_time) as pool:
                pool.starmap(run_many, [(folder, 1)] * at_a_time)  # each has its client by now
                begun = time.perf_counter()
                pool.starmap(run_many, [(folder, parallel // at_a_time)] * at_a_time)
                rate = parallel / (time.perf_counter() - begun)
        finally:
            for program in reversed(programs):
                program.terminate()
            for program in programs:
                program.wait()
    print(json.dumps({"seconds": seconds, "rate": rate}))


if __name__ == "__main__":
    main()
