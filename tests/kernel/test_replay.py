"""The replay loop: seeded worlds against the reference by state hash, the order of one instant, chunks, bars."""

from __future__ import annotations

import os
from dataclasses import replace as changed

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import replay_world as worlds
from oracle.replay import Replay, digest, first_difference
from oracle.replay_engine import Driver
from oracle.stage import (
    BUY,
    SELL,
    Played,
    begin,
    buy,
    cancel,
    event,
    idle,
    level,
    new,
    play,
    quote,
    sell,
    trade,
    world,
)

from tidegate.kernel import engine as k
from tidegate.kernel.replay_engine import VenueModel
from tidegate.model.event import Kind
from tidegate.model.order import ExecType, OrdType

SCALE = 3 if os.environ.get("TIDEGATE_FULL") == "1" else 1


@pytest.mark.parametrize("seed", range(1, 13))
def test_a_seeded_world_comes_to_the_reference_s_state(seed):
    made = worlds.world(seed, 40_000 * SCALE, watch=seed % 3 == 0)
    mine, reference = Driver(made).run().state(), Replay(made).run().state()
    assert digest(mine) == digest(reference), f"seed {seed}: {first_difference(mine, reference)}"
    # The comparison is of something: every kind of report and nearly every reason came up.
    kinds = {report[1 + k.R_EXEC] for report in mine["reports"]}
    assert kinds == set(range(int(ExecType.NEW), int(ExecType.TRIGGERED) + 1))
    assert {report[1 + k.R_REASON] for report in mine["reports"]} == {0, *range(201, 209)}
    assert len(mine["reports"]) > len(made.rows) // 4
    assert mine["journal"]


SMALL = {seed: worlds.world(seed, 1_500, every=15, watch=True) for seed in (1, 2, 3)}
WHOLE = {seed: digest(Driver(made).run().state()) for seed, made in SMALL.items()}


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(SMALL)), st.lists(st.integers(0, 1_500), max_size=60))
def test_where_chunks_are_cut_makes_no_difference(seed, cuts):
    chunks = np.split(SMALL[seed].rows, sorted(cuts))  # empty ones too
    assert digest(Driver(SMALL[seed]).run(chunks).state()) == WHOLE[seed]


def test_one_record_a_chunk_makes_no_difference():
    assert digest(Driver(SMALL[1]).run(np.split(SMALL[1].rows, len(SMALL[1].rows))).state()) == WHOLE[1]


def test_the_reference_agrees_with_the_small_worlds_too():
    for seed, made in SMALL.items():
        assert digest(Replay(made).run().state()) == WHOLE[seed]


def test_another_seed_draws_other_latencies_and_the_same_seed_the_same():
    made = SMALL[1]
    assert any(len(model.entry_latency) > 1 for model in made.venues.values())
    assert digest(Driver(made).run().state()) == WHOLE[1]
    other = Driver(changed(made, seed=99)).run().state()
    assert digest(other) != WHOLE[1]
    assert digest(other) == digest(Replay(changed(made, seed=99)).run().state())


# The order of one instant.

BOOK = (level(1, BUY, 99, 5), level(1, SELL, 101, 4))


def test_at_one_instant_the_market_moves_before_a_request_arrives():
    played = play(*BOOK, sell(10, 1, 100), level(10, BUY, 100, 3))
    assert played.lines == ["10 NEW 1", "10 TRADE 1: 1 at 100 taker, 0 left"]


def test_at_one_instant_requests_go_before_reports_and_reports_before_timers():
    # Sent at 10, there at 20, back at 30; another one sent at 20 is there at 30 too, the third is sent at 30.
    played = play(
        *BOOK,
        buy(10, 1, 98),
        buy(20, 1, 97),
        buy(30, 1, 96),
        trade(30, 97, 9, SELL),
        entry=(10,),
        response=(10,),
    )
    assert played.lines == ["30 NEW 1", "40 TRADE 1: 1 at 98 maker, 0 left", "40 NEW 2", "50 NEW 3"]


