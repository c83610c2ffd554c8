"""`reconcile ci`: what jobs of a forge do with what the other commands print."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from reconciler.cli.output import note
from reconciler.cli.verbs import Verbs
from reconciler.model.errors import UsageMistake
from reconciler.server.forge.forges import forge_of
from reconciler.server.forge.line import Line
from reconciler.server.forge.tokens import read_token

TOKEN = "RECONCILE_FORGE_TOKEN"  # noqa: S105 - the name of a variable
"""Stands for what --token-file holds."""

MARKED = "<!-- reconciler plan: "
"""How a plan in Markdown begins."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The variables by which the jobs of a forge know where they are."""

    repository: str
    api_url: str
    otherwise: str = ""
    below: str = ""
    """What is added to the address that the variable holds."""


KNOWN: Mapping[str, Surroundings] = {
    "github": Surroundings("GITHUB_REPOSITORY", "GITHUB_API_URL", "https://api.github.com"),
    "gitlab": Surroundings("CI_PROJECT_ID", "CI_API_V4_URL", "https://gitlab.com/api/v4"),
    "gitea": Surroundings("GITHUB_REPOSITORY", "GITHUB_SERVER_URL", below="/api/v1"),
}


@click.group("ci", cls=Verbs, no_args_is_help=False)
def command() -> None:
    """Help jobs of a forge: put a plan into a comment."""


@command.command("comment")
@click.argument("file", metavar="[FILE]", default="-")
@click.option("--forge", type=click.Choice(list(KNOWN)), required=True, help="Whose API; Forgejo speaks that of Gitea.")
@click.option("--pull", metavar="N", type=click.IntRange(min=1), required=True, help="The pull or merge request.")
@click.option("--repository", metavar="NAME", help="OWNER/NAME, on GitLab path or number.  [default: the job's own]")
@click.option("--api-url", metavar="URL", help="The address of the API.  [default: as the job has it]")
@click.option("--token-file", metavar="FILE", help=f"The token, on the first line.  [default: {TOKEN}]")
@click.option("--ca-file", metavar="FILE", help="Certificates that sign the forge's, in PEM.")
def comment(
    *,
    file: str,
    forge: str,
    pull: int,
    repository: str | None,
    api_url: str | None,
    token_file: str | None,
    ca_file: str | None,
) -> int:
    """Put a plan in Markdown, from FILE or standard input, into one comment of a pull request: the same one each time."""
    text = _text(file)
    marker, _, _ = text.partition("\n")
    if not marker.startswith(MARKED):
        raise UsageMistake("this is no plan in Markdown", "make one with: reconcile plan --format markdown")
    known = KNOWN[forge]
    where = repository or os.environ.get(known.repository, "")
    if not where:
        raise UsageMistake("which repository is not known", "name it with --repository")
    found = os.environ.get(known.api_url, "")
    address = api_url or (found + known.below if found else known.otherwise)
    if not address:
        raise UsageMistake("where the forge is, is not known", "name its API with --api-url")
    forge_of(forge, _line(address, _token(token_file), ca_file), where).comment(pull, marker, text)
    note(f"Put into a comment of {where} {pull}")
    return 0


def _text(file: str) -> str:
    """Return what a file, or standard input, holds; raises UsageMistake where that is no text."""
    content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    try:
        return content.decode()
    except UnicodeDecodeError:
        named = "standard input" if file == "-" else file
        raise UsageMistake(
            f"{named} is not UTF-8", "keep what `reconcile plan --format markdown` prints byte for byte"
        ) from None


def _line(url: str, token: str, ca_file: str | None) -> Line:
    try:
        return Line(url, token, ca_file)
    except ValueError as error:
        raise UsageMistake(str(error)) from None


def _token(file: str | None) -> str:
    if file is not None:
        return read_token(file)
    token = os.environ.get(TOKEN, "").partition("\n")[0].strip()
    if not token or not token.isascii() or not token.isprintable():
        raise UsageMistake("there is no token for the forge", f"name its file with --token-file, or set {TOKEN}")
    return token
