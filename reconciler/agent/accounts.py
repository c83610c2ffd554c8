"""Accounts of this machine that scripts may run under, as the machine's own directory knows them."""

from __future__ import annotations

import os
from dataclasses import dataclass

ROOT = 0


class NoAccountError(Exception):
    """There is no such account here; the sentence says so and how to mend it."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no account {name} on this worker; make it there, or name another")


@dataclass(frozen=True)
class Account:
    """One account with the groups that it is a member of."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


def account(name: str) -> Account:
    """Return the account called `name`; raise `NoAccountError`."""
    import pwd  # seldom needed, and the machine's directory may be a large library

    try:
        found = pwd.getpwnam(name)
    except KeyError:
        raise NoAccountError(name) from None
    groups = tuple(os.getgrouplist(name, found.pw_gid))
    return Account(name, found.pw_uid, found.pw_gid, groups, found.pw_dir or "/")
