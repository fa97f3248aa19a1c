"""What a compiled strategy calls: handles, requests and refusals, states of orders, the same from compiled and plain."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from oracle.replay_engine import free_gate
from oracle.stage import BUY, SELL, Happening, event, idle, level, trade, world

from tidegate.kernel import engine as k
from tidegate.kernel.compiled_api import (
    best_ask,
    best_bid,
    buy,
    cancel,
    event_instrument,
    has_touch,
    is_cancellable,
    is_open,
    last_trade_price,
    level_qty,
    market_order,
    now,
    order_leaves,
    order_price,
    position,
    post_buy,
    replace,
    sell,
)
from tidegate.kernel.compiled_entry import entry
from tidegate.kernel.compiled_lane import (
    DUPLICATE_COMMAND,
    ILLEGAL_REPLACE,
    J_BODY,
    J_REASON,
    LANE_FULL,
    ORDER_NOT_OPEN,
    REQUEST_PENDING,
)
from tidegate.kernel.engine import C_TIMER, WAKE_TIMER
from tidegate.kernel.layout import O_LEAVES, O_PRICE, O_QTY, O_STATUS
from tidegate.kernel.replay_engine import Engine, VenueModel
from tidegate.model.event import Kind
from tidegate.model.order import OrdStatus

NEW, SELL_NEW, POST, MARKET, CANCEL, REPLACE, ASK, FLOOD = range(1, 9)
Step = tuple[int, int, int, int]
"""(what, then its arguments: an order is named by the number of the step that sent it)."""


def script_step(e: Any, s: int, kind: int) -> None:
    """At timer n do what parameters 4n … say; the answer goes to memory 2n, 2n + 1 (its halves) and 40 + n."""
    if kind != WAKE_TIMER:
        return
    p, m, n = e.params[s], e.memory[s], e.cur[C_TIMER]
    what, a, b, c = int(p[4 * n]), int(p[4 * n + 1]), int(p[4 * n + 2]), int(p[4 * n + 3])
    handle = (int(m[2 * a]) << 20) | int(m[2 * a + 1])
    answer = 0
    if what == 1:
        answer = buy(e, s, 0, a, b)
    elif what == 2:
        answer = sell(e, s, 0, a, b)
    elif what == 3:
        answer = post_buy(e, s, 0, a, b)
    elif what == 4:
        answer = market_order(e, s, 0, a, b)
    elif what == 5:
        answer = -cancel(e, handle)
    elif what == 6:
        answer = -replace(e, handle, b, c)
    elif what == 7:
        answer = -1
        m[40 + n] = 100 * (1 if is_open(e, handle) else 0) + 10 * (1 if is_cancellable(e, handle) else 0)
        m[60 + n] = order_leaves(e, handle)
        if is_open(e, handle):
            m[80 + n] = order_price(e, handle)
        m[100] = now(e)
        m[101] = best_bid(e, 0)
        m[102] = best_ask(e, 0)
        m[103] = 1 if has_touch(e, 0) else 0
        m[104] = level_qty(e, 0, 1, 98)
        m[105] = last_trade_price(e, 0)
        m[106] = position(e, s, 0)
    else:
        for _ in range(a):
            answer = buy(e, s, 0, 1, b)
    if answer > 0:
        m[2 * n], m[2 * n + 1] = answer >> 20, answer & ((1 << 20) - 1)
    elif what != 7:
        m[40 + n] = answer


ENTRY = entry(script_step)


class Run:
    """A scripted compiled strategy over a few records. Step n is done at time `at[n]`."""

    def __init__(
        self, steps: list[tuple[int, Step]], *market: Happening, entry_latency: int = 0, response: int = 0
    ):
        made = world(
            (*BOOK, *market, idle(10_000)),
            VenueModel("partial", "risk_averse", 2.0, (entry_latency,), (response,)),
        )
        self.engine = Engine(made.universe, made.venues, 1, free_gate(made))
        self.engine.bind_compiled(0, ENTRY.address, tuple(float(word) for _, step in steps for word in step))
        self.engine.state.s[k.S_LANE] = 1
        for n, (t, _) in enumerate(steps):
            self.engine.add_timer(t, 0, k.TIMER_STRATEGY, 0, n)
        self.journal: list[np.ndarray] = []
        self.engine.run([made.rows], lambda rows: self.journal.extend(rows), lambda n: None)
        self.memory = self.engine.state.memory[0]

    def answer(self, n: int) -> int:
        return int(self.memory[40 + n])

    def reports(self) -> list[int]:
        """Kinds of the reports journaled, in order."""
        return [int(row[J_BODY + k.R_EXEC]) for row in self.journal if row[0] == k.J_REPORT]

    def kinds(self) -> list[int]:
        return [int(row[0]) for row in self.journal]


BOOK = (level(1, BUY, 99, 5), level(1, BUY, 98, 8), level(1, SELL, 101, 5), trade(2, 100, 1, BUY))


def test_a_strategy_sees_time_touch_levels_trades_and_its_position():
    run = Run([(10, (NEW, 2, 101, 0)), (20, (ASK, 0, 0, 0))])
    assert run.memory[100:107].tolist() == [20, 99, 101, 1, 8, 100, 2]


def test_a_handle_is_open_until_the_order_has_ended_and_stays_dead_when_its_place_is_taken():
    run = Run([
        (10, (NEW, 2, 99, 0)), (20, (ASK, 0, 0, 0)), (30, (CANCEL, 0, 0, 0)), (35, (ASK, 0, 0, 0)),
        (50, (ASK, 0, 0, 0)), (60, (NEW, 3, 98, 0)), (70, (ASK, 0, 0, 0)), (80, (ASK, 5, 0, 0)),
    ], response=10)  # fmt: skip
    assert run.memory[1] == run.memory[11], "both orders had the same place"
    assert [run.answer(n) for n in (1, 3, 4, 6, 7)] == [110, 100, 0, 0, 110]
    assert run.memory[[61, 66, 67]].tolist() == [2, 0, 3], "lots open"
    assert run.memory[87] == 98, "its price"


def test_a_request_that_cannot_be_is_refused_and_sends_nothing():
    run = Run([
        (10, (NEW, 4, 99, 0)), (15, (REPLACE, 0, 3, 99)), (30, (REPLACE, 0, 3, 99)), (31, (REPLACE, 0, 2, 99)),
        (50, (CANCEL, 0, 0, 0)), (51, (CANCEL, 0, 0, 0)), (52, (REPLACE, 0, 1, 99)), (90, (CANCEL, 0, 0, 0)),
        (91, (REPLACE, 0, 1, 98)),
    ], response=10)  # fmt: skip
    assert run.answer(1) == -REQUEST_PENDING, "not acknowledged yet"
    assert run.answer(2) == 0
    assert run.answer(3) == -REQUEST_PENDING
    assert run.answer(4) == 0
    assert run.answer(5) == -DUPLICATE_COMMAND
    assert run.answer(6) == -REQUEST_PENDING
    assert [run.answer(7), run.answer(8)] == [-ORDER_NOT_OPEN] * 2
    assert run.kinds() == [k.J_ORDER, k.J_REPORT, k.J_REPLACE, k.J_REPORT, k.J_CANCEL, k.J_REPORT]


def ack_step(e: Any, s: int, kind: int) -> None:
    """A market order at the first timer; at its acknowledgement, another price and then fewer lots for it."""
    m = e.memory[s]
    if kind == WAKE_TIMER:
        handle = market_order(e, s, 0, 1, 3)
        m[0], m[1] = handle >> 20, handle & ((1 << 20) - 1)
    elif m[2] == 0:
        handle = (int(m[0]) << 20) | int(m[1])
        m[2] = replace(e, handle, 3, 100)
        m[3] = replace(e, handle, 2, 0)


def test_the_price_of_a_market_order_cannot_be_replaced():
    made = world((*BOOK, idle(2_000)), VenueModel())
    engine = Engine(made.universe, made.venues, 1, free_gate(made))
    keep = entry(ack_step)
    engine.bind_compiled(0, keep.address, ())
    engine.subscribe(0, 0, k.WAKE_REPORT)
    engine.add_timer(5, 0, k.TIMER_STRATEGY, 0)
    engine.run([made.rows], lambda rows: None, lambda n: None)
    assert engine.state.memory[0, 2:4].tolist() == [ILLEGAL_REPLACE, 0]


def test_a_replace_keeps_what_it_gives_as_zero():
    run = Run(
        [(10, (NEW, 4, 98, 0)), (20, (REPLACE, 0, 3, 0)), (30, (REPLACE, 0, 0, 97)), (40, (ASK, 0, 0, 0))]
    )
    row = run.engine.state.orders[0]
    assert (row[O_QTY], row[O_PRICE], row[O_LEAVES], row[O_STATUS]) == (3, 97, 3, OrdStatus.NEW)


def test_a_fill_while_a_replace_is_under_way_leaves_it_under_way():
    # The replace of 50 arrives at 60; at 55 two lots fill, which we hear at 55: still one replace at a time.
    run = Run(
        [(10, (NEW, 4, 99, 0)), (50, (REPLACE, 0, 3, 99)), (56, (REPLACE, 0, 3, 98)), (57, (ASK, 0, 0, 0)),
         (70, (REPLACE, 0, 3, 98))],
        trade(55, 99, 7, SELL), entry_latency=10,
    )  # fmt: skip
    assert run.answer(2) == -REQUEST_PENDING
    assert run.answer(4) == 0
    assert run.reports() == [1, 2, 4, 4]
    row = run.engine.state.orders[0]
    assert (row[O_QTY], row[O_PRICE], row[O_LEAVES], row[O_STATUS]) == (3, 98, 1, OrdStatus.PARTIALLY_FILLED)


def test_a_refused_replace_leaves_a_cancel_that_followed_it_under_way():
    # A post-only order: the replace that would take is refused at 60, the cancel sent behind it arrives at 65.
    run = Run([
        (10, (POST, 4, 99, 0)), (50, (REPLACE, 0, 4, 101)), (55, (CANCEL, 0, 0, 0)), (62, (CANCEL, 0, 0, 0)),
        (63, (ASK, 0, 0, 0)),
    ], entry_latency=10)  # fmt: skip
    assert [run.answer(n) for n in (1, 2, 3)] == [0, 0, -DUPLICATE_COMMAND]
    assert run.answer(4) == 100, "open, but a cancel is on its way"
    assert run.reports() == [1, 7, 3]


def test_a_wake_that_asks_for_more_than_the_tables_hold_is_refused_and_counted():
    run = Run([(10, (FLOOD, 5_000, 50, 0)), (20, (ASK, 0, 0, 0)), (30, (NEW, 1, 50, 0))])
    assert run.answer(0) == -LANE_FULL
    assert run.engine.counters["requests_refused_tables_full"] == 5_000 - 4_096
    assert run.kinds().count(k.J_ORDER) == 4_097, "the tables have grown for the next"
    assert len(run.engine.state.orders) == 8_192


def test_the_journal_has_room_for_a_strategy_that_is_always_denied():
    # A price of zero is denied: nothing is ever under way, yet every order is journaled.
    steps = [(10 + n, (FLOOD, 4_000, 0, 0)) for n in range(15)]
    market = [event(t, Kind.QUOTE, (99, 5, 101, 5)) for t in (100, 200)]
    run = Run(steps, *market)
    assert run.kinds() == [k.J_ORDER] * 60_000
    assert all(row[J_REASON] for row in run.journal)
    assert run.engine.counters["requests_refused_tables_full"] == 0


def test_a_step_without_a_touch_is_told_so():
    made = world((event(1, Kind.MARK), idle(2_000)), VenueModel())
    engine = Engine(made.universe, made.venues, 1, free_gate(made))
    engine.bind_compiled(0, ENTRY.address, (float(ASK), 0.0, 0.0, 0.0))
    engine.add_timer(5, 0, k.TIMER_STRATEGY, 0, 0)
    engine.run([made.rows], lambda rows: None, lambda n: None)
    assert engine.state.memory[0, 103] == 0


def instrument_step(e: Any, s: int, kind: int) -> None:
    """Counts events by instrument and kind."""
    e.memory[s, 10 * event_instrument(e) + kind] += 1


@pytest.mark.parametrize("wake", [k.WAKE_QUOTE, k.WAKE_TRADE, k.WAKE_BOOK])
def test_a_compiled_strategy_is_woken_by_what_it_subscribed_to(wake):
    made = world((*BOOK, event(3, Kind.QUOTE, (99, 5, 101, 5)), idle(2_000)), VenueModel())
    engine = Engine(made.universe, made.venues, 1, free_gate(made))
    keep = entry(instrument_step)
    engine.bind_compiled(0, keep.address, ())
    engine.subscribe(0, 0, wake)
    engine.run([made.rows], lambda rows: None, lambda n: None)
    expected = {k.WAKE_QUOTE: 1, k.WAKE_TRADE: 1, k.WAKE_BOOK: 3}
    assert engine.state.memory[0, :3].tolist() == [expected[w] if w == wake else 0 for w in range(3)]
    assert engine.state.strat[0, k.G_WAKES] == expected[wake]
