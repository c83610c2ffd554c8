"""Whoever runs a command is named in the audit, also where the system has no name for the account."""

import json
import os

import pytest

from tests.cli.workplace import Workplace


def test_an_account_without_a_name_applies_and_decides(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 4_000_012_345)
    place.apply()
    place.run("suspend", "--reason", "a freeze").expect(0)
    out = place.run("events", "--json").expect(0).out
    actors = {json.loads(line)["actor"] for line in out.splitlines()[1:]}
    assert actors == {f"uid 4000012345@{os.uname().nodename}", "engine"}
