"""A server stops within seconds, whatever it waits for."""

import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.workplace import RECONCILE, environment

pytestmark = pytest.mark.end_to_end

CONFIG = '[[source]]\nspace = "shop"\nurl = "http://127.0.0.1:{port}/shop.git"\nbranch = "main"\ntimeout = "60s"\n'
SECONDS = 10.0
"""Git itself gives up a transfer without a byte after thirty."""


def test_a_fetch_under_way_is_not_waited_for(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(SECONDS)
        config = tmp_path / "server.toml"
        config.write_text(CONFIG.format(port=silent.getsockname()[1]))
        command = [RECONCILE, "serve", "--config", str(config), "--data", str(tmp_path / "data")]
        with subprocess.Popen(command, env=environment(), cwd=tmp_path, stderr=subprocess.PIPE, text=True) as server:
            calling, _ = silent.accept()
            with calling:
                calling.recv(1)  # git asks, and hears nothing
                server.send_signal(signal.SIGTERM)
                began = time.monotonic()
                try:
                    code = server.wait(SECONDS)
                finally:
                    server.kill()
            assert server.stderr is not None
            said = server.stderr.read()
    assert time.monotonic() - began < SECONDS
    assert code == 0, said
    assert "Traceback" not in said
