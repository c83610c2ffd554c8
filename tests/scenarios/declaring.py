"""A desired state from YAML texts in memory, through the real parser and the real checks."""

from collections.abc import Mapping

from reconciler.declare.contents import Contents
from reconciler.declare.documents import Places, parse_file
from reconciler.declare.render import as_text
from reconciler.declare.resolve import resolve
from reconciler.declare.space import FileKind
from reconciler.model.desired import DesiredState
from reconciler.model.diagnostics import Severity
from reconciler.model.space import SpaceSpec
from reconciler.model.spec import canonical_json, digest_of


def declare(files: Mapping[str, str], *, complete: bool = True) -> DesiredState:
    """Return what the files declare, at a revision that is made of their content."""
    parsed = {name: parse_file(name, text.encode()) for name, text in sorted(files.items())}
    places = {name: Places(name, text.encode()) for name, text in files.items()}
    declared = [item for file in parsed.values() for item in file.declared]
    space = next((item for item in declared if item.address.kind == "Space"), None)
    settings = SpaceSpec.parse(space.spec) if space else SpaceSpec()
    problems = [problem for file in parsed.values() for problem in file.diagnostics]
    problems += resolve(
        Contents.of(declared),
        dict.fromkeys(files, FileKind.FILE),
        lambda item, path, piece: places[item.position.file].span(item, path, piece=piece),
        settings,
    )
    errors = [problem for problem in problems if problem.severity is Severity.ERROR]
    assert not errors, "\n".join(as_text(errors, files.get))
    return DesiredState(
        name=space.address.name if space else "default",
        space=settings,
        objects={item.address: item for item in declared},
        revision=digest_of(canonical_json(dict(files)))[:40],
        complete=complete,
    )
