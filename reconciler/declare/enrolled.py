"""A Worker document as an agent prints it: what is read, where a new one stands, what of a declared one changes."""

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from reconciler.declare.documents import parse_file
from reconciler.declare.editing import Assigned, NotEditable
from reconciler.declare.files import leads_out
from reconciler.declare.globs import SPACE_FILE, matcher
from reconciler.declare.source import Tree
from reconciler.model.desired import Declared
from reconciler.model.diagnostics import Severity
from reconciler.model.errors import UsageMistake
from reconciler.model.infrastructure import DEFAULT_PORTS
from reconciler.model.space import SpaceSpec
from reconciler.model.spec import Address

BYTES_MAX = 2**16
"""Bytes of a document; one that an agent prints has some 400."""

FOLDER = "workers"
"""Where a worker is declared that is the first one of its space."""

SECRETS = {"a private key": re.compile(rb"PRIVATE KEY-----"), "an enrolment token": re.compile(rb"\brct1\.")}
"""What an agent has beside its document, by how it looks."""

PRINTED = "give it the document that `reconcile agent enrol` or `reconcile agent trust` printed"


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A document that declares one Worker, as it was given."""

    content: bytes
    declared: Declared

    @property
    def address(self) -> Address:
        """The worker that it declares."""
        return self.declared.address


def read_document(name: str, content: bytes) -> Enrolled:
    """Return the Worker that a document declares; `name` is for the errors. Raises UsageMistake."""
    if len(content) > BYTES_MAX:
        raise UsageMistake(f"{name} holds more than {BYTES_MAX:,} bytes, and one Worker document is expected", PRINTED)
    for what, pattern in SECRETS.items():
        if pattern.search(content):
            raise UsageMistake(f"{name} holds {what}, which does not belong into Git; nothing was changed", PRINTED)
    if not content.strip():
        raise UsageMistake(f"{name} is empty, and a Worker document is expected", "did the command before it end well?")
    parsed = parse_file(name, content)
    for fault in parsed.diagnostics:
        if fault.severity is Severity.ERROR:
            where = f"{name}:{fault.span.line}:{fault.span.column}"
            raise UsageMistake(f"{where}: {fault.message}", fault.help or PRINTED)
    count = len({found.document for found in parsed.declared}) + parsed.foreign
    if count > 1:
        raise UsageMistake(f"{name} holds {count} documents, and one is declared at a time", "give them one by one")
    if not all(map(_is_of_agent, parsed.declared)) or not parsed.declared:
        raise UsageMistake(f"{name} is no Worker document of an agent that polls or listens", PRINTED)
    return Enrolled(content, parsed.declared[0])


def place_of_new(
    enrolled: Enrolled, tree: Tree, space: SpaceSpec, workers: Iterable[Declared], file: str | None
) -> str:
    """Return the file for a worker that is not declared: `file`, else its own one where most others are declared.

    Raises UsageMistake where the space does not read such a file, or something is there.
    """
    if file is None:
        folders = Counter(str(PurePosixPath(found.position.file).parent) for found in workers)
        folder = min(folders, key=lambda name: (-folders[name], name), default=FOLDER)
        file = str(PurePosixPath(folder, f"{enrolled.address.name}.yaml"))
    if leads_out(file) or str(PurePosixPath(file)) != file or not file.isprintable():
        raise UsageMistake(f"{file} is no path below the root of the space", "name it as in --file workers/db-1.yaml")
    if file == SPACE_FILE or not matcher(space.include, space.exclude).match(file):
        hint = f"name another one with --file; {SPACE_FILE} includes {', '.join(space.include)}"
        raise UsageMistake(f"{file} is not among the files that the space reads", hint)
    inside = any(path.startswith(f"{file}/") for path in tree.paths)
    for taken in (*(str(folder) for folder in PurePosixPath(file).parents), file):
        if taken in tree.paths or (taken == file and inside):
            raise UsageMistake(f"{taken} is there already, and it stays as it is", "name another file with --file")
    return file


def changed_identity(enrolled: Enrolled, former: Declared) -> tuple[Assigned, ...]:
    """Return what has to become of a declared worker so that the agent is taken for it; raises NotEditable."""
    address, place = former.address, str(former.position)
    before, after = (json.loads(each.spec)["endpoint"] for each in (former, enrolled.declared))
    kind, other = _kind(after), next(iter(before))
    assert kind is not None, "a document that was read has an endpoint of an agent"
    if kind != other:
        what = f"the endpoint of {address} is {other}, and the document's is {kind}"
        raise NotEditable(place, what, "write the endpoint by hand")
    found, wanted = before[kind], after[kind]
    assigned = [
        Assigned(("endpoint", kind, name), _text(kind, name, wanted), behind=("host",))
        for name in ("subscription", "host", "port")
        if _text(kind, name, wanted) != _text(kind, name, found)
    ]
    if set(found["thumbprints"]) == set(wanted["thumbprints"]):
        return tuple(assigned)
    count, others = len(found["thumbprints"]), len(wanted["thumbprints"])
    if count != others:
        what = f"{address} has {_thumbprints(count)} here, and the document {_thumbprints(others)}"
        raise NotEditable(place, what, "write them by hand")
    pairs = enumerate(zip(found["thumbprints"], wanted["thumbprints"], strict=True))
    assigned += [Assigned(("endpoint", kind, "thumbprints", number), new) for number, (old, new) in pairs if old != new]
    return tuple(assigned)


def left_alone(enrolled: Enrolled, former: Declared) -> list[str]:
    """Return the fields of which the document says something else than what is declared, the endpoint left out."""
    before, after = json.loads(former.spec), json.loads(enrolled.declared.spec)
    return [name for name, value in after.items() if name != "endpoint" and before.get(name) != value]


def _is_of_agent(found: Declared) -> bool:
    """Say whether an object is a Worker in a document of its own, with an agent."""
    is_worker = found.address.kind == "Worker" and found.item is None
    return is_worker and _kind(json.loads(found.spec)["endpoint"]) is not None


def _kind(endpoint: dict[str, Any]) -> str | None:
    return next((kind for kind in ("polling", "listening") if endpoint.get(kind) is not None), None)


def _text(kind: str, name: str, endpoint: dict[str, Any]) -> str:
    default = DEFAULT_PORTS[kind] if (kind, name) == ("listening", "port") else ""
    return str(endpoint.get(name, default))


def _thumbprints(count: int) -> str:
    return f"{count} thumbprint{'s' if count != 1 else ''}"
