"""Lists in pages: each says what to ask for the next one with."""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

LIMIT_MAX = 1_000
LIMIT = 200

Item = TypeVar("Item")


class Page(BaseModel, Generic[Item]):
    """A part of a list."""

    model_config = ConfigDict(json_schema_extra={"description": "A part of a list."})  # not taken over from a generic

    items: list[Item] = Field(description="What is listed.")
    next: str | None = Field(None, description="What `after` is for the next page; absent on the last one.")


def page_of(found: Sequence[Item], key: Callable[[Item], str], after: str | None, limit: int) -> Page[Item]:
    """Return a page of a whole list, whose items have keys that differ; an unknown `after` is behind the end."""
    start = 0
    if after is not None:
        start = next((index + 1 for index, item in enumerate(found) if key(item) == after), len(found))
    items = list(found[start : start + limit])
    more = start + limit < len(found)
    return Page(items=items, next=key(items[-1]) if more else None)
