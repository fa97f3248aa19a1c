"""The random draws behind the benchmarks' data: one definition that every system compared imports (NumPy only).

`default_rng(42)` throughout, whole columns one after another, as the peers' benchmarks define the work. Columns
come in chunks, so that a long run needs no long arrays: each column has a generator of its own, wound forward
to where that column begins.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

SEED = 42
START = 1_700_000_000_000_000_000
STEP = 100_000_000
CHUNK = 65_536
MID = 10_000_000
"""The middle of quotes, trades and deltas: 100,000.00 in ticks of 0.01."""

Column = npt.NDArray[np.generic]
Draw = Callable[[np.random.Generator, int], Column]


def columns(n: int, *draws: Draw) -> Iterator[tuple[int, list[Column]]]:
    """(first row, the columns' rows from there) chunk by chunk, as if each column were drawn whole, in turn."""
    rng = np.random.default_rng(SEED)
    generators = []
    for draw in draws:
        generators.append(copy.deepcopy(rng))
        for low in range(0, n, CHUNK):
            draw(rng, min(CHUNK, n - low))
    for low in range(0, n, CHUNK):
        count = min(CHUNK, n - low)
        yield low, [draw(generator, count) for draw, generator in zip(draws, generators, strict=True)]


def _steps(rng: np.random.Generator, n: int) -> Column:
    return rng.integers(-1, 2, n)


def _sides(rng: np.random.Generator, n: int) -> Column:
    return rng.integers(0, 2, n)


def _walk(chunks: Iterator[tuple[int, list[Column]]]) -> Iterator[tuple[Column, ...]]:
    """Times and the middle in ticks, then the other columns; the first column holds the middle's steps."""
    mid = MID
    for low, (steps, *others) in chunks:
        path = mid + np.cumsum(steps)
        mid = int(path[-1])
        yield START + STEP * np.arange(low, low + len(path)), path, *others


def quotes(n: int) -> Iterator[tuple[Column, ...]]:
    """Time, bid (the ask is a tick above), bid size and ask size, 1 to 10 whole units."""

    def sizes(rng: np.random.Generator, n: int) -> Column:
        return rng.integers(1, 11, n)

    return _walk(columns(n, _steps, sizes, sizes))


def trades(n: int) -> Iterator[tuple[Column, ...]]:
    """Time, price, size (units, six decimals), 1 where the aggressor bought."""

    def sizes(rng: np.random.Generator, n: int) -> Column:
        return np.round(rng.uniform(0.1, 1.0, n), 6)

    return _walk(columns(n, _steps, sizes, _sides))


def deltas(n: int) -> Iterator[tuple[Column, ...]]:
    """Row number, 1 for a bid, ticks from the middle (1 to 20), size (1 to 100), whether it is a delete."""

    def levels(rng: np.random.Generator, n: int) -> Column:
        return rng.integers(1, 21, n)

    def sizes(rng: np.random.Generator, n: int) -> Column:
        return rng.integers(1, 101, n)

    def gone(rng: np.random.Generator, n: int) -> Column:
        return rng.random(n) < 0.1

    for low, (side, level, size, delete) in columns(n, _sides, levels, sizes, gone):
        yield np.arange(low, low + len(side)), side, level, size, delete


def depth_and_trades(n: int) -> tuple[Column, ...]:
    """Whole columns: time, price (ticks), size (units), 1 where it is a trade, 1 for bids and buyers.

    Rows are 1 ms apart. The middle starts at 500,000 ticks and steps one tick every 1000 rows; the row that
    steps deletes the level stepped onto. Four fifths set a level 1 to 20 ticks from the middle to 1 to 100 (a
    tenth deletes), one fifth are trades of 1 to 10 a tick beyond the middle.
    """
    rng = np.random.default_rng(SEED)
    row = np.arange(n)
    step = np.where(row % 1000 == 0, rng.integers(0, 2, n) * 2 - 1, 0)
    step[0] = 0
    mid = 500_000 + np.cumsum(step)
    buy = rng.integers(0, 2, n).astype(bool)
    level, size = rng.integers(1, 21, n), rng.integers(1, 101, n)
    size[rng.random(n) < 0.1] = 0
    trade = rng.random(n) < 0.2
    away = np.where(trade, -1, level)  # of the own side's middle: a buyer lifts the price above it
    price = mid + np.where(buy, -away, away)
    size[trade] = rng.integers(1, 11, n)[trade]
    stepped = step != 0
    trade[stepped], size[stepped] = False, 0
    buy[stepped], price[stepped] = step[stepped] < 0, mid[stepped]
    return START + 1_000_000 * row, price, size, trade, buy
