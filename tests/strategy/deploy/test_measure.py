"""The figures of a run: what they add up to, and that intervals lose nothing."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.model.instrument import Instrument, InstrumentKind, Universe
from tidegate.model.messages import OrderEvent
from tidegate.model.money import unit
from tidegate.model.order import ExecType, OrdStatus, Side
from tidegate.risk.ledger import Ledger
from tidegate.strategy.deploy.measure import Measure

LINEAR = Instrument(
    symbol="L", venue="X", kind=InstrumentKind.PERPETUAL, base="BTC", quote="USDT", tick=Decimal("0.1"),
    lot=Decimal("0.001"),
)  # fmt: skip
INVERSE = Instrument(
    symbol="I", venue="X", kind=InstrumentKind.INVERSE_PERPETUAL, base="BTC", quote="USD", tick=Decimal("0.1"),
    lot=Decimal(1), multiplier=Decimal(100),
)  # fmt: skip
SPOT = Instrument(
    symbol="S", venue="X", kind=InstrumentKind.SPOT, base="BTC", quote="USDT", tick=Decimal("0.01"),
    lot=Decimal("0.0001"),
)  # fmt: skip
UNIVERSE = Universe([LINEAR, INVERSE, SPOT])
RATES = {"BTC": Decimal(60_000), "USD": Decimal(1)}
SECOND = 10**9
ORDERS = iter(range(1, 10**9))


def measure(positions=None):
    return Measure(UNIVERSE, 0, SECOND, "USDT", RATES, positions)


def asked(ts, instrument, lots, denied=False, strategy=0):
    status = OrdStatus.DENIED if denied else OrdStatus.PENDING_NEW
    kind = ExecType.REJECTED if denied else None
    return OrderEvent(ts, next(ORDERS), 1, 0, strategy, instrument, status, kind, lots, 0)


def fill(ts, instrument, side, lots, price, fee=0, order=None):
    return OrderEvent(
        ts, next(ORDERS) if order is None else order, 1, 0, 0, instrument, OrdStatus.FILLED, ExecType.TRADE, 0, lots,
        last_qty=lots, last_px=price, fee=fee, side=side,
    )  # fmt: skip


def test_orders_fills_and_what_they_cost():
    m = measure()
    m.mark(1, 0, 599_990, 600_010)
    m.event(asked(2, 0, 10))
    m.event(asked(3, 0, 10, denied=True))
    m.event(asked(3, 0, 10, strategy=1))
    m.event(fill(4, 0, Side.BUY, 10, 600_010))
    (done,) = m.pass_time(SECOND)
    assert (done.orders, done.fills) == (2, 1)
    assert done.ordered == pytest.approx(1_200.0)
    assert done.filled == pytest.approx(600.01)
    assert done.paid == pytest.approx(0.01)
    assert done.pnl == pytest.approx(-0.01)
    assert done.inventory == pytest.approx(600.0)


def test_a_hand_over_moves_positions_and_is_no_trade():
    m = measure()
    m.mark(1, 0, 600_000, 600_000)
    m.event(fill(2, 0, Side.BUY, 5, 600_000, order=0))
    m.mark(3, 0, 600_100, 600_100)
    assert (m.now.fills, m.now.filled, m.now.orders) == (0, 0.0, 0)
    assert m.positions[0] == 5
    assert m.now.pnl == pytest.approx(0.05)


def test_what_was_held_before_earns_from_the_first_touch_on():
    m = measure({0: 10})
    m.mark(1, 0, 600_000, 600_000)
    assert m.now.pnl == 0
    m.mark(2, 0, 600_100, 600_100)
    assert m.now.pnl == pytest.approx(0.1)
    assert m.now.inventory == pytest.approx(600.1)


trades = st.lists(
    st.tuples(
        st.integers(0, 2), st.sampled_from(Side), st.integers(1, 50), st.integers(590_000, 610_000), st.integers(0, 500),
        st.integers(0, 3 * SECOND),
    ),
    max_size=30,
)  # fmt: skip


@given(trades)
def test_profit_is_the_ledgers_and_no_interval_is_lost(acts):
    m, ledger, ts, ended = measure(), Ledger(UNIVERSE, fx=RATES), SECOND, []
    marks = [600_000, 600_000, 6_000_000]
    for n, price in enumerate(marks):
        ended += m.mark(ts, n, price, price)
    filled = 0
    for instrument, side, lots, price, fee, wait in acts:
        price = price * 10 if instrument == 2 else price
        ts += wait
        ended += m.event(fill(ts, instrument, side, lots, price, fee))
        ledger.apply_fill(0, 0, instrument, side.sign * lots, price, fee, ts)
        filled += 1
    ended += m.pass_time(ts + SECOND)
    everything = [*ended, m.now]
    assert sum(f.fills for f in everything) == filled
    assert [f.ts for f in everything] == list(range(2 * SECOND, everything[-1].ts + 1, SECOND))
    # The ledger has spot's base asset among its cash, at the rate; here positions are at marks: both are the same rate.
    worth = ledger.equity(0, marks, "USDT") * float(unit("USDT"))
    assert sum(f.pnl for f in everything) == pytest.approx(worth, abs=1e-3)
