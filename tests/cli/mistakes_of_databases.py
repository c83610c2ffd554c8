"""What can be wrong with spaces in one database: which state an address names, and which one a backup holds."""

from pathlib import Path

from reconciler.store.copies import check_schema
from reconciler.store.migrations import check_others
from reconciler.store.postgres import CommitUnknownError, PostgresDatabase
from tests.cli.said import Said, cases, raised

DATABASE = "postgresql://ada@db.example.org:5433/deployments"


def a_database_of_several_spaces(folder: Path) -> Said:
    return raised(lambda: check_others(PostgresDatabase(DATABASE), ["blog", "shop"]))


def a_space_in_the_database_of_a_single_state(folder: Path) -> Said:
    return raised(lambda: check_others(PostgresDatabase(f"{DATABASE}/shop"), ["public"]))


def a_backup_of_a_space_into_a_database_without(folder: Path) -> Said:
    return raised(lambda: check_schema("shop", "public"))


def a_backup_of_a_single_state_as_a_space(folder: Path) -> Said:
    return raised(lambda: check_schema("public", "shop"))


def a_backup_of_another_space(folder: Path) -> Said:
    return raised(lambda: check_schema("blog", "shop"))


def a_commit_of_which_nobody_knows(folder: Path) -> Said:
    def commit() -> None:
        raise PostgresDatabase(DATABASE).explain(CommitUnknownError())

    return raised(commit)


CASES = cases(vars())
