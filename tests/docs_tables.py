"""Write what the docs take from the sources: tables of fields, of options, words of modules; run it after a change."""

import re
import sys
import types
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import click
from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from reconciler.api.faults import WORDS as WORDS_OF_STATUS
from reconciler.api.web import web
from reconciler.cli.main import COMMANDS
from reconciler.cli.options import SPACE_HELP
from reconciler.model.access import MEANINGS, ROLES, Permission
from reconciler.model.infrastructure import Endpoint
from reconciler.model.kinds import KINDS
from reconciler.model.spec import Metadata, Ref, Spec, canonical_json
from reconciler.model.text import Duration, MeasuredText, Percentage, Removals, Size, Subscription, Thumbprint
from reconciler.model.variables import Scope, ScopedValue, SecretSource, Variable
from reconciler.model.work import Acting, Parameter, Step
from reconciler.schedule import variables
from reconciler.server import configuration
from reconciler.server.forge import settings as forge_settings
from reconciler.server.metrics import SpacesCollector
from reconciler.server.sources import settings as source_settings
from reconciler.server.state.retention_settings import RetentionTable
from reconciler.server.trust import access_settings
from reconciler.steps import filters, scope
from reconciler.steps.table import STEP_TYPES

DOCS = Path(__file__).parent.parent / "docs"
BLOCK = re.compile(r"(<!-- fields: (\w+) -->\n).*?(<!-- /fields -->)", re.DOTALL)
COMMAND = re.compile(r"(<!-- options: (\w+) -->\n).*?(<!-- /options -->)", re.DOTALL)
METRICS = re.compile(r"(<!-- metrics -->\n).*?(<!-- /metrics -->)", re.DOTALL)
TABLE = re.compile(r"(<!-- table of (\w+) -->\n).*?(<!-- /table -->)", re.DOTALL)
WORDS = re.compile(r"(<!-- words of (\w+) -->\n).*?(<!-- /words -->)", re.DOTALL)
SPEAKING: dict[str, types.ModuleType] = {"filters": filters, "scope": scope, "variables": variables}
"""Modules whose own words, after their first sentence, stand in the docs."""

MODELS: dict[str, type[BaseModel]] = {
    model.__name__: model
    for model in (
        *KINDS.values(),
        *(step_type.inputs for step_type in STEP_TYPES.values()),
        Endpoint,
        Metadata,
        Parameter,
        Scope,
        ScopedValue,
        SecretSource,
        Step,
        Variable,
        configuration.Secrets,
        configuration.BuiltinWorker,
        configuration.TasksTable,
        configuration.NetworkRules,
        access_settings.HttpTable,
        access_settings.OidcTable,
        RetentionTable,
        forge_settings.ForgeTable,
        source_settings.LoginTable,
        source_settings.SignaturesTable,
        source_settings.SourceTable,
        source_settings.WebhookTable,
    )
}
PAGES: dict[type, str] = {
    KINDS["ExecutionLocation"]: "[execution location](/kinds/execution-location.md)",
    Acting: "an action and `env`",
    Endpoint: "[endpoint](/kinds/worker.md#endpoint)",
    Scope: "[scope](/variables.md#scopes)",
    ScopedValue: "[value with scope](/variables.md#scopes)",
    SecretSource: "[secret source](/secrets.md)",
    forge_settings.ForgeTable: "[forge](/sources.md#forge)",
    source_settings.LoginTable: "[login](/sources.md#login)",
    source_settings.SignaturesTable: "[signatures](/sources.md#signatures)",
    source_settings.WebhookTable: "[webhook](/sources.md#webhook)",
    Step: "[step](/kinds/project.md#steps)",
    Variable: "[variable](/variables.md)",
}
"""Models with a place of their own in the docs; tables link there."""

SHARED_OPTIONS = {"-C", "--ca-file", "--color", "--data", "--files", "--server", "--token-file"}
"""Options that the page of commands explains once."""

MEASURES: dict[type[MeasuredText], str] = {
    Duration: "duration",
    Percentage: "percentage",
    Removals: "number or percentage",
    Size: "size",
    Subscription: "subscription",
    Thumbprint: "thumbprint",
}


