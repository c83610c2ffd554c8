"""An exported audit: a line that says what was chosen and where the chain ended, then one line for each event.

Each line is canonical JSON with a `hash`: the SHA-256 of the same line without it.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass

from reconciler.model.errors import UsageMistake
from reconciler.model.spec import canonical_json, digest_of
from reconciler.store import audit
from reconciler.store.chain import Broken, Garbled, Head, Link, Whole, check, check_selection, line_of, read_line
from reconciler.store.database import Work


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found in an export, and whether it is of the whole audit."""

    found: Whole | Broken
    whole: bool


def export(read: Callable[[Work[list[Link]]], list[Link]], end: Head, selection: audit.Selection) -> Iterator[str]:
    """Yield the lines of the events up to `end`, with `read` running functions that each read a page."""
    yield _header(end, selection)
    after = 0
    while found := [link for link in read(_page(after, selection)) if link.event.id <= end.event]:
        for link in found:
            yield line_of(link.event, link.previous, link.hash)
        after = found[-1].event.id


def check_export(lines: Iterable[bytes]) -> Checked:
    """Check an export, the lines of a file; raises UsageMistake where it does not begin as one."""
    rest = iter(lines)
    header = _read_header(next(rest, b""))
    if header is None:
        raise UsageMistake(
            "the file does not begin as an exported audit does, or its first line was changed",
            "make one with: reconcile audit export",
        )
    end, whole = header
    links = _links(rest)
    return Checked(check(links, end) if whole else check_selection(links, end), whole)


def _page(after: int, selection: audit.Selection) -> Work[list[Link]]:
    return lambda tx: audit.page(tx, after, selection=selection)


def _header(end: Head, selection: audit.Selection) -> str:
    fields = {"format_version": "1.0", "head": asdict(end), "selection": asdict(selection), "type": "audit"}
    return canonical_json({**fields, "hash": digest_of(canonical_json(fields))})


def _read_header(line: bytes) -> tuple[Head, bool] | None:
    """Return where the chain ended, and whether everything was chosen."""
    try:
        fields = json.loads(line)
        end, selection = Head(**fields["head"]), audit.Selection(**fields["selection"])
    except (ValueError, TypeError, KeyError):
        return None
    if f"{_header(end, selection)}\n".encode() != line:
        return None
    return end, selection == audit.ALL


def _links(lines: Iterable[bytes]) -> Iterator[Link | Garbled]:
    for number, line in enumerate(lines, 2):
        found = read_line(line.removesuffix(b"\n"))
        is_whole = line.endswith(b"\n")
        yield found if found is not None and is_whole else Garbled(number, cut=not is_whole)
