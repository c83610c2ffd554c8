"""What is wrong with a declaration: one located record per problem, and the source it is shown with."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from reconciler.model.near import closest


class Severity(StrEnum):
    """How much a diagnostic matters: an error stops, a warning is shown."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A stretch of a file, lines and columns from 1 in code points, the end exclusive."""

    file: str
    line: int = 1
    column: int = 1
    end_line: int = 1
    end_column: int = 2


@dataclass(frozen=True, slots=True)
class Related:
    """Another place that belongs to a diagnostic, such as the first of two definitions."""

    span: Span
    message: str


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One problem: where, which (`code`), what in a sentence, and how to mend it."""

    span: Span
    severity: Severity
    code: str
    message: str
    help: str = ""
    related: tuple[Related, ...] = ()

    @property
    def sort_key(self) -> tuple[Span, Severity, str, str]:
        """Order by place, then by what it says."""
        return (self.span, self.severity, self.code, self.message)


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """Return `; did you mean "…"?` where `given` is a slip or a shortening of one of `known`, else nothing."""
    meant = closest(given, known)
    return f'; did you mean "{meant}"?' if meant is not None else ""
