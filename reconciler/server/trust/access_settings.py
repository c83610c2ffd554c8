"""What the server's configuration says of its HTTP side: TLS, how often a caller may call, whose tokens are trusted."""

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from reconciler.model.access import EVERY_SPACE, ROLES
from reconciler.model.errors import UsageMistake
from reconciler.server.binding import address_of
from reconciler.server.readable import Readable, ReadableSecret


def is_loopback(host: str) -> bool:
    """Say whether a host is this machine alone."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _role(role: str) -> str:
    if role not in ROLES:
        raise ValueError(f'there is no role "{role}"; there are {", ".join(ROLES)}')
    return role


def _https(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        return url
    raise ValueError("keys are fetched by https:// alone")


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class HttpTable(_Table):
    """`[http]`: how the address of `--http` is protected."""

    tls_certificate: Readable | None = Field(None, description="The certificate chain that is shown, in PEM.")
    tls_key: ReadableSecret | None = Field(None, description="Its private key, in PEM, without a passphrase.")
    behind_proxy: bool = Field(
        False, description="Something before the server speaks TLS with callers, and nobody else reaches it."
    )
    rate: float = Field(50.0, gt=0.0, description="Requests a second that one token may make.")
    burst: int = Field(200, ge=1, description="Requests that it may make at once after a pause.")

    @model_validator(mode="after")
    def _whole(self) -> "HttpTable":
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together")
        return self

    def check(self, http: str) -> None:
        """Raise UsageMistake where tokens would pass an address in clear."""
        if self.tls_certificate is None and not self.behind_proxy and not is_loopback(address_of(http)[0]):
            raise UsageMistake(
                f"tokens would reach {http} in clear",
                "name tls_certificate and tls_key in [http] of the configuration, or say behind_proxy = true,"
                " or use 127.0.0.1",
            )


class OidcTable(_Table):
    """`[[oidc]]`: whose tokens are trusted, of which subjects, and what those may do."""

    issuer: str = Field(min_length=1, description="What `iss` is, to the letter.")
    audience: str = Field(min_length=1, description="What `aud` is or holds.")
    jwks_url: Annotated[str, AfterValidator(_https)] | None = Field(
        None, description="Where the issuer shows its public keys."
    )
    jwks_file: Readable | None = Field(None, description="A file with its public keys instead.")
    subject: str = Field(min_length=1, description="What `sub` is; `*` stands for anything, `?` for one letter.")
    claims: dict[str, str] = Field({}, description="Other claims and what they are, with `*` and `?` as well.")
    roles: list[Annotated[str, AfterValidator(_role)]] = Field(min_length=1, description="The roles that are given.")
    spaces: list[str] = Field(min_length=1, description=f"In which spaces; `{EVERY_SPACE}` is every one.")

    @model_validator(mode="after")
    def _one(self) -> "OidcTable":
        if (self.jwks_url is None) == (self.jwks_file is None):
            raise ValueError("name one of jwks_url and jwks_file")
        return self

    @property
    def keys(self) -> str | Path:
        """Where the keys are: an address or a file."""
        return Path(self.jwks_file) if self.jwks_file is not None else str(self.jwks_url)
