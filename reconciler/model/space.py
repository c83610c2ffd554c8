"""The settings of a space: one repository, or one folder of it."""

from typing import Annotated, Literal

from pydantic import Field

from reconciler.model.spec import Spec
from reconciler.model.text import Removals, Text


class BuiltinWorker(Spec):
    """The server's own machine, within what the server's configuration allows."""

    enabled: bool = Field(True, description="May steps run on the server's own machine?")
    run_as: Text | None = Field(None, description="The account steps run under; null is the engine's own.")


class SpaceSpec(Spec):
    """How one repository, or one folder of it, is read and applied."""

    include: tuple[Text, ...] = Field(
        ("**/*.yaml", "**/*.yml"), description="Files to read; never .git or hidden folders."
    )
    exclude: tuple[Text, ...] = Field((), description="Files to leave out.")
    builtin_worker: BuiltinWorker = Field(
        BuiltinWorker.model_construct(), description="The server's own machine as a worker."
    )
    task_quota: Annotated[int, Field(ge=1)] | None = Field(
        None, description="At most this many of a node's running tasks."
    )
    apply: Literal["atomic", "isolated"] = Field(
        "atomic",
        description="atomic: one refused object stops the plan before the first write; "
        "isolated: refused ones and their dependants are left out.",
    )
    approval: Literal["auto", "manual"] = Field("auto", description="manual: plans wait for `approve PLAN`.")
    drift: Literal["correct", "report", "ignore"] = Field(
        "correct", description="What to do about changes behind Git's back."
    )
    max_removals: Removals = Field(
        Removals("25%"), description="Workers, pools, targets and accounts that one apply may remove, per kind."
    )
    worker_names: Text | None = Field(None, description="A regular expression that worker names are checked against.")