def kebab(kind: str) -> str:
    """Name the page of a kind: `WorkerPool` → `worker-pool`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", kind).lower()


def type_words(annotation: Any) -> str:
    """Say in words what a field takes."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return annotated_words(arguments[0], arguments[1:])
    if origin in (Union, types.UnionType):
        return ", or ".join(dict.fromkeys(type_words(item) for item in arguments if item is not types.NoneType))
    if origin is Literal:
        return ", ".join(f"`{item}`" for item in arguments)
    if origin in (tuple, list):
        return f"list of {plural(type_words(arguments[0]))}"
    if origin is dict:
        return f"map of {type_words(arguments[0])} to {type_words(arguments[1])}"
    if isinstance(annotation, type) and annotation in MEASURES:
        return MEASURES[annotation]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return PAGES.get(annotation, "map")
    return {bool: "boolean", int: "number", float: "number"}.get(annotation, "text")


def plural(words: str) -> str:
    """Make a list's item several, where it is one plain word."""
    if words.startswith("name of "):
        return re.sub(r"^name of an? (.*?\])", r"names of \1", words)
    return words + "s" if words.isalpha() else words


def annotated_words(inner: Any, marks: tuple[Any, ...]) -> str:
    """Say what a field takes whose annotation carries marks: a reference, a range."""
    constraints = [item for mark in marks for item in (mark.metadata if isinstance(mark, FieldInfo) else [mark])]
    for mark in constraints:
        if isinstance(mark, Ref):
            return f"name of {'an' if mark.kind[0] in 'AE' else 'a'} [{mark.kind}](/kinds/{kebab(mark.kind)}.md)"
    words = type_words(inner)
    least = next((mark.ge for mark in constraints if isinstance(mark, Ge)), None)
    most = next((mark.le for mark in constraints if isinstance(mark, Le)), None)
    if inner is int and least is not None:
        return f"{words} from {least}" + (f" to {most}" if most is not None else "")
    if get_origin(inner) is tuple:
        shortest = next((mark.min_length for mark in constraints if isinstance(mark, MinLen)), None)
        longest = next((mark.max_length for mark in constraints if isinstance(mark, MaxLen)), None)
        if shortest is not None:
            return words + (f", {shortest} to {longest}" if longest is not None else f", at least {shortest}")
    return words


def default_words(field: FieldInfo) -> str:
    """Show a field's default as YAML, or say that it is required."""
    if field.default is PydanticUndefined:
        return "required"
    if field.default is None:
        return "–"
    if isinstance(field.default, Spec):
        return f"`{field.default.canonical()}`" if field.default.canonical() != "{}" else "see its fields"
    if isinstance(field.default, tuple | list | dict) and not field.default:
        return "none"
    return f"`{field.default if isinstance(field.default, str) and field.default else canonical_json(field.default)}`"


def inner_model(annotation: Any) -> tuple[type[BaseModel], str] | None:
    """Find the model whose fields a table shows under this one, with what its path adds."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return None if annotation in PAGES else (annotation, "")
    if origin is tuple and (found := inner_model(arguments[0])):
        return found[0], "[]" + found[1]
    if origin is Annotated:
        return inner_model(arguments[0])
    if origin in (Union, types.UnionType):
        return next((found for item in arguments if (found := inner_model(item))), None)
    return None


def rows(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Yield path, type, default and meaning of every field of `model` and of those inside it."""
    hints = get_type_hints(model, include_extras=True)
    for name, field in model.model_fields.items():
        path = prefix + (field.alias or name)
        yield path, type_words(hints[name]), default_words(field), field.description or ""
        if (found := inner_model(hints[name])) and found[0] is not model:
            yield from rows(found[0], f"{path}{found[1]}.")


def table(model: type[BaseModel], page: Path) -> str:
    """Return the Markdown table of a model's fields, links relative to `page`."""
    lines = ["| field | type | default | meaning |", "|---|---|---|---|"]
    for path, words, default, meaning in rows(model):
        lines.append(f"| `{path}` | {words} | {default} | {meaning} |")
    up = "../" * (len(page.relative_to(DOCS).parts) - 1)
    return re.sub(r"\]\(/", f"]({up}", "\n".join(lines)) + "\n"


