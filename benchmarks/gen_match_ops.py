"""Order flow for matching engines: adds and cancels of one book whose size keeps to a target.

    python benchmarks/gen_match_ops.py N OUT [TARGET_LIVE]

Writes N int32 rows (type, id, side, price, qty) to OUT: type 0 adds a limit order, 1 cancels an id; side 0 buys;
prices in ticks. OUT.json says what a book under price-time priority makes of them.

The rule. The middle starts at 10,000 and moves by a tick with probability 0.002 a row, kept within 9,000 … 11,000.
A row cancels with probability 0.5 when more than TARGET_LIVE (1,000) orders rest, else 0.4: any resting order with
equal probability, so that every cancel finds its order. Otherwise it adds one of 1 … 100 lots: in nine of ten
cases 1 + geometric(0.15) ticks behind the middle, in one of ten 3 ticks through it; what finds no match rests.
All draws come from `default_rng(42)`, one array after another in the order of `draw`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import float64, int64

from tidegate.kernel.jit import inline, kernel

Ints = npt.NDArray[np.int64]
ADD, CANCEL = 0, 1
START, LOWEST, HIGHEST, THROUGH = 10_000, 9_000, 11_000, 3
COLUMNS = 5

# Of the state.
S_LIVE, S_BID, S_ASK, S_TRADES, S_LEVELS, S_MIDDLE = range(6)


class Draws(NamedTuple):
    """What chance decides about each row, whichever way the row turns out."""

    cancel: npt.NDArray[np.float64]
    pick: npt.NDArray[np.float64]
    step: Ints
    side: Ints
    behind: Ints
    qty: Ints
    through: Ints


def draw(n: int) -> Draws:
    """The random numbers of `n` rows."""
    rng = np.random.default_rng(42)
    uniform = rng.random((n, 3))
    moves = rng.random(n) < 0.002
    step = moves * (rng.integers(0, 2, n) * 2 - 1)
    side, behind, qty = rng.integers(0, 2, n), rng.geometric(0.15, n), rng.integers(1, 101, n)
    through = (rng.random(n) < 0.10).astype(np.int64)
    columns = np.ascontiguousarray(uniform[:, 0]), np.ascontiguousarray(uniform[:, 1])
    return Draws(*columns, step, side, behind, qty, through)


@inline
def put(heads: Any, chain: Any, state: Any, at: int, order: int) -> None:
    """Append an order to the ring of its price; `chain` holds next and previous, then the prices' own two words."""
    last = chain[heads + at, 1]
    if last == heads + at:
        state[S_LEVELS] += 1
    chain[order, 0], chain[order, 1] = heads + at, last
    chain[last, 0] = order
    chain[heads + at, 1] = order


@inline
def take(heads: Any, chain: Any, state: Any, at: int, order: int, live: Any, place: Any) -> None:
    """Take an order out of its ring, and out of the list of live ones: the last of that takes its place."""
    after, before = chain[order, 0], chain[order, 1]
    chain[before, 0] = after
    chain[after, 1] = before
    if after == before and after == heads + at:
        state[S_LEVELS] -= 1
    state[S_LIVE] -= 1
    last = live[state[S_LIVE]]
    live[place[order]] = last
    place[last] = place[order]


@kernel(
    int64(
        float64[::1], float64[::1], int64[::1], int64[::1], int64[::1], int64[::1], int64[::1],
        int64, int64, int64[:, ::1], int64[:, ::1], int64[:, ::1], int64[::1], int64[::1], int64[::1],
    )
)  # fmt: skip
def play(
    cancel: Any, pick: Any, step: Any, side: Any, behind: Any, qty: Any, through: Any,
    target: int, prices: int, ops: Any, chain: Any, orders: Any, live: Any, place: Any, state: Any,
) -> int:  # fmt: skip
    """Write the rows while matching them; returns how many orders were added.

    `orders` has (side, price, open quantity), `live` the resting ids, `place` where in `live` each of them is.
    """
    heads, added = len(cancel), 0
    middle, bid, ask = START, 0, prices
    for k in range(len(cancel)):
        middle = min(HIGHEST, max(LOWEST, middle + step[k]))
        resting = state[S_LIVE]
        if resting > 0 and cancel[k] < (0.5 if resting > target else 0.4):
            order = live[int(pick[k] * resting)]
            s, price = orders[order, 0], orders[order, 1]
            ops[k, 0], ops[k, 1], ops[k, 2], ops[k, 3], ops[k, 4] = CANCEL, order, s, price, 0
            take(heads, chain, state, s * prices + price, order, live, place)
            continue
        s, left = side[k], qty[k]
        sign = 1 - 2 * s
        price = max(1, middle + THROUGH * sign if through[k] else middle - (1 + behind[k]) * sign)
        ops[k, 0], ops[k, 1], ops[k, 2], ops[k, 3], ops[k, 4] = ADD, added, s, price, left
        while left > 0:
            # The best price of the other side; what was taken away leaves the marks behind the market.
            best = (1 - s) * prices
            if s == 0:
                while ask < prices and chain[heads + best + ask, 0] == heads + best + ask:
                    ask += 1
                if ask > price:
                    break
                best += ask
            else:
                while bid > 0 and chain[heads + bid, 0] == heads + bid:
                    bid -= 1
                if bid < price:
                    break
                best += bid
            maker = chain[heads + best, 0]
            traded = min(left, orders[maker, 2])
            left -= traded
            orders[maker, 2] -= traded
            state[S_TRADES] += 1
            if orders[maker, 2] == 0:
                take(heads, chain, state, best, maker, live, place)
        if left > 0:
            orders[added, 0], orders[added, 1], orders[added, 2] = s, price, left
            put(heads, chain, state, s * prices + price, added)
            live[state[S_LIVE]] = added
            place[added] = state[S_LIVE]
            state[S_LIVE] += 1
            if s == 0:
                bid = max(bid, price)
            else:
                ask = min(ask, price)
        added += 1
    state[S_MIDDLE] = middle
    return added


def operations(n: int, target: int = 1000) -> tuple[npt.NDArray[np.int32], dict[str, int]]:
    """The rows, and what the reference book makes of them."""
    drawn = draw(n)
    prices = HIGHEST + 2 + max(THROUGH, int(drawn.behind.max()) + 1)
    ops = np.empty((n, COLUMNS), np.int64)
    chain = np.repeat(np.arange(n + 2 * prices)[:, None], 2, axis=1)
    orders, state = np.zeros((n, 3), np.int64), np.zeros(6, np.int64)
    live, place = np.zeros(n, np.int64), np.zeros(n, np.int64)
    added = play(*drawn, target, prices, ops, chain, orders, live, place, state)
    info = {
        "n": n, "adds": added, "cancels": n - added, "trades": int(state[S_TRADES]), "resting": int(state[S_LIVE]),
        "levels": int(state[S_LEVELS]), "mid_end": int(state[S_MIDDLE]),
    }  # fmt: skip
    return ops.astype(np.int32), info


def main() -> None:
    if len(sys.argv) not in (3, 4):
        sys.exit(f"usage: {sys.argv[0]} N OUT [TARGET_LIVE]")
    out = Path(sys.argv[2])
    rows, info = operations(int(sys.argv[1]), int(sys.argv[3]) if len(sys.argv) == 4 else 1000)
    rows.tofile(out)
    out.with_name(out.name + ".json").write_text(json.dumps(info))
    print(info)


if __name__ == "__main__":
    main()
