"""Addresses of states on PostgreSQL: `postgresql://HOST/DATABASE` is a database, with `/SPACE` the state of one space in it.

Such a state is a schema of the space's name: tables, numbers, the lead and the writers' turn are its own.
"""

import re
from dataclasses import dataclass

from reconciler.model.errors import UsageMistake
from reconciler.model.text import NAME_PATTERN

ALONE = "public"
"""The schema that every database has; there lies the state of one that holds a single space."""


@dataclass(frozen=True, slots=True)
class StateAddress:
    """The database and the space whose state is meant, "" where none is named; `options` begin with a question mark."""

    host: str
    name: str
    space: str
    options: str

    @property
    def database(self) -> str:
        """Write it as PostgreSQL's own programs take it, without the space."""
        return f"{self.host}{f'/{self.name}' if self.name else ''}{self.options}"

    def of(self, space: str) -> str:
        """Write the address of a space's state in this database; raises UsageMistake where it can have no schema."""
        _check(space)
        return f"{self.host}/{self.name}/{space}{self.options}"


def parted(data: str) -> StateAddress:
    """Take an address apart; raises UsageMistake where its space can have no schema."""
    scheme, _, rest = data.partition("://")
    body, mark, options = rest.partition("?")
    host, _, path = body.partition("/")
    name, _, space = path.partition("/")
    if space:
        _check(space)
    return StateAddress(f"{scheme}://{host}", name, space, f"{mark}{options}")


def _check(space: str) -> None:
    if space == ALONE or not re.fullmatch(NAME_PATTERN, space):
        raise UsageMistake(
            f'"{space}" is no space that a database can hold beside others',
            f'its name has up to 63 small letters, digits and dashes, and is not "{ALONE}"',
        )
