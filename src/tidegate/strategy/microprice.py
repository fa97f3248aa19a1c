"""What the shape of the book says of the next prices: weighted imbalance, and Stoikov's micro-price.

Stoikov, "The micro-price: a high-frequency estimator of future prices", Quantitative Finance 18 (2018): the
limit of the expected mid, given imbalance and spread now, is mid + G(imbalance, spread). With the states
(imbalance bin, spread) and the moves of the mid, the mid is a Markov chain:

    G₁ = (I − Q)⁻¹ R K      expected first move;  Q: no move, R: a move by each K
    B  = (I − Q)⁻¹ T        where the book stands after the first move
    G  = Σ Bⁿ G₁            all moves to come

The sum converges when up and down mirror each other, which is why each step is counted twice, once mirrored.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from tidegate.strategy.indicators import Estimator

Floats = npt.NDArray[np.float64]
Levels = Sequence[tuple[int, int]]


def book_imbalance(bids: Levels, asks: Levels, decay: float = 0.0) -> float:
    """(bid size − ask size)/(their sum) over the levels given, −1 … 1; 0.0 where there is no size.

    A level `d` ticks behind its own best weighs e^(−decay·d): 0 counts all alike (Cartea, Donnelly &
    Jaimungal, Enhancing trading strategies with order book signals, 2018, use the best level only).
    """
    bid = _weighted(bids, decay)
    ask = _weighted(asks, decay)
    return (bid - ask) / (bid + ask) if bid + ask > 0.0 else 0.0


def _weighted(levels: Levels, decay: float) -> float:
    if not levels:
        return 0.0
    best = levels[0][0]
    return sum(size * math.exp(-decay * abs(price - best)) for price, size in levels)


class MicroPrice(Estimator):
    """Stoikov's adjustment G(imbalance, spread), in ticks, learned from a market's best bid and ask.

    `bins` imbalance bins; spreads from 1 to `spreads` ticks, wider ones count as the widest. `longest` caps
    single moves of the mid (ticks): a larger one is taken as that. Feed `add` each quote, then `fit` from
    time to time (it solves a linear system of bins × spreads unknowns) and read `adjustment`. Counts are
    halved when `memory` steps have been seen, so that old days fade.
    """

    ROUNDS: ClassVar[int] = 64
    __slots__ = (
        "_g", "_last", "_leave", "_mid", "_moves", "_stay", "bins", "longest", "memory", "spreads", "steps",
    )  # fmt: skip
    _kept = ("steps", "_g", "_leave", "_moves", "_stay")

    def __init__(
        self, bins: int = 10, spreads: int = 2, longest: float = 50.0, memory: int = 2_000_000
    ) -> None:
        if bins < 2 or spreads < 1:
            raise ValueError(f"bins is {bins}, spreads is {spreads}: at least 2 and 1 are needed")
        n = bins * spreads
        self.bins = bins
        self.spreads = spreads
        self.longest = longest
        self.memory = memory
        self.steps = 0
        """Steps counted, mirrored ones not."""
        self._stay: Any = [[0.0] * n for _ in range(n)]  # steps from state to state without a move
        self._leave: Any = [[0.0] * n for _ in range(n)]  # with a move
        self._moves: Any = [0.0] * n  # the sum of the moves out of a state, ticks
        self._g: Any = [0.0] * n
        self._last = -1
        self._mid = 0.0

    def cell(self, bid: int, bid_qty: int, ask: int, ask_qty: int) -> int:
        """The state of a quote."""
        heavier = max(bid_qty, ask_qty) * self.bins // (bid_qty + ask_qty)
        at = min(heavier, self.bins - 1)
        return self._spread(ask - bid) * self.bins + (at if bid_qty >= ask_qty else self.bins - 1 - at)

    def _spread(self, ticks: int) -> int:
        return min(max(ticks, 1), self.spreads) - 1

    def _mirror(self, cell: int) -> int:
        spread, at = divmod(cell, self.bins)
        return spread * self.bins + self.bins - 1 - at

    def add(self, bid: int, bid_qty: int, ask: int, ask_qty: int) -> None:
        """The next quote; one without size on a side breaks the chain."""
        if bid_qty <= 0 or ask_qty <= 0 or bid >= ask:
            self.restart()
            return
        cell, mid = self.cell(bid, bid_qty, ask, ask_qty), (bid + ask) / 2
        last = self._last
        if last >= 0:
            self.steps += 1
            if self.steps % self.memory == 0:
                self._fade()
            if mid == self._mid:
                self._stay[last][cell] += 1.0
                self._stay[self._mirror(last)][self._mirror(cell)] += 1.0
            else:
                move = max(-self.longest, min(self.longest, mid - self._mid))
                self._leave[last][cell] += 1.0
                self._leave[self._mirror(last)][self._mirror(cell)] += 1.0
                self._moves[last] += move
                self._moves[self._mirror(last)] -= move
        self._last, self._mid = cell, mid

    def restart(self) -> None:
        """The next quote does not follow from the last one: a gap, a halt."""
        self._last = -1

    def _fade(self) -> None:
        for rows in (self._stay, self._leave):
            for row in rows:
                row[:] = [count / 2 for count in row]
        self._moves = [move / 2 for move in self._moves]

    def fit(self) -> None:
        """Solve for G from the counts so far.

        Every state is given one end without a move besides its counts: what was seldom seen is drawn to 0, and
        the system can always be solved.
        """
        stay, leave = np.asarray(self._stay), np.asarray(self._leave)
        visits = (stay.sum(1) + leave.sum(1) + 1.0)[:, None]
        inside = np.eye(len(visits)) - stay / visits
        first = np.linalg.solve(inside, np.asarray(self._moves) / visits[:, 0])
        after = np.linalg.solve(inside, leave / visits)
        total, term = first.copy(), first
        for _ in range(self.ROUNDS):
            term = after @ term
            total += term
        self._g = [float(g) for g in total]

    def adjustment(self, bid: int, bid_qty: int, ask: int, ask_qty: int) -> float:
        """Micro-price minus mid, in ticks, as last fitted; 0.0 before, or where a side is missing."""
        if bid_qty <= 0 or ask_qty <= 0:
            return 0.0
        return float(self._g[self.cell(bid, bid_qty, ask, ask_qty)])
