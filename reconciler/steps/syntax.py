"""The syntax of one template expression: parsed by Jinja, checked node by node, asked for the names in it.

A token's line number is its offset here, so that every node of a syntax tree knows its place.
"""

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jinja2 import Environment, TemplateSyntaxError, nodes
from jinja2.lexer import TokenStream
from jinja2.parser import Parser

from reconciler.model.diagnostics import did_you_mean
from reconciler.steps.filters import FILTERS, NUMBER_MAX, TESTS
from reconciler.steps.values import Path

DEPTH_MAX = 50  # nodes inside one another: Python nests 200 parentheses, and a node costs up to three
BRACKETS_MAX = 20  # inside one another: Jinja's parser calls itself about 15 times for each
TOKENS_MAX = 500  # each may cost the parser one call inside another (`not not …`), of the 1,000 that Python allows
CACHED_MAX = 4096  # expressions, a few KiB each: the templates of a large space

_NODES = (
    nodes.Add, nodes.And, nodes.Compare, nodes.Concat, nodes.CondExpr, nodes.Const, nodes.Dict, nodes.Div, nodes.Filter,
    nodes.FloorDiv, nodes.Getattr, nodes.Getitem, nodes.Keyword, nodes.List, nodes.Mod, nodes.Mul, nodes.Name,
    nodes.Neg, nodes.Not, nodes.Operand, nodes.Or, nodes.Pair, nodes.Pos, nodes.Pow, nodes.Slice, nodes.Sub, nodes.Test,
    nodes.Tuple,
)  # fmt: skip
"""All that an expression is made of."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an expression cannot be used: `offset` and `length` in code points of its source."""

    offset: int
    length: int
    problem: str


@dataclass(frozen=True, slots=True)
class Mention:
    """A dotted name that an expression uses; `optional` where the expression allows for its absence."""

    path: Path
    offset: int
    length: int
    optional: bool


@lru_cache(maxsize=CACHED_MAX)
def fault(source: str) -> Fault | None:
    """Say what is wrong with an expression before anything is computed, or None."""
    tree = parsed(source)
    return tree if isinstance(tree, Fault) else None


@lru_cache(maxsize=CACHED_MAX)
def mentions(source: str) -> tuple[Mention, ...]:
    """Return the names that an expression uses, in no order; none if it cannot be parsed."""
    tree = parsed(source)
    if isinstance(tree, Fault):
        return ()
    found = list(_mentions(tree))
    excused = {mention.path for mention in found if mention.optional}
    return tuple(Mention(m.path, m.offset, m.length, m.path in excused) for m in found)


def outermost_filter(source: str) -> str | None:
    """Return the name of the filter that is applied last, or None."""
    tree = parsed(source)
    return tree.name if isinstance(tree, nodes.Filter) else None


@lru_cache(maxsize=CACHED_MAX)
def parsed(source: str) -> nodes.Expr | Fault:
    """Return the syntax tree of an expression, not to be changed, or the first thing that is wrong with it."""
    if not source.strip():
        return Fault(0, len(source), "the expression is empty")
    try:
        parser = Parser(_GRAMMAR, source, state="variable")
        tree = parser.parse_expression()
        if not parser.stream.eos:
            raise TemplateSyntaxError("it goes on after its end", parser.stream.current.lineno)
    except TemplateSyntaxError as error:
        at = min(error.lineno - 1, len(source) - 1)
        return Fault(at, 1, f"it cannot be read: {_plainly(error.message or '')}")
    except (_TooDeep, ValueError, RecursionError):  # ValueError: a number of more digits than Python reads
        return Fault(0, len(source), _TOO_DEEP)
    return _first_fault(tree) or tree


def _plainly(message: str) -> str:
    """Return Jinja's message without its own count of characters, and without speaking of templates in templates."""
    return re.sub(r" at \d+$", "", message).replace("end of template", "the end").replace("char ", "character ")


def fresh_tree(source: str) -> nodes.Expr:
    """Return a syntax tree that may be changed, of an expression in which `parsed` found no fault."""
    return Parser(_GRAMMAR, source, state="variable").parse_expression()


_TOO_DEEP = "the expression is too long or too deep"
_UNHOLDABLE = "\ud800"  # half a code point: no text read from UTF-8 holds it, so what begins with it is never found


class _TooDeep(Exception):
    """The expression has more tokens, or more brackets inside one another, than it may have."""


class _Grammar(Environment):
    """Jinja's own syntax, of which only what may stand in an expression can ever be found."""

    def __init__(self) -> None:
        super().__init__(
            variable_start_string="${{",
            variable_end_string="}}",
            block_start_string=_UNHOLDABLE + "{%",
            block_end_string=_UNHOLDABLE + "%}",
            comment_start_string=_UNHOLDABLE + "{#",
            comment_end_string=_UNHOLDABLE + "#}",
        )

    def _tokenize(self, source: str, name: str | None, filename: str | None = None, state: str | None = None) -> Any:
        return TokenStream(self.lexer.wrap(self._placed_tokens(source), name, filename), name, filename)

    def _placed_tokens(self, source: str) -> Iterator[tuple[int, str, str]]:
        """Yield tokens whose line number is their offset, counted from 1, so that every node knows its place."""
        offset = count = depth = 0
        try:
            for _, kind, text in self.lexer.tokeniter(source, None, None, "variable"):
                count += kind != "whitespace"
                depth += (text in {"(", "[", "{"}) - (text in {")", "]", "}"})
                if count > TOKENS_MAX or depth > BRACKETS_MAX:
                    raise _TooDeep
                yield offset + 1, kind, text
                offset += len(text)
        except TemplateSyntaxError as error:
            raise TemplateSyntaxError(error.message or "it cannot be read", offset + 1) from None


