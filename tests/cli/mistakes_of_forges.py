"""What can be wrong with what is told to forges, one case for each sentence."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reconciler.cli.ci import KNOWN, TOKEN
from reconciler.server.forge.forges import State, Status, forge_of
from reconciler.server.forge.line import Line
from tests.cli.said import Said, cases, raised, told
from tests.cli.workplace import Outcome, reconcile
from tests.server.listening_forge import Answer, listening

PLAN = "<!-- reconciler plan: shop -->\n### No changes.\n"


@contextmanager
def nowhere(**variables: str) -> Iterator[None]:
    """Take away what a job of a forge knows, and set other variables."""
    names = {TOKEN, *(name for known in KNOWN.values() for name in (known.repository, known.api_url))}
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            del os.environ[name]
        os.environ.update(before)


def comment(folder: Path, *options: str, text: str = PLAN, **variables: str) -> Outcome:
    (folder / "plan.md").write_text(text)
    with nowhere(**variables):
        return reconcile("ci", "comment", folder / "plan.md", "--pull", "7", *options)


def a_comment_that_is_no_plan(folder: Path) -> Said:
    return told(comment(folder, "--forge", "github", text="hello\n"))


def a_comment_nowhere(folder: Path) -> Said:
    return told(comment(folder, "--forge", "github", RECONCILE_FORGE_TOKEN="t"))


def a_comment_on_no_forge(folder: Path) -> Said:
    return told(comment(folder, "--forge", "gitea", "--repository", "ann/shop", RECONCILE_FORGE_TOKEN="t"))


def a_comment_without_a_token(folder: Path) -> Said:
    return told(comment(folder, "--forge", "github", "--repository", "ann/shop"))


def a_comment_that_is_no_text(folder: Path) -> Said:
    (folder / "plan.md").write_bytes(PLAN.encode("utf-16"))
    return told(reconcile("ci", "comment", folder / "plan.md", "--forge", "github", "--pull", "7"))


def a_comment_with_a_file_that_holds_no_token(folder: Path) -> Said:
    (folder / "token").write_bytes(b"\xff\xfe\n")
    options = ("--repository", "ann/shop", "--token-file", str(folder / "token"))
    return told(comment(folder, "--forge", "github", *options))


def a_comment_in_clear(folder: Path) -> Said:
    options = ("--forge", "gitea", "--repository", "ann/shop", "--api-url", "http://git.example.org/api/v1")
    return told(comment(folder, *options, RECONCILE_FORGE_TOKEN="t"))


def asked(answer: Answer) -> Said:
    with listening() as there:
        there.answers = [answer]
        status = Status("4f1c2d0", State.SUCCESS, "as declared", "reconcile/shop")
        said = raised(lambda: forge_of("github", Line(there.url, "t"), "ann/shop").status(status))
        return Said(said.message.replace(there.url, "https://forge.example.org"), said.hint)


def a_forge_that_refuses(folder: Path) -> Said:
    assert folder.is_dir()
    return asked(Answer(404, {"message": "Not Found"}))


def a_forge_that_fails(folder: Path) -> Said:
    assert folder.is_dir()
    return asked(Answer(502))


def a_forge_that_has_had_enough(folder: Path) -> Said:
    assert folder.is_dir()
    return asked(Answer(429, {"message": "Too Many Requests"}, {"Retry-After": "9"}))


def a_forge_that_is_none(folder: Path) -> Said:
    assert folder.is_dir()
    return asked(Answer(200, raw=b"<html>"))


CASES = cases(globals())
