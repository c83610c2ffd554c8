"""What the server lets run on its own machine, and under which account a Space may name."""

import pytest

from reconciler.execute.grounds import NOT_ALLOWED, BuiltinRules
from reconciler.schedule.fleet import Fleet

NOT_NAMED = "the server's configuration lets no steps run as deploy on its own machine"


@pytest.mark.parametrize(
    ("rules", "named", "account"),
    [
        (BuiltinRules(), None, None),
        (BuiltinRules(), "deploy", "deploy"),
        (BuiltinRules(as_server=True, accounts=()), None, None),
        (BuiltinRules(as_server=False, account="web", accounts=()), None, "web"),
        (BuiltinRules(as_server=False, account="web", accounts=()), "web", "web"),
        (BuiltinRules(as_server=False, account="web", accounts=("deploy",)), "deploy", "deploy"),
        (BuiltinRules(as_server=False, accounts=("deploy",)), "deploy", "deploy"),
    ],
)
def test_an_account_that_may_be_named_is_used(rules: BuiltinRules, named: str | None, account: str | None) -> None:
    found = rules.applied(Fleet({}, {}, builtin_account=named))
    assert (found.builtin_enabled, found.builtin_account) == (True, account)


@pytest.mark.parametrize(
    ("rules", "named", "obstacle"),
    [
        (BuiltinRules(as_server=False, accounts=()), None, NOT_ALLOWED),
        (BuiltinRules(as_server=False, accounts=()), "deploy", NOT_ALLOWED),
        (BuiltinRules(as_server=False, accounts=("web",)), None, NOT_ALLOWED),
        (BuiltinRules(as_server=False, accounts=("web",)), "deploy", NOT_NAMED),
        (BuiltinRules(as_server=False, account="web", accounts=()), "deploy", NOT_NAMED),
        (BuiltinRules(as_server=True, accounts=()), "deploy", NOT_NAMED),
    ],
)
def test_nothing_runs_there_under_an_account_that_may_not_be_named(
    rules: BuiltinRules, named: str | None, obstacle: str
) -> None:
    found = rules.applied(Fleet({}, {}, builtin_account=named))
    assert (found.builtin_enabled, found.builtin_account, found.builtin_obstacle) == (False, None, obstacle)


def test_a_space_that_wants_no_steps_there_is_told_so_first() -> None:
    found = BuiltinRules(accounts=()).applied(Fleet({}, {}, builtin_enabled=False))
    assert not found.builtin_enabled
    assert found.builtin_obstacle == "the space disables the built-in worker"
