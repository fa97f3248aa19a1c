"""What lies below what, for those who may act on some scopes only."""

from __future__ import annotations

import pytest
from gate_desk import UNIVERSE
from hypothesis import given
from hypothesis import strategies as st

from tidegate.risk.scope_name import above, chain_names
from tidegate.risk.scopes import Account, ScopeTable, StrategyScope

SCOPES = ScopeTable(
    [Account(name="a", desk="arb"), Account(name="b", desk="arb"), Account(name="m", desk="mm"), Account(name="x")],
    [
        StrategyScope(name="one", accounts=("a",)), StrategyScope(name="both", accounts=("a", "b")),
        StrategyScope(name="wide", accounts=("a", "m")), StrategyScope(name="alone", accounts=("x",)),
        StrategyScope(name="one.next", accounts=("a",), slot_of="one"),
    ],
    desks=["arb", "mm"],
)  # fmt: skip


def test_what_lies_below_what():
    assert above(SCOPES, UNIVERSE, [0, 0, 1, 1]) == {
        "desk:arb": (), "desk:mm": (), "account:a": ("desk:arb",), "account:b": ("desk:arb",),
        "account:m": ("desk:mm",), "account:x": (), "strategy:one": ("account:a", "desk:arb"),
        "strategy:both": ("desk:arb",), "strategy:wide": (), "strategy:alone": ("account:x",),
        "strategy:one.next": ("strategy:one", "account:a", "desk:arb"), "instrument:BTCUSDT.X": ("venue:X",),
        "instrument:CL.Y": ("venue:Y",), "venue:X": (), "venue:Y": (), "lane:0": ("desk:arb",), "lane:1": (),
    }  # fmt: skip


@given(st.integers(0, 3), st.integers(0, 4), st.integers(-1, 1))
def test_whoever_reaches_a_scope_is_over_all_that_its_orders_are_under(account, strategy, instrument):
    """An order of a strategy is under all the scopes that the strategy lies below."""
    table = above(SCOPES, UNIVERSE)
    if SCOPES.accounts[account].name not in SCOPES.strategies[strategy].accounts:
        return
    chain = chain_names(account, strategy, instrument, SCOPES, UNIVERSE)
    for scope in chain:
        for over in table.get(scope, ()):
            assert over in chain or over == "strategy:one"


@pytest.mark.parametrize("scope", ["strategy:wide", "lane:1"])
def test_what_two_desks_share_is_neithers(scope):
    assert above(SCOPES, UNIVERSE, [0, 0, 1, 1])[scope] == ()
