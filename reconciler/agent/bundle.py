"""The agent as one file: its sources and the protocol's in an archive that any Python from 3.9 on runs.

`python -m reconciler.agent.bundle FILE` writes it; equal sources give equal bytes.
"""

from __future__ import annotations

import os
import stat
import sys
import zipfile
from collections.abc import Iterable

import reconciler

PACKAGES = ("agent", "protocol")
SHEBANG = b"#!/usr/bin/env python3\n"
EPOCH = (1980, 1, 1, 0, 0, 0)  # the first date that the format knows
EXECUTABLE = 0o755


def write(path: str) -> None:
    """Write the archive to `path`, executable; an older one is replaced."""
    root = os.path.dirname(os.path.abspath(reconciler.__file__))
    with open(path, "wb") as file:
        file.write(SHEBANG)
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in _names(root):
                with open(os.path.join(root, name), "rb") as source:
                    _add(archive, f"reconciler/{name}", source.read())
            with open(os.path.join(root, "agent", "__main__.py"), "rb") as source:
                _add(archive, "__main__.py", source.read())
    os.chmod(path, EXECUTABLE)


def _names(root: str) -> Iterable[str]:
    """Return the files of the agent, relative to the package, sorted."""
    found = ["__init__.py"]
    for package in PACKAGES:
        for folder, folders, files in os.walk(os.path.join(root, package)):
            folders[:] = [each for each in folders if each != "__pycache__"]
            found += [os.path.relpath(os.path.join(folder, name), root) for name in files]
    return sorted(found)


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.external_attr = (stat.S_IFREG | 0o644) << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(entry, data)


if __name__ == "__main__":
    write(sys.argv[1])