def test_a_strategy_that_asks_at_a_timer_sees_the_book_before_the_records_of_that_instant():
    # The quote of 100 reaches us at 10, together with the timer: the strategy acts on what it knew before.
    made = world((*BOOK, quote(5, 100, 7, 101, 4, after=5), buy(10, 1, 90)), VenueModel())
    made.subscriptions = [(0, 0, k.WAKE_QUOTE)]
    driver = Driver(made)
    asked_at = []
    act = driver.act

    def noting(strategy, action):
        asked_at.append(int(driver.engine.state.book[1, 0]))
        act(strategy, action)

    driver.act = noting  # type: ignore[method-assign]
    driver.run()
    assert asked_at == [99]
    assert [seen[:2] for seen in driver.seen] == [(k.WAKE_QUOTE, 0)]


def test_timers_of_one_instant_fire_in_the_order_they_were_set():
    made = world((*BOOK, idle(100)), VenueModel())
    made.strategies = 4
    made.timers = [(3, 50, 10), (1, 30, 0), (0, 50, 10), (2, 20, 0), (1, 50, 0), (2, 60, 0)]
    fired = []
    driver = Driver(made)
    driver.on_timer = lambda strategy: fired.append((driver.engine.now, strategy))  # type: ignore[method-assign]
    driver.bind()
    driver.run()
    assert fired[:8] == [(20, 2), (30, 1), (50, 3), (50, 0), (50, 1), (60, 3), (60, 0), (60, 2)]


# Two clocks.


def test_the_exchange_sees_records_in_its_own_order():
    # The trade at 20 reaches us after the quote of 30; at the exchange it came first, and filled the order.
    played = play(
        quote(1, 99, 5, 101, 5), buy(10, 1, 99), trade(20, 98, 1, SELL, after=40), quote(30, 99, 5, 101, 5, after=5),
        cancel(25, 1), response=(100,),
    )  # fmt: skip
    assert played.lines == [
        "110 NEW 1",
        "120 TRADE 1: 1 at 99 maker, 0 left",
        "125 CANCEL_REJECTED 1 TOO_LATE",
    ]


def test_what_has_not_reached_us_is_not_known_here():
    happenings = (quote(1, 99, 5, 101, 5), quote(10, 89, 5, 91, 5, after=30))
    late = Played(world((*happenings, new(20, BUY, 2, kind=OrdType.MARKET)), VenueModel()))
    assert late.lines == ["20 NEW 1", "20 TRADE 1: 2 at 91 taker, 0 left"], "the exchange has moved on"
    made = world((*happenings, idle(60)), VenueModel())
    made.subscriptions = [(0, 0, k.WAKE_QUOTE)]
    seen = Driver(made).run().seen
    assert [(row[-5], row[-4]) for row in seen] == [(1, 99), (40, 89)]


def test_nothing_overtakes_on_its_way_to_one_venue_or_back():
    made = worlds.world(5, 4_000, every=5)
    assert any(len(model.response_latency) > 1 for model in made.venues.values())
    orders = Replay(made).run().orders
    reports = [report[1:] for report in Driver(made).run().state()["reports"]]
    said: dict[str, list[int]] = {}
    for words in reports:
        instrument = orders[words[k.R_ID] - 1].order.instrument
        if words[k.R_SLOT] >= 0:
            said.setdefault(worlds.UNIVERSE[instrument].venue, []).append(words[k.R_TSV])
    assert set(said) == {"A", "B", "C"}
    for times in said.values():
        assert times == sorted(times)


# What strategies are shown.


def test_a_subscriber_is_shown_the_record_and_the_touch_after_it():
    made = world(
        (quote(1, 99, 5, 101, 4), trade(2, 101, 3, BUY, after=1), level(4, BUY, 100, 7)), VenueModel()
    )
    made.subscriptions = [(0, 0, wake) for wake in (k.WAKE_QUOTE, k.WAKE_TRADE, k.WAKE_BOOK)]
    seen = Driver(made).run().seen
    assert [(row[0], row[2], row[3], row[5], row[6]) for row in seen] == [
        (k.WAKE_QUOTE, 1, 1, 99, 5), (k.WAKE_TRADE, 2, 3, 101, 3), (k.WAKE_BOOK, 4, 4, 100, 7),
    ]  # fmt: skip
    assert [row[-5:] for row in seen] == [(1, 99, 5, 101, 4), (3, 99, 5, 101, 4), (4, 100, 7, 101, 4)]


