"""What the templates of one step see, put together from what is known when they are rendered.

| name | is | its own text |
|---|---|---|
| `vars` | the variables, by their full dotted name | |
| `params` | the parameters, inside a StepTemplate | |
| `steps` | the steps, by id or name: `.output.<name>`, `.status`, `.name` | |
| `space`, `project`, `environment`, `tenant`, `deployment`, `runbook` | `.name` | the name |
| `release` | `.name` | the release, such as 1.4.2 |
| `task` | `.name` | its number |
| `step` | `.name`, `.id` | the name |
| `attempt` | `.name`; once the step has a worker | its number, from 1 |
| `worker` | `.name`; once the step has a worker | the name |
| `target` | `.name`; where the step runs on behalf of one | the name |

Declared values may be templates themselves and are rendered when they are first looked at. Secrets, values from other
sources, outputs and parameters never are: whoever writes one could otherwise read all others.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from reconciler.model.live import OutputValue, StepRun
from reconciler.model.variables import SecretSource
from reconciler.schedule.variables import Choice, Chosen
from reconciler.steps.errors import TemplateError
from reconciler.steps.templates import Rendered, is_template, render, uses
from reconciler.steps.values import Absent, Deferred, Entry, Known, Path, Scope, dotted

NESTED_MAX = 20  # values that lead to one another: each is a rendering inside a rendering, some 15 calls deep


@dataclass(frozen=True, slots=True)
class Root:
    """A first name that templates know: the names below it (None: people give them), and why it may be missing."""

    fields: frozenset[str] | None
    missing: str = ""


_NAMED = frozenset({"name"})
_NO_WORKER = "the step has no worker yet when this is rendered"

ROOTS: Mapping[str, Root] = {
    "vars": Root(None),
    "params": Root(None, "parameters are there only inside a StepTemplate"),
    "steps": Root(None),
    "space": Root(_NAMED),
    "project": Root(_NAMED),
    "environment": Root(_NAMED),
    "tenant": Root(_NAMED, "this task is for no tenant"),
    "deployment": Root(_NAMED, "this task is no deployment's"),
    "runbook": Root(_NAMED, "this task is no runbook's"),
    "release": Root(_NAMED, "this task has no release"),
    "task": Root(_NAMED, "there is no task yet when this is rendered"),
    "step": Root(frozenset({"name", "id"}), "this belongs to no step"),
    "attempt": Root(_NAMED, _NO_WORKER),
    "worker": Root(_NAMED, _NO_WORKER),
    "target": Root(_NAMED, "this step runs on behalf of no target"),
}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a step runs in; what is None is not there, or not yet."""

    space: str
    project: str
    environment: str
    tenant: str | None = None
    deployment: str | None = None
    runbook: str | None = None
    release: str | None = None
    task: int | None = None
    step: StepRun | None = None
    attempt: int | None = None
    worker: str | None = None
    target: str | None = None


def known_names() -> Mapping[str, Root]:
    """Return the first names of templates, for checks and for the docs."""
    return ROOTS


def scope_of(
    around: Surroundings,
    variables: Mapping[str, Choice],
    resolved: Mapping[str, str],
    runs: Iterable[StepRun] = (),
    outputs: Iterable[OutputValue] = (),
) -> Scope:
    """Return what the templates of a step see.

    `resolved` holds the values of variables that name a source, by the variables' names; `outputs` are those of `runs`.
    """
    entries: dict[Path, Entry] = dict(_things(around))
    values = _DeclaredValues(variables, resolved)
    entries |= {("vars", *name.split(".")): values.entry(name) for name in variables}
    entries |= _steps(list(runs), list(outputs))
    values.scope = Scope.of(entries, empty=("vars", "steps"))
    return values.scope


def with_parameters(scope: Scope, parameters: Mapping[str, Known]) -> Scope:
    """Return the scope of a template's own action: the step's, and its parameters."""
    return scope.extended({("params", name): known for name, known in parameters.items()}, empty=("params",))


