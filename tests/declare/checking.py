"""What a space in memory is told, by the real parser and the real checks."""

from collections.abc import Collection, Mapping
from functools import lru_cache

from reconciler.declare.contents import Contents
from reconciler.declare.documents import ParsedFile, Places, parse_file
from reconciler.declare.resolve import resolve
from reconciler.declare.space import FileKind
from reconciler.model.diagnostics import Diagnostic
from reconciler.model.space import SpaceSpec


def check(files: Mapping[str, str], links: Collection[str] = ()) -> list[Diagnostic]:
    """Return all that is wrong with a space; only YAML files are read, the others are there, or are `links`."""
    parsed = {path: _parsed(path, text) for path, text in sorted(files.items()) if path.endswith(".yaml")}
    places: dict[str, Places] = {}

    def place(path: str) -> Places:
        return places.setdefault(path, Places(path, files[path].encode()))

    space = next((item for file in parsed.values() for item in file.declared if item.address.kind == "Space"), None)
    hidden = next(iter(parsed.values())).hidden
    for file in parsed.values():
        hidden |= file.hidden
    problems = resolve(
        Contents.of(item for file in parsed.values() for item in file.declared),
        {path: FileKind.LINK if path in links else FileKind.FILE for path in files},
        lambda item, path, piece: place(item.position.file).span(item, path, piece=piece),
        SpaceSpec.parse(space.spec) if space else SpaceSpec(),
        partial=[item for file in parsed.values() for item in file.partial],
        hidden=hidden,
    )
    problems += [problem for file in parsed.values() for problem in file.diagnostics]
    return sorted(problems, key=lambda problem: problem.sort_key)


@lru_cache(maxsize=4096)
def _parsed(path: str, text: str) -> ParsedFile:
    return parse_file(path, text.encode())
