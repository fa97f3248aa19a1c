"""Every breaker: what trips it, what does not, and that it trips once until people re-arm it."""

from __future__ import annotations

from decimal import Decimal as D

import pytest
from gate_desk import GENEROUS, SCOPES, T0, UNIVERSE, merged
from hypothesis import given
from hypothesis import strategies as st

from tidegate.errors import UserError
from tidegate.model.event import Status
from tidegate.model.instrument import Instrument, InstrumentKind, Universe
from tidegate.model.messages import OrderEvent
from tidegate.model.order import ExecType, OrdStatus, Side
from tidegate.risk.breakers.panel import Panel
from tidegate.risk.breakers.settings import BreakerSettings
from tidegate.risk.breakers.told import Alert
from tidegate.risk.breakers.trip import Window
from tidegate.risk.exposure import Exposure
from tidegate.risk.limits import Limits
from tidegate.risk.reasons import Reason
from tidegate.risk.scopes import State

S, MS = 1_000_000_000, 1_000_000
MM = "strategy:mm"


class Room:
    """A panel, its exposure, and orders that come and go."""

    def __init__(self, universe=UNIVERSE, breakers=None, **limits) -> None:
        self.exposure = Exposure(universe, SCOPES)
        settings = BreakerSettings.load(breakers or {})
        self.panel = Panel(settings, self.exposure, Limits.load(merged(limits)), [[0], [1]])
        self.ts, self.number = T0, 0
        self.trips = []

    def tell(self, status, exec_type=None, number=0, strategy=0, leaves=10, told=0, **more):
        e = OrderEvent(
            self.ts, number or self.number, number or self.number, 0, strategy, 0, status, exec_type, leaves,
            more.pop("cum_qty", 0), **more,
        )  # fmt: skip
        self.trips += self.panel.order(e, told)

    def order(self, wait=0, **more):
        """Sent and acknowledged."""
        self.number += 1
        self.tell(OrdStatus.PENDING_NEW, **more)
        self.ts += wait
        self.tell(OrdStatus.NEW, ExecType.NEW, **more)

    def deny(self, reason=Reason.MAX_ORDER_QTY, **more):
        self.number += 1
        self.tell(OrdStatus.DENIED, ExecType.REJECTED, leaves=0, reason=reason, **more)

    def trade(self, lots, price, maker=False, **more):
        self.number += 1
        side, qty = (Side.BUY, lots) if lots > 0 else (Side.SELL, -lots)
        self.tell(OrdStatus.PENDING_NEW, leaves=qty, side=side, **more)
        self.tell(
            OrdStatus.FILLED, ExecType.TRADE, leaves=0, cum_qty=qty, last_qty=qty, last_px=price, side=side,
            maker=maker, exec_id=self.number, **more,
        )  # fmt: skip

    def touch(self, bid, ask, i=0, after=0):
        self.ts += after
        self.trips += self.panel.touch(i, bid, ask, self.ts)

    @property
    def triggers(self):
        return [(trip.scope, trip.trigger, trip.state) for trip in self.trips]


# Losses.


def test_the_days_loss_trips_every_scope_that_has_reached_its_limit_and_once():
    room = Room(strategies={"*": {"loss": 1_000}}, accounts={"*": {"loss": 1_000}})
    room.touch(600_000, 600_010)
    room.trade(1_000, 600_010)  # one BTC
    room.touch(595_000, 595_010, after=S)
    assert room.trips == []
    assert len(room.panel.loss.near) == 2
    room.touch(589_500, 589_510, after=S)  # 1,051 lost
    assert sorted(room.triggers) == [
        ("account:main", "loss", State.REDUCE_ONLY), (MM, "loss", State.REDUCE_ONLY)
    ]  # fmt: skip
    assert room.trips[0].limit == 1_000
    assert room.trips[0].value == pytest.approx(1_051)
    assert "1,051.00 USDT, its limit 1,000.00" in room.trips[0].reason
    room.touch(589_400, 589_410, after=S)
    assert len(room.trips) == 2, "once"