def sources_needed(texts: Iterable[str], variables: Mapping[str, Choice]) -> dict[str, SecretSource]:
    """Return the sources that rendering `texts` may look at, by variable: directly, or through declared values."""
    needed: dict[str, SecretSource] = {}
    seen: set[str] = set()
    pending = list(texts)
    while pending:
        for use in uses(pending.pop()):
            for name in _meant(use.path, variables) - seen:
                seen.add(name)
                match variables[name]:
                    case Chosen(value=SecretSource() as source):
                        needed[name] = source
                    case Chosen(value=str(text), type="string"):
                        pending.append(text)
    return needed


def _meant(path: Path, variables: Mapping[str, Choice]) -> set[str]:
    """Return the variables that a use may mean: one, or all below a name whose next part is computed."""
    if path[0] != "vars":
        return set()
    name = ".".join(path[1:])
    if name in variables:
        return {name}
    return {other for other in variables if not name or other.startswith(f"{name}.")}


def _things(around: Surroundings) -> Iterable[tuple[Path, Entry]]:
    texts: dict[str, object | None] = {
        root: getattr(around, root) for root in ROOTS if root not in {"vars", "params", "steps", "step"}
    }
    texts["params"] = None
    texts["step"] = None if around.step is None else around.step.name
    for root, text in texts.items():
        if text is None:
            yield (root,), Absent(f"{root} is not known: {ROOTS[root].missing}")
        else:
            yield (root,), Known(str(text))
            yield (root, "name"), Known(str(text))
    if around.step is not None:
        yield ("step", "id"), Known(around.step.key)


def _steps(runs: list[StepRun], outputs: list[OutputValue]) -> dict[Path, Entry]:
    """Return the entries of all steps, each under its id and under its name; an id wins over a name."""
    entries: dict[Path, Entry] = {}
    for label in ("name", "key"):
        for run in runs:
            called = getattr(run, label)
            entries["steps", called, "status"] = Known(str(run.state))
            entries["steps", called, "name"] = Known(run.name)
            for output in outputs:
                if output.step == run.key:
                    path = ("steps", run.key, "output", output.name)
                    secrets = frozenset({dotted(path)}) if output.sensitive else frozenset()
                    entries["steps", called, "output", output.name] = Known(output.value, secrets)
    return entries


class _DeclaredValues:
    """The variables of one scope; a value that is a template is rendered once, when it is first looked at."""

    def __init__(self, variables: Mapping[str, Choice], resolved: Mapping[str, str]) -> None:
        self.scope = Scope.of({})
        self._variables = variables
        self._resolved = resolved
        self._rendered: dict[str, Known] = {}
        self._open: list[str] = []

    def entry(self, name: str) -> Entry:
        match self._variables[name]:
            case Chosen(value=str(text), type="string") if is_template(text):
                return Deferred(lambda: self._render(name, text))
            case Chosen(value=str(text)) as chosen:
                return Known(text, _mark(chosen))
            case Chosen() as chosen if name in self._resolved:
                return Known(self._resolved[name], _mark(chosen))
            case Chosen():
                return Absent(f"the source of vars.{name} is not resolved when this is rendered")
            case undecided:
                return Absent(undecided.reason)

    def _render(self, name: str, text: str) -> Known:
        if name not in self._rendered:
            self._refuse_to_circle(name)
            self._open.append(name)
            try:
                rendered = self._inner(name, text)
            finally:
                self._open.pop()
            self._rendered[name] = Known(rendered.text, rendered.secrets)
        return self._rendered[name]

    def _inner(self, name: str, text: str) -> Rendered:
        try:
            return render(text, self.scope, sensitive_allowed=True)  # the mark goes on with the value
        except TemplateError as error:
            raise TemplateError(error.expression, error.problem, (f"vars.{name}", *error.within)) from None

    def _refuse_to_circle(self, name: str) -> None:
        expression = f"${{{{ vars.{name} }}}}"
        if name in self._open:
            circle = [*self._open[self._open.index(name) :], name]
            way = " → ".join(f"vars.{each}" for each in circle)
            raise TemplateError(expression, f"its value needs itself: {way}")
        if len(self._open) >= NESTED_MAX:
            raise TemplateError(expression, f"values lead to one another more than {NESTED_MAX} deep")


def _mark(chosen: Chosen) -> frozenset[str]:
    return frozenset({f"vars.{chosen.name}"}) if chosen.sensitive else frozenset()
