"""Languages of scripts: how each comes by the helper functions, and the environment that it finds.

bash and sh read the functions by a command put before the script's first line on that same line, so that line numbers
in errors stay right and nothing rests on BASH_ENV or exported functions. Python finds the module `step` by
PYTHONPATH, PowerShell the module `Step` by PSModulePath.
"""

from __future__ import annotations

import os
import pkgutil
from collections.abc import Mapping

from reconciler.agent import durable
from reconciler.protocol.tickets import TicketSpec

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
READABLE = 0o755  # by every account: nothing of it is secret
SOURCED = b'. "$RECONCILE_HELPERS"; '
FILES: Mapping[str, tuple[str, ...]] = {
    "step.sh": ("step.sh",),
    "step.bash": ("step.sh", "encode.bash"),
    "step.py": ("step.py",),
    "Step/Step.psm1": ("Step.psm1",),
}


def install(directory: str) -> None:
    """Write the helper functions of every language below `directory`, for every account that finds the way there."""
    for name, parts in FILES.items():
        path = os.path.join(directory, name)
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        text = b"".join(pkgutil.get_data("reconciler.agent", f"functions/{part}") or b"" for part in parts)
        parent = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            durable.replace(parent, os.path.basename(path), text, READABLE)
            os.chmod(parent, READABLE)
        finally:
            os.close(parent)


def prepared(spec: TicketSpec, script: bytes) -> bytes:
    """Return what is written to the script's file."""
    return SOURCED + script if spec.language in ("bash", "sh") else script


def minimal_environment(inherited: Mapping[str, str], home: str) -> dict[str, str]:
    """Return what every script finds, taken from our own environment where it has it."""
    found = {
        "PATH": inherited.get("PATH", DEFAULT_PATH),
        "HOME": inherited.get("HOME", home),
        "LANG": inherited.get("LANG", "C.UTF-8"),
    }
    for name in ("USER", "LOGNAME", "TZ"):
        if name in inherited:
            found[name] = inherited[name]
    return found


def helper_variables(language: str, helpers: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables by which a script in `language` finds the helper functions under `helpers`."""
    if language in ("bash", "sh"):
        return {"RECONCILE_HELPERS": os.path.join(helpers, f"step.{language}")}
    if language == "python":
        return {"PYTHONPATH": _before(helpers, environment.get("PYTHONPATH", ""))}
    if language == "powershell":
        return {"PSModulePath": _before(helpers, environment.get("PSModulePath", ""))}
    return {}


def _before(path: str, others: str) -> str:
    return f"{path}{os.pathsep}{others}" if others else path