_GRAMMAR = _Grammar()


def _first_fault(tree: nodes.Expr) -> Fault | None:
    pending: list[tuple[nodes.Node, int]] = [(tree, 1)]
    faults = []
    while pending:
        node, depth = pending.pop()
        problem = _TOO_DEEP if depth > DEPTH_MAX else _problem(node)
        if problem:
            faults.append(Fault(node.lineno - 1, _length(node), problem))
        pending += [(child, depth + 1) for child in node.iter_child_nodes()]
    return min(faults, key=lambda fault: fault.offset, default=None)


def _length(node: nodes.Node) -> int:
    """Return how long the word is that stands where a node begins."""
    return len(node.name) if isinstance(node, nodes.Filter | nodes.Name) else 1


def _problem(node: nodes.Node) -> str | None:
    match node:
        case nodes.Call():
            return "methods and functions cannot be called here; use a filter, as in `vars.Name | upper`"
        case nodes.Filter(name=name):
            return _misuse("filter", name, node)
        case nodes.Test(name=name):
            return _misuse("test", name, node)
        case nodes.CondExpr(expr2=None):
            return "an `if` needs its `else`"
        case nodes.Const(value=int() | float() as value) if not abs(value) <= NUMBER_MAX:
            return "the number is too large"
        case nodes.Compare(expr=left, ops=[nodes.Operand(op="eq" | "ne", expr=right)]) if _unlike(left, right):
            return "a name stands for a text, which equals no number and no true or false; put quotes around it"
        case _ if isinstance(node, _NODES):
            return _out_of_reach(node)
    return "this is not part of the template language"


def _out_of_reach(node: nodes.Node) -> str | None:
    """Say why a name may not be looked up; computed ones would escape every check, and end up in sentences."""
    match node:
        case nodes.Getattr(attr=name) | nodes.Name(name=name) if name.startswith("_"):
            return f"no name that begins with an underscore is within reach: {name}"
        case nodes.Name(name="self"):  # Jinja's own
            return "self is not known"
        case nodes.Getitem(node=nodes.Dict() | nodes.List() | nodes.Tuple()):
            return None
        case nodes.Getitem(arg=argument) if not isinstance(argument, nodes.Const | nodes.Slice):
            return "what stands in brackets is written out, as in `vars['Db.Name']`"
    return None


def _unlike(left: nodes.Expr, right: nodes.Expr) -> bool:
    """Is one side a name and the other a constant that no text equals? (Parameters alone have types.)"""
    for name, constant in ((left, right), (right, left)):
        chain = _chain(name)
        if chain and chain[1][0] != "params" and isinstance(constant, nodes.Const):
            return isinstance(constant.value, int | float)
    return False


def _misuse(what: str, name: str, node: nodes.Filter | nodes.Test) -> str | None:
    table = FILTERS if what == "filter" else TESTS
    if name not in table:
        return f"there is no {what} `{name}`{did_you_mean(name, table)}"
    if node.dyn_args is not None or node.dyn_kwargs is not None:
        return "`*` and `**` cannot spread arguments here"
    signature = inspect.signature(table[name])
    try:
        signature.bind(None, *node.args, **{str(pair.key): pair.value for pair in node.kwargs})
    except TypeError:
        _, *names = signature.parameters
        return f"the {what} `{name}` takes {', '.join(names) or 'nothing more'}"
    return None


def _mentions(node: nodes.Node, optional: bool = False) -> Iterator[Mention]:
    chain = _chain(node)
    if chain is not None:
        root, path, end = chain
        yield Mention(path, root - 1, end - root, optional)
        return
    excuses = (isinstance(node, nodes.Filter) and node.name == "default") or (
        isinstance(node, nodes.Test) and node.name in {"defined", "undefined"}
    )
    for child in node.iter_child_nodes():
        yield from _mentions(child, excuses and child is getattr(node, "node", None))


def _chain(node: nodes.Node) -> tuple[int, Path, int] | None:
    """Return where a chain of constant names begins, the names, and where it ends."""
    match node:
        case nodes.Name(name=name, lineno=start):
            return start, (name,), start + len(name)
        case nodes.Getattr(node=inner, attr=name, lineno=at):
            before, end = _chain(inner), at + 1 + len(name)
        case nodes.Getitem(node=inner, arg=nodes.Const(value=str(name)), lineno=at):
            before, end = _chain(inner), at + 4 + len(name)
        case _:
            return None
    if before is None:
        return None
    start, path, _ = before
    return start, (*path, *(name.split(".") if path[0] == "vars" else [name])), end