def test_a_drawdown_is_counted_from_the_peak_and_from_a_re_arming_on():
    room = Room(strategies={"*": {"drawdown": 500, "loss": "unlimited"}})
    room.touch(600_000, 600_000)
    room.trade(1_000, 600_000)
    room.touch(606_000, 606_000, after=S)  # 600 earned
    room.touch(600_900, 600_900, after=S)  # 510 given back
    assert room.triggers == [(MM, "drawdown", State.REDUCE_ONLY)]
    room.trips.clear()
    room.panel.rearm(MM)
    room.touch(600_000, 600_000, after=S)
    assert room.trips == []
    room.touch(595_800, 595_800, after=S)
    assert room.triggers == [(MM, "drawdown", State.REDUCE_ONLY)]


def test_one_bad_tick_trips_no_loss():
    room = Room(strategies={"*": {"loss": 1_000}}, breakers={"market": {"jump": "unlimited"}})
    room.touch(600_000, 600_010)
    room.trade(1_000, 600_010)
    room.touch(300_000, 300_010, after=100 * MS)
    room.touch(600_000, 600_010, after=100 * MS)
    assert room.trips == []
    room.touch(300_000, 300_010, after=100 * MS)
    room.touch(300_100, 300_110, after=100 * MS)
    assert (MM, "loss", State.REDUCE_ONLY) in room.triggers, "but a market that has really fallen does"


def test_half_a_limit_is_told_once():
    room = Room(strategies={"*": {"loss": 1_000}})
    room.touch(600_000, 600_000)
    room.trade(1_000, 600_000)
    for price in (594_900, 594_800, 594_700):
        room.touch(price, price, after=S)
    assert room.trips == []
    assert room.panel.loss.near == ["the day's loss of strategy:mm is 510.00 USDT, its limit 1,000.00"]


# Orders.


def test_a_runaway_is_killed_at_three_times_its_own_throttle():
    room = Room(strategies={"*": {"orders_per_second": 100}})
    for n in range(301):
        room.ts = T0 + n * MS
        assert room.trips == []
        room.order() if n < 100 else room.deny(Reason.ORDER_THROTTLE)
    assert room.triggers == [(MM, "order_rate", State.KILLED)]
    assert room.trips[0].reason == "strategy:mm asked for 301 orders within 1 s; 300 trip"
    assert room.ts - T0 < S


def test_orders_of_others_and_over_a_longer_time_trip_nothing():
    room = Room(strategies={"*": {"orders_per_second": 100}})
    for n in range(2_000):
        room.ts = T0 + n * 4 * MS  # 250 a second, of two strategies
        room.order(strategy=n % 2)
    assert room.trips == []


def test_without_a_throttle_only_what_is_written_trips():
    room = Room(strategies={"*": {"orders_per_second": "unlimited"}})
    for _ in range(5_000):
        room.order()
    assert room.trips == []
    room = Room(strategies={"*": {"orders_per_second": "unlimited"}}, breakers={"orders": {"most": 1_000}})
    for _ in range(1_001):
        room.order()
    assert room.triggers == [(MM, "order_rate", State.KILLED)]


@given(st.lists(st.integers(0, 40 * MS), min_size=1, max_size=300), st.integers(10 * MS, S))
def test_a_window_counts_what_fell_into_it_to_a_tenth(gaps, span):
    window, times, ts = Window(span), [], T0
    for gap in gaps:
        ts += gap
        times.append(ts)
        n = window.add(ts)
        step = span // 10
        assert sum(t > ts - 9 * step for t in times) <= n <= sum(t > ts - 10 * step for t in times)


def test_one_in_five_refused_of_fifty_pauses_a_strategy_and_what_is_not_its_fault_does_not():
    room = Room()
    innocent = (
        Reason.SCOPE_REDUCE_ONLY, Reason.WOULD_CROSS, Reason.INSTRUMENT_HALTED, Reason.BEFORE_HALT,
        Reason.MARKET_DATA_STALE, Reason.NO_FX_RATE,
    )  # fmt: skip
    for n in range(60):
        room.ts += 100 * MS
        room.deny(innocent[n % len(innocent)])
    assert room.trips == []
    for _ in range(39):
        room.ts += 100 * MS
        room.order()
    for n in range(11):
        assert room.trips == [], n
        room.ts += 100 * MS
        room.deny()
    assert room.triggers == [(MM, "reject_storm", State.REDUCE_ONLY)]


