"""Buildbot over TLS: steps that run `sh -c :`, one after another and in ten builds at a time; run by Buildbot's own Python."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from itertools import pairwise
from pathlib import Path

PATIENCE = 240.0  # seconds until all steps have ended
LOOK_AGAIN = 0.05  # seconds between two looks at what the master has noted
CERTIFICATE = (
    *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
    *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
)
MASTER = """\
import time
from buildbot.plugins import schedulers, steps, util, worker
from buildbot.schedulers.base import BaseScheduler
from twisted.internet import defer

class AtOnce(BaseScheduler):
    @defer.inlineCallbacks
    def activate(self):
        yield super().activate()
        stamp = dict(codebase="", project="", repository="", branch=None, revision=None)
        yield self.addBuildsetForSourceStamps(waited_for=False, sourcestamps=[stamp], reason="now")

class Noted(steps.ShellCommand):
    @defer.inlineCallbacks
    def run(self):
        begun = time.time()
        result = yield super().run()
        with open("{noted}", "a") as file:
            file.write(f"{{self.build.builder.name}} {{begun}} {{time.time()}}\\n")
        return result

def builder(name, count, *more):
    factory = util.BuildFactory([Noted(command=["sh", "-c", ":"], name=f"step {{n}}") for n in range(count)] + list(more))
    return util.BuilderConfig(name=name, workernames=["measured"], factory=factory)

many = [builder(f"many-{{n}}", {each}) for n in range({at_a_time})]
BuildmasterConfig = dict(
    protocols={{"pb": {{"port": "ssl:port={port}:interface=127.0.0.1:privateKey={pem}:certKey={pem}"}}}},
    workers=[worker.Worker("measured", "secret", max_builds={at_a_time})],
    builders=[builder("one", {steps}, steps.Trigger(schedulerNames=["then"])), *many],
    schedulers=[
        AtOnce(name="first", builderNames=["one"]),
        schedulers.Triggerable(name="then", builderNames=[each.name for each in many]),
    ],
    db={{"db_url": "sqlite:///state.sqlite"}}, buildbotNetUsageData=None,
)
"""


def free_port() -> int:
    """Return a port of the loopback that nobody listens at."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return listener.getsockname()[1]


def noted(file: Path, count: int, programs: "list[subprocess.Popen[bytes]]") -> list[tuple[str, float, float]]:
    """Wait until so many steps have ended; return of each its builder, its begin and its end."""
    deadline = time.monotonic() + PATIENCE
    while True:
        lines = file.read_text().splitlines() if file.exists() else []
        if len(lines) >= count:
            return [(name, float(begun), float(ended)) for name, begun, ended in map(str.split, lines)]
        if time.monotonic() > deadline or any(program.poll() is not None for program in programs):
            raise TimeoutError(f"{len(lines)} of {count} steps have ended")
        time.sleep(LOOK_AGAIN)


def main() -> None:
    """Start master and worker, and measure."""
    steps, parallel, at_a_time = map(int, sys.argv[1:])
    tools = Path(sys.executable).parent
    with tempfile.TemporaryDirectory() as folder:
        pem, port, file = Path(folder, "pem"), free_port(), Path(folder, "noted")
        subprocess.run([*CERTIFICATE, "-keyout", pem, "-out", f"{folder}/certificate"], check=True, capture_output=True)
        pem.write_text(pem.read_text() + Path(folder, "certificate").read_text())
        master, worker = f"{folder}/master", f"{folder}/worker"
        environment = {**os.environ, "SSL_CERT_FILE": f"{folder}/certificate", "PATH": f"{tools}:{os.environ['PATH']}"}
        quiet = {"capture_output": True, "env": environment}
        subprocess.run([tools / "buildbot", "create-master", master], check=True, **quiet)
        each = parallel // at_a_time
        words = {"noted": file, "each": each, "at_a_time": at_a_time, "port": port, "pem": pem, "steps": steps}
        Path(master, "master.cfg").write_text(MASTER.format(**words))
        program = tools / "buildbot-worker"
        options = ("create-worker", "--use-tls", worker, f"localhost:{port}", "measured", "secret")
        subprocess.run([program, *options], check=True, **quiet)
        starts = [[tools / "buildbot", "start", "--nodaemon", master], [program, "start", "--nodaemon", worker]]
        programs = []
        try:
            programs += [subprocess.Popen(start, stdout=subprocess.DEVNULL, env=environment) for start in starts]
            found = noted(file, steps + each * at_a_time, programs)
        finally:
            for running in programs:
                running.terminate()
            for running in programs:
                running.wait()
    one = [begun for name, begun, _ in found if name == "one"]
    many = [(begun, ended) for name, begun, ended in found if name != "one"]
    seconds = max(ended for _, ended in many) - min(begun for begun, _ in many)
    print(json.dumps({"seconds": [after - before for before, after in pairwise(one)], "rate": len(many) / seconds}))


if __name__ == "__main__":
    main()
