"""What the server's configuration says of each source: where it is, how it is reached, who may sign, who may call."""

import re
from pathlib import Path
from posixpath import normpath
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from reconciler.declare.mirror import SCP_LIKE, Login, Mirror, Remote, host_by_ssh
from reconciler.declare.names import WHOLE
from reconciler.declare.signatures import Signers
from reconciler.model.text import Duration, Removals
from reconciler.server.forge.settings import ForgeTable
from reconciler.server.readable import Readable, ReadableSecret
from reconciler.server.sources.policy import Policy
from reconciler.server.sources.sources import Fetched

PROXY = re.compile(r"http://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}/?")
SCHEMES = ("https", "http", "ssh", "file")
SPACE = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"


def _url(url: str) -> str:
    if url.startswith("/") or SCP_LIKE.fullmatch(url):
        return url
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise ValueError(
            f"an address begins with one of {', '.join(f'{name}://' for name in SCHEMES)}, or is an absolute path"
        )
    if parts.password is not None or (parts.username and parts.scheme.startswith("http")):
        raise ValueError("credentials do not belong into the address; name them in username and password_file")
    host_by_ssh(url)  # its port is one
    return url


def _proxy(url: str) -> str:
    if url and not PROXY.fullmatch(url):
        raise ValueError("a proxy is written as http://HOST:PORT, without credentials")
    return url


def _folder(path: str) -> str:
    folder = normpath(path) if path else "."
    if folder.startswith("/") or folder.split("/")[0] == "..":
        raise ValueError(f"{path} leads out of the repository")
    return "" if folder == "." else folder


def _path(file: str | None) -> Path | None:
    return Path(file) if file is not None else None


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class LoginTable(_Table):
    """`[source.login]`: how the repository is reached."""

    username: str = Field("", description="The name that is given over https.")
    password_file: ReadableSecret | None = Field(None, description="A file whose first line is the password or token.")
    ssh_key_file: ReadableSecret | None = Field(None, description="The private key for ssh, without a passphrase.")
    known_hosts_file: Readable | None = Field(
        None, description="The host keys that are trusted, as ssh writes them; no other host is spoken with."
    )
    ca_file: Readable | None = Field(None, description="Certificates that sign the server's, in PEM.")
    proxy: Annotated[str, AfterValidator(_proxy)] = Field(
        "", description="An HTTP proxy that https and ssh go through, `http://HOST:PORT`."
    )

    def login(self) -> Login:
        """Return it as fetches are made with."""
        return Login(
            self.username,
            _path(self.password_file),
            _path(self.ssh_key_file),
            _path(self.known_hosts_file),
            _path(self.ca_file),
            self.proxy,
        )


class SignaturesTable(_Table):
    """`[source.signatures]`: what has to be signed, and by whom; without it nothing has to be."""

    of: Literal["commit", "tag"] = Field("commit", description="Whether the head or the tag that names it is signed.")
    every: bool = Field(False, description="Whether each commit since the one carried out last is signed, too.")
    ssh_allowed_signers_file: Readable | None = Field(None, description="Who may sign with SSH keys: `man ssh-keygen`.")
    gpg_keys_file: Readable | None = Field(None, description="Exported public keys of those who may sign with GPG.")

    @model_validator(mode="after")
    def _somebody(self) -> "SignaturesTable":
        if self.ssh_allowed_signers_file is None and self.gpg_keys_file is None:
            raise ValueError("name who may sign: ssh_allowed_signers_file, gpg_keys_file, or both")
        return self

    def signers(self) -> Signers:
        """Return it as signatures are judged by."""
        return Signers(self.of, self.every, _path(self.ssh_allowed_signers_file), _path(self.gpg_keys_file))


class WebhookTable(_Table):
    """`[source.webhook]`: who may say at `/hooks/SPACE` that the repository has moved."""

    kind: Literal["generic", "github", "gitlab", "gitea"] = Field("generic", description="How a call is signed.")
    secret_file: ReadableSecret = Field(description="A file whose first line is the shared secret.")

    def secret(self) -> bytes:
        """Read the secret, empty where the file has none; raises OSError."""
        return Path(self.secret_file).read_bytes().partition(b"\n")[0].strip()


class SourceTable(_Table):
    """`[[source]]`: one space, and the repository that it is declared in."""

    space: str = Field(
        pattern=SPACE,
        description="The name of the space; its state is the folder or the schema of that name in `--data`.",
    )
    url: Annotated[str, AfterValidator(_url)] = Field(
        description="The repository: `https://`, `ssh://`, `NAME@HOST:PATH`, `file://` or an absolute path."
    )
    branch: str | None = Field(None, description="The branch that is followed; `main` where nothing is named.")
    tag: str | None = Field(None, description="The tag that is followed, instead of a branch.")
    commit: str | None = Field(
        None, pattern=f"^({WHOLE.pattern})$", description="The one commit that is carried out, by its whole name."
    )
    path: Annotated[str, AfterValidator(_folder)] = Field(
        "", description="The folder of the repository that is the space."
    )
    poll: Duration = Field(Duration("1m"), description="Between two looks, a tenth more or less.")
    timeout: Duration = Field(Duration("1m"), description="The most that one fetch may take.")
    agents: str | None = Field(None, description="`HOST:PORT` where polling agents of this space call.")
    removals_max: Removals = Field(
        Removals("100%"), description="The most that one plan may remove of a kind, whoever approves it."
    )
    login: LoginTable | None = Field(None, description="How it is reached; nothing is needed for a path.")
    signatures: SignaturesTable | None = Field(None, description="Who has to have signed; nobody where it is left out.")
    forge: ForgeTable | None = Field(None, description="The forge that hears what became of commits.")
    webhook: WebhookTable | None = Field(
        None, description="Who may say that it has moved; nobody where it is left out."
    )

    @model_validator(mode="after")
    def _one_ref(self) -> "SourceTable":
        if sum(name is not None for name in (self.branch, self.tag, self.commit)) > 1:
            raise ValueError("name one of branch, tag and commit")
        if self.signatures is not None and self.signatures.of == "tag" and self.tag is None:
            raise ValueError("signatures of tags need a tag to follow")
        return self

    @property
    def ref(self) -> str:
        """Return what is followed, as git names it."""
        if self.commit is not None:
            return self.commit
        return f"refs/tags/{self.tag}" if self.tag is not None else f"refs/heads/{self.branch or 'main'}"

    def source(self, files: Path) -> Fetched:
        """Return the source; its mirror and keyrings lie in the folder `files`."""
        url = f"file://{self.url}" if self.url.startswith("/") else self.url
        remote = Remote(url, self.ref, self.login.login() if self.login is not None else Login(), self.timeout.seconds)
        signers = self.signatures.signers() if self.signatures is not None else None
        return Fetched(Mirror(files / "mirror", remote), self.space, self.path, signers, files / "keyrings")

    def policy(self, *, new_state: bool, adopt: bool) -> Policy:
        """Return what the operator decided."""
        return Policy(self.poll.seconds, new_state, adopt, self.removals_max)
