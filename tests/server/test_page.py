"""The page about the server shows a configuration that is one, and every metric that a running server has."""

import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from reconciler.server.configuration import read_configuration

DOCS = Path(__file__).parent.parent.parent / "docs"
PAGE = DOCS / "server.md"
RECONCILE = Path(sys.executable).parent / "reconcile"
PATIENCE = 30.0  # seconds for the server to come up
ROW = re.compile(r"^\| `(reconciler_\w+)` \| (\w+) \| [`\w, ]+ \| (.*) \|$", re.MULTILINE)


def test_the_configuration_that_is_shown_can_be_read(tmp_path: Path) -> None:
    shown = re.search(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert shown is not None
    (tmp_path / "server.toml").write_text(shown[1])
    found = read_configuration(tmp_path / "server.toml")
    assert found.secrets.sources["vault"][0] == "/usr/local/bin/vault-get"
    assert found.builtin_worker.enabled
    assert found.network.forbids("127.0.0.1") is None
    assert found.network.forbids("10.1.2.3") is not None


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """Run a server on an empty space; yields the address of its pages."""
    git = ("git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-C", str(tmp_path))
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "--message", "Begin"], check=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with subprocess.Popen([RECONCILE, "serve", "-C", tmp_path, "--http", address], stderr=subprocess.DEVNULL) as server:
        yield f"http://{address}"
        server.terminate()
        assert server.wait(PATIENCE) == 0


def page(url: str) -> str:
    """Fetch a page of a server that is about to come up."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with urlopen(url, timeout=PATIENCE) as answer:
                return str(answer.read().decode())
        except URLError:
            assert time.monotonic() < deadline, "the server does not come up"
            time.sleep(0.05)


@pytest.mark.end_to_end
def test_every_metric_has_its_type_and_its_meaning(served: str) -> None:
    assert '"status":"ok"' in page(f"{served}/healthz")
    text = page(f"{served}/metrics")
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, ""), checked.stderr
    types = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))
    meanings = dict(re.findall(r"^# HELP (\w+) (.*)$", text, re.MULTILINE))
    assert {name: (kind, meaning) for name, kind, meaning in ROW.findall((DOCS / "metrics.md").read_text())} == {
        name: (types[name], meanings[name]) for name in types
    }
