"""The options that choose what is planned, as people write them."""

from collections.abc import Sequence

from pydantic_core import PydanticCustomError

from reconciler.model.errors import UsageMistake
from reconciler.model.spec import Address
from reconciler.model.text import Removals
from reconciler.plan.planner import Options


def options_of(
    targets: Sequence[str], excludes: Sequence[str], max_removals: str | None, *, retry_failed: bool
) -> Options:
    """Read the options; raises UsageMistake."""
    try:
        allowed = Removals.check(max_removals) if max_removals is not None else None
    except PydanticCustomError as error:
        raise UsageMistake(f"--max-removals {max_removals}: {error.message()}") from error
    return Options(_addresses(targets), _addresses(excludes), allowed, retry_failed)


def _addresses(texts: Sequence[str]) -> tuple[Address, ...]:
    try:
        return tuple(Address.parse(text) for text in texts)
    except ValueError as error:
        raise UsageMistake(str(error)) from error
