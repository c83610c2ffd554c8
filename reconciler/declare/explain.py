"""What a model found wrong with a node, in plain words and at its exact place."""

from collections.abc import Iterable, Mapping
from typing import Any, get_args

from pydantic import StringConstraints
from pydantic_core import ErrorDetails

from reconciler.declare.core_schema import DIGITS_MAX, value_of
from reconciler.declare.nodes import MappingNode, Node, ScalarNode, SequenceNode, Source
from reconciler.declare.shapes import Path, bare, fields, follow, homes, model_of, owner, tagged
from reconciler.model.diagnostics import Diagnostic, Severity, Span
from reconciler.model.near import closest
from reconciler.model.spec import Spec
from reconciler.model.text import NAME_PATTERN, TAG_PATTERN, MeasuredText
from reconciler.model.variables import VARIABLE_PATTERN
from reconciler.model.work import Parameter, ScheduleSpec, StepName

SUGGESTIONS_MAX = 300  # of a file: each takes some 100 µs, and nobody reads more
SHOWN_MAX = 80  # characters of a person's text in a message


def _pattern(marks: Iterable[Any]) -> str:
    """Return the pattern that a field's annotation carries."""
    return next(str(mark.pattern) for mark in marks if isinstance(mark, StringConstraints) and mark.pattern)


_PATTERNS = {
    _pattern(get_args(StepName)): ("bad-name", "the name of a step is a line of text without a slash"),
    _pattern(Parameter.model_fields["name"].metadata): (
        "bad-name",
        "a parameter's name is letters, digits and underscores, no digit first",
    ),
    _pattern(ScheduleSpec.model_fields["concurrency_policy"].metadata): (
        "bad-value",
        '"forbid", "replace" or "queue(n)" is expected',
    ),
    NAME_PATTERN: ("bad-name", "a name is 1 to 63 lower-case letters, digits and hyphens, no hyphen first or last"),
    TAG_PATTERN: ("bad-tag", "a tag is written tagset/tag, both of lower-case letters, digits and hyphens"),
    VARIABLE_PATTERN: ("bad-name", "a variable's name is words of letters, digits and underscores, joined by dots"),
}
_EXPECTED = {
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "float_type": "a number",
    "int_from_float": "a whole number",
    "int_type": "a whole number",
    "model_attributes_type": "a mapping",
    "model_type": "a mapping",
    "string_type": "a text",
    "text_source": "a text",
    "tuple_type": "a list",
}


class Explainer:
    """Turns the errors of one file's models into diagnostics."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._near: dict[tuple[str, frozenset[str]], str | None] = {}

    def explain(self, error: ErrorDetails, model: type[Spec], root: Node, root_key: ScalarNode | None) -> Diagnostic:
        """Return the diagnostic of one of pydantic's errors; `root_key` is the key that `root` stands under."""
        path, node, annotation, rest = follow(model, root, error["loc"])
        key = owner(root, path)[0] if path else root_key
        context: dict[str, Any] = error.get("ctx", {})
        match error["type"]:
            case "missing":
                return self._missing(str(rest[0]), annotation, self.spot(node, key))
            case "extra_forbidden":
                parent = owner(root, path[:-1])[1]
                annotation = follow(model, root, error["loc"][:-1])[2]
                return self.unknown_key(parent, str(path[-1]), shape_of(annotation))
            case _ if rest[1:] == ("[key]",) and isinstance(node, MappingNode):
                found = node.key(str(rest[0]))
                return self._wrong_value(error, context, found or node, self.spot(found or node, key))
            case kind if kind in _EXPECTED:
                return self._wrong_type(kind, annotation, node, self.spot(node, key))
        return self._wrong_value(error, context, node, self.spot(node, key))

    def unknown_key(self, parent: Node, name: str, shape: Mapping[str, Any]) -> Diagnostic:
        """Return the diagnostic of a key that nothing in `parent`, which has a shape, is called by."""
        key = parent.key(name) if isinstance(parent, MappingNode) else None
        meant = self.meant(name, shape)
        suggestion = "" if meant is None else f'; did you mean "{meant}"?'
        message = f'the key "{name[:SHOWN_MAX]}" is not known here{suggestion}'
        inside = " or ".join(f'"{home}"' for home in homes(shape, name)) if meant is None else ""
        remedy = f'"{name}" is a key of {inside}' if inside else ""
        return self.error(self._source.node_span(key or parent), "unknown-key", message, remedy)

    def meant(self, given: str, known: Iterable[str]) -> str | None:
        """Return the one of `known` that a person may have meant, for the first mistakes of a file only."""
        mistake = (given, frozenset(known))
        if mistake not in self._near and len(self._near) < SUGGESTIONS_MAX and len(given) <= SHOWN_MAX:
            self._near[mistake] = closest(given, known)
        return self._near.get(mistake)

    def spot(self, node: Node, key: ScalarNode | None) -> Span:
        """Return the place to mark for a node: itself, or the key above where it runs over many lines."""
        block = not isinstance(node, ScalarNode) and not node.flow
        if key is not None and (block or node.end == node.start):
            return self._source.node_span(key)
        if block and isinstance(node, MappingNode) and node.entries:
            return self._source.node_span(next(iter(node.entries.values()))[0])
        return self._source.node_span(node)

    def error(self, span: Span, code: str, message: str, remedy: str = "") -> Diagnostic:
        """Return an error at a place."""
        return Diagnostic(span, Severity.ERROR, code, message, remedy)

    def _missing(self, name: str, annotation: Any, span: Span) -> Diagnostic:
        model = model_of(annotation)
        described = _description(model, name) if model else ""
        return self.error(span, "missing-key", f'the key "{name}" is missing', described)

    def _wrong_type(self, kind: str, annotation: Any, node: Node, span: Span) -> Diagnostic:
        found = bare(annotation)
        if isinstance(found, type) and issubclass(found, MeasuredText):
            quoted = isinstance(node, ScalarNode) and found.pattern.fullmatch(node.text) is not None
            remedy = f'put it in quotes: "{node.text}"' if quoted and isinstance(node, ScalarNode) else ""
            return self.error(span, found.error, f"{found.explanation}; found {_found(node)}", remedy)
        expected = _EXPECTED[kind]
        if len(tagged(annotation)) > 1 and expected == "a mapping":
            expected = "a text or a mapping"
        return self.error(span, "wrong-type", f"{expected} is expected, found {_found(node)}", _type_remedy(kind, node))

    def _wrong_value(self, error: ErrorDetails, context: dict[str, Any], node: Node, span: Span) -> Diagnostic:
        given = node.text if isinstance(node, ScalarNode) else ""
        code, message = _sentence(error, context)
        if error["type"] == "literal_error":
            choices = [part.strip("'") for part in context["expected"].replace(" or ", ", ").split(", ")]
            meant = self.meant(given, choices)
            message += "" if meant is None else f'; did you mean "{meant}"?'
        return self.error(span, code, message, _nothing_given(node))


