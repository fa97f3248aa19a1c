"""The engine around the replay kernel: tables that grow, windows that may not, and what comes out when a handler raises."""

from __future__ import annotations

import traceback

import numpy as np
import pytest
from oracle.replay import Replay, digest, first_difference
from oracle.replay_engine import Driver, free_gate
from oracle.replay_world import UNIVERSE, World, venue_models
from oracle.stage import (
    BUY,
    SELL,
    Happening,
    Played,
    buy,
    event,
    idle,
    level,
    new,
    order,
    play,
    quote,
    sell,
    trade,
    world,
)

from tidegate.kernel import engine as k
from tidegate.kernel.book import B_BASE, B_SIZE, B_USABLE
from tidegate.kernel.replay_engine import FIRST_WINDOW, LARGEST_WINDOW, Engine, VenueModel
from tidegate.kernel.wake import PythonCall
from tidegate.model.event import Kind
from tidegate.model.order import OrdType


def agree(made: World) -> Driver:
    """Run kernel and reference; they must come to the same state."""
    driver = Driver(made)
    mine, reference = driver.run().state(), Replay(made).run().state()
    assert digest(mine) == digest(reference), first_difference(mine, reference)
    return driver


# Windows.


def test_a_window_grows_up_and_down_and_the_book_stays_what_it_was():
    prices = [0, 10, FIRST_WINDOW, -FIRST_WINDOW, 3 * FIRST_WINDOW, -9 * FIRST_WINDOW, 20 * FIRST_WINDOW]
    happenings: list[Happening] = []
    for n, price in enumerate(prices):
        happenings.append(level(2 * n + 1, BUY if price <= 0 else SELL, price, n + 1))
    happenings.append(sell(6, 2, 5))
    played = play(*happenings, negative_prices=True)
    bids, asks, bid, ask = played.state["exchange books"][0][:4]
    assert (bid, ask) == (0, 10)
    assert bids == [(-9 * FIRST_WINDOW, 6), (-FIRST_WINDOW, 4), (0, 1)]
    assert asks == [(10, 2), (FIRST_WINDOW, 3), (3 * FIRST_WINDOW, 5), (20 * FIRST_WINDOW, 7)]
    header = played.driver.engine.state.book
    assert (header[0, [B_BASE, B_SIZE]] == header[1, [B_BASE, B_SIZE]]).all()
    assert header[0, B_SIZE] == 32 * FIRST_WINDOW
    assert played.driver.engine.counters["records_beyond_book_window"] == 0


def test_windows_of_several_instruments_grow_beside_each_other():
    rng = np.random.default_rng(6)
    n = 3_000
    rows = np.zeros((n, 8), np.int64)
    rows[:, 0] = rows[:, 1] = np.arange(n)
    which = rng.integers(0, 6, n)
    middle = np.cumsum(rng.choice([-400, 0, 500], n)) + which * 1_000_000
    side = rng.choice([1, 2], n)
    rows[:, 3] = middle - (3 - 2 * side) * rng.integers(1, 30, n)
    rows[:, 4] = rng.integers(0, 9, n)
    rows[:, 7] = which | (int(Kind.DELTA) << 32) | (side << 40) | (1 << 48)
    driver = agree(World(UNIVERSE, venue_models(1), rows))
    assert (driver.engine.state.book[:, B_SIZE] > FIRST_WINDOW).sum() >= 8


def test_growing_keeps_resting_orders_and_their_places():
    far = level(10, SELL, 100_000, 5)
    played = play(level(1, BUY, 99, 7), level(1, SELL, 101, 5), buy(5, 3, 99), far, trade(11, 99, 8, SELL))
    assert played.lines[-1] == "11 TRADE 1: 1 at 99 maker, 2 left"


BEYOND = 2 * LARGEST_WINDOW


def run_capped(*happenings: Happening) -> Driver:
    """With levels at 99 and 101, then what lies beyond the largest window; the reference knows no windows."""
    return Driver(
        world((level(1, BUY, 99, 5), level(1, SELL, 101, 5), *happenings), VenueModel("partial"))
    ).run()


