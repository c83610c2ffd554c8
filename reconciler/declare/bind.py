"""Nodes to typed specs: every fault of a document at once, each at its place."""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from reconciler.declare.core_schema import plain, value_of
from reconciler.declare.cron import cron_fault, timezone_fault
from reconciler.declare.explain import Explainer, shape_of
from reconciler.declare.nodes import MappingNode, Node, ScalarNode, Source
from reconciler.declare.outline import Faults, outline
from reconciler.declare.partial import is_stand_in
from reconciler.declare.shapes import Path, bare, fields, follow, parts, reaches
from reconciler.declare.uses import uses
from reconciler.model.diagnostics import Diagnostic
from reconciler.model.infrastructure import Every
from reconciler.model.spec import Reference, Spec
from reconciler.model.work import Acting

ROUNDS_MAX = 4  # of validation: texts put in once may reveal a second shape, not a fourth
CHECKED = (Acting, Every)


class Actions(NamedTuple):
    """The step types: the inputs of each by its action key, and the keys that name what is still to come."""

    inputs: Mapping[str, type[Spec]]
    future: frozenset[str] = frozenset()


class Bound(NamedTuple):
    """A node as its model: `spec` is None where there are problems; then `outline` is what is certain, but for `gaps`.

    `data` is what the model was given.
    """

    spec: Spec | None
    data: Any
    references: tuple[Reference, ...]
    problems: tuple[Diagnostic, ...] = ()
    gaps: frozenset[Path] = frozenset()
    outline: Spec | None = None


class Binder:
    """Binds the documents of one file."""

    def __init__(self, source: Source, actions: Callable[[], Actions]) -> None:
        self.explainer = Explainer(source)
        self._file = source.file
        self._find_actions = actions

    @cached_property
    def _actions(self) -> Actions:
        return self._find_actions()

    def bind(self, model: type[Spec], node: Node, key: ScalarNode | None) -> Bound:
        """Return `node` as a `model`; `key` is what the node stands under, for faults of the whole."""
        inside = self._inside(model, node)
        spec, data, errors = _validated(model, node, inside.data)
        if spec is not None and not inside.problems:
            return Bound(spec, data, (*uses(spec), *inside.references))
        faults = self._faults(model, node, errors, inside.gaps)
        drawn = outline(model, data, faults, f"{self._file} {node.start}")
        told = [error for error in _told_once(errors) if not _is_meant(error, model, node, faults)]
        problems = [self.explainer.explain(error, model, node, key) for error in (*told, *drawn.broken)]
        found = [use for use in uses(drawn.spec) if not (is_stand_in(use.target.name) or use.path in faults.wrong)]
        return Bound(
            None,
            data,
            (*found, *inside.references),
            (*inside.problems, *problems),
            drawn.gaps,
            drawn.spec,
        )

    def _inside(self, model: type[Spec], node: Node) -> Bound:
        """Check the parts of a node that its model alone does not understand, and put what they come to in its data."""
        data = plain(node)
        problems: list[Diagnostic] = []
        found: list[Reference] = []
        gaps: set[Path] = set()
        places = parts(model, node, CHECKED) if reaches(model, CHECKED) else ()
        for path, part, kind in places:
            if issubclass(kind, Acting) and isinstance(part, MappingNode):
                action = self._action(part, kind)
                problems += action.problems
                found += [Reference((*path, *use.path), use.target) for use in action.references]
                gaps |= {(*path, *gap) for gap in action.gaps}
                data = _replaced(data, path, action.data)
            elif isinstance(part, MappingNode):
                problems += self._schedule(part)
        return Bound(None, data, tuple(found), tuple(problems), frozenset(gaps))

    def _action(self, step: MappingNode, model: type[Spec]) -> Bound:
        """Check that a step has one action, and bind its inputs; `data` is the whole step's, without strange keys."""
        known = fields(model)
        given = [name for name in step.entries if name not in known]
        actions = [name for name in given if name in self._actions.inputs]
        data = {name: value for name, value in plain(step).items() if name in known or name in actions}
        problems = [self._not_an_action(step, name, known) for name in given if name not in actions]
        gaps: set[Path] = {(meant,) for name in given if name not in actions if (meant := self._meant(name, known))}
        if len(actions) > 1:
            problems.append(self._two_actions(step, actions))
        elif not given:
            problems.append(self._no_action(step, model))
        found: list[Reference] = []
        for name in actions:
            key, value = step.entries[name]
            inputs = self.bind(self._actions.inputs[name], value, key)
            problems += inputs.problems
            gaps |= {(name, *gap) for gap in inputs.gaps}
            data[name] = _dumped(inputs)
            found += [Reference((name, *use.path), use.target) for use in inputs.references]
        return Bound(None, data, tuple(found), tuple(problems), frozenset(gaps))

    def _meant(self, name: str, known: Mapping[str, Any]) -> str | None:
        return None if name in self._actions.future else self.explainer.meant(name, [*known, *self._actions.inputs])

    def _faults(self, model: type[Spec], node: Node, errors: list[ErrorDetails], inside: frozenset[Path]) -> Faults:
        """Return where the errors of validation stand in the document; `inside` are the gaps of its parts."""
        wrong: set[Path] = set()
        unknown: set[Path] = set()
        meant: set[Path] = set(inside)
        for error in errors:
            path, _, _, rest = follow(model, node, error["loc"])
            if error["type"] == "extra_forbidden":
                unknown.add(path)
                parent, annotation = follow(model, node, error["loc"][:-1])[1:3]
                name = self.explainer.meant(str(path[-1]), shape_of(annotation))
                if name is not None and isinstance(parent, MappingNode) and name not in parent.entries:
                    meant.add((*path[:-1], name))
            else:
                wrong.add((*path, *rest[:1]))
        return Faults(frozenset(wrong), frozenset(unknown), frozenset(meant))

    def _not_an_action(self, step: MappingNode, name: str, known: Mapping[str, Any]) -> Diagnostic:
        if name in self._actions.future:
            span = self.explainer.spot(step.entries[name][0], None)
            return self.explainer.error(span, "not-yet-available", f'the action "{name}" is not available yet')
        return self.explainer.unknown_key(step, name, {**known, **self._actions.inputs})

    def _two_actions(self, step: MappingNode, actions: list[str]) -> Diagnostic:
        span = self.explainer.spot(step.entries[actions[1]][0], None)
        shown = " and ".join(f'"{name}"' for name in actions)
        return self.explainer.error(span, "two-actions", f"a step has exactly one action, this one has {shown}")

    def _no_action(self, step: MappingNode, model: type[Spec]) -> Diagnostic:
        name = step.get("name") if "name" in fields(model) else None
        span = self.explainer.spot(name or step, None)
        known = ", ".join(sorted(self._actions.inputs))
        return self.explainer.error(span, "missing-action", "a step has exactly one action", f"one of {known}")

    def _schedule(self, node: MappingNode) -> list[Diagnostic]:
        problems = []
        for name, code, check in (("cron", "bad-cron", cron_fault), ("timezone", "bad-timezone", timezone_fault)):
            value = node.get(name)
            if isinstance(value, ScalarNode) and value_of(value) is not None and (fault := check(value.text)):
                problems.append(self.explainer.error(self.explainer.spot(value, None), code, fault))
        return problems


