"""The L2 and L3 books: each rule of `kernel.book` by hand, and seeded records against dictionaries."""

from __future__ import annotations

import os

import numpy as np
import pytest
from oracle import replay_world as worlds
from oracle.replay import Replay, digest, first_difference
from oracle.replay_engine import Driver
from oracle.stage import BUY, SELL, begin, end, level, order, play, quote, trade

from tidegate.kernel.book import B_CROSSED, B_USABLE
from tidegate.model.event import META

SCALE = 3 if os.environ.get("TIDEGATE_FULL") == "1" else 1


def books(*happenings, **item):
    """(bids, asks) of the exchange's book; the local one must be the same by now."""
    played = play(*happenings, **item)
    at_exchange, local = played.state["exchange books"][0], played.state["local books"][0]
    assert at_exchange[:4] == local[:4]
    return dict(at_exchange[0]), dict(at_exchange[1])


TOUCH = (level(1, BUY, 99, 5), level(1, BUY, 98, 10), level(1, SELL, 101, 4), level(1, SELL, 102, 6))
START = ({99: 5, 98: 10}, {101: 4, 102: 6})

RULES = {
    "a level's size is what was said last": ((level(2, BUY, 99, 7),), ({99: 7, 98: 10}, START[1])),
    "size 0 deletes": ((level(2, BUY, 99, 0),), ({98: 10}, START[1])),
    "deleting what is not there does nothing": ((level(2, BUY, 90, 0), level(2, SELL, 9_000_000, 0)), START),
    "a bid deletes the asks it meets or passes": ((level(2, BUY, 101, 3),), ({101: 3, 99: 5, 98: 10}, {102: 6})),
    "an ask deletes the bids it meets or passes": (
        (level(2, SELL, 98, 3),), ({}, {98: 3, 101: 4, 102: 6}),
    ),
    "a quote deletes what is better and sets its own level": (
        (quote(2, 98, 8, 102, 1),), ({98: 8}, {102: 1}),
    ),
    "a quote inside the spread adds a level": ((quote(2, 100, 8, 101, 2),), ({100: 8, 99: 5, 98: 10}, {101: 2, 102: 6})),
    "a quote without a bid deletes all bids": ((quote(2, 0, 0, 101, 2),), ({}, {101: 2, 102: 6})),
    "an older record does not touch prices a quote has settled": (
        (quote(2, 99, 8, 101, 2), level(2, BUY, 99, 1, seq=5), level(2, BUY, 100, 1, seq=5), level(2, SELL, 101, 1, seq=5)),
        ({99: 8, 98: 10}, {101: 2, 102: 6}),
    ),
    "but those behind the touch it does": (
        (quote(2, 99, 8, 101, 2), level(2, BUY, 98, 1, seq=5), level(2, SELL, 103, 1, seq=5)),
        ({99: 8, 98: 1}, {101: 2, 102: 6, 103: 1}),
    ),
    "a record of the quote's own sequence is not older": (
        (quote(2, 99, 8, 101, 2), level(2, BUY, 99, 1)), ({99: 1, 98: 10}, {101: 2, 102: 6}),
    ),
    "a snapshot clears": ((begin(2), level(2, BUY, 95, 1), end(2)), ({95: 1}, {})),
    "and forgets the quote, so that older records count again": (
        (quote(2, 99, 8, 101, 2), begin(3), level(3, BUY, 99, 1, seq=2500), end(3)), ({99: 1}, {}),
    ),
    "a trade changes no level": ((trade(2, 99, 5, SELL),), START),
}  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
def test_a_book(rule):
    happenings, expected = RULES[rule]
    assert books(*TOUCH, *happenings) == expected


def test_where_only_the_touch_is_known_the_level_it_leaves_is_deleted():
    assert books(quote(1, 99, 5, 101, 5), quote(2, 100, 6, 101, 5)) == ({100: 6}, {101: 5})
    assert books(quote(1, 99, 5, 101, 5), quote(2, 97, 6, 103, 5)) == ({97: 6}, {103: 5})


def test_crossed_levels_are_counted():
    played = play(*TOUCH, level(2, BUY, 102, 3))
    assert played.driver.engine.state.book[0, B_CROSSED] == 2
    assert played.driver.engine.counters["crossed_levels"] == 2


def test_a_gap_makes_the_book_unusable_until_the_next_snapshot_ends():
    def usable(*happenings):
        return play(*TOUCH, *happenings).driver.engine.state.book[:, B_USABLE].tolist()

    gap = level(2, BUY, 99, 1, gap=True)
    assert usable() == [1, 1]
    assert usable(gap) == [0, 0]
    assert usable(gap, level(3, BUY, 99, 2), begin(4)) == [0, 0]
    assert usable(gap, begin(4), level(4, BUY, 99, 2), end(5)) == [1, 1]


