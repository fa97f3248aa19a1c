"""Control 20 with margin tiers: the gate's one rate asks at least what the tiers ask, for whatever it lets pass."""

from __future__ import annotations

from decimal import Decimal as D

import msgspec
from gate_desk import SECOND, T0, merged
from hypothesis import given, settings
from hypothesis import strategies as st
from margin_desk import BTC_2021, tiers

from tidegate.kernel import gate_state as g
from tidegate.model.instrument import Instrument, InstrumentKind, Right, Universe
from tidegate.model.order import Order, OrdType, Side, TimeInForce
from tidegate.risk.gate import Gate
from tidegate.risk.limits import Limits
from tidegate.risk.margin.pool import Contract, Touch, resting
from tidegate.risk.margin.pool import Holding as Held
from tidegate.risk.reasons import Reason
from tidegate.risk.scopes import Account, ScopeTable, StrategyScope

PERPETUAL = Instrument(
    symbol="BTCUSDT", venue="X", kind=InstrumentKind.PERPETUAL, base="BTC", quote="USDT", tick=D("0.1"),
    lot=D("0.001"), initial_margin=D("0.008"), tiers=BTC_2021, leverage=50,
)  # fmt: skip
OPTION = Instrument(
    symbol="BTC-C", venue="X", kind=InstrumentKind.OPTION, base="BTC", quote="USDT", tick=D("0.1"), lot=D("0.001"),
    expiry=T0 * 2, strike=D(60_000), right=Right.CALL,
)  # fmt: skip
BID, ASK = 600_000, 600_010


def gate(*items: Instrument, capital: int = 10**9, **limits: object) -> Gate:
    scopes = ScopeTable(
        [Account(name="main", capital=D(capital)), Account(name="other", capital=D(capital))],
        [StrategyScope(name="mm", accounts=("main",))],
    )
    return Gate(Universe(list(items)), scopes, Limits.load(merged(limits)))


def order(lots: int, price: int = 0, number: int = 1, instrument: int = 0) -> Order:
    return Order(
        account=0, strategy=0, instrument=instrument, cl_ord_id=number, cmd_id=number,
        side=Side.BUY if lots > 0 else Side.SELL, qty=abs(lots), leaves_qty=abs(lots), price=price,
        ord_type=OrdType.LIMIT if price else OrdType.MARKET, time_in_force=TimeInForce.GTC,
    )  # fmt: skip


def rate(made: Gate, instrument: int = 0) -> float:
    return float(made.state.real[instrument, g.X_MARGIN])


def send(made: Gate, one: Order, bid: int = BID, ask: int = ASK, ts: int = T0) -> int:
    made.mark(one.instrument, bid, ask, ts)
    return made.check(one, bid, ask, ts, ts)


EVERY = {"accounts": {"*": {"gross": 900_000}}}


def test_the_rate_is_that_of_the_highest_tier_that_the_limits_let_in_reach():
    assert round(rate(gate(PERPETUAL, **EVERY)), 9) == 0.02  # 900,000 USDT
    assert round(rate(gate(PERPETUAL, accounts={"*": {"gross": 9_000_000}})), 9) == 0.05
    assert rate(gate(PERPETUAL, accounts={"*": {"gross": "unlimited"}}, firm={"gross": "unlimited"})) >= 1
    bare = msgspec.structs.replace(PERPETUAL, tiers=())
    assert rate(gate(bare, **EVERY)) == 0.008, "without tiers it is the instrument's own"


def test_the_narrowest_limit_of_the_chain_and_the_widest_account_count():
    both = {"accounts": {"*": {"gross": 900_000}, "other": {"gross": 9_000_000}}}
    assert round(rate(gate(PERPETUAL, **both)), 9) == 0.05
    firm = {"firm": {"gross": 900_000}, **both}
    assert round(rate(gate(PERPETUAL, **firm)), 9) == 0.02


def test_an_account_that_keeps_no_margin_asks_for_no_rate():
    made = gate(PERPETUAL, accounts={"*": {"gross": 900_000, "margin_buffer": "unlimited"}})
    assert rate(made) == 0


def test_the_rate_follows_a_change_of_limits():
    made = gate(PERPETUAL, **EVERY)
    made.set_limits(Limits.load(merged({"accounts": {"*": {"gross": 9_000_000}}})))
    assert round(rate(made), 9) == 0.05


def test_the_gate_refuses_what_the_tiers_would():
    """800,000 USDT need 16,000 at 50x: 17,000 of capital less its buffer of 10 % is too little. The rate of the
    first tier, 0.8 %, would have let it pass."""
    assert send(gate(PERPETUAL, capital=17_000, **EVERY), order(13_300, BID)) == Reason.MARGIN
    assert send(gate(PERPETUAL, capital=18_000, **EVERY), order(13_300, BID)) == 0
    bare = msgspec.structs.replace(PERPETUAL, tiers=())
    assert send(gate(bare, capital=17_000, **EVERY), order(13_300, BID)) == 0


def test_an_option_may_not_be_sold_short_where_margin_is_kept():
    limits = {"accounts": {"*": {"gross": 9_000_000}}, "firm": {"price_collar": "unlimited"}}
    made = gate(OPTION, **limits)
    assert send(made, order(-10, 10_000), 10_000, 10_010) == Reason.POSITION_LIMIT
    bought = order(10, 10_010, 2)
    assert send(made, bought, 10_000, 10_010) == 0
    made.fill(bought, 10, 10_010, 0, T0)
    assert send(made, order(-10, 10_000, 3), 10_000, 10_010, T0 + SECOND) == 0, "what is held may be sold"
    decided = {
        "accounts": {"*": {"gross": 9_000_000, "margin_buffer": "unlimited"}},
        "firm": {"price_collar": "unlimited"},
    }
    assert send(gate(OPTION, **decided), order(-10, 10_000), 10_000, 10_010) == 0, (
        "people decided to keep no margin"
    )


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-20_000, 20_000).filter(bool), st.integers(590_000, 610_000)), min_size=1, max_size=8),
    st.sampled_from([200_000, 900_000, 5_000_000]),
)  # fmt: skip
def test_the_gates_margin_is_never_less_than_the_tiers_ask(orders, gross):
    table = tiers((100_000, 100, "0.005"), (500_000, 20, "0.02"), (2_000_000, 5, "0.1"), (0, 2, "0.25"))
    made = gate(msgspec.structs.replace(PERPETUAL, tiers=table), accounts={"*": {"gross": gross}})
    contract = Contract(0, made.universe[0])
    lots, resting_orders = 0, []
    for n, (size, price) in enumerate(orders):
        ts = T0 + n * SECOND
        one = order(size, price, n + 1)
        if send(made, one, BID, ASK, ts):
            continue
        if n % 2:
            made.fill(one, abs(size), price, 0, ts)
            lots += size
        else:
            resting_orders.append((size, 0))
    touch = Touch(BID, ASK)
    held = Held(contract, touch, lots, 0, *resting(contract, touch, resting_orders))
    account = made.scopes.account_scope(0)
    asked = int(made.state.scope[account, g.P_MARGIN])
    if held.worst_value <= gross * 10**8:
        assert asked + 2 >= held.initial // 100, "micro-units of the base; two of rounding"
