"""The chain of events: each holds the SHA-256 of itself and of the one before it, so that no change goes unseen.

What is hashed is the event as a line of canonical JSON (keys sorted, no spaces, UTF-8) without its own hash.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import chain

from reconciler.model.live import Event
from reconciler.model.spec import canonical_json, digest_of

PRUNE = "prune"
"""The action of the event that says up to which other one events were removed, and the hash of that one."""


@dataclass(frozen=True, slots=True)
class Head:
    """An event by its number and its hash; 0 and '' before the first."""

    event: int = 0
    hash: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """An event in the chain: with the hash of the one before it, and its own."""

    event: Event
    previous: str
    hash: str

    @property
    def head(self) -> Head:
        """What the next link is tied to."""
        return Head(self.event.id, self.hash)

    def stands_at(self, number: int) -> bool:
        """Is this the event that was recorded under `number`?"""
        return digest_of(line_of(replace(self.event, id=number), self.previous)) == self.hash


@dataclass(frozen=True, slots=True)
class Garbled:
    """A line of a file that is no event; `cut` where it is the end of the file, in the middle of a line."""

    line: int
    cut: bool


class How(StrEnum):
    """In which way a chain is broken."""

    CHANGED = "changed"
    REMOVED = "removed"
    INSERTED = "inserted"
    REORDERED = "reordered"
    CUT_OFF = "cut off"


@dataclass(frozen=True, slots=True)
class Broken:
    """The first place at which a chain does not hold: at which event, in which way, and what was seen there."""

    event: int
    how: How
    seen: str


@dataclass(frozen=True, slots=True)
class Whole:
    """A chain that holds: how many events, the first of them and the last."""

    count: int
    first: int
    head: Head


def tie(event: Event, previous: str) -> Link:
    """Make the link of `event` behind the one whose hash is `previous`."""
    return Link(event, previous, digest_of(line_of(event, previous)))


def line_of(event: Event, previous: str, own: str = "") -> str:
    """Write an event as canonical JSON, with its own hash where that is given."""
    hashed = f'"hash":{canonical_json(own)},' if own else ""
    return (
        f'{{"action":{canonical_json(event.action)},"actor":{canonical_json(event.actor)},'
        f'"after":{_object(event.after)},"at":{canonical_json(event.at)},"before":{_object(event.before)},'
        f'"detail":{canonical_json(event.detail)},"event":{event.id},{hashed}"kind":{canonical_json(event.kind)},'
        f'"origin":{canonical_json(event.origin)},"outcome":{canonical_json(event.outcome)},'
        f'"plan":{canonical_json(event.plan)},"previous":{canonical_json(previous)},'
        f'"revision":{canonical_json(event.revision)},'
        f'"space":{canonical_json(event.space)},"subject":{canonical_json(event.subject)}}}'
    )


def read_line(line: bytes) -> Link | None:
    """Read what `line_of` wrote with a hash; None where it is not that, byte for byte."""
    try:
        fields = json.loads(line)
        own, previous, number = str(fields.pop("hash")), str(fields.pop("previous")), int(fields.pop("event"))
        before, after = ("" if fields[name] is None else canonical_json(fields[name]) for name in ("before", "after"))
        found = Link(Event(**{**fields, "id": number, "before": before, "after": after}), previous, own)
        return found if line_of(found.event, previous, own).encode() == line else None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def check(links: Iterable[Link | Garbled], head: Head) -> Whole | Broken:
    """Go through a chain that ends at `head`; what was pruned at its beginning has to be told by the last prune in it."""
    rest = iter(links)
    first = next(rest, None)
    if first is None:
        return Broken(1, How.CUT_OFF, f"{_to(1, head.event)} missing") if head.event else Whole(0, 0, head)
    begin = last = _begin(first)
    pruned = Head()
    count = 0
    for link in chain((first,), rest):
        if isinstance(link, Garbled):
            return _garbled(link, last.event + 1)
        if link.event.id > head.event:
            return Broken(
                link.event.id, How.INSERTED, f"it stands behind event {head.event}, the last that was recorded"
            )
        if link.event.id != last.event + 1 or not _holds(link, last):
            return _diagnosed(link, last, rest)
        if link.event.action == PRUNE:
            pruned = _pruned(link.event)
        last = link.head
        count += 1
    if fault := _beginning(begin, pruned):
        return fault
    if last.event < head.event:
        return Broken(last.event + 1, How.CUT_OFF, f"{_to(last.event + 1, head.event)} missing at the end")
    if last != head:
        return Broken(last.event, How.CHANGED, "its hash is not the one that was recorded last")
    return Whole(count, begin.event + 1, head)


def check_selection(links: Iterable[Link | Garbled], head: Head) -> Whole | Broken:
    """Go through some events of a chain that ends at `head`, in its order; whether one is missing cannot be told."""
    last, first, count = Head(), 0, 0
    for link in links:
        if isinstance(link, Garbled):
            return _garbled(link, last.event + 1)
        number = link.event.id
        if number <= last.event:
            return Broken(number, How.REORDERED, f"it stands behind event {last.event}")
        if number > head.event:
            return Broken(number, How.INSERTED, f"it stands behind event {head.event}, the last that was recorded")
        if not link.stands_at(number) or (number == last.event + 1 and link.previous != last.hash):
            return Broken(number, How.CHANGED, "it is not what its hash was made of")
        last, first, count = link.head, first or number, count + 1
    return Whole(count, first, head)


def _object(text: str) -> str:
    """Return what an event holds as before or after, so that nothing else can stand for it."""
    if not text:
        return "null"
    return text if text.startswith("{") else canonical_json(text)


def _begin(first: Link | Garbled) -> Head:
    """Return what the first link is tied to: nothing, or the last event that was pruned."""
    if isinstance(first, Garbled) or not first.previous:
        return Head()
    return Head(first.event.id - 1, first.previous)


def _beginning(begin: Head, pruned: Head) -> Broken | None:
    """Compare what a chain is tied to with what the last prune tells."""
    if begin == pruned:
        return None
    if begin.event > pruned.event:
        missing = max(0, pruned.event) + 1
        return Broken(missing, How.REMOVED, f"{_to(missing, begin.event)} missing, and no prune tells of it")
    if begin.event < pruned.event:
        return Broken(begin.event + 1, How.INSERTED, f"the events up to {pruned.event} were pruned")
    return Broken(begin.event + 1, How.CHANGED, "it was recorded behind another one")


def _holds(link: Link, last: Head) -> bool:
    return link.previous == last.hash and link.stands_at(link.event.id)


def _pruned(event: Event) -> Head:
    """Return what a prune tells, or what no chain begins with where that is not understood."""
    try:
        told = json.loads(event.after)
        return Head(int(told["event"]), str(told["hash"]))
    except (ValueError, TypeError, KeyError):
        return Head(-1)


def _garbled(found: Garbled, expected: int) -> Broken:
    if found.cut:
        return Broken(expected, How.CUT_OFF, f"line {found.line} ends in the middle")
    return Broken(expected, How.CHANGED, f"line {found.line} is no event")


def _diagnosed(link: Link, last: Head, rest: Iterator[Link | Garbled]) -> Broken:
    """Say what happened where `link` does not follow `last`; looks through all that comes after it."""
    expected, found = last.event + 1, link.event.id
    if found < expected:
        return Broken(found, How.INSERTED, f"it stands a second time, behind event {last.event}")
    if found == expected and link.stands_at(found):
        return Broken(last.event or 1, How.CHANGED, f"event {found} was recorded behind another one")
    if found == expected and link.stands_at(found - 1):
        return Broken(found - 1, How.INSERTED, f"what was recorded as event {found - 1} stands as event {found}")
    original, true = _places(link, expected, rest)
    if found > expected:
        if original:
            return Broken(expected, How.REORDERED, f"it stands behind event {found}")
        return Broken(expected, How.REMOVED, f"{_to(expected, found - 1)} missing")
    if original and true:
        return Broken(found, How.REORDERED, f"in its place stands what was recorded as event {true}")
    if original:
        return Broken(found, How.INSERTED, f"what was recorded as event {found} stands as event {original}")
    if true or link.stands_at(found + 1):
        return Broken(found, How.REMOVED, f"in its place stands what was recorded as event {true or found + 1}")
    return Broken(found, How.CHANGED, "it is not what its hash was made of")


def _places(link: Link, expected: int, rest: Iterator[Link | Garbled]) -> tuple[int, int]:
    """Find where the event that is `expected` stands now, and as which later one `link` was recorded; 0 is nowhere."""
    original = true = 0
    for other in rest:
        if isinstance(other, Link):
            original = original or (other.event.id if other.stands_at(expected) else 0)
            true = true or (other.event.id if link.stands_at(other.event.id) else 0)
        if original and true:
            break
    return original, true


def _to(first: int, last: int) -> str:
    return f"event {first} is" if first >= last else f"events {first} to {last} are"
