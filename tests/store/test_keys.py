"""Sealed values open with their key, in their row, unaltered; anything else is refused in words."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.errors import ReconcilerError, StateUnreadable
from reconciler.store.keys import Sealer, sealer
from reconciler.store.writer import Store

KEY = Sealer(bytes(range(32)))
SEALED = KEY.seal("hunter2", "output", 1, "step", "Token")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(str(tmp_path), tmp_path) as opened:
        yield opened


def refusal(store: Store, path: Path, *, given: bool = False) -> ReconcilerError:
    with pytest.raises(StateUnreadable) as refused:
        store.write_now(lambda tx: sealer(tx, path, given=given))
    return refused.value


@given(text=st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_what_was_sealed_is_unsealed(text: str) -> None:
    sealed = KEY.seal(text, "output", 1, "step", "Token")
    assert KEY.unseal(sealed, "output", 1, "step", "Token") == text
    assert sealed != KEY.seal(text, "output", 1, "step", "Token"), "no nonce twice"


@given(place=st.integers(0, len(SEALED) - 1), flip=st.integers(1, 255))
def test_an_altered_value_does_not_open(place: int, flip: int) -> None:
    altered = bytearray(SEALED)
    altered[place] ^= flip
    with pytest.raises(StateUnreadable, match=r"the sealed value output/1/step/Token "):
        KEY.unseal(bytes(altered), "output", 1, "step", "Token")


@pytest.mark.parametrize("length", range(len(SEALED)))
def test_a_cut_value_does_not_open(length: int) -> None:
    with pytest.raises(StateUnreadable):
        KEY.unseal(SEALED[:length], "output", 1, "step", "Token")


@pytest.mark.parametrize(
    "row",
    [
        ("output", 2, "step", "Token"),
        (
            "output",
            1,
            "step/Token",
        ),
        ("output", "1", "step", "Token"),
    ],
)
def test_a_value_opens_in_its_own_row_alone(row: tuple[str | int, ...]) -> None:
    with pytest.raises(StateUnreadable, match="is damaged or belongs to another place"):
        KEY.unseal(SEALED, *row)


def test_a_value_under_another_key_says_so() -> None:
    with pytest.raises(StateUnreadable) as refused:
        Sealer(bytes(32)).unseal(SEALED, "output", 1, "step", "Token")
    assert refused.value.message == "the sealed value output/1/step/Token was sealed with another key"


def test_a_sealer_does_not_show_its_key() -> None:
    assert repr(KEY) == f"Sealer({KEY.fingerprint})"


def test_the_key_is_made_at_first_use_for_its_owner_alone(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "key"
    first = store.write_now(lambda tx: sealer(tx, path))
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text().startswith("reconciler-key-1:")
    assert list(tmp_path.glob("*.new")) == []
    second = store.write_now(lambda tx: sealer(tx, path))
    assert second.unseal(first.seal("x", 1), 1) == "x"


def test_a_key_that_was_made_before_a_crash_is_used(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "key"

    def crash(tx) -> None:  # type: ignore[no-untyped-def]  # it never returns
        sealer(tx, path)
        raise LookupError

    with pytest.raises(LookupError):
        store.write_now(crash)
    before = path.read_text()
    store.write_now(lambda tx: sealer(tx, path))
    assert path.read_text() == before


def test_a_missing_key_is_not_made_anew_while_sealed_values_exist(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "key"
    store.write_now(lambda tx: sealer(tx, path))
    path.unlink()
    error = refusal(store, path)
    assert error.message == f"the key {path} is missing"
    assert (
        error.hint
        == "bring it back, from another node if there is one; without it this state's sensitive values are lost"
    )
    assert not path.exists()


def test_a_given_key_is_never_made(store: Store, tmp_path: Path) -> None:
    assert refusal(store, tmp_path / "given", given=True).message == f"the key {tmp_path}/given is missing"


def test_another_key_is_refused(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "key"
    store.write_now(lambda tx: sealer(tx, path))
    with Store.open(str(tmp_path / "other"), tmp_path / "other") as other:
        other.write_now(lambda tx: sealer(tx, tmp_path / "other" / "key"))
    (tmp_path / "other" / "key").rename(path)
    error = refusal(store, path)
    assert error.message == f"the key {path} is not the one that sealed this state's sensitive values"
    assert error.hint == "bring back the former key, the same on every node; without it those values are lost"


def test_a_key_that_others_may_read_is_refused(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "key"
    store.write_now(lambda tx: sealer(tx, path))
    path.chmod(0o644)
    error = refusal(store, path)
    assert error.message == f"the key {path} may be read by others (mode 0644)"
    assert error.hint == f"run: chmod 600 {path}"


@pytest.mark.parametrize(
    "line", ["", "hunter2", "reconciler-key-1:AAAA", "reconciler-key-1:ö", "reconciler-key-9:" + "A" * 43 + "="]
)
def test_a_file_that_is_no_key_is_refused_without_showing_it(store: Store, tmp_path: Path, line: str) -> None:
    path = tmp_path / "key"
    path.touch(mode=0o600)
    path.write_text(line)
    assert refusal(store, path).message == (
        f"the key {path} is not a key of ours: it must be one line, reconciler-key-1: and base64 of 32 bytes"
    )