def test_a_record_beyond_the_largest_window_is_counted_and_left_out():
    driver = run_capped(level(3, SELL, BEYOND, 5), level(4, BUY, -BEYOND, 5), level(5, SELL, 102, 1))
    bids, asks = driver.state()["exchange books"][0][:2]
    assert (bids, asks) == ([(99, 5)], [(101, 5), (102, 1)])
    assert driver.engine.counters["records_beyond_book_window"] == 2
    assert driver.engine.far_capped == {0}


def test_a_window_that_is_capped_grows_no_more():
    driver = run_capped(level(3, SELL, BEYOND, 5), level(4, SELL, 101 + FIRST_WINDOW, 5))
    assert driver.engine.counters["records_beyond_book_window"] == 2
    assert driver.engine.state.book[0, B_SIZE] == FIRST_WINDOW


def test_deleting_beyond_the_window_is_no_loss_and_no_reason_to_grow():
    driver = run_capped(level(3, SELL, BEYOND, 0), level(4, SELL, 101 + FIRST_WINDOW, 5))
    assert driver.engine.counters["records_beyond_book_window"] == 0
    assert driver.engine.state.book[0, B_SIZE] == 2 * FIRST_WINDOW


def test_a_quote_with_one_side_beyond_is_left_out_whole():
    driver = run_capped(quote(3, 100, 1, BEYOND, 1), quote(4, -BEYOND, 1, 101, 1))
    assert driver.state()["local books"][0][:4] == ([(99, 5)], [(101, 5)], 99, 101)
    assert driver.engine.counters["records_beyond_book_window"] == 2


def test_flags_of_a_record_beyond_the_window_still_count():
    # The last record of a message: its levels are looked at. A gap: the book is unusable.
    driver = run_capped(
        buy(2, 1, 98), level(3, SELL, BEYOND, 5), level(4, SELL, 98, 1, last=False), level(4, SELL, BEYOND, 5)
    )
    assert [report[2] for report in driver.state()["reports"]] == [1, 2]
    driver = run_capped(level(3, SELL, BEYOND, 5), level(4, SELL, BEYOND, 5, gap=True))
    assert driver.engine.state.book[:, B_USABLE].tolist() == [0, 0]


def test_an_order_of_an_l3_feed_that_moves_beyond_the_window_leaves_its_level():
    made = world((order(1, 7, BUY, 99, 5), order(2, 7, BUY, -BEYOND, 5), idle(3)), VenueModel())
    driver = Driver(made).run()
    assert driver.state()["exchange books"][0][0] == []
    assert driver.state()["local books"][0][0] == []


# Tables.


def test_the_table_of_orders_grows():
    happenings = [level(1, BUY, 99, 5), level(1, SELL, 101, 5)]
    for t in range(2, 12):
        happenings += [buy(t, 1, 50 + n % 40) for n in range(700)]
    played = Played(world((*happenings, trade(20, 60, 1, SELL), idle(30)), VenueModel()))
    state = played.driver.engine.state
    assert len(state.orders) == len(state.xo) == len(state.queue) == len(state.free) == 8_192
    assert sum(row.startswith("20 TRADE") for row in played.lines) > 4_000, "all above 60 in one instant"
    assert len({report[1 + k.R_SLOT] for report in played.state["reports"]}) == 7_000


def test_rings_grow_with_what_is_under_way():
    happenings = [level(1, BUY, 99, 5), level(1, SELL, 101, 5)]
    for t in range(2, 22):
        happenings += [buy(t, 1, 50 + n % 40) for n in range(600)]
    played = play(*happenings, idle(5_000), entry=(500,), response=(900,))
    assert played.driver.engine.state.ring.shape[1] > 16_384
    assert len(played.lines) == 12_000
    assert played.lines[0] == "1402 NEW 1"


def test_one_handler_may_make_as_many_requests_as_the_inbox_holds():
    played = play(level(1, BUY, 99, 5), *[buy(2, 1, 90) for _ in range(4_096)], idle(9))
    assert len(played.lines) == 4_096


