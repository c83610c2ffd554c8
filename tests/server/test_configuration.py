"""The server's configuration: what is read, what may be dialled, and every fault of the file in words."""

from pathlib import Path

import pytest

from reconciler.model.errors import UsageMistake
from reconciler.server.configuration import EMBEDDED, Configuration, NetworkRules, read_configuration

WHOLE = """
[secrets]
environment = ["SHOP_*"]
directories = ["/run/secrets"]
sources.vault = ["vault", "kv", "get"]

[builtin_worker]
as_server = true

[network]
dial = ["127.0.0.0/8"]
never = ["10.9.0.0/16"]
"""


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "server.toml").write_text(WHOLE)
    found = read_configuration(tmp_path / "server.toml")
    assert found.builtin_worker.enabled
    assert found.secrets.rules().sources == {"vault": ("vault", "kv", "get")}
    assert found.network.forbids("127.0.0.1") is None


def test_without_a_file_nothing_reaches_beyond_the_declared_workers() -> None:
    found = read_configuration(None)
    assert found == Configuration()
    assert not found.builtin_worker.enabled
    assert found.secrets.rules().environment == ()


@pytest.mark.parametrize("address", ["10.1.2.3", "203.0.113.7", "2001:db8::1", "fd00::1"])
def test_ordinary_addresses_may_be_dialled(address: str) -> None:
    assert NetworkRules().forbids(address) is None


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.8.8.8", "169.254.169.254", "0.0.0.0", "224.0.0.1", "::1", "fe80::1%eth0", "::ffff:127.0.0.1", "::"],
)  # fmt: skip
def test_addresses_that_lead_inside_may_not_be_dialled_unless_allowed(address: str) -> None:
    sentence = NetworkRules().forbids(address)
    assert sentence == (
        f"{address} is no ordinary unicast address, and the server's configuration does not allow it; "
        "add its network to [network] dial"
    )
    assert EMBEDDED.network.forbids(address) is None


def test_a_network_can_be_shut() -> None:
    rules = NetworkRules(dial=["10.0.0.0/8"], never=["10.9.0.0/16"])
    assert rules.forbids("10.9.1.1") == "the server's configuration forbids to dial 10.9.1.1"
    assert rules.forbids("10.8.1.1") is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[secrts]\n", "secrts: there is no such key"),
        ("[secrets]\ndirectories = ['etc']\n", "secrets.directories: etc is not absolute"),
        ("[network]\ndial = ['10.0.0.1/8']\n", "network.dial: 10.0.0.1/8 has host bits set"),
        (
            "[builtin_worker]\nrun_as = 'nobody'\nas_server = true\n",
            "builtin_worker: run_as and as_server exclude each other",
        ),
        (
            "[builtin_worker]\nrun_as = 'no-such-account'\n",
            'builtin_worker: there is no account "no-such-account" on this machine',
        ),
        ("[secrets\n", "Expected ']' at the end of a table declaration (at line 1, column 9)"),
        ("[secrets]\nenvironment = 'SHOP'\n", "secrets.environment: Input should be a valid list"),
    ],
)
def test_a_fault_of_the_file_is_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "server.toml"
    path.write_text(text)
    with pytest.raises(UsageMistake) as failure:
        read_configuration(path)
    assert failure.value.message == f"{path}: {sentence}"
    assert failure.value.hint


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageMistake, match="No such file or directory"):
        read_configuration(tmp_path / "none.toml")
