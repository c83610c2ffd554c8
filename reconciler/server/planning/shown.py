"""A plan as it is shown: in words or in Markdown, as records, with what tells its exit code."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from pydantic import JsonValue

from reconciler.declare.load import EMPTIED, Loaded
from reconciler.model.diagnostics import Severity
from reconciler.model.errors import Invalid
from reconciler.plan.changes import Plan
from reconciler.plan.planner import Options
from reconciler.server.planning.planning import Planned, scripts_of


class Form(StrEnum):
    """How a plan is shown."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"


@dataclass(frozen=True, slots=True)
class ShownPlan:
    """A plan: `text` is that of the form that was asked for, and `records` is not empty where that is JSON.

    `changed` says whether any object differs; `empty` whether there is nothing to do, runs included.
    """

    space: str
    revision: str
    serial: int
    digest: str
    complete: bool
    refused: bool
    empty: bool
    changed: bool
    form: Form
    text: str = ""
    saved: str = ""
    """What a plan file holds, where one was asked for."""
    records: tuple[dict[str, JsonValue], ...] = ()


def shown(plan: Plan, form: Form, saved: str = "") -> ShownPlan:
    """Show a plan."""
    text, lines = _content(plan, form)
    return ShownPlan(
        *(plan.space, plan.revision, plan.serial, plan.digest, plan.complete, plan.refused, plan.empty),
        changed=bool(plan.changes),
        form=form,
        text=text,
        saved=saved,
        records=lines,
    )


def saved(planned: Planned, options: Options, read: Callable[[str], bytes]) -> str:
    """Return the text of a plan file; `read` returns a file of the tree that was planned."""
    from reconciler.plan.saved import write
    from reconciler.plan.text import render

    chosen: dict[str, JsonValue] = {
        "targets": [str(address) for address in options.targets],
        "excludes": [str(address) for address in options.excludes],
        "maxRemovals": options.removals_max,
        "retryFailed": options.retry_failed,
        "scripts": dict(scripts_of(planned, read)),
    }
    return write(planned.plan, chosen, render(planned.plan))


def faulty(loaded: Loaded) -> Invalid:
    """Return the error for declarations that hold errors: how many, and the first."""
    errors = [found for found in loaded.diagnostics if found.severity is Severity.ERROR]
    first, count = errors[0], len(errors)
    where = f"{first.span.file}:{first.span.line}"
    return Invalid(
        f"{count} error{'s' if count != 1 else ''} in the declarations, the first at {where}: {first.message}",
        first.help if first.code == EMPTIED else "see them with: reconcile validate",  # it reads no live state
    )


def _content(plan: Plan, form: Form) -> tuple[str, tuple[dict[str, JsonValue], ...]]:
    match form:
        case Form.JSON:
            from reconciler.plan.records import records

            return "", tuple(records(plan))
        case Form.MARKDOWN:
            from reconciler.plan.markdown import render as render_markdown

            return render_markdown(plan), ()
        case Form.TEXT:
            from reconciler.plan.text import render

            return render(plan), ()
