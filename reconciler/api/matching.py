"""What `If-Match` names: a write is refused where what it is about is not what the caller has read."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, is_dataclass
from hashlib import sha256
from typing import Annotated

from fastapi import Header, Response

from reconciler.api.faults import ApiFault
from reconciler.model.spec import canonical_json
from reconciler.store.database import Transaction

Match = Annotated[
    str | None,
    Header(
        alias="If-Match",
        max_length=1_000,
        description="The `ETag` of what this is about, as it was read; where it is another by now, nothing is done: 412.",
    ),
]


@dataclass(frozen=True, slots=True)
class Premise:
    """What a write rests on: the tags that a caller names, and how to read what they are tags of; None is nothing."""

    tags: str | None
    read: Callable[[Transaction], object | None]

    def check(self, tx: Transaction) -> None:
        """Raise 412 where none of the tags is that of what stands in the state now."""
        if self.tags is None:
            return
        now, named = self.read(tx), {part.strip() for part in self.tags.split(",")}
        if "*" in named and now is not None:
            return
        if tag_of(now) not in named:
            raise ApiFault(412, "it is not what it was when it was read", "read it again, and decide anew", code=3)


def tag_of(thing: object | None) -> str:
    """Return the `ETag` of a dataclass, or of nothing."""
    known = asdict(thing) if is_dataclass(thing) and not isinstance(thing, type) else None
    return f'"{sha256(canonical_json({"is": known}).encode()).hexdigest()[:32]}"'


def tagged(response: Response, thing: object | None) -> None:
    """Give an answer the tag of the thing that it shows."""
    response.headers["etag"] = tag_of(thing)
