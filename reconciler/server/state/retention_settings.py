"""What the server's configuration says of how long things are kept."""

from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from reconciler.model.text import Duration

FOREVER: Literal["forever"] = "forever"
LEAST = 3_600.0
"""Seconds of the shortest span: what has just ended is still being looked at."""


def _long_enough(span: Duration) -> Duration:
    if span.seconds < LEAST:
        raise ValueError(f"{span} is less than an hour")
    return span


Span: TypeAlias = Annotated[Duration, AfterValidator(_long_enough)] | Literal["forever"]


class RetentionTable(BaseModel):
    """`[retention]`: how long things are kept after they have ended; `forever` keeps them."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    tasks: Span = Field(Duration("90d"), description="Tasks with their steps, outputs and what they pinned.")
    tasks_per_slot: int = Field(
        3, ge=1, description="As many of the newest tasks of each project, environment and tenant always stay."
    )
    logs: Span = Field(Duration("30d"), description="What attempts printed.")
    artifacts: Span = Field(Duration("30d"), description="Files that attempts left.")
    audit: Span = Field(Duration("400d"), description="Events of the audit.")

    def cut(self, span: Span, now: float) -> float | None:
        """Return the moment before which things go; None where they stay."""
        return now - span.seconds if isinstance(span, Duration) else None


KEEPING: RetentionTable = RetentionTable(tasks=FOREVER, logs=FOREVER, artifacts=FOREVER, audit=FOREVER)
"""What commands without a configuration do: nothing is removed."""
