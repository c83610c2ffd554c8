"""An address names a database, or with one word more the state of one space in it."""

import pytest

from reconciler.model.errors import UsageMistake
from reconciler.store.addresses import parted


@pytest.mark.parametrize(
    ("data", "database", "space"),
    [
        ("postgresql://db/reconcile", "postgresql://db/reconcile", ""),
        ("postgresql://db/reconcile/", "postgresql://db/reconcile", ""),
        ("postgresql://db/reconcile/shop", "postgresql://db/reconcile", "shop"),
        ("postgres://ann@db:5433/reconcile/shop?sslmode=require", "postgres://ann@db:5433/reconcile?sslmode=require", "shop"),
        ("postgresql://[::1]:5432/reconcile/shop", "postgresql://[::1]:5432/reconcile", "shop"),
        ("postgresql://a:1,b:2/reconcile/shop", "postgresql://a:1,b:2/reconcile", "shop"),
        ("postgresql:///reconcile/shop?host=/run/pg", "postgresql:///reconcile?host=/run/pg", "shop"),
        ("postgresql://db?user=ann", "postgresql://db?user=ann", ""),
        ("postgresql://db//shop", "postgresql://db", "shop"),
    ],
)  # fmt: skip
def test_an_address_is_a_database_and_a_space(data: str, database: str, space: str) -> None:
    address = parted(data)
    assert (address.database, address.space) == (database, space)
    again = parted(address.of("blog"))
    assert (again.database, again.space) == (database, "blog")


@pytest.mark.parametrize("space", ["public", "Shop", "a.b", 'a"b', "a b", "a/b", "-a", "a" * 64, "%73hop", "shop/"])
def test_a_space_that_can_have_no_schema_is_refused(space: str) -> None:
    with pytest.raises(UsageMistake) as refused:
        parted(f"postgresql://db/reconcile/{space}")
    assert refused.value.message == f'"{space}" is no space that a database can hold beside others'
    assert refused.value.hint == 'its name has up to 63 small letters, digits and dashes, and is not "public"'
    with pytest.raises(UsageMistake):
        parted("postgresql://db/reconcile").of(space)