# Fills.


def test_a_burst_of_fills_far_above_its_own_mean_trips():
    room = Room()
    room.touch(600_000, 600_010)
    for _ in range(100):
        room.ts += S
        room.trade(1, 600_000, maker=True)
    assert room.trips == []
    for n in range(60):
        room.ts += MS
        room.trade(1 - 2 * (n % 2), 600_000, maker=True)
    assert room.triggers == [(MM, "fill_rate", State.REDUCE_ONLY)]


def test_a_fast_strategy_that_was_always_fast_trips_nothing():
    room = Room()
    for n in range(4_000):
        room.ts += 10 * MS
        room.trade(1 - 2 * (n % 2), 600_000, maker=True)
    assert room.trips == []


def test_taking_that_became_dear_trips_and_making_never():
    room = Room(breakers={"slippage": {"of": 10, "z": 6}})
    room.touch(600_000, 600_010)
    for n in range(60):
        room.ts += 20 * MS
        room.trade(1 if n % 2 else -1, 600_010 if n % 2 else 600_000)
    assert room.trips == []
    for n in range(30):
        room.ts += 20 * MS
        room.trade(1 - 2 * (n % 2), 603_000, maker=True)
    assert room.trips == []
    for n in range(10):
        room.ts += 20 * MS
        room.trade(1 if n % 2 else -1, 601_300 if n % 2 else 598_700)  # 0.2 % worse
    assert [trigger for _, trigger, _ in room.triggers] == ["slippage"]


def test_slippage_above_the_most_trips_without_any_history():
    room = Room(breakers={"slippage": {"of": 5, "most": "1%"}})
    room.touch(600_000, 600_010)
    for _ in range(5):
        room.trade(1, 607_000)
    assert (MM, "slippage", State.REDUCE_ONLY) in room.triggers
    assert "1.166% against the middle; 1.000% trips" in room.trips[0].reason


def test_neither_a_report_that_was_not_applied_nor_a_position_handed_over_is_a_fill():
    room = Room(breakers={"slippage": {"of": 5, "most": "1%"}})
    room.touch(600_000, 600_010)
    for _ in range(5):
        room.trade(1, 0, reason=Reason.MALFORMED_REPORT)
        e = OrderEvent(
            room.ts,
            0,
            0,
            0,
            0,
            0,
            OrdStatus.FILLED,
            ExecType.TRADE,
            0,
            0,
            last_qty=1,
            last_px=607_000,
            side=Side.BUY,
        )
        room.trips += room.panel.order(e)
    assert room.trips == []
    assert room.exposure.positions[0, 0, 0][0] == 5


def test_what_a_lane_refuses_before_it_was_lent_anything_is_no_storm():
    room = Room(breakers={"orders": {"times": "unlimited"}})
    for _ in range(60):
        room.deny(Reason.GROSS_NOTIONAL, limit=0, value=5)
    assert room.trips == []
    for _ in range(60):
        room.deny(Reason.GROSS_NOTIONAL, limit=4, value=5)
    assert (MM, "reject_storm", State.REDUCE_ONLY) in room.triggers


# Venues.


def test_a_venue_that_answers_late_or_never_only_reduces():
    room = Room(breakers={"latency": {"of": 10, "limit": "500ms"}})
    for _ in range(40):
        room.order(wait=400 * MS)
    assert room.trips == []
    for n in range(5):
        assert room.trips == []
        if n % 2:
            room.order(wait=501 * MS)
        else:
            room.number += 1
            room.tell(OrdStatus.PENDING_NEW)
            room.tell(OrdStatus.UNKNOWN)
            room.tell(OrdStatus.NEW, ExecType.NEW)
    assert room.triggers == [("venue:X", "latency", State.REDUCE_ONLY)]


