"""Play the commands of a page in a real shell and put in what they print; run it as a program to write the pages."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = (
    ROOT / "README.md",
    ROOT / "docs" / "audit.md",
    ROOT / "docs" / "getting-started.md",
    ROOT / "docs" / "how-a-worker-is-chosen.md",
    ROOT / "docs" / "rehearsal.md",
    ROOT / "docs" / "validation.md",
    ROOT / "docs" / "agents" / "install.md",
)
PART = re.compile(r"(`(?P<file>[\w./-]+)`:\n\n)?```(?P<language>yaml|toml|console)\n(?P<body>.*?)```", re.DOTALL)
VOLATILE = (
    (re.compile(r"\b\d+(\.\d+)? ?(ms|s|min)\b"), "TIME"),
    (re.compile(r"SHA256:[\w+/]{43}"), "THUMBPRINT"),
    (re.compile(r"poll://\w+"), "SUBSCRIPTION"),
    (re.compile(r"the token [0-9a-f]{8}"), "the token ID"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "HASH"),
    (re.compile(r" +"), " "),
)
"""What differs from run to run: times, keys, and the width of the columns that hold them."""

PORTS = ("10943", "10933", "8080")
"""Ports that a page names, and that somebody else may use meanwhile: each play has its own."""

ELSEWHERE = "/tmp/reconcile"
"""How pages name what lies outside of the space; each play has its own."""

COMMITTED_AT = "2026-11-21T12:00:00Z"
"""Makes commits the same every time."""

COMMANDS_MAX = 60.0  # seconds for a whole page; a machine that is slower than that is broken


def play(page: str, folder: Path) -> str:
    """Return `page` with the real output under each `$ command`; files that the page shows are written first.

    The commands of a page run in one shell, one after the other, in `folder`.
    """
    own = {ELSEWHERE: f"{folder}/elsewhere"} | dict(zip(PORTS, map(str, _free_ports(len(PORTS))), strict=True))
    played = _played(_exchanged(page, own), folder)
    return _exchanged(played, {value: name for name, value in own.items()})


def _exchanged(text: str, words: Mapping[str, str]) -> str:
    return re.sub("|".join(map(re.escape, words)), lambda found: words[found[0]], text)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        held = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in held]


def _played(page: str, folder: Path) -> str:
    script = ["set -u", "exit=0"]
    parts = list(PART.finditer(page))
    for number, part in enumerate(parts):
        if part["language"] == "console":
            for index, command in enumerate(commands(part["body"])):
                out = folder / f".out-{number}-{index}"
                script.append(f"(exit $exit); {{ {command}\n}} >{out} 2>&1 </dev/null; exit=$?")
        elif part["file"]:
            script.append(f"cat >{part['file']} <<'END-OF-FILE'\n{part['body']}END-OF-FILE")
    _run("\n".join(script), folder)
    numbered = iter(range(len(parts)))

    def with_output(part: re.Match[str]) -> str:
        number = next(numbered)
        if part["language"] != "console":
            return part[0]
        shown = [
            f"$ {command}\n{(folder / f'.out-{number}-{index}').read_text()}"
            for index, command in enumerate(commands(part["body"]))
        ]
        return f"```console\n{''.join(shown)}```"

    return PART.sub(with_output, page)


def commands(body: str) -> list[str]:
    """Return the commands of a console block."""
    return re.findall(r"^\$ (.*)$", body, re.MULTILINE)


def _run(script: str, folder: Path) -> None:
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("GIT_", "RECONCILE_", "BOOKSHOP_"))
    }
    environment |= {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "NO_COLOR": "1",
        "COLUMNS": "110",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "Ada",
        "GIT_AUTHOR_EMAIL": "ada@example.org",
        "GIT_COMMITTER_NAME": "Ada",
        "GIT_COMMITTER_EMAIL": "ada@example.org",
        "GIT_AUTHOR_DATE": COMMITTED_AT,
        "GIT_COMMITTER_DATE": COMMITTED_AT,
    }
    with subprocess.Popen(["bash", "-c", script], cwd=folder, env=environment, start_new_session=True) as shell:
        try:
            assert shell.wait(COMMANDS_MAX) == 0
        finally:
            with suppress(ProcessLookupError):  # whatever a page left running
                os.killpg(shell.pid, signal.SIGKILL)


def settled(text: str) -> str:
    """Return `text` with a word in place of each thing that differs from run to run."""
    for pattern, word in VOLATILE:
        text = pattern.sub(word, text)
    return text


def main() -> None:
    """Write the pages whose transcripts differ."""
    for page in PAGES:
        with tempfile.TemporaryDirectory() as folder:
            played = play(page.read_text(), Path(folder))
        assert "Traceback" not in played, f"a command of {page.name} breaks; the page was not written"
        if settled(played) != settled(page.read_text()):
            page.write_text(played)
            sys.stdout.write(f"{page.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