def written(page: Path) -> str:
    """Return the text of a page with every table written anew; raises KeyError for an unknown model."""
    text = BLOCK.sub(lambda found: found[1] + table(MODELS[found[2]], page) + found[3], page.read_text())
    text = COMMAND.sub(lambda found: found[1] + options(found[2]) + found[3], text)
    text = METRICS.sub(lambda found: found[1] + metrics() + found[2], text)
    text = TABLE.sub(lambda found: f"{found[1]}{TABLES[found[2]]()}\n{found[3]}", text)
    return WORDS.sub(lambda found: f"{found[1]}{words_of(SPEAKING[found[2]])}\n{found[3]}", text)


def metrics() -> str:
    """Return the table of all metrics, as the collector names them where there is nothing to count."""
    rows = [
        f"| `{family.name}{'_total' if family.type == 'counter' else ''}` | {family.type} "
        f"| {', '.join(f'`{label}`' for label in family._labelnames)} | {family.documentation} |"
        for family in SpacesCollector([], {}).collect()
    ]
    return "\n".join(["| metric | type | labels | meaning |", "|---|---|---|---|", *rows, ""])


def operations() -> str:
    """Return what the API can be asked for, with the permission that each operation needs."""
    described = web([], configuration.Configuration()).openapi()
    lines = ["| | needs | does |", "|---|---|---|"]
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            short = path.removeprefix("/api/v1")
            does = operation["description"].split("\n\n")[0].replace("\n", " ")
            lines.append(f"| `{method.upper()} {short}` | `{operation['x-permission']}` | {escaped(does)} |")
    return "\n".join(lines)


def permissions() -> str:
    """Return what each permission is for."""
    rows = [f"| `{permission}` | {MEANINGS[permission]} |" for permission in Permission]
    return "\n".join(["| permission | to |", "|---|---|", *rows])


def roles() -> str:
    """Return what each role gives."""
    lines = [
        f"| role | {' | '.join(f'`{permission}`' for permission in Permission)} |",
        "|---" * (len(Permission) + 1) + "|",
    ]
    for role, given in ROLES.items():
        cells = ("yes" if permission in given else "" for permission in Permission)
        lines.append(f"| `{role}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def statuses() -> str:
    """Return what a refusal's status means."""
    return "\n".join(
        ["| status | means |", "|---|---|", *(f"| {status} | {words} |" for status, words in WORDS_OF_STATUS.items())]
    )


TABLES = {"operations": operations, "permissions": permissions, "roles": roles, "statuses": statuses}
"""Tables that are made from the API itself."""


def options(name: str) -> str:
    """Return a command's usage and the table of its options, as its help says them; of each verb where it has several."""
    assert name in COMMANDS, f"there is no command {name}"
    command: click.Command = import_module(f"reconciler.cli.{name}").command
    verbs = command.commands.values() if isinstance(command, click.Group) else ()
    return "\n".join(_options(verb, f"reconcile {name} {verb.name}") for verb in verbs) or _options(
        command, f"reconcile {name}"
    )


def _options(command: click.Command, called: str) -> str:
    context = click.Context(command, info_name=called)
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    records = [
        parameter.get_help_record(context)
        for parameter in command.params
        if isinstance(parameter, click.Option)
        and (parameter.required or not SHARED_OPTIONS & set(parameter.opts))
        and parameter.help != SPACE_HELP
    ]
    rows = [f"| `{escaped(record[0])}` | {escaped(record[1])} |" for record in records if record]
    return "\n".join([f"`{usage}`", "", *(["| option | does |", "|---|---|", *rows, ""] if rows else [])])


def escaped(words: str) -> str:
    """Return a text for a table's cell."""
    return words.replace("|", "\\|")


def words_of(module: types.ModuleType) -> str:
    """Return what a module says of itself after its first sentence."""
    return (module.__doc__ or "").partition("\n\n")[2].strip()


def main() -> None:
    """Write every page whose tables differ."""
    for page in sorted(DOCS.rglob("*.md")):
        text = written(page)
        if text != page.read_text():
            page.write_text(text)
            sys.stdout.write(f"{page.relative_to(DOCS)}\n")


if __name__ == "__main__":
    main()
