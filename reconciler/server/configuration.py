"""The server's configuration: what committers may have done on this machine. A file that says nothing allows nothing."""

import pwd
import tomllib
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from reconciler.execute.secrets import SecretRules
from reconciler.model.errors import UsageMistake
from reconciler.schedule.queue import TASKS_MAX
from reconciler.server.sources.settings import SourceTable
from reconciler.server.state.retention_settings import KEEPING, RetentionTable
from reconciler.server.trust.access_settings import HttpTable, OidcTable

Network = IPv4Network | IPv6Network


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Secrets(_Table):
    """`[secrets]`: where the values of sensitive variables may come from."""

    environment: list[str] = Field([], description="Names or patterns of environment variables, such as `SHOP_*`.")
    directories: list[str] = Field([], description="Absolute directories whose files may be read.")
    sources: dict[str, Annotated[list[str], Field(min_length=1)]] = Field(
        {}, description="Programs by name; a variable's `key` is their last argument."
    )

    @field_validator("directories")
    @classmethod
    def _absolute(cls, directories: list[str]) -> list[str]:
        for directory in directories:
            if not Path(directory).is_absolute():
                raise ValueError(f"{directory} is not absolute")
        return directories

    def rules(self) -> SecretRules:
        """Return them as secrets are resolved by."""
        sources = {name: tuple(program) for name, program in self.sources.items()}
        return SecretRules(tuple(self.environment), tuple(map(Path, self.directories)), sources)


class BuiltinWorker(_Table):
    """`[builtin_worker]`: steps on the server's own machine; off where no key is given."""

    run_as: str | None = Field(None, description="The account that steps run under; the server has to be root.")
    as_server: bool = Field(
        False, description="Run steps as the server itself: every committer can then read the server's keys."
    )
    accounts: list[str] = Field(
        [], description="Accounts beside it that a Space's `builtinWorker.runAs` may name; the server has to be root."
    )

    @model_validator(mode="after")
    def _one(self) -> "BuiltinWorker":
        if self.run_as is not None and self.as_server:
            raise ValueError("run_as and as_server exclude each other")
        return self

    @property
    def enabled(self) -> bool:
        """May steps run on the server's machine at all?"""
        return self.as_server or bool(self.named)

    @property
    def named(self) -> list[str]:
        """The accounts that steps may run under."""
        return [*([self.run_as] if self.run_as is not None else []), *self.accounts]


class TasksTable(_Table):
    """`[tasks]`: how many tasks the server runs."""

    running_max: Annotated[int, Field(ge=1, le=1_000)] = Field(
        TASKS_MAX, description="Tasks of one space that run at a time; a Space's `taskQuota` may be less."
    )


class NetworkRules(_Table):
    """`[network]`: which addresses the server may dial for listening agents and proxies."""

    dial: list[str] = Field([], description="Networks that may be dialled beside ordinary unicast addresses.")
    never: list[str] = Field([], description="Networks that are never dialled, even if they are ordinary addresses.")

    @field_validator("dial", "never")
    @classmethod
    def _networks(cls, networks: list[str]) -> list[str]:
        for network in networks:
            ip_network(network)
        return networks

    def forbids(self, address: str) -> str | None:
        """Say why an address may not be dialled, or None if it may."""
        found = _plain(ip_address(address.partition("%")[0]))
        if any(found in ip_network(network) for network in self.never):
            return f"the server's configuration forbids to dial {address}"
        if any(found in ip_network(network) for network in self.dial):
            return None
        if found.is_loopback or found.is_link_local or found.is_multicast or found.is_unspecified or found.is_reserved:
            return (
                f"{address} is no ordinary unicast address, and the server's configuration does not allow it; "
                "add its network to [network] dial"
            )
        return None


class Configuration(_Table):
    """Everything that `serve --config FILE` may say."""

    secrets: Secrets = Secrets()
    builtin_worker: BuiltinWorker = BuiltinWorker()
    tasks: TasksTable = TasksTable()
    network: NetworkRules = NetworkRules()
    http: HttpTable = HttpTable.model_construct()
    retention: RetentionTable = RetentionTable.model_construct()
    oidc: list[OidcTable] = Field([], description="Issuers whose tokens are trusted by the API.")
    source: list[SourceTable] = Field([], description="The repositories that are followed, each a space.")

    @field_validator("source")
    @classmethod
    def _apart(cls, sources: list[SourceTable]) -> list[SourceTable]:
        names = [source.space for source in sources]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f'the space "{name}" has more than one source')
        return sources


EMBEDDED: Configuration = Configuration(
    builtin_worker=BuiltinWorker(as_server=True),
    network=NetworkRules(dial=["0.0.0.0/0", "::/0"]),
    retention=KEEPING,
)
"""What `apply` without a server may do: whoever runs it acts for himself."""


def read_configuration(path: Path | None) -> Configuration:
    """Read the file; raises UsageMistake, naming each fault, where it is not as it must be."""
    if path is None:
        return Configuration()
    try:
        found = Configuration.model_validate(tomllib.loads(path.read_text()))
    except OSError as error:
        raise UsageMistake(f"{path}: {error.strerror}", "name another file with --config") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageMistake(f"{path}: {error}", "the file is TOML; see docs/server.md") from None
    except ValidationError as error:
        faults = "; ".join(f"{_place(fault['loc'])}: {_sentence(fault)}" for fault in error.errors())
        raise UsageMistake(f"{path}: {faults}", "docs/server.md lists every key") from None
    for account in found.builtin_worker.named:
        _check_account(path, account)
    return found


def _check_account(path: Path, account: str) -> None:
    try:
        pwd.getpwnam(account)
    except KeyError:
        raise UsageMistake(
            f'{path}: builtin_worker: there is no account "{account}" on this machine',
            "make it, or name another",
        ) from None


def _place(location: tuple[int | str, ...]) -> str:
    return ".".join(map(str, location)) or "the file"


def _sentence(fault: object) -> str:
    assert isinstance(fault, dict), "pydantic describes a fault by a dictionary"
    if fault["type"] == "extra_forbidden":
        return "there is no such key"
    return str(fault["msg"]).removeprefix("Value error, ")


def _plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address that an IPv6 one stands for, so that `::ffff:127.0.0.1` is loopback."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
