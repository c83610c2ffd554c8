"""The account that runs this process is named, also where the system has no name for it."""

import os
import socket

import pytest

from reconciler.server.orders.account import account

HOST = socket.gethostname()
NAMES = ("LOGNAME", "USER", "LNAME", "USERNAME")


@pytest.fixture
def nameless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process run under a number that no account has, as containers do."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 4_000_012_345)


@pytest.mark.usefixtures("nameless")
def test_an_account_without_a_name_is_its_number() -> None:
    assert account() == f"uid 4000012345@{HOST}"


def test_an_account_with_a_name_is_called_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "ann")
    assert account() == f"ann@{HOST}"