def test_more_reports_in_one_instant_than_there_is_room_for_end_the_run():
    shown = [level(1, SELL, 100 + n, 1, last=False) for n in range(9_000)]
    driver = Driver(world((*shown, idle(2), new(3, BUY, 9_000, kind=OrdType.MARKET)), VenueModel("partial")))
    with pytest.raises(
        RuntimeError, match="more than the 8192 requests or reports it has room for: the run is void"
    ):
        driver.run()


def test_the_journal_is_emptied_before_it_is_full_though_no_order_is_sent():
    happenings = [quote(t, 99 - t % 2, 5, 101, 5) for t in range(1, 70_000)]
    made = world(tuple(happenings), VenueModel())
    made.timers = [(-1, 1, 1)]
    driver = agree(made)
    assert len(driver.journal) == len(happenings) > len(driver.engine.state.journal)


def test_whoever_holds_views_is_told_when_arrays_move():
    made = world((level(1, BUY, 99, 5), level(2, SELL, 60_000, 5), idle(3)), VenueModel())
    driver = Driver(made)
    seen = []
    driver.engine.on_resize(lambda: seen.append(len(driver.engine.state.levels)))
    driver.run()
    assert seen == [1, 4 * FIRST_WINDOW, 4 * 2 * FIRST_WINDOW]


@pytest.mark.parametrize(("what", "most"), [("timers", 256), ("bar subscriptions", 64)])
def test_too_many_timers_or_bars_are_an_error(what, most):
    engine = Driver(world((idle(1),), VenueModel())).engine
    with pytest.raises(ValueError, match=f"more than {most} {what}"):
        for n in range(300):
            if what == "timers":
                engine.add_timer(n, 1, k.TIMER_STRATEGY, 0)
            else:
                engine.add_bars(0, 0, 10, 10)


# Time.


def test_an_event_later_than_its_bound_is_seen_when_it_can_be_and_counted():
    chunks = [
        [quote(1, 99, 5, 101, 5), quote(50, 99, 5, 101, 5)],
        [quote(20, 90, 5, 91, 5, after=40), idle(90)],
    ]
    rows = [np.array([what[1] for what in part], np.int64) for part in chunks]
    made = World(UNIVERSE, venue_models(1), np.concatenate(rows))
    driver = Driver(made).run(rows)
    assert driver.engine.counters["records_past_their_delay_bound"] == 1
    assert driver.engine.state.book[0, 0] == 90
    made.max_delay = 40
    assert Driver(made).run(rows).engine.counters["records_past_their_delay_bound"] == 0


def test_progress_counts_every_row_once_and_the_period_is_that_of_the_data():
    made = world(tuple(quote(t, 99, 5, 101, 5) for t in range(1, 100)), VenueModel())
    engine = Driver(made).engine
    told: list[int] = []
    engine.run(np.split(made.rows, [10, 10, 60]), lambda rows: None, told.append)
    assert told[-1] == engine.processed == len(made.rows) == 100
    assert told == sorted(told)
    assert (engine.start_time, engine.end_time) == (1, 1_099)


def test_what_arrives_after_the_last_record_never_happens():
    made = world((quote(1, 99, 5, 101, 5), buy(5, 1, 98)), VenueModel(response_latency=(5_000,)))
    assert Driver(made).run().state()["reports"] == []


# Strategies.


def test_a_strategy_that_is_unsubscribed_hears_its_reports_only():
    made = world(
        (quote(1, 99, 5, 101, 5), buy(5, 1, 98), quote(9, 99, 5, 101, 5), trade(20, 90, 1, SELL)),
        VenueModel(),
    )
    made.subscriptions = [(0, 0, k.WAKE_QUOTE), (0, 0, k.WAKE_TRADE)]
    made.timers.append((0, 15, 15))
    made.bars = [(0, 0, 10, 10)]
    driver = Driver(made)
    report = driver.on_report

    def and_stop(strategy: int) -> None:
        report(strategy)
        driver.engine.unsubscribe(0)

    driver.on_report = and_stop  # type: ignore[method-assign]
    driver.bind()
    driver.run()
    assert [(row[0], row[3]) for row in driver.seen] == [(k.WAKE_QUOTE, 1)]
    assert driver.fired[0] == 1
    assert [row[2] for row in driver.state()["reports"]] == [1, 2]


