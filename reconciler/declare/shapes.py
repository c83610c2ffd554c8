"""The shape that a model gives to data: which annotation holds at a path, and where a kind of part may stand."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import Tag

from reconciler.declare.nodes import MappingNode, Node, ScalarNode, SequenceNode
from reconciler.model.spec import Spec

Path = tuple[str | int, ...]


def bare(annotation: Any) -> Any:
    """Strip Annotated and `| None` from an annotation; a union of several stays one."""
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation = get_args(annotation)[0]
        elif origin is Union or origin is UnionType:
            others = [member for member in get_args(annotation) if member is not NoneType]
            if len(others) != 1:
                return annotation
            annotation = others[0]
        else:
            return annotation


def model_of(annotation: Any) -> type[Spec] | None:
    """Return the model that an annotation asks for, or None."""
    found = bare(annotation)
    return found if isinstance(found, type) and issubclass(found, Spec) else None


@lru_cache(maxsize=1024)  # a few hundred models at most: ours and those of step types
def fields(model: type[Spec]) -> dict[str, Any]:
    """Return the annotations of a model's fields by the names that YAML uses."""
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def homes(shape: Mapping[str, Any], name: str) -> list[str]:
    """Return the keys of a shape whose values know the key `name`: who wrote it beside them may mean it there."""
    return [
        key
        for key, annotation in shape.items()
        for member in (annotation, *tagged(annotation).values())
        if (model := model_of(member)) and name in fields(model)
    ]


def tagged(annotation: Any) -> dict[str, Any]:
    """Return the members of a tagged union by their tags, which pydantic puts into locations."""
    found = bare(annotation)
    if get_origin(found) not in {Union, UnionType}:
        return {}
    return {
        mark.tag: member
        for member in get_args(found)
        for mark in getattr(member, "__metadata__", ())
        if isinstance(mark, Tag)
    }


def inner(annotation: Any, element: str | int) -> Any:
    """Return the annotation of a field, item or key, None where the shape knows nothing of it."""
    found = bare(annotation)
    if model := model_of(found):
        return fields(model).get(str(element))
    arguments = get_args(found)
    if get_origin(found) is tuple and arguments:
        return arguments[0]
    if get_origin(found) is dict and len(arguments) == 2:
        return arguments[1]
    return None


def follow(annotation: Any, node: Node, location: Path) -> tuple[Path, Node, Any, Path]:
    """Walk an error's location as far as the document goes.

    Returns the path walked, the node and the annotation there, and the rest of the location: a missing key, or
    `[key]` where pydantic means the key itself. Tags of unions are left out.
    """
    path: list[str | int] = []
    for index, element in enumerate(location):
        unions = tagged(annotation)
        if element in unions:
            annotation = unions[str(element)]
            continue
        child = child_of(node, element)
        if child is None or location[index + 1 : index + 2] == ("[key]",):
            return tuple(path), node, annotation, location[index:]
        path.append(element)
        node, annotation = child, inner(annotation, element)
    return tuple(path), node, annotation, ()


def child_of(node: Node, element: str | int) -> Node | None:
    """Return the value under a key or at an index, or None."""
    if isinstance(node, MappingNode):
        return node.get(str(element))
    if isinstance(node, SequenceNode) and isinstance(element, int) and element < len(node.items):
        return node.items[element]
    return None


@lru_cache(maxsize=1024)  # as above
def reaches(model: type[Spec], wanted: tuple[type[Spec], ...]) -> bool:
    """Say whether a `wanted` part may stand anywhere inside a model."""
    return any(_mentions(annotation, wanted, frozenset({model})) for annotation in fields(model).values())


def _mentions(annotation: Any, wanted: tuple[type[Spec], ...], seen: frozenset[type[Spec]]) -> bool:
    found = bare(annotation)
    if isinstance(found, type) and issubclass(found, Spec):
        if issubclass(found, wanted):
            return True
        return found not in seen and any(_mentions(part, wanted, seen | {found}) for part in fields(found).values())
    return any(_mentions(argument, wanted, seen) for argument in get_args(found))


def parts(
    annotation: Any, node: Node, wanted: tuple[type[Spec], ...], path: Path = ()
) -> Iterator[tuple[Path, Node, type[Spec]]]:
    """Yield path, node and model of each place where the shape asks for one of `wanted`."""
    members = tagged(annotation)
    if not members:
        model = model_of(annotation)
        if model and issubclass(model, wanted):
            yield path, node, model
        for element, part, child in _children(bare(annotation), model, node, wanted):
            yield from parts(part, child, wanted, (*path, element))
    elif isinstance(node, MappingNode):
        for member in members.values():
            yield from parts(member, node, wanted, path)


def _children(
    annotation: Any, model: type[Spec] | None, node: Node, wanted: tuple[type[Spec], ...]
) -> Iterator[tuple[str | int, Any, Node]]:
    """Yield the name or index, annotation and node of each part of a node that may lead to a `wanted` one."""
    arguments = get_args(annotation)
    if isinstance(node, SequenceNode) and get_origin(annotation) is tuple:
        yield from ((index, arguments[0], item) for index, item in enumerate(node.items))
    elif isinstance(node, MappingNode) and model and reaches(model, wanted):
        known = fields(model)
        yield from ((name, known[name], value) for name, (_, value) in node.entries.items() if name in known)
    elif isinstance(node, MappingNode) and get_origin(annotation) is dict:
        yield from ((name, arguments[1], value) for name, (_, value) in node.entries.items())


def owner(root: Node, path: Path) -> tuple[ScalarNode | None, Node]:
    """Return the key under which the value at `path` stands, if any, and the value, as deep as the path leads."""
    key: ScalarNode | None = None
    node = root
    for element in path:
        child = child_of(node, element)
        if child is None:
            break
        key = node.key(str(element)) if isinstance(node, MappingNode) else None
        node = child
    return key, node


def walk(root: Node, path: Path) -> Node:
    """Return the node at `path`, or the last one on the way."""
    return owner(root, path)[1]
