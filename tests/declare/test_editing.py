"""Fields of an object get other values in files that people wrote: nothing else of them changes, or nothing at all."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.declare.documents import parse_file
from reconciler.declare.editing import MARK, Assigned, NotEditable, edited
from reconciler.model.spec import Address

WORKER, DEPLOYMENT = Address("Worker", "db-1"), Address("Deployment", "shop-production")
DRAIN = Assigned(("state",), "draining", "enabled", ("pools", "name"))
ENABLE = Assigned(("state",), "enabled", "enabled", ("pools", "name"))
DEADLINE = Assigned(("drain", "deadline"), "2h", behind=("state", "pools", "name"))
RELEASE = Assigned(("release",), "1.10")
AGAIN = Assigned(("endpoint", "polling", "thumbprints", 0), f"SHA256:{'n' * 42}A")
SECOND = Assigned(("endpoint", "polling", "thumbprints", 1), f"SHA256:{'n' * 42}A")
CALLS = Assigned(("endpoint", "polling", "subscription"), "poll://new")
IDENTITY = 'endpoint: {polling: {subscription: "poll://db-1", thumbprints: ["SHA256:%sA"]}}' % ("a" * 42)
HEAD = "apiVersion: reconciler/v1\nkind: Worker\nmetadata: {name: db-1}\n"
OTHER = f"---\n{HEAD}spec: {{pools: [b], {IDENTITY}}}\n".replace("db-1", "db-2").replace("aaA", "bbA")
OTHERS = IDENTITY.replace("db-1", "db-0").replace("aaA", "bbA")
SET = "apiVersion: reconciler/v1\nkind: WorkerSet\nmetadata: {name: dbs}\nspec:\n"
POOLED = f"{SET}  defaults: {{pools: [a]}}\n"
DEPLOYED = "apiVersion: reconciler/v1\nkind: Deployment\nmetadata: {name: shop-production}\n"

PAGES = {
    "a value in a block, its comment stays": (
        (DRAIN,),
        f"{HEAD}spec:\n  state: enabled   # since March\n\n  pools: [a]\n  {IDENTITY}\n",
        f"{HEAD}spec:\n  state: draining   # since March\n\n  pools: [a]\n  {IDENTITY}\n",
    ),
    "a value in double quotes keeps them": (
        (DRAIN,),
        f'{HEAD}spec:\n  "state": "enabled"\n  pools: [a]\n  {IDENTITY}\n',
        f'{HEAD}spec:\n  "state": "draining"\n  pools: [a]\n  {IDENTITY}\n',
    ),
    "a value in single quotes keeps them": (
        (DRAIN,),
        f"{HEAD}spec: {{pools: [a], state: 'enabled', {IDENTITY}}}\n",
        f"{HEAD}spec: {{pools: [a], state: 'draining', {IDENTITY}}}\n",
    ),
    "a field that is new goes behind the pools, before the comments of the next one": (
        (DRAIN, DEADLINE),
        f"{HEAD}spec:\n    pools: [a]  # one\n    # it calls\n    {IDENTITY}\n",
        f"{HEAD}spec:\n    pools: [a]  # one\n    state: draining\n    drain: {{deadline: 2h}}\n    # it calls\n    {IDENTITY}\n",
    ),
    "pools that are a block: behind another line": (
        (DRAIN,),
        f"{HEAD}spec:\n  pools:\n  - a\n  - b\n  {IDENTITY}\n",
        f"{HEAD}spec:\n  pools:\n  - a\n  - b\n  {IDENTITY}\n  state: draining\n",
    ),
    "no line of its own: before all others": (
        (DRAIN,),
        (
            f"{HEAD}spec:\n  # where\n  pools:\n  - a\n  endpoint:\n    polling:\n      subscription: poll://db-1\n"
            f"      thumbprints:\n      - SHA256:{'a' * 42}A\n"
        ),
        (
            f"{HEAD}spec:\n  # where\n  state: draining\n  pools:\n  - a\n  endpoint:\n    polling:\n"
            f"      subscription: poll://db-1\n      thumbprints:\n      - SHA256:{'a' * 42}A\n"
        ),
    ),
    "in braces a new field comes first": (
        (DRAIN, DEADLINE),
        f"{HEAD}spec: {{ pools: [a], {IDENTITY} }}  # all of it\n",
        f"{HEAD}spec: {{ drain: {{deadline: 2h}}, state: draining, pools: [a], {IDENTITY} }}  # all of it\n",
    ),
    "the last line has no end": (
        (DRAIN,),
        f"{HEAD}spec:\n  {IDENTITY}\n  pools: [a]",
        f"{HEAD}spec:\n  {IDENTITY}\n  pools: [a]\n  state: draining",
    ),
    "the second of three documents": (
        (DRAIN,),
        f"{OTHER}---\n{HEAD}spec:\n  pools: [a]\n  {IDENTITY}\n...\n---\n# nothing\n",
        f"{OTHER}---\n{HEAD}spec:\n  pools: [a]\n  state: draining\n  {IDENTITY}\n...\n---\n# nothing\n",
    ),
    "a foreign document of that name stays": (
        (DRAIN,),
        f"{HEAD.replace('reconciler/v1', 'example.org/v1')}spec: {{}}\n---\n{HEAD}spec:\n  pools: [a]\n  {IDENTITY}\n",
        (
            f"{HEAD.replace('reconciler/v1', 'example.org/v1')}spec: {{}}\n---\n{HEAD}spec:\n  pools: [a]\n  state: draining\n"
            f"  {IDENTITY}\n"
        ),
    ),
    "letters of several bytes before it": (
        (DRAIN,),
        f"# Größe 🙂\u2028\u0085\n{HEAD}spec:\n  pools: [a]  # für Köln\n  state: enabled\n  {IDENTITY}\n",
        f"# Größe 🙂\u2028\u0085\n{HEAD}spec:\n  pools: [a]  # für Köln\n  state: draining\n  {IDENTITY}\n",
    ),
    "values beside it that are aliases stay": (
        (DRAIN,),
        f"{HEAD}spec:\n  pools: &p [a]\n  {IDENTITY}\n{OTHER.replace('[b]', '&q [b]')}",
        f"{HEAD}spec:\n  pools: &p [a]\n  state: draining\n  {IDENTITY}\n{OTHER.replace('[b]', '&q [b]')}",
    ),
    "a value with an anchor that nobody uses": (
        (DRAIN,),
        f"{HEAD}spec:\n  pools: [a]\n  state: &s enabled\n  {IDENTITY}\n",
        f"{HEAD}spec:\n  pools: [a]\n  state: &s draining\n  {IDENTITY}\n",
    ),
    "a deadline in the block of its drain": (
        (DEADLINE,),
        f"{HEAD}spec:\n  pools: [a]\n  drain:\n    then: cancel  # it hangs\n  {IDENTITY}\n",
        f"{HEAD}spec:\n  pools: [a]\n  drain:\n    then: cancel  # it hangs\n    deadline: 2h\n  {IDENTITY}\n",
    ),
    "a deadline that is there": (
        (DEADLINE,),
        f"{HEAD}spec:\n  pools: [a]\n  drain: {{deadline: 1h, then: cancel}}\n  {IDENTITY}\n",
        f"{HEAD}spec:\n  pools: [a]\n  drain: {{deadline: 2h, then: cancel}}\n  {IDENTITY}\n",
    ),
    "braces without anything in them": (
        (DEADLINE,),
        f"{HEAD}spec:\n  pools: [a]\n  drain: {{}}\n  {IDENTITY}\n",
        f"{HEAD}spec:\n  pools: [a]\n  drain: {{deadline: 2h}}\n  {IDENTITY}\n",
    ),
    "an entry of a set in a block": (
        (DRAIN,),
        f"{POOLED}  workers:\n  - name: db-0\n    slots: 1\n    {OTHERS}\n  - name: db-1  # ours\n    {IDENTITY}\n",
        f"{POOLED}  workers:\n  - name: db-0\n    slots: 1\n    {OTHERS}\n  - name: db-1  # ours\n    state: draining\n    {IDENTITY}\n",
    ),
    "an entry of a set in braces, against the defaults": (
        (ENABLE,),
        f"{SET}  defaults: {{pools: [a], state: draining}}\n  workers:\n    - {{name: db-1, {IDENTITY}}}\n",
        f"{SET}  defaults: {{pools: [a], state: draining}}\n  workers:\n    - {{state: enabled, name: db-1, {IDENTITY}}}\n",
    ),
    "what the defaults say of a drain goes on": (
        (DEADLINE,),
        f"{SET}  defaults: {{pools: [a], drain: {{deadline: 1h, then: cancel}}}}\n  workers:\n  - name: db-1\n    {IDENTITY}\n",
        (
            f"{SET}  defaults: {{pools: [a], drain: {{deadline: 1h, then: cancel}}}}\n  workers:\n  - name: db-1\n"
            f"    drain: {{deadline: 2h, then: cancel}}\n    {IDENTITY}\n"
        ),
    ),
    "an item of a list in brackets, and a text beside it": (
        (CALLS, AGAIN),
        f"{HEAD}spec: {{pools: [a], {IDENTITY}}}  # since March\n",
        f"{HEAD}spec: {{pools: [a], {IDENTITY}}}  # since March\n".replace("//db-1", "//new").replace(
            "a" * 42, "n" * 42
        ),
    ),
    "the second item of a list in a block": (
        (SECOND,),
        (
            f"{POOLED}  workers:\n  - name: db-1\n    endpoint:\n      polling:\n        subscription: poll://db-1\n"
            f"        thumbprints:\n        # old\n        - SHA256:{'a' * 42}A\n        - SHA256:{'b' * 42}A  # new\n"
        ),
        (
            f"{POOLED}  workers:\n  - name: db-1\n    endpoint:\n      polling:\n        subscription: poll://db-1\n"
            f"        thumbprints:\n        # old\n        - SHA256:{'a' * 42}A\n"
            f'        - "SHA256:{"n" * 42}A"  # new\n'
        ),
    ),
    "a release in quotes": (
        (RELEASE,),
        f'{DEPLOYED}spec: {{project: shop, environment: production, release: "1.9"}}  # weekly\n',
        f'{DEPLOYED}spec: {{project: shop, environment: production, release: "1.10"}}  # weekly\n',
    ),
    "a release that was a number stays as it is written": (
        (RELEASE,),
        f"{DEPLOYED}spec:\n  project: shop\n  release: 1.9\n  environment: production\n",
        f"{DEPLOYED}spec:\n  project: shop\n  release: 1.10\n  environment: production\n",
    ),
    "a release that needs quotes gets them": (
        (Assigned(("release",), '2: "final"'),),
        f"{DEPLOYED}spec:\n  project: shop\n  release: 1.9\n  environment: production\n",
        f'{DEPLOYED}spec:\n  project: shop\n  release: "2: \\"final\\""\n  environment: production\n',
    ),
    "a release that reads like nothing gets quotes": (
        (Assigned(("release",), "null"),),
        f"{DEPLOYED}spec: {{project: shop, environment: production, release: 'it''s 1'}}\n",
        f"{DEPLOYED}spec: {{project: shop, environment: production, release: 'null'}}\n",
    ),
}


def address_of(assigned: tuple[Assigned, ...]) -> Address:
    return DEPLOYMENT if assigned[0].path == ("release",) else WORKER


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("mark", [b"", MARK], ids=["plain", "marked"])
@pytest.mark.parametrize("name", PAGES)
def test_nothing_else_of_a_page_changes(name: str, mark: bytes, ends: str) -> None:
    assigned, before, after = PAGES[name]
    found = edited("a.yaml", mark + before.replace("\n", ends).encode(), address_of(assigned), assigned)
    assert found == mark + after.replace("\n", ends).encode()
    assert [problem.code for problem in parse_file("a.yaml", found).diagnostics] == []
    assert edited("a.yaml", found, address_of(assigned), assigned) == found, "a second time changes nothing"


REFUSED = {
    "an alias as the value": (
        f"{SET}  defaults: {{pools: [a], state: &s enabled}}\n  workers:\n  - name: db-1\n    state: *s\n    {IDENTITY}\n",
        "a.yaml:8:5: the state of Worker/db-1 is an alias of what stands elsewhere; nothing was changed",
        "write it out in its place, then run the command again",
    ),
    "an anchor that another worker uses": (
        (
            f"{SET}  defaults: {{pools: [a]}}\n  workers:\n  - name: db-1\n    state: &s enabled\n    {IDENTITY}\n"
            f"  - name: db-2\n    state: *s\n    {IDENTITY}\n"
        ),
        'a.yaml:7:5: "state: draining" for Worker/db-1 would change more than that; nothing was changed',
        "what an anchor names is shared: write the value out for each, then run the command again",
    ),
    "a text over lines": (
        f"{HEAD}spec:\n  pools: [a]\n  state: >-\n    enabled\n  {IDENTITY}\n",
        "a.yaml:6:10: the state of Worker/db-1 cannot be changed as this is written; nothing was changed",
        'write "state: draining" by hand',
    ),
    "another worker's file": (
        OTHER,
        "a.yaml: Worker/db-1 is not declared here; nothing was changed",
        "is the file as it was?",
    ),
    "no line to put it behind": (
        (
            f"{SET}  defaults: {{pools: [a]}}\n  workers:\n  - name:\n      db-1\n    endpoint:\n      polling:\n"
            f"        subscription: poll://db-1\n        thumbprints: [\n          'SHA256:{'a' * 42}A']\n"
        ),
        "a.yaml:7:5: the state of Worker/db-1 cannot be changed as this is written; nothing was changed",
        'write "state: draining" by hand',
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_changed_alone_is_refused_with_its_place(name: str) -> None:
    before, message, hint = REFUSED[name]
    with pytest.raises(NotEditable) as caught:
        edited("a.yaml", before.encode(), WORKER, (DRAIN,))
    assert (caught.value.message, caught.value.hint) == (message, hint)


LISTED = {
    "a list that is an alias": (
        AGAIN,
        HEAD.replace("metadata: {", f'metadata: {{annotations: {{x: &t "SHA256:{"a" * 42}A"}}, ')
        + "spec:\n  pools: [a]\n  endpoint: {polling: {subscription: 'poll://db-1', thumbprints: [ *t ]}}\n",
        "a.yaml:6:66: what is declared of Worker/db-1 is an alias of what stands elsewhere; nothing was changed",
        "write it out in its place, then run the command again",
    ),
    "an item that is not there": (
        SECOND,
        f"{HEAD}spec: {{pools: [a], {IDENTITY}}}\n",
        (
            "a.yaml:4:83: the endpoint.polling.thumbprints[1] of Worker/db-1 cannot be changed as this is written; "
            "nothing was changed"
        ),
        f'write "endpoint.polling.thumbprints[1]: "SHA256:{"n" * 42}A"" by hand',
    ),
}


@pytest.mark.parametrize("name", LISTED)
def test_an_item_of_a_list_that_cannot_be_changed_is_refused_with_its_place(name: str) -> None:
    one, before, message, hint = LISTED[name]
    with pytest.raises(NotEditable) as caught:
        edited("a.yaml", before.encode(), WORKER, (one,))
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_a_drain_that_is_an_alias_is_refused() -> None:
    text = (
        f"{SET}  defaults: {{pools: [a], drain: &d {{deadline: 1h}}}}\n  workers:\n"
        f"  - name: db-1\n    drain: *d\n    {IDENTITY}\n"
    )
    with pytest.raises(
        NotEditable, match=r"^a\.yaml:8:5: the drain of Worker/db-1 is an alias of what stands elsewhere"
    ):
        edited("a.yaml", text.encode(), WORKER, (DEADLINE,))


def test_a_value_is_a_line_that_can_be_printed() -> None:
    text = f"{DEPLOYED}spec: {{project: shop, environment: production, release: '1'}}\n"
    with pytest.raises(NotEditable) as caught:
        edited("a.yaml", text.encode(), DEPLOYMENT, (Assigned(("release",), "1\n2"),))
    assert caught.value.message == "a.yaml: release is one line of printable text; nothing was changed"
    assert caught.value.hint == "write it as one"


COMMENTS = st.sampled_from(["", "  # a note", "   # ü: {x", " # 'it"])
GAPS = st.sampled_from(["", "\n", "  # on its own\n", "\n\n"])
STATES = st.sampled_from([None, "enabled", '"disabled"', "'draining'"])


@st.composite
def workers(draw: st.DrawFn) -> str:
    """Write one worker as somebody may: a block or braces, fields in any order, with notes, blank lines and ends."""
    state, indent = draw(STATES), " " * draw(st.integers(1, 4))
    fields = draw(st.permutations(["pools: [a, b]", IDENTITY, "slots: 2", *([f"state: {state}"] if state else [])]))
    if draw(st.booleans()):
        space = draw(st.sampled_from(["", " ", "\n" + indent]))
        spec = f"spec: {{{space}{', '.join(fields)}{draw(st.sampled_from(['', ',']))}{space}}}{draw(COMMENTS)}\n"
    else:
        spec = "spec:\n" + "".join(f"{draw(GAPS)}{indent}{field}{draw(COMMENTS)}\n" for field in fields)
    text = draw(GAPS) + HEAD + spec
    if draw(st.booleans()):
        text = f"{OTHER}---\n{text}"
    if draw(st.booleans()):
        text = f"{text}{OTHER}"
    if draw(st.booleans()):
        text = text.removesuffix("\n")
    return text.replace("\n", draw(st.sampled_from(["\n", "\r\n"])))


def specs(content: bytes) -> dict[str, dict[str, object]]:
    parsed = parse_file("a.yaml", content)
    assert parsed.diagnostics == ()
    return {str(found.address): json.loads(found.spec) for found in parsed.declared}


def alike(one: bytes, other: bytes) -> int:
    """Count the bytes that both begin with."""
    return next(
        (number for number, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )


@given(text=workers(), state=st.sampled_from(["enabled", "disabled", "draining"]))
def test_what_is_read_afterwards_is_what_was_wished_and_all_other_bytes_are_the_same(text: str, state: str) -> None:
    wish = Assigned(("state",), state, "enabled", ("pools", "name"))
    before = text.encode()
    after = edited("a.yaml", before, WORKER, (wish,))
    expected = specs(before)
    expected["Worker/db-1"] = {key: value for key, value in expected["Worker/db-1"].items() if key != "state"}
    found = specs(after)
    assert found["Worker/db-1"].pop("state", "enabled") == state
    assert found == expected
    start = alike(before, after)
    rest = alike(before[start:][::-1], after[start:][::-1])
    gone, come = before[start : len(before) - rest], after[start : len(after) - rest]
    assert len(gone) <= len(b"disabled")
    assert len(come) <= len(b"\r\n    state: draining, ")
    assert b"#" not in gone + come


@given(
    release=st.text(st.characters(exclude_categories=["C"]).filter(str.isprintable), min_size=1, max_size=30),
    former=st.sampled_from(["1.9", "'1.9'", '"1.9"', "&r v1"]),
    flow=st.booleans(),
)
def test_any_release_is_read_as_it_was_given(release: str, former: str, flow: bool) -> None:
    fields = ("project: shop", f"release: {former}", "environment: production  # there")
    spec = (
        f"spec: {{{', '.join(fields[:2])}, {fields[2][:23]}}}\n" if flow else "spec:\n  " + "\n  ".join(fields) + "\n"
    )
    after = edited("a.yaml", (DEPLOYED + spec).encode(), DEPLOYMENT, (Assigned(("release",), release),))
    assert specs(after) == {str(DEPLOYMENT): {"project": "shop", "release": release, "environment": "production"}}