ORDERS = (
    order(1, 7, BUY, 99, 5),
    order(1, 8, BUY, 99, 2),
    order(1, 9, BUY, 98, 4),
    order(1, 5, SELL, 101, 3),
)
L3 = {
    "levels are the sums of their orders": ((), ({99: 7, 98: 4}, {101: 3})),
    "an order that is taken away leaves its level": ((order(2, 7, BUY, 99, 0),), ({99: 2, 98: 4}, {101: 3})),
    "whatever price its removal carries": ((order(2, 7, BUY, 0, 0),), ({99: 2, 98: 4}, {101: 3})),
    "the last order of a level takes the level with it": ((order(2, 9, BUY, 98, 0),), ({99: 7}, {101: 3})),
    "an order may change its size": ((order(2, 7, BUY, 99, 9),), ({99: 11, 98: 4}, {101: 3})),
    "or its price": ((order(2, 7, BUY, 98, 5),), ({99: 2, 98: 9}, {101: 3})),
    "or its side": ((order(2, 9, SELL, 103, 1),), ({99: 7}, {101: 3, 103: 1})),
    "removing an order nobody knows does nothing": ((order(2, 70, BUY, 99, 0),), ({99: 7, 98: 4}, {101: 3})),
    "an id may be used again": (
        (order(2, 7, BUY, 99, 0), order(3, 7, BUY, 97, 1)), ({99: 2, 98: 4, 97: 1}, {101: 3}),
    ),
    "a snapshot says which orders there are": (
        (begin(2), order(2, 8, BUY, 99, 2), order(2, 5, SELL, 102, 3), end(2), order(3, 7, BUY, 99, 0)),
        ({99: 2}, {102: 3}),
    ),
    "an order the snapshot repeats is the one that was": (
        (begin(2), order(2, 8, BUY, 99, 1), end(2), order(3, 8, BUY, 99, 0)), ({}, {}),
    ),
}  # fmt: skip


@pytest.mark.parametrize("rule", L3)
def test_a_book_of_orders(rule):
    happenings, expected = L3[rule]
    assert books(*ORDERS, *happenings) == expected


def test_orders_of_two_instruments_may_share_their_ids():
    made = worlds.World(worlds.UNIVERSE, worlds.venue_models(1), np.zeros((0, 8), np.int64))
    rows = [list(order(t, number, BUY, 90 + t, t)[1]) for t, number in ((1, 7), (2, 8), (3, 7), (4, 8))]
    for at, row in enumerate(rows):
        row[META] |= at // 2
    made.rows = np.array(rows, np.int64)
    state = Driver(made).run().state()
    assert [book[0] for book in state["exchange books"][:2]] == [[(91, 1), (92, 2)], [(93, 3), (94, 4)]]


def test_large_order_ids_do_not_collide():
    big = (1 << 62) + 5
    assert books(order(1, big, BUY, 99, 1), order(1, 5, BUY, 99, 2), order(2, big, BUY, 99, 0)) == (
        {99: 2},
        {},
    )


def test_a_table_of_orders_grows_and_forgets_what_is_gone():
    rng = np.random.default_rng(4)
    numbers = rng.integers(0, 1 << 50, 30_000)
    live = {}
    rows = []
    for t, number in enumerate(numbers.tolist()):
        price, size = 1000 + number % 50, 1 + number % 9
        rows.append(order(t, number, BUY, price, size)[1])
        live[number] = (price, size)
        if t > 9_000:  # then as many leave as come
            old = int(numbers[t - 9_000])
            rows.append(order(t, old, BUY, 0, 0)[1])
            live.pop(old, None)
    made = worlds.World(worlds.UNIVERSE, worlds.venue_models(1), np.array(rows, np.int64))
    driver = Driver(made).run()
    sums: dict[int, int] = {}
    for price, size in live.values():
        sums[price] = sums.get(price, 0) + size
    state = driver.state()
    assert dict(state["exchange books"][0][0]) == dict(state["local books"][0][0]) == sums
    assert driver.engine.state.l3.shape[1] <= 65_536, "tombstones alone do not make it grow"


@pytest.mark.parametrize("seed", range(4))
def test_seeded_records_give_the_books_that_dictionaries_give(seed):
    made = worlds.world(100 + seed, 50_000 * SCALE, every=2_000)
    mine, reference = Driver(made).run().state(), Replay(made).run().state()
    assert digest(mine) == digest(reference), first_difference(mine, reference)
    assert sum(worlds.gaps(made.rows)) > 3
    # A gap near the end may have emptied one of them.
    assert any(book[0] and book[1] for book in mine["local books"][:2])
