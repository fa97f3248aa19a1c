"""States, limits and factors as facts of a lane's log: applied in their place, restored, and never its end."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import msgspec
import pytest
from lane_world import SETTINGS, new, sends, universe

from tidegate.execution.core import Lane
from tidegate.kernel.gate_state import I_EQUITY
from tidegate.model.messages import (
    Acknowledge,
    DynamicLimit,
    LimitsChange,
    Mark,
    MarketReference,
    Message,
    ReplaceOrder,
    Report,
    ScopeState,
    SendNew,
    SendReplace,
    Tick,
    VenueEquity,
)
from tidegate.model.order import ExecType
from tidegate.risk.gate import Gate
from tidegate.risk.ledger import Ledger
from tidegate.risk.limits import Limits, unlimited
from tidegate.risk.reasons import Reason as R
from tidegate.risk.scopes import Account, ScopeTable, State, StrategyScope

NAMES = ("main", "other")
SCOPES = ScopeTable(
    [Account(name=name, capital=Decimal(10**9)) for name in NAMES],
    [StrategyScope(name=f"s{n}", accounts=NAMES) for n in range(4)],
)
STRATEGY = SCOPES.strategy_scope(2)


@dataclass
class Desk:
    """A lane over the real gate, with a marked market."""

    lane: Lane
    cmd: int = 0

    def apply(self, message: Message) -> list[Message]:
        return self.lane.apply(message)

    def reason(self, qty: int = 10, **fields: object) -> int:
        """Ask for an order; why it is denied."""
        self.cmd += 1
        told = self.apply(new(self.cmd, qty, **fields))[0]
        return int(told.reason)

    @property
    def counts(self) -> dict[int, int]:
        return self.lane.counts


def document(**firm: object) -> Limits:
    limits = unlimited()
    return msgspec.structs.replace(limits, firm=msgspec.structs.replace(limits.firm, **firm))


def change(ts: int, version: int, effective: int = 0, **firm: object) -> LimitsChange:
    return LimitsChange(ts, version, document(**firm).to_json(), effective)


def parts() -> tuple[Gate, Ledger]:
    return Gate(universe(), SCOPES, unlimited(), open_orders=256), Ledger(universe())


@pytest.fixture
def desk() -> Desk:
    lane = Lane(3, universe(), *parts(), SETTINGS)
    for instrument in (0, 1):
        lane.apply(Mark(1, instrument, 100, 102))
    return Desk(lane)


def again(lane: Lane) -> Lane:
    other = Lane.restore(lane.snapshot(), universe(), *parts())
    assert other.state_hash() == lane.state_hash()
    return other


def test_a_state_is_the_scopes_or_the_instruments(desk: Desk) -> None:
    desk.apply(ScopeState(2, -1, State.CANCEL_ONLY, instrument=0, epoch=5))
    assert desk.reason() == R.INSTRUMENT_HALTED
    assert desk.reason(instrument=1) == R.NONE
    desk.apply(ScopeState(2, -1, State.ACTIVE, instrument=0))
    desk.apply(ScopeState(3, STRATEGY, State.KILLED, epoch=6))
    assert desk.reason() == R.SCOPE_KILLED
    assert desk.reason(strategy=1) == R.NONE


def test_what_passes_carries_its_strategy_and_the_last_halt_the_lane_knows_of(desk: Desk) -> None:
    (first,) = sends(desk.apply(new(1)))
    assert isinstance(first, SendNew)
    assert (first.strategy, first.halt_epoch) == (2, 0)
    desk.apply(ScopeState(2, -1, State.KILLED, instrument=1, epoch=7))
    desk.apply(ScopeState(2, -1, State.ACTIVE, instrument=1, epoch=6))
    (second,) = sends(desk.apply(new(2)))
    assert second.halt_epoch == 7
    other = again(desk.lane)
    other.apply(Report(3, first.cl_ord_id, ExecType.NEW))
    (changed,) = sends(other.apply(ReplaceOrder(4, 1, qty=20)))
    assert isinstance(changed, SendReplace)
    assert (changed.strategy, changed.halt_epoch) == (2, 7)


def test_a_factor_and_a_document_are_applied_and_restored(desk: Desk) -> None:
    desk.apply(change(2, 1, order_qty=Decimal("0.020")))
    assert desk.reason(21) == R.MAX_ORDER_QTY
    desk.apply(DynamicLimit(3, 0, 500_000))
    assert desk.reason(11) == R.MAX_ORDER_QTY
    assert desk.reason(10) == R.NONE
    desk.lane = again(desk.lane)
    assert desk.reason(11) == R.MAX_ORDER_QTY
    assert desk.lane.state.limits_version == 1


def test_limits_of_a_later_time_wait_for_it_and_the_higher_version_holds(desk: Desk) -> None:
    desk.apply(change(2, 2, effective=100, order_qty=Decimal("0.005")))
    desk.apply(change(3, 2, effective=100, order_qty=Decimal("0.001")))
    desk.apply(change(4, 1, effective=90, order_qty=Decimal("0.007")))
    assert desk.reason(10) == R.NONE
    desk.lane = again(desk.lane)
    desk.apply(Tick(99))
    assert desk.reason(8) == R.MAX_ORDER_QTY
    assert desk.reason(7) == R.NONE
    desk.apply(Tick(100))
    assert desk.reason(6) == R.MAX_ORDER_QTY
    assert desk.reason(5) == R.NONE
    desk.apply(change(101, 2))
    desk.apply(change(101, 1))
    assert desk.reason(6) == R.MAX_ORDER_QTY, "an older version, told late, changes nothing"


def test_a_limit_lowered_below_its_use_is_said(desk: Desk) -> None:
    assert desk.reason(10) == R.NONE
    desk.apply(change(2, 1, open_orders=Decimal(0)))
    assert desk.counts[R.LIMIT_BELOW_USE] == 1
    assert desk.lane.error == "limits version 1: firm firm: ORDERS is 1, the limit 0"
    assert desk.reason(10) == R.OPEN_ORDERS


def test_the_markets_size_equity_and_acknowledgements_reach_the_gate(desk: Desk) -> None:
    desk.apply(change(2, 1, depth_share=Decimal("0.2"), venue_share=Decimal("0.5"), executions=Decimal(1)))
    assert desk.reason() == R.NO_MARKET_REFERENCE
    desk.apply(MarketReference(3, 0, -1, -1, 100, 100))
    assert desk.reason(21) == R.DEPTH_SHARE
    told = desk.apply(new(desk.cmd + 1, 10))
    desk.cmd += 1
    desk.apply(Report(4, sends(told)[0].cl_ord_id, ExecType.TRADE, last_qty=10, last_px=100, exec_id=1))
    assert desk.reason() == R.REPEATED_EXECUTION
    desk.lane = again(desk.lane)
    assert desk.reason() == R.REPEATED_EXECUTION
    desk.apply(Acknowledge(5, 2, 0, by="ann"))
    assert desk.reason() == R.NONE
    desk.apply(VenueEquity(6, 0, 1_000_000))
    assert desk.lane.state.gate.state.inst[0, I_EQUITY] == 1_000_000
    assert desk.reason() == R.NONE, "a run's only venue has all equity"


def test_a_figure_older_than_the_last_changes_nothing(desk: Desk) -> None:
    desk.apply(change(2, 1, depth_share=Decimal("0.2")))
    desk.apply(MarketReference(3, 0, -1, -1, 100, 100, 7))
    desk.apply(VenueEquity(3, 0, 1_000_000, 7))
    desk.lane = again(desk.lane)
    before = desk.lane.state.gate.state_bytes()
    for late in (7, 6):
        desk.apply(MarketReference(4, 0, -1, -1, 9_000, 9_000, late))
        desk.apply(VenueEquity(4, 0, 5_000_000, late))
    assert desk.lane.state.gate.state_bytes() == before
    assert desk.counts == {R.STALE_COMMAND: 4}
    assert desk.reason(21) == R.DEPTH_SHARE
    desk.apply(MarketReference(5, 0, -1, -1, 9_000, 9_000))
    assert desk.reason(21) == R.NONE, "of an earlier version, which numbered none"
    desk.apply(MarketReference(6, 0, -1, -1, 100, 100, 6))
    assert desk.reason(21) == R.NONE
    desk.apply(MarketReference(6, 0, -1, -1, 100, 100, 8))
    assert desk.reason(21) == R.DEPTH_SHARE


def test_what_the_venue_refuses_counts_for_the_strategys_rejects(desk: Desk) -> None:
    strict = msgspec.structs.replace(unlimited().strategies["*"], reject_share=Decimal("0.2"))
    document = msgspec.structs.replace(unlimited(), strategies={"*": strict})
    desk.apply(LimitsChange(2, 1, document.to_json()))
    for n in range(52):
        desk.cmd += 1
        sent = sends(desk.apply(new(desk.cmd)))[0]
        desk.apply(Report(3, sent.cl_ord_id, ExecType.REJECTED if n % 4 == 3 else ExecType.CANCELED))
    assert desk.reason() == R.ANOMALY_REJECTS


def test_what_the_gateway_holds_back_says_nothing_of_the_strategy(desk: Desk) -> None:
    strict = msgspec.structs.replace(unlimited().strategies["*"], reject_share=Decimal("0.2"))
    document = msgspec.structs.replace(unlimited(), strategies={"*": strict})
    desk.apply(LimitsChange(2, 1, document.to_json()))
    for _ in range(60):
        desk.cmd += 1
        sent = sends(desk.apply(new(desk.cmd)))[0]
        desk.apply(Report(3, sent.cl_ord_id, ExecType.REJECTED, reason=R.GATEWAY_HELD))
    assert desk.reason() == R.NONE


def test_time_is_ticked_into_the_gate(desk: Desk) -> None:
    desk.apply(change(2, 1, clock_skew=5))
    assert desk.reason(ts=50) == R.NONE
    desk.apply(Tick(51))
    assert desk.reason(ts=57) == R.CLOCK_SKEW
    assert desk.reason(ts=45) == R.NONE, "its time is behind the tick, and no fact says it is late"


@pytest.mark.parametrize(
    "bad",
    [
        ScopeState(2, 99, State.KILLED),
        ScopeState(2, -1, State.KILLED),
        ScopeState(2, 0, 77),
        ScopeState(2, -1, State.KILLED, instrument=99),
        ScopeState(2, 1 << 70, State.KILLED),
        ScopeState(2, "firm", State.KILLED),  # type: ignore[arg-type]
        DynamicLimit(2, 99, 1),
        DynamicLimit(2, 0, 0),
        DynamicLimit(2, 0, 2_000_000),
        MarketReference(2, 99, 1, 1, 1, 1),
        MarketReference(2, 0, -2, 1, 1, 1),
        VenueEquity(2, 99, 1),
        Acknowledge(2, 99, 0),
        Acknowledge(2, 0, 0, 7),
        LimitsChange(2, 1, b"{"),
        LimitsChange(2, 1, b'{"accounts": {"nobody": {}}}'),
        LimitsChange(2, 1, b"{", effective=50),
    ],
    ids=repr,
)
def test_what_cannot_be_applied_is_counted_and_changes_nothing_else(desk: Desk, bad: Message) -> None:
    gate = desk.lane.state.gate
    before = gate.state_bytes()
    assert desk.apply(bad) == []
    assert gate.state_bytes() == before
    assert desk.counts == {R.INVALID_CONTROL: 1}
    assert type(bad).__name__ in desk.lane.error
    assert desk.lane.state.limits_version == 0
    assert desk.reason() == R.NONE
