"""The feed role alone: overload, late subscribers, and the book it keeps for them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from tidegate.log.memory import MemoryServer
from tidegate.marketdata import pulse
from tidegate.marketdata.binance_instruments import BINANCE
from tidegate.model.clock import SystemClock
from tidegate.model.event import (
    EVENT,
    FLAGS_SHIFT,
    KIND_SHIFT,
    META,
    PRICE,
    PRICE2,
    SIDE_SHIFT,
    SIZE,
    Flag,
    Kind,
    Status,
    Words,
)
from tidegate.model.instrument import Universe
from tidegate.model.time import SECOND
from tidegate.model.wire import decode
from tidegate.sim.virtual_time import VirtualClock, run
from tidegate.venue.feed import FeedService
from tidegate.venue.levels import Levels

UNIVERSE = Universe(list(BINANCE))


def rows_of(*kinds: Kind, seq: int = 1) -> Words:
    rows = np.zeros((len(kinds), 8), np.int64)
    for n, kind in enumerate(kinds):
        rows[n, 2] = seq + n
        rows[n, META] = int(kind) << KIND_SHIFT
    return rows


class Still:
    """A feed that brings what the test hands to it."""

    numbers = (0,)

    def __init__(self) -> None:
        self.status: dict[int, int] = {}

    async def start(self, on_rows: Callable[[int, Words], None]) -> None:
        self.bring = on_rows

    async def stop(self) -> None:
        pass

    def health(self) -> dict[str, Any]:
        return {}


def test_under_pressure_quotes_conflate_and_nothing_else_is_dropped():
    async def work():
        server = MemoryServer()
        log, feed, heard = server.client("feed"), Still(), []
        service = FeedService(UNIVERSE, [feed], log, SystemClock(), pressure=10)
        await service.start()
        log.subscribe("md.BINANCE.BTCUSDT", lambda subject, data: heard.append(np.frombuffer(data, EVENT)))
        calm = [Kind.QUOTE, Kind.TRADE] * 5
        flood = [Kind.QUOTE, Kind.TRADE, Kind.DELTA] * 20
        feed.bring(0, rows_of(*calm))
        feed.bring(0, rows_of(*flood, seq=100))
        async with asyncio.timeout(5):
            while len(heard) < 2:
                await asyncio.sleep(0)
        assert heard[0]["kind"].tolist() == calm
        counts = {kind: (heard[1]["kind"] == kind).sum() for kind in (Kind.QUOTE, Kind.TRADE, Kind.DELTA)}
        assert counts == {Kind.QUOTE: 1, Kind.TRADE: 20, Kind.DELTA: 20}
        assert heard[1]["seq"][heard[1]["kind"] == Kind.QUOTE].tolist() == [157], "the last one"
        assert service.health()["quotes conflated"] == 19
        await service.stop()

    asyncio.run(work())


def test_the_pulse_says_what_the_market_does_once_a_second():
    async def work():
        server = MemoryServer()
        log, feed = server.client("feed"), Still()
        service = FeedService(UNIVERSE, [feed], log, SystemClock())
        heard, told = [], asyncio.Event()
        log.subscribe("pulse.BINANCE", lambda subject, data: (heard.extend(pulse.decode(data)), told.set()))
        await service.start()
        rows = rows_of(
            Kind.SNAPSHOT_BEGIN, *[Kind.DELTA] * 5, Kind.SNAPSHOT_END, Kind.QUOTE, Kind.TRADE, Kind.TRADE
        )
        levels = [(99_950, 1, 7), (99_990, 1, 5), (100_010, 2, 3), (100_099, 2, 2), (100_200, 2, 50)]
        for n, (price, side, size) in enumerate(levels, 1):
            rows[n, PRICE], rows[n, SIZE] = price, size
            rows[n, META] |= side << SIDE_SHIFT
        rows[7, PRICE], rows[7, PRICE2] = 99_990, 100_010
        rows[8, SIZE], rows[9, SIZE] = 4, 6
        feed.bring(0, rows)
        feed.status[0] = Status.HALTED
        async with asyncio.timeout(10):
            while not (heard and heard[-1].bid):
                told.clear()
                await told.wait()
        last = heard[-1]
        assert (last.bid, last.ask, last.status) == (99_990, 100_010, Status.HALTED)
        assert (last.bid_lots, last.ask_lots, last.traded) == (12, 5, 10), "within ten basis points"
        assert last.ts > 0
        await service.stop()

    asyncio.run(work())


def test_a_touch_that_stands_is_told_once_a_second_while_its_market_is_heard():
    async def work():
        clock = VirtualClock(asyncio.get_running_loop())
        server = MemoryServer(1, clock=clock)
        log, feed, heard = server.client("feed"), Still(), []
        service = FeedService(UNIVERSE, [feed], log, clock)
        log.subscribe("touch.BINANCE", lambda subject, data: heard.extend(decode(data).messages))
        await service.start()
        rows = rows_of(Kind.SNAPSHOT_BEGIN, Kind.DELTA, Kind.DELTA, Kind.SNAPSHOT_END, Kind.QUOTE)
        for n, (price, side) in enumerate([(99_990, 1), (100_010, 2)], 1):
            rows[n, PRICE], rows[n, SIZE] = price, 1
            rows[n, META] |= side << SIDE_SHIFT
        rows[4, PRICE], rows[4, PRICE2] = 99_990, 100_010
        feed.bring(0, rows)
        for _ in range(50):
            await asyncio.sleep(0.1)
            feed.bring(0, rows_of(Kind.TRADE))
        assert {(m.bid, m.ask) for m in heard} == {(99_990, 100_010)}
        apart = [b.ts - a.ts for a, b in itertools.pairwise(heard)]
        assert 4 <= len(apart) <= 5
        assert all(SECOND <= gap <= 1.2 * SECOND for gap in apart)
        await asyncio.sleep(10)
        assert len(heard) <= len(apart) + 2, "a market that is not heard of is not said to stand"
        await service.stop()

    run(work())


def test_without_a_usable_book_a_late_subscriber_is_given_nothing():
    async def work():
        server = MemoryServer()
        log, feed = server.client("feed"), Still()
        service = FeedService(UNIVERSE, [feed], log, SystemClock())
        await service.start()
        assert await log.request("snap.BINANCE.BTCUSDT", b"") == b""
        feed.bring(0, rows_of(Kind.SNAPSHOT_BEGIN, Kind.SNAPSHOT_END))
        assert len(np.frombuffer(await log.request("snap.BINANCE.BTCUSDT", b""), EVENT)) == 2
        gap = rows_of(Kind.DELTA, seq=9)
        gap[0, META] |= int(Flag.GAP) << FLAGS_SHIFT | 1 << 40
        feed.bring(0, gap)
        assert await log.request("snap.BINANCE.BTCUSDT", b"") == b""
        assert not service.health()["instruments"]["BTCUSDT.BINANCE"]["book"]
        await service.stop()

    asyncio.run(work())


def test_levels_are_a_plain_dict_of_levels_whatever_comes():
    random = np.random.default_rng(7)
    levels, plain = Levels(3, room=64), {}
    levels.apply(rows_of(Kind.SNAPSHOT_BEGIN, Kind.SNAPSHOT_END))
    for step in range(400):
        n = int(random.integers(1, 40))
        rows = np.zeros((n, 8), np.int64)
        rows[:, 2], rows[:, 3] = step + 10, random.integers(-50, 3_000, n)
        rows[:, 4] = random.integers(0, 4, n) * random.integers(0, 2, n)
        side = random.integers(1, 3, n)
        rows[:, META] = 3 | int(Kind.DELTA) << KIND_SHIFT | side << 40
        for row, of in zip(rows.tolist(), side.tolist(), strict=True):
            plain[of, row[3]] = row[4]
        levels.apply(rows)
    events = levels.snapshot(10_000)
    body = events[1:-1]
    found = [(int(e["side"]), int(e["price"]), int(e["size"])) for e in body]
    wanted = sorted(
        ((side, price, size) for (side, price), size in plain.items() if size),
        key=lambda level: (level[0], -level[1] if level[0] == 1 else level[1]),
    )
    assert found == wanted
    assert set(events["seq"].tolist()) == {409}
    assert (events["kind"][0], events["kind"][-1]) == (Kind.SNAPSHOT_BEGIN, Kind.SNAPSHOT_END)
    short = levels.snapshot(2)[1:-1]
    assert [(int(e["side"]), int(e["price"])) for e in short] == [
        level[:2] for level in [*wanted[:2], *[level for level in wanted if level[0] == 2][:2]]
    ]
