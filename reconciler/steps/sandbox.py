"""One template expression, compiled and computed in Jinja's immutable sandbox.

Nothing of Python is within reach: names lead only into a `Scope`, an attribute is a name below a name, and the syntax
tree holds only the nodes that `syntax` lets pass. Whatever secret an expression looks at, its result is made of it: the mark
rests on the look, so no filter, operator or comparison can wash it off.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Generic, NoReturn, TypeVar

from jinja2 import nodes
from jinja2.environment import TemplateExpression
from jinja2.exceptions import TemplateError as JinjaError
from jinja2.exceptions import UndefinedError
from jinja2.runtime import StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from reconciler.steps.filters import FILTERS, OPERATORS, TESTS, Refusal, joined, stretch, truth
from reconciler.steps.syntax import CACHED_MAX, Fault, fresh_tree, mentions, parsed
from reconciler.steps.values import Absent, Group, Known, Path, Scope, dotted

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Result(Generic[Value]):
    """What an expression has come to, and the names of the secrets that it looked at."""

    value: Value = field(repr=False)
    secrets: frozenset[str]


class Uncomputable(Exception):
    """An expression has no result; `problem` is a sentence that holds no value."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


def computed(source: str, scope: Scope, finish: Callable[[object], Value]) -> "Result[Value]":
    """Compute an expression, and what `finish` makes of its value.

    Raises `Uncomputable`, and what the scope's deferred values raise.
    """
    look = _Look(scope)
    problem = ""
    try:
        expression = _compiled(source)
        roots = {mention.path[0]: look.at(mention.path[:1]) for mention in mentions(source)}
        value = finish(expression(roots))
    except (Refusal, Uncomputable) as error:
        problem = error.problem
    except UndefinedError as error:
        problem = error.message or "a name is not known"
    except (TypeError, AttributeError):
        problem = "a value is not of the kind that is needed here; names stand for texts, `int` makes a number of one"
    except (ValueError, ArithmeticError, LookupError):
        problem = "this cannot be reckoned with these values"
    except (JinjaError, RecursionError):
        problem = "this is not allowed in a template"
    if problem:  # raised outside of `except`: the other error would stay attached, and may hold a value
        raise Uncomputable(problem)
    return Result(value, frozenset(look.secrets))


class _Place:
    """A name at run time: leads to the names below it, and is no value itself."""

    __slots__ = ("look", "path")

    def __init__(self, look: "_Look", path: Path) -> None:
        self.look = look
        self.path = path

    def __str__(self) -> str:
        return dotted(self.path)

    def _no_value(self, *_operands: object) -> NoReturn:
        raise Refusal(f"{dotted(self.path)} is a group of names; name one of them")

    __bool__ = __contains__ = __eq__ = __iter__ = __len__ = __lt__ = __gt__ = __le__ = __ge__ = _no_value

    def __hash__(self) -> int:
        return hash(self.path)


class _NamedPlace(str):
    """A text with names below it: `release` is the release's name."""

    __slots__ = ("look", "path")
    look: "_Look"
    path: Path


class _Missing(StrictUndefined):
    """A name without a value; raises its reason when it is used, `default` and `is defined` excepted."""

    __slots__ = ("look", "path")
    look: "_Look"
    path: Path


class _Look:
    """Looks names up in a scope for one computation, and remembers the secrets it came across."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.secrets: set[str] = set()

    def at(self, path: Path) -> object:
        if path[0] == "vars":  # vars['Db.Password'] and vars.Db.Password are one name
            path = tuple(part for parts in path for part in parts.split("."))
        match self.scope.look(path):
            case Known(value, secrets):
                self.secrets |= secrets
                return value if path not in self.scope.groups else self._placed(_NamedPlace(value), path)
            case Absent(reason):
                return self._placed(_Missing(hint=reason), path)
            case Group():
                return _Place(self, path)

    def _placed(self, thing: "_NamedPlace | _Missing", path: Path) -> object:
        thing.look, thing.path = self, path
        return thing


class _Expressions(ImmutableSandboxedEnvironment):
    """Jinja's immutable sandbox without globals, without Python's attributes, with our filters and operators."""

    intercepted_binops = frozenset(OPERATORS)

    def __init__(self) -> None:
        super().__init__(
            undefined=_Missing,
            optimized=False,  # constants are reckoned when they are needed, under the same bounds
            cache_size=0,
        )
        self.globals.clear()
        self.filters = {**FILTERS, "~": joined, "?": truth, ":": stretch}  # the signs are put in by `_Bounds` alone
        self.tests = dict(TESTS)

    def getattr(self, obj: object, attribute: str) -> object:
        """Return what stands below a name; nothing else has attributes."""
        if isinstance(obj, _Place | _NamedPlace | _Missing):
            return obj.look.at((*obj.path, attribute))
        raise Refusal(f"there is no `.{attribute}` of a value")

    def getitem(self, obj: object, argument: object) -> object:
        """Return what stands below a name, or an item of a list, a mapping or a text."""
        if isinstance(obj, _Place | _NamedPlace | _Missing) and isinstance(argument, str):
            return obj.look.at((*obj.path, argument))
        if isinstance(obj, _Missing):
            str(obj)  # raises, with its sentence
        if isinstance(obj, str | list | tuple | dict):
            return obj[argument]  # type: ignore[index,call-overload]  # a wrong kind of index raises, and is caught
        raise Refusal("only texts, lists and mappings have items")

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Compute an operator within its bounds."""
        return OPERATORS[operator](left, right)


_EXPRESSIONS = _Expressions()


@lru_cache(maxsize=CACHED_MAX)
def _compiled(source: str) -> TemplateExpression:
    tree = parsed(source)
    if isinstance(tree, Fault):
        raise Uncomputable(tree.problem)
    tree = _Bounds().visit(fresh_tree(source)).set_environment(_EXPRESSIONS)
    body = [nodes.Assign(nodes.Name("result", "store"), tree, lineno=1)]
    return TemplateExpression(_EXPRESSIONS.from_string(nodes.Template(body, lineno=1)), undefined_to_none=False)


class _Bounds(NodeTransformer):
    """Puts our own operations in place of those that Jinja lets no sandbox intercept."""

    def visit_Concat(self, node: nodes.Concat) -> nodes.Expr:  # noqa: N802  # Jinja's name
        self.generic_visit(node)
        return _filtered("~", nodes.List(node.nodes, lineno=node.lineno))

    def visit_Not(self, node: nodes.Not) -> nodes.Expr:  # noqa: N802  # Jinja's name
        self.generic_visit(node)
        node.node = _filtered("?", node.node)
        return node

    def visit_CondExpr(self, node: nodes.CondExpr) -> nodes.Expr:  # noqa: N802  # Jinja's name
        self.generic_visit(node)
        node.test = _filtered("?", node.test)
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Expr:  # noqa: N802  # Jinja's name
        self.generic_visit(node)
        if not isinstance(node.arg, nodes.Slice):
            return node
        ends = (node.arg.start, node.arg.stop, node.arg.step)
        return _filtered(":", node.node, *(nodes.Const(None) if end is None else end for end in ends))


def _filtered(name: str, node: nodes.Expr, *arguments: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(node, name, list(arguments), [], None, None, lineno=node.lineno)
