"""Whatever is done to a chain of events, or to a file that was exported from one, is found, and named where it is first."""

from collections.abc import Sequence
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.errors import UsageMistake
from reconciler.model.live import Event
from reconciler.model.spec import canonical_json
from reconciler.store.audit import ALL, Selection
from reconciler.store.chain import Broken, Head, How, Link, Whole, check, line_of, read_line, tie
from reconciler.store.exports import check_export, export

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
OBJECT = st.one_of(
    st.just(""), st.dictionaries(TEXT, st.one_of(TEXT, st.integers(), st.none()), max_size=2).map(canonical_json)
)
EVENT = st.builds(
    Event, at=st.floats(0, 4e9), actor=TEXT, action=TEXT, subject=TEXT, outcome=TEXT, revision=TEXT, detail=TEXT,
    kind=TEXT, origin=TEXT, space=TEXT, plan=TEXT, before=OBJECT, after=OBJECT,
)  # fmt: skip
EVENTS = st.lists(EVENT, min_size=2, max_size=8)
FIELDS = [field.name for field in fields(Event) if field.name != "id"]


def chained(events: Sequence[Event], begin: Head = Head()) -> list[Link]:  # noqa: B008 - it cannot change
    links: list[Link] = []
    last = begin
    for event in events:
        links.append(tie(replace(event, id=last.event + 1), last.hash))
        last = links[-1].head
    return links


def seven() -> list[Link]:
    return chained([Event(float(n), "ann", "update", f"Worker/{n}") for n in range(1, 8)])


def found(links: Sequence[Link], head: Head | None = None) -> Whole | Broken:
    return check(links, head or seven()[-1].head)


def standing_at(number: int, link: Link) -> Link:
    """Return a row whose number was changed, and nothing else of it."""
    return replace(link, event=replace(link.event, id=number))


def renumbered(links: Sequence[Link]) -> list[Link]:
    return [standing_at(number, link) for number, link in enumerate(links, 1)]


@given(EVENTS)
def test_a_chain_that_nobody_touched_holds(events: list[Event]) -> None:
    links = chained(events)
    assert check(links, links[-1].head) == Whole(len(events), 1, links[-1].head)


@given(EVENTS)
def test_a_line_is_read_back_as_it_was(events: list[Event]) -> None:
    for link in chained(events):
        assert read_line(line_of(link.event, link.previous, link.hash).encode()) == link


@given(EVENTS, st.data())
def test_a_field_that_is_changed_is_found_where_it_is(events: list[Event], data: st.DataObject) -> None:
    links = chained(events)
    head = links[-1].head
    place = data.draw(st.integers(0, len(links) - 1))
    name = data.draw(st.sampled_from(FIELDS))
    before = getattr(links[place].event, name)
    other = data.draw((st.floats(0, 4e9) if name == "at" else TEXT).filter(lambda value: value != before))
    links[place] = replace(links[place], event=replace(links[place].event, **{name: other}))  # type: ignore[arg-type]  # drawn for it
    assert check(links, head) == Broken(place + 1, How.CHANGED, "it is not what its hash was made of")


@given(EVENTS, st.data())
def test_no_way_to_move_remove_or_double_events_goes_unseen(events: list[Event], data: st.DataObject) -> None:
    links = chained(events)
    head = links[-1].head
    chosen = data.draw(st.lists(st.sampled_from(links), max_size=10).filter(lambda some: some != links))
    assert isinstance(check(chosen, head), Broken)
    if any(link.event.id != number for number, link in enumerate(chosen, 1)):
        assert isinstance(check(renumbered(chosen), head), Broken)


def test_each_way_to_break_a_chain_is_named() -> None:
    links = seven()
    changed = replace(links[3], event=replace(links[3].event, detail="nothing happened"))
    assert found([*links[:3], changed, *links[4:]]) == Broken(4, How.CHANGED, "it is not what its hash was made of")
    assert found([*links[:2], *links[4:]]) == Broken(3, How.REMOVED, "events 3 to 4 are missing")
    assert found([*links[:2], *links[3:]]) == Broken(3, How.REMOVED, "event 3 is missing")
    assert found([*links[:2], links[4], links[3], links[2], *links[5:]]) == Broken(
        3, How.REORDERED, "it stands behind event 5"
    )
    assert found([*links[:4], links[2], *links[4:]]) == Broken(
        3, How.INSERTED, "it stands a second time, behind event 4"
    )
    assert found(links[:5]) == Broken(6, How.CUT_OFF, "events 6 to 7 are missing at the end")
    assert found([]) == Broken(1, How.CUT_OFF, "events 1 to 7 are missing")
    assert found(links[3:]) == Broken(1, How.REMOVED, "events 1 to 3 are missing, and no prune tells of it")


