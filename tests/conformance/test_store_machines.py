"""A machine belongs to one space of a database, whichever nodes claim it, and at whichever moment."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from reconciler.model.spec import Address
from reconciler.store.addresses import parted
from reconciler.store.machines import Taken, claim
from reconciler.store.writer import Store
from tests.postgres import PostgresServer

ROUNDS = 25


@pytest.fixture
def data(postgres: PostgresServer) -> str:
    return postgres.new_database()


def opened(data: str, space: str, folder: Path) -> Store:
    return Store.open(parted(data).of(space), folder / space)


def claimed(store: Store, other: str, **wanted: str) -> Taken | None:
    machines = {machine.replace("_", "-"): Address("Worker", name) for machine, name in wanted.items()}
    return store.write_now(lambda tx: claim(tx, machines, [other]))


def test_what_one_space_claims_no_other_does_until_it_is_let_go(data: str, tmp_path: Path) -> None:
    with opened(data, "shop", tmp_path) as shop:
        assert claimed(shop, "blog", db_1="database") is None, "the other space is not there yet"
        with opened(data, "blog", tmp_path) as blog:
            assert claimed(blog, "shop", web_1="web") is None
            assert claimed(blog, "shop", web_1="web", db_1="mine") == Taken(
                "db-1", "shop", Address("Worker", "database")
            )
            assert claimed(shop, "blog", web_1="mine") == Taken("web-1", "blog", Address("Worker", "web"))
            assert claimed(shop, "blog", db_1="renamed") is None
            assert claimed(blog, "shop", db_1="mine") == Taken("db-1", "shop", Address("Worker", "renamed"))
            assert claimed(shop, "blog") is None
            assert claimed(blog, "shop", db_1="mine") is None


def test_of_two_that_claim_it_at_the_same_moment_one_has_it(data: str, tmp_path: Path) -> None:
    with opened(data, "shop", tmp_path) as shop, opened(data, "blog", tmp_path) as blog, ThreadPoolExecutor(2) as pool:
        for number in range(ROUNDS):
            both = Barrier(2)

            def one(store: Store, other: str, both: Barrier = both, machine: str = f"m{number}") -> Taken | None:
                both.wait()
                return claimed(store, other, **{machine: "worker"})

            found = [pool.submit(one, shop, "blog"), pool.submit(one, blog, "shop")]
            assert [each.result() is None for each in found].count(True) == 1
            for store, other in ((shop, "blog"), (blog, "shop")):
                assert claimed(store, other) is None