def test_a_strategy_is_woken_by_what_it_subscribed_to_and_nothing_else():
    made = world((quote(1, 99, 5, 101, 4), trade(2, 101, 3, BUY), level(4, BUY, 100, 7)), VenueModel())
    made.strategies = 2
    made.subscriptions = [(1, 0, k.WAKE_TRADE)]
    driver = Driver(made).run()
    assert [(row[0], row[1]) for row in driver.seen] == [(k.WAKE_TRADE, 1)]
    assert driver.engine.state.strat[:, k.G_WAKES].tolist() == [0, 1]


def test_a_book_subscriber_is_woken_at_the_end_of_a_message_only():
    parts = [level(2, BUY, 98, 1, last=False), level(2, BUY, 97, 1, last=False), level(2, BUY, 96, 1)]
    made = world(
        (*BOOK, *parts, begin(3), level(3, BUY, 90, 1, last=False), event(3, Kind.SNAPSHOT_END)), VenueModel()
    )
    made.subscriptions = [(0, 0, k.WAKE_BOOK)]
    assert [(row[3], row[5]) for row in Driver(made).run().seen] == [(1, 99), (1, 101), (2, 96), (3, 0)]


def test_bars_hold_the_trades_of_their_interval_and_empty_ones_are_not_shown():
    trades = [(10, 100, 1), (30, 105, 2), (55, 95, 3), (99, 101, 4), (100, 102, 5), (350, 90, 6)]
    made = world((*[trade(t, p, q, BUY) for t, p, q in trades], idle(400)), VenueModel())
    made.bars = [(0, 0, 100, 100)]
    seen = Driver(made).run().seen
    # Time, open, close, volume, high, low: a trade at the very end of a bar belongs to the next.
    assert [(row[2], *row[4:9]) for row in seen] == [
        (100, 100, 101, 10, 105, 95), (200, 102, 102, 5, 102, 102), (400, 90, 90, 6, 90, 90),
    ]  # fmt: skip
    assert all(row[9] >> 32 == Kind.BAR for row in seen)


def test_marks_are_sampled_where_the_touch_has_moved():
    made = world(
        (
            quote(1, 99, 5, 101, 4),
            quote(15, 98, 5, 101, 4),
            quote(17, 99, 5, 101, 4),
            quote(25, 97, 5, 0, 0),
            idle(90),
        ),
        VenueModel(),
    )
    made.timers = [(-1, 10, 10)]
    journal = [tuple(int(word) for word in row[:5]) for row in Driver(made).run().journal]
    assert journal == [(k.J_MARK, 10, 0, 99, 101), (k.J_MARK, 30, 0, 97, 0)]


def test_funding_is_paid_at_the_middle_and_counted_where_there_is_none():
    def funding(t):
        return event(t, Kind.FUNDING, (12_345,))

    made = world((funding(1), quote(2, 99, 5, 102, 4), funding(5)), VenueModel())
    driver = Driver(made).run()
    assert [tuple(int(word) for word in row[:5]) for row in driver.journal] == [
        (k.J_FUNDING, 5, 0, 12_345, 100)
    ]
    assert driver.engine.counters["fundings_without_a_price"] == 1


def test_a_position_is_the_sum_of_the_fills_that_have_reached_us():
    played = play(*BOOK, buy(5, 3, 101), sell(6, 1, 99), buy(990, 2, 101), response=(20,))
    assert played.driver.engine.state.pos[0, 0] == 3 - 1 + 1 + 1


def test_the_local_clock_never_runs_backwards():
    made = SMALL[2]
    driver = Driver(made)
    times = []
    report = driver.on_report

    def noting(strategy):
        times.append(driver.engine.now)
        report(strategy)

    driver.on_report = noting  # type: ignore[method-assign]
    driver.bind()
    driver.run()
    assert len(times) > 100
    assert times == sorted(times)