def test_orders_that_never_reached_the_venue_are_not_its_lateness():
    """A gateway that is killed loses requests: the venue says afterwards that it never had them."""
    room = Room(breakers={"latency": {"of": 10, "limit": "500ms"}})
    for _ in range(40):
        room.number += 1
        room.tell(OrdStatus.PENDING_NEW)
        room.ts += 2_000 * MS
        room.tell(OrdStatus.UNKNOWN)
        room.tell(OrdStatus.REJECTED, ExecType.REJECTED, leaves=0, reason=Reason.GATEWAY_HELD)
    assert room.trips == []


def test_a_command_that_waited_in_its_lane_is_not_the_venues_lateness():
    room = Room(breakers={"latency": {"of": 10, "limit": "500ms"}})
    for _ in range(20):
        room.number += 1
        room.tell(OrdStatus.PENDING_NEW, told=room.ts + 2_000 * MS)
        room.ts += 2_100 * MS
        room.tell(OrdStatus.NEW, ExecType.NEW)
    assert room.trips == []


def test_a_refusal_for_a_halt_and_the_venues_own_status_halt_the_instrument():
    room = Room()
    room.number += 1
    room.tell(OrdStatus.PENDING_NEW)
    room.tell(OrdStatus.REJECTED, ExecType.REJECTED, leaves=0, reason=Reason.VENUE_HALTED)
    assert room.triggers == [("instrument:BTCUSDT.X", "venue_halt", State.CANCEL_ONLY)]
    room.trips += room.panel.pulse(1, room.ts, Status.TRADING)
    room.trips += room.panel.pulse(1, room.ts, Status.HALTED)
    assert room.triggers[1:] == [("instrument:CL.Y", "venue_halt", State.CANCEL_ONLY)]
    assert "HALTED" in room.trips[1].reason


# Market data.


def test_silence_trips_only_where_something_is_held():
    room = Room(breakers={"market": {"stale": "10s"}})
    room.touch(600_000, 600_010)
    room.touch(5_000, 5_002, i=1)
    room.trade(5, 600_010)
    assert room.panel.time(T0 + 10 * S) == []
    (trip,) = room.panel.time(T0 + 10 * S + 1)
    assert (trip.scope, trip.trigger, trip.value) == ("instrument:BTCUSDT.X", "stale_data", pytest.approx(10))
    assert room.panel.time(T0 + 20 * S) == []


def test_a_pulse_shows_that_a_quiet_market_lives():
    room = Room(breakers={"market": {"stale": "10s"}})
    room.touch(600_000, 600_010)
    room.trade(5, 600_010)
    assert room.panel.pulse(0, T0 + 9 * S, Status.TRADING) == []
    assert room.panel.time(T0 + 18 * S) == []


def test_data_crossed_for_long_and_a_confirmed_gap_trip():
    room = Room(breakers={"market": {"crossed": "2s", "jump": "10%"}})
    room.touch(600_000, 600_010)
    room.touch(600_020, 600_010, after=S)
    room.touch(600_000, 600_010, after=S)
    room.touch(600_020, 600_010, after=S)
    assert room.trips == []
    room.touch(600_020, 600_010, after=2 * S)
    assert [trigger for _, trigger, _ in room.triggers] == ["crossed_data"]
    room.trips.clear()
    room.touch(530_000, 530_010, after=S)
    assert room.trips == []
    room.touch(530_000, 530_020, after=S)
    assert [trigger for _, trigger, _ in room.triggers] == ["gapped_data"]


def pair(symbol, venue, base, quote="USDT"):
    return Instrument(
        symbol=symbol, venue=venue, kind=InstrumentKind.SPOT, base=base, quote=quote, tick=D("0.0001"), lot=D(1)
    )  # fmt: skip


