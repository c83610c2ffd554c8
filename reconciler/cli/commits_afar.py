"""How commits are called when a server is asked, which has no branches and tags of those who ask."""

import re
from pathlib import Path

from reconciler.declare.names import commit_named
from reconciler.model.errors import UsageMistake

COMMIT = re.compile(r"[0-9a-f]{7,64}")


def commit_here(text: str) -> str:
    """Return a commit's name; what else is called so is looked up in the checkout that the command is run in.

    Raises UsageMistake where that has two meanings, or none, and where there is no checkout.
    """
    found = None if COMMIT.fullmatch(text) else commit_named(Path.cwd(), text)
    return found or commit_of_server(text)


def commit_of_server(text: str) -> str:
    """Return a commit's name; raises UsageMistake for what only a repository could resolve."""
    if not COMMIT.fullmatch(text):
        raise UsageMistake(
            f'a server does not know what "{text}" is', "name the commit by at least 7 of its hexadecimal digits"
        )
    return text
