"""Check the files that documents name: they are there, below the root, and no links."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from reconciler.declare.partial import is_stand_in
from reconciler.declare.space import FieldPath, FileKind, Space
from reconciler.model.desired import Declared
from reconciler.model.diagnostics import Diagnostic

_SOURCES = ("Account", "Certificate", "Project", "VariableSet", "Tenant")
"""Kinds that name the sources of secrets."""

_PUBLIC = (("pem",), ("script",))
"""What a file that is no secret stands under."""

_WHERE = "name it relative to the space's root, or for a server by its absolute path; without `..`, and without `~`"


def file_problems(space: Space) -> Iterator[Diagnostic]:
    """Yield the problems of certificates and of secrets that are files; scripts are their steps' matter."""
    for declared in space.of_kind("Certificate"):
        pem = json.loads(declared.spec).get("pem", {}).get("file")
        if isinstance(pem, str):
            yield from public_file(space, declared, ("spec", "pem", "file"), pem)
    for kind in _SOURCES:
        for declared in space.of_kind(kind):
            if '"file":' in declared.spec:
                yield from _secrets(space, declared)


def public_file(space: Space, declared: Declared, path: FieldPath, file: str) -> Iterator[Diagnostic]:
    """Say what is wrong with a file of the space that a field names."""
    if is_stand_in(file):
        return
    if leads_out(file):
        message = f'"{file}" leads out of the space; name a file below its root'
        yield space.error(declared, path, "bad-path", message)
        return
    match space.paths.get(file):
        case FileKind.FILE:
            return
        case None:
            message = f'there is no file "{file}"{space.suggestion(file, space.paths)}'
            yield space.error(declared, path, "missing-file", message, "the path is relative to the space's root")
        case kind:
            yield space.error(declared, path, "link", f'"{file}" is a {kind}, which is never followed')


def files_of_objects(declared: Iterable[Declared]) -> Iterator[str]:
    """Yield the files that belong to what is declared: scripts and certificates; those of secrets are their machine's."""
    for found in declared:
        if '"file":' in found.spec:
            yield from (file for path, file in _files(json.loads(found.spec), ()) if path[-2:-1] in _PUBLIC)


def leads_out(file: str) -> bool:
    """Say whether a path does not stay below the folder that it is relative to."""
    return file.startswith(("/", "~")) or "\0" in file or ".." in file.split("/")


def _secrets(space: Space, declared: Declared) -> Iterator[Diagnostic]:
    """Check where the files of secrets are; they are not opened. A server takes absolute paths, too."""
    for path, file in _files(json.loads(declared.spec), ("spec",)):
        if path[-2:-1] not in _PUBLIC and leads_out(file.removeprefix("/")):
            message = f'the secret\'s file "{file}" leads out of the space'
            yield space.error(declared, path, "bad-path", message, _WHERE)


def _files(value: Any, path: FieldPath) -> Iterator[tuple[FieldPath, str]]:
    match value:
        case dict():
            if isinstance(value.get("file"), str):
                yield (*path, "file"), value["file"]
            for name, inside in value.items():
                yield from _files(inside, (*path, name))
        case list():
            for index, inside in enumerate(value):
                yield from _files(inside, (*path, index))
