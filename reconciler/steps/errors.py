"""Why a step cannot become a job: each error writes its own sentence and never holds a value.

ReconcilerError
└── StepError            the step cannot be rendered; it fails with this sentence
    └── TemplateError    one `${{ … }}` in it cannot be computed
"""

from reconciler.model.errors import ReconcilerError

SHOWN_MAX = 80  # characters of an expression that a sentence repeats: enough to find it, short enough to read


class StepError(ReconcilerError):
    """The step cannot be rendered."""


class TemplateError(StepError):
    """One expression cannot be computed; `within` names the declared values that led to it, outermost first."""

    def __init__(self, expression: str, problem: str, within: tuple[str, ...] = ()) -> None:
        way = "".join(f"in the value of {name}: " for name in within)
        super().__init__(f"{way}{shortened(expression)}: {problem}")
        self.expression = expression
        self.problem = problem
        self.within = within


def shortened(expression: str) -> str:
    """Return an expression, braces included, on one line and not too long."""
    line = " ".join(expression.split())
    return line if len(line) <= SHOWN_MAX else f"{line[:SHOWN_MAX]}…"