def _sentence(error: ErrorDetails, context: dict[str, Any]) -> tuple[str, str]:
    """Return code and sentence; an error type of ours, written with hyphens, is the code itself."""
    match error["type"]:
        case "literal_error":
            return "bad-value", f"{context['expected']} is expected".replace("'", '"')
        case "string_pattern_mismatch":
            fallback = ("bad-value", f"a text that matches {context['pattern']} is expected")
            return _PATTERNS.get(context["pattern"], fallback)
        case "string_too_short":
            return "bad-value", f"at least {_count(context['min_length'], 'character')} expected"
        case "string_too_long":
            return "bad-value", f"at most {_count(context['max_length'], 'character')} expected"
        case "too_short":
            return "bad-value", f"at least {_count(context['min_length'], 'item')} expected"
        case "too_long":
            return "bad-value", f"at most {_count(context['max_length'], 'item')} expected"
        case "greater_than_equal":
            return "bad-value", f"a number of at least {context['ge']} is expected"
        case "less_than_equal":
            return "bad-value", f"a number of at most {context['le']} is expected"
        case kind if "-" in kind:
            return kind, error["msg"]
    return "bad-value", error["msg"][:1].lower() + error["msg"][1:]


def _type_remedy(kind: str, node: Node) -> str:
    if kind in {"text_source", "string_type"} and _found(node) == "nothing":
        return 'write "" for an empty text'
    if kind == "bool_type" and isinstance(node, ScalarNode) and node.text.lower() in {"yes", "no", "on", "off"}:
        return "yes, no, on and off are texts in YAML 1.2"
    return ""


def _count(number: int, unit: str) -> str:
    return f"{number} {unit} is" if number == 1 else f"{number} {unit}s are"


def _found(node: Node) -> str:
    match node:
        case MappingNode():
            return "a mapping"
        case SequenceNode():
            return "a list"
    value = value_of(node)
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return node.text.lower()
    if isinstance(value, int | float):
        return f"the number {node.text[:SHOWN_MAX]}"
    if node.plain and len(node.text) > DIGITS_MAX and node.text.lstrip("+-").isdigit():
        return f"a number of more than {DIGITS_MAX} digits"
    return "a text"


def _nothing_given(node: Node) -> str:
    """Say what to write where a mapping that was refused holds a key without a value."""
    entries = node.entries.items() if isinstance(node, MappingNode) else ()
    empty = (name for name, (_, value) in entries if isinstance(value, ScalarNode) and value_of(value) is None)
    return next((f'"{name}" is empty; write "" for an empty text' for name in empty), "")


def _description(model: type[Spec], name: str) -> str:
    described = (field.description for key, field in model.model_fields.items() if name in {field.alias, key})
    return next((f"{name}: {text}" for text in described if text), "")


def shape_of(annotation: Any) -> Mapping[str, Any]:
    """Return the annotations of the keys that the model of an annotation knows."""
    model = model_of(annotation)
    return fields(model) if model else {}


def at(source: Source, root: Node, path: Path, *, key: bool = False) -> Span:
    """Return the span of the value at `path`, or of its key; as deep as the path leads."""
    found, node = owner(root, path)
    return source.node_span(found if key and found is not None else node)
