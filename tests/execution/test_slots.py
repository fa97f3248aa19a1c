"""Two versions on one lane: their limits are parts of one, and positions move without money moving."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.execution.core import Lane
from tidegate.kernel import gate_state as g
from tidegate.kernel.gate_state import UNLIMITED
from tidegate.model.instrument import Instrument, InstrumentKind, Universe
from tidegate.model.messages import (
    DynamicLimit,
    HandOver,
    LimitsChange,
    Mark,
    NewOrder,
    OrderEvent,
    Report,
    SendNew,
    SlotShare,
)
from tidegate.model.order import ExecType, OrdStatus, OrdType, Side
from tidegate.risk.exposure import Exposure
from tidegate.risk.gate import Gate
from tidegate.risk.leases.fields import Field
from tidegate.risk.ledger import Ledger
from tidegate.risk.limits import Limits, unlimited
from tidegate.risk.reasons import Reason
from tidegate.risk.scopes import Account, ScopeTable, StrategyScope
from tidegate.risk.slots import WHOLE, share

PERP = Instrument(
    symbol="P", venue="X", kind=InstrumentKind.PERPETUAL, base="B", quote="USDT", tick=Decimal("0.01"), lot=Decimal(1),
    initial_margin=Decimal("0.1"), maker_fee=Decimal(0), taker_fee=Decimal(0),
)  # fmt: skip
UNIVERSE = Universe([PERP])
SCOPES = ScopeTable(
    [Account(name="main", capital=Decimal(10**9))],
    [
        StrategyScope(name="a", accounts=("main",)),
        StrategyScope(name="a.next", accounts=("main",), slot_of="a", part=Decimal("0.2")),
    ],
)
LIVE, NEXT = SCOPES.strategy_scope(0), SCOPES.strategy_scope(1)


def limits(position: int = 100, orders: int = 10):
    import msgspec

    base = unlimited()
    every = base.strategies["*"]
    tight = msgspec.structs.replace(
        every, position=type(every.gross)(position), open_orders=type(every.gross)(orders),
        orders_per_second=type(every.gross)(1000), loss=type(every.gross)(5000),
    )  # fmt: skip
    return Limits(firm=base.firm, accounts=base.accounts, strategies={"*": tight})


def gate(position: int = 100):
    return Gate(UNIVERSE, SCOPES, limits(position))


def lane():
    made = Lane(0, UNIVERSE, gate(), Ledger(UNIVERSE))
    made.apply(Mark(1, 0, 9_999, 10_001))
    return made


class Trader:
    """Sends orders of both strategies to a lane, acknowledges and fills them."""

    def __init__(self):
        self.lane, self.n, self.ts, self.exec_id = lane(), 0, 1, 0

    def order(self, strategy, side, qty, price=10_000):
        self.n += 1
        self.ts += 10**9
        out = self.lane.apply(
            NewOrder(self.ts, (strategy << 40) | self.n, 0, strategy, 0, side, OrdType.LIMIT, qty, price,
                     ref_bid=9_999, ref_ask=10_001, ref_ts=self.ts)
        )  # fmt: skip
        sent = [m for m in out if isinstance(m, SendNew)]
        if not sent:
            event = next(m for m in out if isinstance(m, OrderEvent))
            assert event.status is OrdStatus.DENIED
            return Reason(event.reason)
        self.lane.apply(Report(self.ts, sent[0].cl_ord_id, ExecType.NEW))
        return sent[0].cl_ord_id

    def fill(self, strategy, side, qty, price=10_000):
        ident = self.order(strategy, side, qty, price)
        assert not isinstance(ident, Reason), ident
        self.exec_id += 1
        self.lane.apply(
            Report(self.ts, ident, ExecType.TRADE, exec_id=self.exec_id, last_qty=qty, last_px=price, cum_qty=qty, leaves_qty=0)
        )  # fmt: skip

    def position(self, strategy):
        return self.lane.state.ledger.position(0, strategy, 0).lots


def test_a_slot_has_its_part_of_totals_and_the_whole_of_what_holds_for_one_order():
    made = gate()
    assert made.human_limit(LIVE, Field.LONG, 0) == 100
    assert made.human_limit(NEXT, Field.LONG, 0) == 20
    assert made.human_limit(NEXT, Field.ORDERS) == 2
    assert made.human_limit(NEXT, Field.GROSS) == UNLIMITED


def test_a_closed_candidate_trades_nothing_and_the_live_slot_has_all():
    t = Trader()
    t.lane.apply(SlotShare(t.ts, LIVE, NEXT, WHOLE, 0))
    assert t.order(1, Side.BUY, 1) is Reason.OPEN_ORDERS
    assert not isinstance(t.order(0, Side.BUY, 100), Reason)


def test_tightened_first_then_granted():
    t = Trader()
    t.fill(0, Side.BUY, 95)
    t.lane.apply(SlotShare(t.ts, LIVE, NEXT, WHOLE - 100_000, 100_000))
    of = t.lane.state.gate
    assert of.limit_of(LIVE, Field.LONG, 0) == 90
    assert of.limit_of(NEXT, Field.LONG, 0) == 5  # the live slot uses 95 of the 100
    assert isinstance(t.order(1, Side.BUY, 6), Reason)
    assert not isinstance(t.order(1, Side.BUY, 5), Reason)
    assert isinstance(t.order(0, Side.BUY, 1), Reason)
    t.fill(0, Side.SELL, 30)
    t.lane.apply(SlotShare(t.ts, LIVE, NEXT, WHOLE - 100_000, 100_000))
    assert of.limit_of(NEXT, Field.LONG, 0) == 10


def test_what_a_candidate_still_holds_is_kept_back_from_the_live_slot():
    t = Trader()
    t.lane.apply(SlotShare(t.ts, LIVE, NEXT, WHOLE - 200_000, 200_000))
    t.fill(1, Side.BUY, 15)
    t.lane.apply(SlotShare(t.ts, LIVE, NEXT, WHOLE, 0))
    assert isinstance(t.order(1, Side.BUY, 1), Reason)
    assert isinstance(t.order(0, Side.BUY, 86), Reason)
    assert not isinstance(t.order(0, Side.BUY, 85), Reason)


@given(
    st.lists(
        st.one_of(
            st.tuples(
                st.just("order"), st.integers(0, 1), st.sampled_from(Side), st.integers(1, 120), st.booleans()
            ),
            st.tuples(st.just("share"), st.integers(0, WHOLE), st.integers(0, WHOLE)),
            st.tuples(st.just("limits"), st.integers(0, 150), st.integers(1, 12)),
            st.tuples(st.just("factor"), st.sampled_from((WHOLE, 700_000, 333_333))),
        ),
        max_size=40,
    )
)
@settings(max_examples=150, deadline=None)
def test_no_order_passes_that_brings_both_together_above_what_the_strategy_may(acts):
    """Whatever is shared, and whatever people and markets change about it meanwhile."""
    t = Trader()
    t.lane.apply(SlotShare(t.ts, LIVE, NEXT, WHOLE, 0))
    of = t.lane.state.gate
    position, orders, factor, version = 100, 10, WHOLE, 0
    for act in acts:
        if act[0] == "share":
            live, candidate = act[1], min(act[2], WHOLE - act[1])
            t.lane.apply(SlotShare(t.ts, LIVE, NEXT, live, candidate))
        elif act[0] == "limits":
            _, position, orders = act
            version += 1
            t.lane.apply(LimitsChange(t.ts, version, limits(position, orders).to_json()))
            assert t.lane.state.limits_version == version
        elif act[0] == "factor":
            factor = act[1]
            t.lane.apply(DynamicLimit(t.ts, 0, factor))
        else:
            _, strategy, side, qty, filled = act
            ident = t.order(strategy, side, qty)
            if not isinstance(ident, Reason):
                field = Field.LONG if side is Side.BUY else Field.SHORT
                used = sum(max(0, of.use(scope, field, 0)) for scope in (LIVE, NEXT))
                less = of.use((LIVE, NEXT)[strategy], field, 0) <= 0  # it only reduces
                assert used <= position * factor // WHOLE or less
                assert of.use(LIVE, Field.ORDERS) + of.use(NEXT, Field.ORDERS) <= orders
            if filled and not isinstance(ident, Reason):
                t.exec_id += 1
                t.lane.apply(
                    Report(t.ts, ident, ExecType.TRADE, exec_id=t.exec_id, last_qty=qty, last_px=10_000, cum_qty=qty,
                           leaves_qty=0)
                )  # fmt: skip


def test_shares_follow_limits_and_factors_at_once_and_are_in_the_snapshot():
    t = Trader()
    t.lane.apply(SlotShare(t.ts, LIVE, NEXT, WHOLE - 100_000, 100_000))
    t.lane.apply(LimitsChange(t.ts, 1, limits(50).to_json()))
    of = t.lane.state.gate
    assert [of.limit_of(scope, Field.LONG, 0) for scope in (LIVE, NEXT)] == [45, 5]
    t.lane.apply(LimitsChange(t.ts, 2, limits(200).to_json()))
    assert [of.limit_of(scope, Field.LONG, 0) for scope in (LIVE, NEXT)] == [180, 20]
    t.lane.apply(DynamicLimit(t.ts, 0, 500_000))
    assert [of.limit_of(scope, Field.LONG, 0) for scope in (LIVE, NEXT)] == [90, 10]
    again = Lane.restore(t.lane.snapshot(), UNIVERSE, gate(), Ledger(UNIVERSE))
    again.apply(DynamicLimit(t.ts, 0, WHOLE))
    of = again.state.gate
    assert [of.limit_of(scope, Field.LONG, 0) for scope in (LIVE, NEXT)] == [180, 20]


def test_a_hand_over_moves_the_position_and_no_money():
    t = Trader()
    t.fill(1, Side.SELL, 7, 10_000)
    t.fill(0, Side.BUY, 20, 10_000)
    ledger, of = t.lane.state.ledger, t.lane.state.gate
    account = SCOPES.account_scope(0)
    before = (ledger.balances(0), of.use(account, Field.TRADED), of.use(account, Field.LONG, 0))
    out = t.lane.apply(HandOver(t.ts, 1, 0))
    assert (t.position(0), t.position(1)) == (13, 0)
    assert (of.use(LIVE, Field.LONG, 0), of.use(NEXT, Field.LONG, 0)) == (13, 0)
    assert (ledger.balances(0), of.use(account, Field.TRADED), of.use(account, Field.LONG, 0)) == before
    moved = [(m.strategy, m.exec_type, m.side, m.last_qty) for m in out if isinstance(m, OrderEvent)]
    assert moved == [(0, ExecType.TRADE, Side.SELL, 7), (1, ExecType.TRADE_CANCEL, Side.SELL, 7)]
    assert not t.lane.apply(HandOver(t.ts, 1, 0))  # again is nothing


def test_whoever_adds_up_events_has_the_gates_figures():
    t = Trader()
    exposure = Exposure(UNIVERSE, SCOPES)
    apply = t.lane.apply

    def told(message):
        out = apply(message)
        if type(message) is Mark:
            exposure.mark(message.instrument, message.bid, message.ask, message.ts)
        for event in out:
            if type(event) is OrderEvent:
                exposure.apply(event)
        return out

    t.lane = SimpleNamespace(apply=told, state=t.lane.state)
    told(Mark(1, 0, 9_999, 10_001))
    t.fill(1, Side.BUY, 7, 10_003)
    t.fill(0, Side.SELL, 20, 9_990)
    told(HandOver(t.ts, 1, 0))
    state = t.lane.state.gate.state
    for scope in range(len(SCOPES)):
        assert exposure.cell(scope, 0).lots == state.cell[scope, g.C_POS]
        assert exposure.cell(scope, 0).cash == state.cell[scope, g.C_CASH]
        assert exposure.totals[scope].traded == state.scope[scope, g.P_TRADED]


def test_what_cannot_be_is_refused_and_the_lane_goes_on():
    t = Trader()
    for bad in (
        SlotShare(t.ts, LIVE, NEXT, WHOLE, 1),
        SlotShare(t.ts, LIVE, 99, WHOLE, 0),
        HandOver(t.ts, 0, 0),
        HandOver(t.ts, 0, 7),
    ):
        before = t.lane.state.gate.state_bytes()
        (event,) = t.lane.apply(bad)
        assert event.reason == Reason.INVALID_COMMAND
        assert t.lane.state.gate.state_bytes() == before
    assert not isinstance(t.order(0, Side.BUY, 1), Reason)


def test_shares_survive_a_snapshot():
    t = Trader()
    t.fill(1, Side.BUY, 3)
    t.lane.apply(SlotShare(t.ts, LIVE, NEXT, WHOLE - 100_000, 100_000))
    again = Lane.restore(t.lane.snapshot(), UNIVERSE, gate(), Ledger(UNIVERSE))
    assert again.state.gate.limit_of(NEXT, Field.LONG, 0) == 10
    assert again.state_hash() == t.lane.state_hash()


def test_more_than_the_whole_is_refused():
    with pytest.raises(ValueError, match="parts per million"):
        share(gate(), 1, LIVE, NEXT, 600_000, 500_000)
