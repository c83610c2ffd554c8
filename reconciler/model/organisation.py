"""What work is done for and with: environments, tenants, feeds, accounts, certificates, teams."""

from typing import Annotated

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from reconciler.model.spec import Ref, Spec
from reconciler.model.text import Name, Text
from reconciler.model.text import Tag as TenantTag
from reconciler.model.variables import SecretSource, Variable


class EnvironmentSpec(Spec):
    """A stage that releases pass through."""

    description: Text = Field("", description="What it is for.")
    guided_failure: bool = Field(False, description="Pause for a person when a step fails.")
    sort_order: int = Field(0, description="Its place in listings.")


class TagEntry(Spec):
    """One tag of a set."""

    name: Name = Field(description="The tag, written `tagset/tag` elsewhere.")
    description: Text = Field("", description="What it means.")


class TagSetSpec(Spec):
    """Tags that tenants may bear."""

    tags: tuple[TagEntry, ...] = Field(description="The tags.")


class TenantSpec(Spec):
    """A customer that releases are deployed for."""

    tags: tuple[TenantTag, ...] = Field((), description="Tags, written `tagset/tag`.")
    projects: dict[Annotated[Name, Ref("Project")], tuple[Annotated[Name, Ref("Environment")], ...]] = Field(
        {}, description="The projects it takes, each with its environments."
    )
    variables: tuple[Variable, ...] = Field((), description="Values for this tenant.")


class VariableSetSpec(Spec):
    """Variables that several projects share."""

    variables: tuple[Variable, ...] = Field((), description="The variables.")


def _exactly_one(spec: Spec, names: tuple[str, ...], what: str) -> None:
    if len([name for name in names if getattr(spec, name) is not None]) != 1:
        shown = ", ".join(type(spec).model_fields[name].alias or name for name in names)
        raise PydanticCustomError("exactly-one", "{what} has exactly one of {names}", {"what": what, "names": shown})


class DirectoryFeed(Spec):
    """Packages as files in a directory."""

    path: Text = Field(description="The directory.")


class UrlFeed(Spec):
    """Packages behind an address."""

    url: Text = Field(description="The address.")


class S3Feed(Spec):
    """Packages in a bucket."""

    bucket: Text = Field(description="The bucket.")
    prefix: Text = Field("", description="What the keys begin with.")
    endpoint: Text | None = Field(None, description="The address of an S3-compatible service.")


class GithubFeed(Spec):
    """Packages as files of GitHub releases."""

    repository: Text = Field(description="owner/name.")


class PackageFeedSpec(Spec):
    """Where packages come from: exactly one source."""

    directory: DirectoryFeed | None = Field(None, description="Files in a directory.")
    http: UrlFeed | None = Field(None, description="An HTTP index.")
    s3: S3Feed | None = Field(None, description="An S3-compatible bucket.")
    oci: UrlFeed | None = Field(None, description="An OCI registry.")
    nuget: UrlFeed | None = Field(None, description="A NuGet feed.")
    maven: UrlFeed | None = Field(None, description="A Maven repository.")
    pypi: UrlFeed | None = Field(None, description="A Python package index.")
    github: GithubFeed | None = Field(None, description="GitHub releases.")
    account: Annotated[Name, Ref("Account")] | None = Field(None, description="The account that reads it.")

    @model_validator(mode="after")
    def _one(self) -> "PackageFeedSpec":
        _exactly_one(self, ("directory", "http", "s3", "oci", "nuget", "maven", "pypi", "github"), "a feed")
        return self


class AwsAccount(Spec):
    """An AWS access key."""

    access_key: Text = Field(description="The key's id.")
    secret_key: SecretSource = Field(description="Where the secret key comes from.")
    role: Text | None = Field(None, description="A role to assume.")


class AzureAccount(Spec):
    """An Azure service principal."""

    tenant: Text = Field(description="The directory.")
    client: Text = Field(description="The application.")
    secret: SecretSource = Field(description="Where its secret comes from.")
    subscription: Text | None = Field(None, description="The subscription.")


class GcpAccount(Spec):
    """A Google service account."""

    key: SecretSource = Field(description="Where the key file's text comes from.")


class SshKeyAccount(Spec):
    """A user and a private key."""

    username: Text = Field(description="The user.")
    private_key: SecretSource = Field(description="Where the private key comes from.")
    passphrase: SecretSource | None = Field(None, description="Where its passphrase comes from.")


class PasswordAccount(Spec):
    """A user and a password."""

    username: Text = Field(description="The user.")
    password: SecretSource = Field(description="Where the password comes from.")


class TokenAccount(Spec):
    """A bearer token."""

    token: SecretSource = Field(description="Where the token comes from.")


class AccountSpec(Spec):
    """Credentials that steps, feeds and endpoints use: exactly one form, every secret by its source."""

    aws: AwsAccount | None = Field(None, description="AWS.")
    azure: AzureAccount | None = Field(None, description="Azure.")
    gcp: GcpAccount | None = Field(None, description="Google Cloud.")
    ssh_key: SshKeyAccount | None = Field(None, description="A private key.")
    username_password: PasswordAccount | None = Field(None, description="A user and a password.")
    token: TokenAccount | None = Field(None, description="A bearer token.")

    @model_validator(mode="after")
    def _one(self) -> "AccountSpec":
        _exactly_one(self, ("aws", "azure", "gcp", "ssh_key", "username_password", "token"), "an account")
        return self


class PublicFile(Spec):
    """A file of the repository that holds nothing secret."""

    file: Text = Field(description="Relative to the space's root.")


class CertificateSpec(Spec):
    """A certificate and its private key."""

    pem: PublicFile = Field(description="The certificate chain.")
    private_key: SecretSource | None = Field(None, description="Where the private key comes from.")


class ProxySpec(Spec):
    """An HTTP proxy that connections to machines go through."""

    url: Text = Field(description="Its address.")
    account: Annotated[Name, Ref("Account")] | None = Field(None, description="The account it asks for.")


class TeamSpec(Spec):
    """People who may answer."""

    members: tuple[Text, ...] = Field(description="People and groups, as tokens or OIDC subjects name them.")
