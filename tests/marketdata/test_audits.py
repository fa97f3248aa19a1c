"""The audits see what is wrong and pass what is right."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from tidegate.kernel.jit import JIT
from tidegate.marketdata.order_audit import FAULTS, OrderAudit
from tidegate.marketdata.touch_audit import TouchAudit
from tidegate.model.event import Events, Flag, Kind, empty

BUY, SELL = 1, 2


def event(
    kind: Kind, seq: int = 1, price: int = 0, size: int = 0, side: int = 0, flags: int = 0, **more: int
) -> Any:
    return {
        "kind": kind,
        "seq": seq,
        "price": price,
        "size": size,
        "side": side,
        "flags": flags,
        "ts_recv": 10,
        **more,
    }


def records(*rows: Any) -> Events:
    events = empty(len(rows))
    for record, row in zip(events, rows, strict=True):
        for name, value in row.items():
            record[name] = value
    return events


def snapshot(seq: int, *levels: tuple[int, int, int]) -> list[Any]:
    inside = [event(Kind.DELTA, seq, price, size, side) for side, price, size in levels]
    return [event(Kind.SNAPSHOT_BEGIN, seq), *inside, event(Kind.SNAPSHOT_END, seq, flags=Flag.LAST)]


def depth(seq: int, *levels: tuple[int, int, int], flags: int = 0) -> list[Any]:
    rows = [event(Kind.DELTA, seq, price, size, side) for side, price, size in levels]
    rows[0]["flags"] |= flags
    rows[-1]["flags"] |= Flag.LAST
    return rows


def quote(seq: int, bid: int, bid_size: int, ask: int, ask_size: int) -> Any:
    return event(Kind.QUOTE, seq, bid, bid_size, flags=Flag.LAST, price2=ask, size2=ask_size)


def touch(*rows: Any) -> TouchAudit:
    audit = TouchAudit()
    audit.feed(records(*rows))
    return audit


BOOK = snapshot(10, (BUY, 100, 5), (BUY, 99, 6), (SELL, 101, 7), (SELL, 103, 8))


def test_a_book_that_agrees_with_its_quotes_is_sound() -> None:
    audit = touch(*BOOK, quote(12, 100, 4, 103, 8), *depth(12, (BUY, 100, 4), (SELL, 101, 0)))
    assert (audit.books, audit.compared, audit.different, audit.crossed) == (2, 1, 0, 0)
    assert audit.levels() == ({100: 4, 99: 6}, {103: 8})


@pytest.mark.parametrize("wrong", [(99, 4, 103, 8), (100, 5, 103, 8), (100, 4, 101, 8), (100, 4, 103, 7)])
def test_a_touch_that_differs_from_its_quote_is_seen(wrong: tuple[int, int, int, int]) -> None:
    audit = touch(*BOOK, quote(12, *wrong), *depth(12, (BUY, 100, 4), (SELL, 101, 0)))
    assert (audit.compared, audit.different, audit.first_different) == (1, 1, 12)


def test_quotes_of_other_updates_are_not_compared() -> None:
    audit = touch(*BOOK, quote(11, 1, 1, 2, 1), *depth(12, (BUY, 100, 4)), quote(12, 1, 1, 2, 1))
    assert audit.compared == 0


@pytest.mark.parametrize("ask", [100, 99, 98])
def test_a_locked_or_crossed_book_is_seen_after_its_message_only(ask: int) -> None:
    audit = touch(*BOOK, *depth(11, (SELL, ask, 1), (BUY, 100, 0), (BUY, 99, 0)), *depth(12, (BUY, ask, 1)))
    assert (audit.crossed, audit.first_crossed) == (1, (12, 10))


def test_nothing_is_judged_between_a_gap_and_the_next_snapshot() -> None:
    crossing = depth(20, (BUY, 200, 1), flags=Flag.GAP)
    audit = touch(*BOOK, *crossing, *depth(21, (BUY, 201, 1)))
    assert (audit.crossed, audit.gaps, audit.books) == (0, 1, 1)
    audit.feed(records(*snapshot(30, (BUY, 5, 1), (SELL, 6, 1)), *depth(31, (BUY, 7, 1))))
    assert (audit.crossed, audit.books) == (1, 3)


def test_many_levels_and_far_prices_make_the_tables_grow() -> None:
    rng, book = random.Random(7), ({}, {})
    count = 40_000 if JIT else 800
    rows = [*snapshot(1, (BUY, 50, 1), (SELL, 60_000_000, 1))]
    book[0][50], book[1][60_000_000] = 1, 1
    for n in range(count):
        side, size = rng.randint(0, 1), rng.choice([0, 3, 9])
        price = (
            rng.randint(1, 20_000)
            if side == 0
            else rng.choice([rng.randint(20_001, 40_000), 90_000_000 + n % 5])
        )
        rows += depth(n + 2, (side + 1, price, size))
        book[side].pop(price, None)
        if size:
            book[side][price] = size
    audit = TouchAudit()
    events = records(*rows)
    for part in np.array_split(np.arange(len(events)), 7):
        audit.feed(events[part[0] : part[-1] + 1])
    assert audit.levels() == book
    assert audit.crossed == 0
    assert audit.books == count + 1


def faults(*rows: Any) -> dict[str, int]:
    audit = OrderAudit()
    audit.feed(records(*rows))
    return audit.faults()


GOOD = [
    *BOOK,
    *depth(10, (BUY, 100, 1)),
    *depth(12, (BUY, 100, 4), (SELL, 101, 0)),
    quote(12, 100, 4, 103, 8),
    event(Kind.TRADE, 3, 100, 2, SELL, Flag.LAST),
    *depth(9, (BUY, 1, 1), flags=Flag.GAP),
]


def test_a_good_stream_has_no_faults() -> None:
    assert faults(*GOOD) == {}
    audit = OrderAudit()
    for row in records(*GOOD):
        audit.feed(np.array([row]))
    assert audit.faults() == {}


@pytest.mark.parametrize(
    ("fault", "rows"),
    [
        (0, [event(Kind.TRADE, 1, 5, 5, BUY), {**event(Kind.TRADE, 2, 5, 5, BUY), "ts_recv": 9}]),
        (1, [event(Kind.TRADE, 1, 5, 5, BUY, ts_event=11)]),
        (2, [*BOOK, *depth(12, (BUY, 1, 1)), *depth(12, (BUY, 2, 1))]),
        (2, [*BOOK, *depth(9, (BUY, 1, 1))]),
        (3, [*BOOK, event(Kind.DELTA, 12, 1, 1, BUY), *depth(13, (BUY, 1, 1))]),
        (3, [event(Kind.DELTA, 12, 1, 1, BUY), *BOOK]),
        (4, [BOOK[0], *BOOK]),
        (4, [BOOK[-1]]),
        (5, [event(Kind.DELTA, 1, 5, 5, 0, Flag.LAST)]),
        (5, [event(Kind.TRADE, 1, 5, 5, 3)]),
        (5, [{**event(Kind.TRADE), "kind": 77}]),
        (6, [event(Kind.TRADE, 1, 0, 5, BUY)]),
        (6, [event(Kind.TRADE, 1, 5, 0, BUY)]),
        (6, depth(1, (BUY, 5, -1))),
        (6, [quote(1, 5, -1, 6, 1)]),
        (7, [quote(1, 6, 1, 6, 1)]),
    ],
)  # fmt: skip
def test_each_fault_is_found(fault: int, rows: list[Any]) -> None:
    assert faults(*rows) == {FAULTS[fault]: 1}