def test_events_that_were_given_other_numbers_are_named() -> None:
    links = seven()
    swapped = renumbered([*links[:2], links[4], links[3], links[2], *links[5:]])
    assert found(swapped) == Broken(3, How.REORDERED, "in its place stands what was recorded as event 5")
    closed_up = renumbered([*links[:2], *links[3:]])
    assert found(closed_up) == Broken(3, How.REMOVED, "in its place stands what was recorded as event 4")
    forged = Link(Event(9.0, "eve", "create", "Worker/9"), links[1].hash, "f" * 64)
    pushed = renumbered([*links[:2], forged, *links[2:]])
    assert found(pushed) == Broken(3, How.INSERTED, "what was recorded as event 3 stands as event 4")


def test_an_event_that_was_forged_with_its_hash_is_found_at_the_next_one() -> None:
    links = seven()
    forged = tie(replace(links[3].event, actor="eve"), links[2].hash)
    assert found([*links[:3], forged, *links[4:]]) == Broken(4, How.CHANGED, "event 5 was recorded behind another one")
    inserted = tie(Event(9.0, "eve", "create", "Worker/9", id=4), links[2].hash)
    pushed = renumbered([*links[:3], inserted, *links[3:]])
    assert found(pushed) == Broken(4, How.INSERTED, "what was recorded as event 4 stands as event 5")
    last = tie(replace(links[6].event, actor="eve"), links[5].hash)
    assert found([*links[:6], last]) == Broken(7, How.CHANGED, "its hash is not the one that was recorded last")
    more = tie(Event(9.0, "eve", "create", "Worker/9", id=8), links[6].hash)
    assert found([*links, more]) == Broken(8, How.INSERTED, "it stands behind event 7, the last that was recorded")


def exported(events: Sequence[Event], selection: Selection = ALL) -> bytes:
    links = chained(events)
    chosen = [link for link in links if selection.actor in {None, link.event.actor}]
    pages = iter([chosen, []])
    return "".join(f"{line}\n" for line in export(lambda _: next(pages), links[-1].head, selection)).encode()


@given(EVENTS, st.booleans(), st.data())
def test_any_bit_of_an_exported_file_that_is_flipped_is_found(
    events: list[Event], selected: bool, data: st.DataObject
) -> None:
    file = bytearray(exported(events, Selection(actor=events[0].actor) if selected else ALL))
    assert isinstance(check_export(_lines(bytes(file))).found, Whole)
    file[data.draw(st.integers(0, len(file) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        checked = check_export(_lines(bytes(file)))
    except UsageMistake:
        return
    assert isinstance(checked.found, Broken)


@given(EVENTS, st.data())
def test_an_exported_file_that_ends_early_is_found(events: list[Event], data: st.DataObject) -> None:
    file = exported(events)
    short = file[: data.draw(st.integers(file.index(b"\n") + 1, len(file) - 1))]
    checked = check_export(_lines(short))
    assert isinstance(checked.found, Broken)
    assert checked.found.how is How.CUT_OFF


def _lines(file: bytes) -> list[bytes]:
    """Cut a file into lines as reading it does: at line feeds alone."""
    return [line + b"\n" for line in file.split(b"\n")[:-1]] + [rest for rest in file.split(b"\n")[-1:] if rest]


def test_a_line_that_is_no_event_is_named() -> None:
    lines = _lines(exported([link.event for link in seven()]))
    lines[3] = b"{}\n"
    assert check_export(lines).found == Broken(3, How.CHANGED, "line 4 is no event")
    assert check_export(_lines(b"".join(lines[:3])[:-20])).found == Broken(2, How.CUT_OFF, "line 3 ends in the middle")


@pytest.mark.parametrize(
    ("chosen", "how", "seen"),
    [
        ([4, 2], How.REORDERED, "it stands behind event 4"),
        ([2, 2], How.REORDERED, "it stands behind event 2"),
    ],
)
def test_a_selection_keeps_its_order(chosen: list[int], how: How, seen: str) -> None:
    lines = _lines(exported([link.event for link in seven()], Selection(actor="ann")))
    assert check_export([lines[0], *(lines[number] for number in chosen)]).found == Broken(2, how, seen)


def test_a_selection_may_leave_events_out() -> None:
    lines = _lines(exported([link.event for link in seven()], Selection(actor="ann")))
    checked = check_export([lines[0], lines[2], lines[3], lines[6]])
    assert not checked.whole
    assert checked.found == Whole(3, 2, seven()[-1].head)
