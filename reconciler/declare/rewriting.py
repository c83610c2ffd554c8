"""Put a worker's endpoint into a file that people wrote: every other letter of it stays, comments and all."""

from collections.abc import Iterator

from reconciler.declare.nodes import MappingNode, Node, ScalarNode, SequenceNode, Source
from reconciler.declare.yaml import Composer, chunks


def with_worker(text: str, document: str) -> str:
    """Return the text of a file in which the Worker of `document` (YAML) is declared.

    Where a Worker or an entry of a WorkerSet has its name, the endpoint there is replaced; else the document is added
    at the end.
    """
    root = _root(document)
    name, endpoint = _text(_value(root, "metadata", "name")), _value(root, "spec", "endpoint")
    assert isinstance(endpoint, MappingNode), "a worker's document holds its endpoint"
    for former in _endpoints(text, name):
        return text[: former.start] + _in_place_of(text, former, document, endpoint) + text[_end(former) :]
    if not text.strip():
        return document
    return text.rstrip("\n") + "\n---\n" + document


def name_in(document: str) -> str:
    """Return the name of the worker that a document declares."""
    return _text(_value(_root(document), "metadata", "name"))


def _endpoints(text: str, name: str) -> Iterator[MappingNode]:
    """Yield where the endpoint of a worker stands."""
    composer = Composer(Source("", text))
    for chunk in chunks(text):
        root = composer.compose(chunk).root
        kind = _text(_value(root, "kind"))
        if kind == "Worker" and _text(_value(root, "metadata", "name")) == name:
            candidates: tuple[Node | None, ...] = (_value(root, "spec"),)
        elif kind == "WorkerSet":
            workers = _value(root, "spec", "workers")
            entries = workers.items if isinstance(workers, SequenceNode) else ()
            candidates = tuple(entry for entry in entries if _text(_value(entry, "name")) == name)
        else:
            continue
        for candidate in candidates:
            endpoint = _value(candidate, "endpoint")
            if isinstance(endpoint, MappingNode):
                yield endpoint


def _in_place_of(text: str, former: MappingNode, document: str, endpoint: MappingNode) -> str:
    """Write the new endpoint as the former one was: on one line in braces, or as a block with its indentation."""
    lines = document[endpoint.start : _end(endpoint)].splitlines()
    ours = endpoint.start - document.rindex("\n", 0, endpoint.start) - 1
    if former.flow:
        return _flow(document, endpoint)
    theirs = former.start - (text.rfind("\n", 0, former.start) + 1)
    return "\n".join([lines[0], *(" " * theirs + line[ours:] for line in lines[1:])])


def _flow(document: str, node: Node) -> str:
    if isinstance(node, MappingNode):
        return "{" + ", ".join(f"{key}: {_flow(document, value)}" for key, (_, value) in node.entries.items()) + "}"
    if isinstance(node, SequenceNode):
        return "[" + ", ".join(_flow(document, item) for item in node.items) + "]"
    return f'"{node.text}"' if "//" in node.text or not node.plain else document[node.start : node.end]


def _end(node: Node) -> int:
    """Return where the last letter of a node stands; a block's own mark lies behind the comments that follow it."""
    if isinstance(node, ScalarNode) or node.flow:
        return node.end
    inside = [value for _, value in node.entries.values()] if isinstance(node, MappingNode) else list(node.items)
    return max(map(_end, inside), default=node.end)


def _root(document: str) -> Node | None:
    return Composer(Source("", document)).compose(chunks(document)[0]).root


def _value(node: Node | None, *names: str) -> Node | None:
    for name in names:
        node = node.get(name) if isinstance(node, MappingNode) else None
    return node


def _text(node: Node | None) -> str:
    return node.text if isinstance(node, ScalarNode) else ""
