"""Keys and certificate requests, made by the program `openssl`, or by the package cryptography where that is missing."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from reconciler.agent.faults import AgentError

CONFIGURATION = (
    b"[req]\ndistinguished_name = name\nx509_extensions = more\n[name]\n[more]\nbasicConstraints = CA:FALSE\n"
)
CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
SELF_SIGNED_DAYS = 36500  # nobody renews what one signed oneself; the thumbprint is what counts
OPENSSL_PATIENCE = 30.0  # seconds; a new machine may have to gather chance
BLOCK = re.compile(r"-----BEGIN ([A-Z ]+)-----\n.*?\n-----END \1-----\n", re.DOTALL)
MISSING = "no key can be made: the program openssl is missing; install the package openssl"


def new_key(worker: str) -> tuple[str, str]:
    """Make a key (EC, P-256) and return it with a request for a certificate, both in PEM; raise `AgentError`."""
    text = _openssl(
        ("req", "-new", *CURVE, "-nodes", "-keyout", "-", "-subj", f"/CN={worker}", "-config", "{}"), CONFIGURATION
    )
    blocks = {found[1]: found[0] for found in BLOCK.finditer(text)}
    keys = [block for kind, block in blocks.items() if kind.endswith("PRIVATE KEY")]
    request = blocks.get("CERTIFICATE REQUEST")
    if not keys or request is None:
        raise AgentError("no key can be made: openssl printed none; look at `openssl version`")
    return keys[0], request


def self_signed(key: str, worker: str) -> str:
    """Return a certificate of `key` by itself, in PEM; raise `AgentError`."""
    arguments = ("req", "-x509", "-new", "-key", "{}", "-subj", f"/CN={worker}", "-config", "{}")
    return _openssl((*arguments, "-days", str(SELF_SIGNED_DAYS)), key.encode("ascii"), CONFIGURATION)


def _openssl(arguments: Sequence[str], *inputs: bytes) -> str:
    """Run openssl and return what it printed; each `{}` names one of the inputs, which never touch the disk."""
    import subprocess

    pipes = [_pipe_with(data) for data in inputs]
    names = iter(f"/dev/fd/{pipe}" for pipe in pipes)
    command = ["openssl", *(next(names) if argument == "{}" else argument for argument in arguments)]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            pass_fds=pipes,
            timeout=OPENSSL_PATIENCE,
        )
    except FileNotFoundError:
        raise AgentError(MISSING) from None
    except subprocess.TimeoutExpired:
        raise AgentError(f"no key can be made: openssl did not end within {OPENSSL_PATIENCE:.0f} s") from None
    finally:
        for pipe in pipes:
            os.close(pipe)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise AgentError(f"no key can be made: openssl failed: {last}")
    return done.stdout


def _pipe_with(data: bytes) -> int:
    """Return a pipe that holds `data`, which is far less than it takes (64 KiB)."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as file:
        file.write(data)
    return reading
