"""In an isolated space faulty objects are left out, with all that needs them, and the rest is planned."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from reconciler.model.desired import Declared
from reconciler.model.diagnostics import Diagnostic, Severity
from reconciler.model.order import IMPLICIT
from reconciler.model.spec import Address


def healthy(
    declared: Sequence[Declared], problems: Iterable[Diagnostic], faulty: Iterable[Declared] = ()
) -> dict[Address, Declared]:
    """Return the objects of `declared` that no error touches and that name none which is left out.

    An error touches the object that begins at or above its line, which may be one of the `faulty` ones; a document
    that could not be read at all touches the one above it, which is left as it is until the file is mended.
    """
    known = (*declared, *faulty)
    touched = {
        found.address
        for problem in problems
        if problem.severity is Severity.ERROR and (found := _touched(known, problem)) is not None
    }
    objects = {found.address: found for found in declared if found.address not in touched}
    while needy := [address for address, found in objects.items() if _misses(found, objects)]:
        for address in needy:
            del objects[address]
    return objects


def _touched(declared: Sequence[Declared], problem: Diagnostic) -> Declared | None:
    here = sorted(
        (found for found in declared if found.position.file == problem.span.file),
        key=lambda found: found.position.line,
    )
    index = bisect_right([found.position.line for found in here], problem.span.line)
    return here[index - 1] if index else None


def _misses(found: Declared, objects: dict[Address, Declared]) -> bool:
    return any(use.target not in objects and use.target not in IMPLICIT for use in found.references)
