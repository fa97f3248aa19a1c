"""The scope table: numbers, chains, groups, and mistakes in one line."""

from __future__ import annotations

import pytest

from tidegate.errors import UserError
from tidegate.risk.scopes import Account, Level, ScopeTable, StrategyScope


def table() -> ScopeTable:
    return ScopeTable(
        [Account(name="a", desk="fx", group="g"), Account(name="b"), Account(name="c", group="g")],
        [StrategyScope(name="s", accounts=("a", "c")), StrategyScope(name="t", accounts=("b",))],
        desks=["fx", "rates"],
        firm="house",
    )


def test_scopes_are_numbered_firm_desks_accounts_strategies() -> None:
    scopes = table()
    assert [scopes.label(n) for n in range(len(scopes))] == [
        "firm house", "desk fx", "desk rates", "account a", "account b", "account c", "strategy s", "strategy t",
    ]  # fmt: skip
    assert scopes.number(Level.ACCOUNT, "b") == scopes.account_scope(1) == 4
    assert scopes.number(Level.STRATEGY, "t") == scopes.strategy_scope(1) == 7


def test_a_chain_runs_from_the_strategy_over_account_and_desk_to_the_firm() -> None:
    scopes = table()
    assert scopes.chain(0, 0).scopes == (6, 3, 1, 0)
    assert scopes.chain(1, 1).scopes == (7, 4, 0)
    assert scopes.chain(0, 0).permitted
    assert not scopes.chain(1, 0).permitted


def test_accounts_of_one_group_share_the_scope_of_its_first() -> None:
    scopes = table()
    assert [scopes.chain(a, 0).group for a in range(3)] == [3, 4, 3]


@pytest.mark.parametrize(
    ("accounts", "strategies", "message"),
    [
        ([Account(name="a")] * 2, [StrategyScope(name="s", accounts=("a",))], "account 'a' is defined twice"),
        ([Account(name="main")], [StrategyScope(name="s", accounts=("mian",))], "'mian'; did you mean 'main'"),
        ([Account(name="a", desk="fx")], [StrategyScope(name="s", accounts=("a",))], "unknown desk 'fx'"),
        ([], [StrategyScope(name="s", accounts=())], "at least one account and one strategy"),
    ],
)  # fmt: skip
def test_a_table_that_does_not_hang_together_is_a_mistake(
    accounts: list[Account], strategies: list[StrategyScope], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        ScopeTable(accounts, strategies)
