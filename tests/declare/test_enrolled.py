"""What is given as an agent's document is one Worker, or is refused in a sentence, whatever it holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.declare.enrolled import BYTES_MAX, read_document
from reconciler.model.errors import UsageMistake
from tests.cli.workplace import POOL, worker

WORKER = worker("db-1", "blue").encode()
PIECES = st.sampled_from(
    [
        WORKER,
        b"---\n",
        (POOL % "blue").encode(),
        b"kind: Proxy\n",
        b"\n",
        b"# a note\n",
        b"\xff\xfe",
        b"rct1.a.b.c\n",
        b"{",
        b"x: [1",
    ]
)


@given(content=st.one_of(st.binary(max_size=200), st.lists(PIECES, max_size=5).map(b"".join)))
def test_anything_is_one_worker_as_it_was_given_or_refused(content: bytes) -> None:
    said = ""
    try:
        found = read_document("standard input", content)
        assert (str(found.address), found.content) == ("Worker/db-1", content)
    except UsageMistake as error:
        said = f"{error}\n{error.hint}"
    assert said.startswith("standard input") or not said
    assert "rct1" not in said


@given(before=st.integers(0, len(WORKER)), secret=st.sampled_from([b"-----BEGIN EC PRIVATE KEY-----", b" rct1.a.b.c"]))
def test_a_secret_anywhere_is_refused_and_not_shown(before: int, secret: bytes) -> None:
    with pytest.raises(UsageMistake) as caught:
        read_document("standard input", WORKER[:before] + secret + WORKER[before:])
    assert "does not belong into Git" in caught.value.message
    assert secret.decode() not in f"{caught.value.message}{caught.value.hint}"


def test_a_document_may_be_as_long_as_is_said() -> None:
    longest = WORKER + b"#" * (BYTES_MAX - len(WORKER))
    assert read_document("standard input", longest).content == longest
    with pytest.raises(UsageMistake, match="more than 65,536 bytes"):
        read_document("standard input", longest + b"#")
