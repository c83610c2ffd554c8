"""Variables people declare: values, the scopes they hold in, and where secrets come from."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from reconciler.model.spec import Ref, Spec
from reconciler.model.text import Name, Text
from reconciler.model.text import Tag as TenantTag

VARIABLE_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$"


class SecretSource(Spec):
    """Where a secret comes from; resolved at dispatch only, never by `validate` or `plan`."""

    env: Text | None = Field(None, description="The name of an environment variable of the engine.")
    file: Text | None = Field(
        None, description="A file below the space's root; under a server in an allowed directory, or absolute in one."
    )
    age: Text | None = Field(None, description="Text encrypted with age, armoured.")
    command: tuple[Text, ...] | None = Field(None, description="A program and its arguments; embedded use only.")
    source: Text | None = Field(None, description="A command source that the server's configuration names.")
    key: Text | None = Field(None, description="What to ask the named source for.")

    @model_validator(mode="after")
    def _exactly_one(self) -> "SecretSource":
        given = [name for name in ("env", "file", "age", "command", "source") if getattr(self, name) is not None]
        if len(given) != 1:
            raise PydanticCustomError(
                "bad-secret", "a secret names exactly one of env, file, age, command or source with key"
            )
        if (self.source is None) != (self.key is None):
            raise PydanticCustomError("bad-secret", "source and key belong together")
        return self


def _value_shape(value: object) -> str:
    return "source" if isinstance(value, dict | SecretSource) else "text"


VariableValue = Annotated[
    Annotated[Text, Tag("text")] | Annotated[SecretSource, Tag("source")], Discriminator(_value_shape)
]
"""A text, or the source of one."""


class Scope(Spec):
    """Where a value holds: OR within one key, AND across keys; empty holds everywhere."""

    environments: tuple[Annotated[Name, Ref("Environment")], ...] = Field((), description="In these environments.")
    tenants: tuple[Annotated[Name, Ref("Tenant")], ...] = Field((), description="For these tenants.")
    tenant_tags: tuple[TenantTag, ...] = Field((), description="For tenants that bear one of these tags.")
    targets: tuple[Annotated[Name, Ref("DeploymentTarget")], ...] = Field((), description="On these targets.")
    target_tags: tuple[Text, ...] = Field((), description="On targets that bear one of these tags.")
    steps: tuple[Text, ...] = Field((), description="In the steps with these ids.")
    processes: tuple[Name, ...] = Field((), description="In the processes of these projects or runbooks.")


class ScopedValue(Spec):
    """One value of a variable, where its scope holds."""

    value: VariableValue = Field(description="The value, or its source.")
    scope: Scope = Field(Scope.model_construct(), description="Where it holds; absent, everywhere.")


VariableType = Literal["string", "sensitive", "workerPool", "account", "certificate", "package"]


class Variable(Spec):
    """A named value of a project or a shared set."""

    name: Annotated[Text, Field(pattern=VARIABLE_PATTERN)] = Field(description="A dotted name such as Db.Password.")
    type: VariableType = Field("string", description="What the value is; sensitive values are never shown.")
    value: VariableValue | None = Field(None, description="The value everywhere; exactly one of value and values.")
    values: tuple[ScopedValue, ...] | None = Field(None, description="Values by scope.")
    description: Text = Field("", description="What it is for.")

    @model_validator(mode="after")
    def _exactly_one(self) -> "Variable":
        if (self.value is None) == (self.values is None):
            raise PydanticCustomError("bad-variable", "a variable has exactly one of value and values")
        return self

    def scoped(self) -> tuple[ScopedValue, ...]:
        """Return every value with its scope, a plain `value` as one without scope."""
        if self.value is not None:
            return (ScopedValue(value=self.value),)
        return self.values or ()
