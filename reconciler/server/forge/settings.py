"""What the server's configuration says of the forge that a source lies on, and that is told what became of commits."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from reconciler.server.forge.forges import Forge, forge_of
from reconciler.server.forge.line import Line
from reconciler.server.forge.tokens import read_token
from reconciler.server.readable import Readable, ReadableSecret

ADDRESSES = {"github": "https://api.github.com", "gitlab": "https://gitlab.com/api/v4"}
"""Where the API of a kind is, unless somebody runs a forge of his own."""


class ForgeTable(BaseModel):
    """`[source.forge]`: where the statuses of commits are told."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    kind: Literal["github", "gitlab", "gitea"] = Field(description="Whose API it speaks; Forgejo speaks that of Gitea.")
    repository: str = Field(min_length=1, description="`OWNER/NAME`; on GitLab the path of the project, or its number.")
    token_file: ReadableSecret = Field(description="A file whose first line is a token that may write statuses.")
    api_url: str = Field(
        "", description="The address of the API; on Gitea, and where somebody runs a forge of his own, it is needed."
    )
    ca_file: Readable | None = Field(None, description="Certificates that sign the forge's, in PEM.")
    context: str = Field("", description="What the status is called; `reconcile/SPACE` where nothing is named.")
    target_url: str = Field("", description="Where the status leads to, such as the server's own page.")

    @model_validator(mode="after")
    def _reached(self) -> "ForgeTable":
        if not (self.api_url or self.kind in ADDRESSES):
            raise ValueError(f"name the api_url: there is no {self.kind} that everybody uses")
        Line(self.address, "")
        return self

    @property
    def address(self) -> str:
        """Return where the API is."""
        return self.api_url or ADDRESSES[self.kind]

    def forge(self) -> Forge:
        """Return the forge; raises OSError where the token cannot be read, UsageMistake where there is none."""
        return forge_of(self.kind, Line(self.address, read_token(self.token_file), self.ca_file), self.repository)