def _validated(model: type[Spec], node: Node, data: Any) -> tuple[Spec | None, Any, list[ErrorDetails]]:
    """Validate; where a text is wanted and a number or truth stands, put in its source and validate again."""
    for _ in range(ROUNDS_MAX):
        try:
            return model.model_validate(data), data, []
        except ValidationError as error:
            errors = error.errors(include_url=False, include_input=False)
        texts = [found for found in (_wanted_text(model, node, error) for error in errors) if found]
        if not texts:
            break
        for path, text in texts:
            data = _replaced(data, path, text)
    return None, data, errors


def _dumped(inputs: Bound) -> Any:
    """Return the inputs of an action as JSON; of faulty ones what is certain."""
    found = inputs.spec or inputs.outline
    assert found is not None
    return found.model_dump(mode="json", by_alias=True, exclude_defaults=True, warnings="none")


def _is_meant(error: ErrorDetails, model: type[Spec], node: Node, faults: Faults) -> bool:
    """Say whether a key that is missing stands there with a slip, which is told already."""
    if error["type"] != "missing":
        return False
    path, _, _, rest = follow(model, node, error["loc"])
    return (*path, *rest[:1]) in faults.meant


def _told_once(errors: list[ErrorDetails]) -> list[ErrorDetails]:
    """Leave out that a list is too short where its items are faulty: pydantic counts the good ones only."""
    inside = {error["loc"][:depth] for error in errors for depth in range(len(error["loc"]))}
    return [error for error in errors if error["type"] != "too_short" or error["loc"] not in inside]


def _wanted_text(model: type[Spec], node: Node, error: ErrorDetails) -> tuple[Path, str] | None:
    """Return where the source text of a scalar is to be put in, or None where nothing can be mended."""
    if error["type"] not in {"text_source", "string_type"}:
        return None
    path, found, annotation, rest = follow(model, node, error["loc"])
    if rest or bare(annotation) is not str or not isinstance(found, ScalarNode) or value_of(found) is None:
        return None
    return path, found.text


def _replaced(data: Any, path: Path, value: Any) -> Any:
    """Return `data` with `value` at `path`."""
    if not path:
        return value
    if isinstance(data, dict):
        data[path[0]] = _replaced(data[path[0]], path[1:], value)
        return data
    items = list(data)
    items[path[0]] = _replaced(items[path[0]], path[1:], value)  # type: ignore[index]  # an index in a tuple
    return tuple(items)