def test_the_local_book_can_be_asked_for_levels():
    made = world((level(1, BUY, 99, 5), level(1, BUY, 97, 6), level(1, SELL, 101, 5), idle(2)), VenueModel())
    engine = Driver(made).run().engine
    assert engine.depth(0, 1, 5) == [(99, 5), (97, 6)]
    assert engine.depth(0, 1, 1) == [(99, 5)]
    assert engine.depth(0, 2, 5) == [(101, 5)]
    assert (engine.level(0, 1, 97), engine.level(0, 1, 98), engine.level(0, 2, BEYOND)) == (6, 0, 0)
    untouched = Driver(world((idle(2),), VenueModel())).run().engine
    assert untouched.depth(0, 1, 5) == []


class Boom(Exception):
    """What a strategy raises."""


@pytest.mark.parametrize(
    ("column", "wake"),
    [(k.G_QUOTE, k.WAKE_QUOTE), (k.G_TRADE, k.WAKE_TRADE), (k.G_BOOK, k.WAKE_BOOK), (k.G_TIMER, -1), (k.G_BAR, -1),
     (k.G_REPORT, -1)],
)  # fmt: skip
def test_what_a_handler_raises_comes_out_with_its_traceback_and_the_run_stops_there(column, wake):
    made = world(
        (
            quote(1, 99, 5, 101, 5),
            buy(5, 1, 101),
            trade(9, 100, 5, BUY),
            level(10, BUY, 98, 5),
            quote(50, 98, 5, 99, 5),
        ),
        VenueModel(),
    )
    made.timers.append((0, 20, 0))
    made.bars = [(0, 0, 30, 30)]
    made.subscriptions = [(0, 0, wake)] if wake >= 0 else []
    driver = Driver(made)
    calls = []

    def handler(_: None) -> None:
        calls.append(driver.engine.now)
        raise Boom(f"at {driver.engine.now}")

    driver.engine.bind(0, column, PythonCall(handler, None))
    with pytest.raises(Boom) as caught:
        driver.run()
    assert len(calls) == 1
    assert str(caught.value) == f"at {calls[0]}"
    assert traceback.extract_tb(caught.value.__traceback__)[-1].name == "handler"
    assert driver.engine.now == calls[0]


def test_a_run_that_was_stopped_by_an_exception_has_handed_over_its_journal():
    made = world((quote(1, 99, 5, 101, 5), idle(100)), VenueModel())
    made.timers = [(-1, 10, 10), (0, 50, 0)]
    driver = Driver(made)

    def handler(_: None) -> None:
        raise KeyboardInterrupt

    driver.engine.bind(0, k.G_TIMER, PythonCall(handler, None))
    with pytest.raises(KeyboardInterrupt):
        driver.run()
    assert [tuple(row[:3].tolist()) for row in driver.journal] == [(k.J_MARK, 10, 0)]


def test_an_engine_needs_a_model_for_every_venue():
    with pytest.raises(KeyError, match="B"):
        Engine(
            UNIVERSE,
            {"A": VenueModel(), "C": VenueModel()},
            1,
            free_gate(world((idle(1),), VenueModel())),
        )


def test_records_of_kinds_the_simulation_does_not_look_at_change_nothing():
    kinds = [event(t, kind, (5, 5, 5, 5)) for t, kind in ((3, Kind.MARK), (4, Kind.BAR))]
    with_them = play(quote(1, 99, 5, 101, 5), *kinds, buy(10, 1, 98)).state
    assert with_them["exchange books"][0][:4] == ([(99, 5)], [(101, 5)], 99, 101)
