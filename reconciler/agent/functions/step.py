"""Speak to the worker from a script: outputs, artifacts, progress."""

from __future__ import annotations

import os
import sys
from typing import NoReturn
from urllib.parse import quote


def set_output(name: str, value: object, sensitive: bool = False) -> None:
    """Set the output variable `name`; a sensitive value is masked from now on and never stored."""
    _say("set_output", name=name, value=str(value), sensitive="true" if sensitive else "false")


def add_artifact(path: str | os.PathLike[str], name: str = "") -> None:
    """Keep the file at `path`, relative to the working directory, when the script has ended."""
    _say("add_artifact", path=os.fspath(path), name=name)


def progress(percent: float, message: str = "") -> None:
    """Tell how far the script is."""
    _say("progress", percent=f"{percent:g}", message=message)


def log_level(level: str) -> None:
    """Show the following lines as debug, info, warning, error or highlight."""
    _say("log_level", level=level)


def mask(value: object) -> None:
    """Hide `value` in everything printed from now on."""
    _say("mask", value=str(value))


def fail(message: str) -> NoReturn:
    """End the script as failed, and say why."""
    _say("fail", message=message)
    raise SystemExit(1)


def _say(verb: str, **values: str) -> None:
    pairs = "".join(f" {key}={quote(value, safe='', errors='surrogateescape')}" for key, value in values.items())
    sys.stdout.write(f"##reconcile[{os.environ['RECONCILE_NONCE']} {verb}{pairs}]\n")
    sys.stdout.flush()