def test_two_venues_that_drift_apart_and_a_coin_that_loses_its_peg():
    universe = Universe([
        pair("AB", "X", "A"), pair("AB", "Y", "A"), pair("USDCUSDT", "X", "USDC"), pair("AUSDC", "Z", "A", "USDC")
    ])  # fmt: skip
    breakers = {"divergence": {"hold": "2s"}, "depeg": {"coins": {"USDC": "USDCUSDT.X"}, "hold": "2s"}}
    exposure = Exposure(universe, SCOPES, fx={"USDC": "USDCUSDT.X"})
    none = {key: {k: v for k, v in table.items() if k != "instruments"} for key, table in GENEROUS.items()}
    panel = Panel(BreakerSettings.load(breakers), exposure, Limits.load(none), [[0], [1]])
    assert panel.touch(0, 10_000, 10_001, T0) == []
    assert panel.touch(1, 10_390, 10_391, T0 + S) == []
    assert panel.touch(0, 10_001, 10_002, T0 + 2 * S) == []
    found = panel.touch(1, 10_391, 10_392, T0 + 3 * S)
    assert [(t.scope, t.trigger) for t in found] == [
        ("instrument:AB.Y", "divergence"), ("instrument:AB.X", "divergence")
    ]  # fmt: skip
    assert panel.touch(2, 9_999, 10_001, T0) == []
    assert panel.touch(2, 9_700, 9_701, T0 + S) == [], "a jump, not confirmed"
    assert panel.touch(2, 9_699, 9_701, T0 + 2 * S) == []
    found = panel.touch(2, 9_698, 9_700, T0 + 4 * S)
    assert [(t.scope, t.trigger) for t in found] == [
        ("instrument:USDCUSDT.X", "depeg"), ("instrument:AUSDC.Z", "depeg")
    ]  # fmt: skip


# What others tell.


def test_another_position_at_the_venue_brings_its_account_down():
    room = Room()
    assert room.panel.alert(Alert(T0, "control", "X.main", "no")) == []
    (trip,) = room.panel.alert(Alert(T0, "position_mismatch", "X.main", "BTCUSDT: 5 here, 7 there"))
    assert (trip.scope, trip.state) == ("account:main", State.REDUCE_ONLY)
    assert trip.event().trigger == "position_mismatch"


def test_clocks_that_differ_in_every_entry_and_not_in_some():
    room = Room(breakers={"clock": {"limit": "1s", "of": 5}})
    for n in range(20):
        written = T0 + n * S
        assert room.panel.entry(0, written, written + (3 * S if n % 5 else 0)) == [], "a slow log is no skew"
    found = [trip for n in range(5) for trip in room.panel.entry(1, T0 + n * S + 1_200 * MS, T0 + n * S)]
    assert [(t.scope, t.trigger) for t in found] == [("account:other", "clock_skew")]
    assert "+1.20 s" in found[0].reason


# Settings.


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"lost": {}}, r"risk.breakers.lost: unknown breaker 'lost'; did you mean 'loss'"),
        ({"orders": {"time": 3}}, r"risk.breakers.orders: unknown key 'time'; did you mean 'times'"),
        ({"orders": {"times": -1}}, r"risk.breakers.orders.times: .*-1.* is below 0"),
        ({"market": {"stale": "soon"}}, r"risk.breakers.market.stale: .*'soon' is not a duration"),
        ({"rejects": {"state": "dead"}}, r"risk.breakers.rejects.state: 'dead' is none of reduce_only"),
        ({"rejects": {"of": 0}}, r"risk.breakers.rejects.of is 0, must be above 0"),
        ({"loss": 3}, r"risk.breakers.loss: expected a table, got 3"),
    ],
)
def test_a_mistake_in_the_settings_is_one_line(table, message):
    with pytest.raises(UserError, match=message):
        BreakerSettings.load(table)


def test_unlimited_is_a_decision_that_turns_a_breaker_off():
    room = Room(
        breakers={
            "orders": {"times": "unlimited"}, "rejects": {"share": "unlimited"}, "latency": {"share": "unlimited"},
            "market": {"stale": "unlimited", "jump": "unlimited", "crossed": "unlimited"},
        },
        strategies={"*": {"orders_per_second": 1}},
    )  # fmt: skip
    room.touch(600_000, 600_010)
    for _ in range(200):
        room.deny()
        room.order(wait=10 * S)
    room.touch(600_020, 600_010, after=S)
    room.touch(600_020, 600_010, after=S * 1_000)
    room.trips += room.panel.time(room.ts + 10_000 * S)
    assert room.trips == []
