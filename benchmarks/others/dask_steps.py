"""Dask distributed over TLS: tasks that start `sh -c :`, one by one and ten at a time; run by Dask's own Python."""

import json
import subprocess
import sys
import time

from distributed import Client, LocalCluster
from distributed.security import Security


def step(number: int) -> int:
    """Start a process that does nothing."""
    return number + subprocess.run(["sh", "-c", ":"], check=True).returncode


def measure(client: Client, steps: int, parallel: int) -> dict[str, object]:
    """Return the seconds of each task one by one, and the rate of many that are sent at once."""
    client.submit(step, -1, pure=False).result()
    seconds = []
    for number in range(steps):
        begun = time.perf_counter()
        client.submit(step, number, pure=False).result()
        seconds.append(time.perf_counter() - begun)
    begun = time.perf_counter()
    client.gather(client.map(step, range(parallel), pure=False))
    return {"seconds": seconds, "rate": parallel / (time.perf_counter() - begun)}


def main() -> None:
    """Start scheduler and worker, and measure."""
    steps, parallel, at_a_time = map(int, sys.argv[1:])
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=at_a_time, security=Security.temporary(), dashboard_address=None,
            host="127.0.0.1", protocol="tls",
        ) as cluster,
        Client(cluster) as client,
    ):  # fmt: skip
        print(json.dumps(measure(client, steps, parallel)))


if __name__ == "__main__":
    main()
