"""Where a resting order stands in its price level's queue, estimated from L2 data.

State of an order: `front`, the lots ahead of it, and `traded`, the lots traded at its price since the level's
size was last reported (they explain a part of the next decrease). Trades at the price consume the front. What a
decrease without trades means is the model:

- RISK_AVERSE: cancels happen behind us; the front shrinks only when the level itself becomes smaller than it.
- the probabilistic models: a cancel lies behind us with probability p(front, back), for
  LOG `g(back) / (g(back) + g(front))` with g(x) = ln(1+x); LOG2 `g(back) / g(back + front)`;
  POWER the same as LOG with g(x) = xⁿ; POWER2 as LOG2 with xⁿ; POWER3 `1 − (front / (front + back))ⁿ`.
  `shape` is n; for the logarithms, where the unit makes a difference, the size of a lot: x is a quantity.
- L3_FIFO: the feed names every order, so the front is known and only orders ahead of us shrink it. Where a
  feed reports levels all the same, it is RISK_AVERSE.

Feeds report a trade before the decrease it causes (`traded` waits for that decrease). An order that is priced
better than all others of its side, and one whose level is gone from a snapshot, has nobody ahead.

Sources: E. Rigtorp, "Estimating order queue position" (2013); the power functions as the documentation of
hftbacktest names them (ProbQueueModel, PowerProbQueueFunc 1–3, LogProbQueueFunc 1–2).
"""

from __future__ import annotations

import math
from typing import Any

from tidegate.kernel.jit import inline

RISK_AVERSE, LOG, LOG2, POWER, POWER2, POWER3, L3_FIFO = range(7)
QUEUE_MODELS = {
    "risk_averse": RISK_AVERSE,
    "log": LOG,
    "log2": LOG2,
    "power": POWER,
    "power2": POWER2,
    "power3": POWER3,
    "l3_fifo": L3_FIFO,
}
FRONT, TRADED = 0, 1


@inline
def behind_probability(model: int, shape: float, front: float, back: float) -> float:
    """The probability that a cancel at the level happened behind the order."""
    if model == LOG:
        f, b = math.log(1.0 + front * shape), math.log(1.0 + back * shape)
        return b / (b + f) if b + f > 0.0 else 1.0
    if model == LOG2:
        whole = math.log(1.0 + back * shape + front * shape)
        return math.log(1.0 + back * shape) / whole if whole > 0.0 else 1.0
    if model == POWER:
        f, b = front**shape, back**shape
        return b / (b + f) if b + f > 0.0 else 1.0
    if model == POWER2:
        whole = (back + front) ** shape
        return back**shape / whole if whole > 0.0 else 1.0
    whole = front + back
    return 1.0 - (front / whole) ** shape if whole > 0.0 else 1.0


@inline
def queue_join(q: Any, k: int, level: int) -> None:
    """The order joins the back of a level that holds `level` lots."""
    q[k, FRONT] = float(level)
    q[k, TRADED] = 0.0


@inline
def queue_trade(q: Any, k: int, qty: int) -> None:
    """`qty` lots traded at the order's price."""
    q[k, FRONT] -= float(qty)
    q[k, TRADED] += float(qty)


@inline
def queue_depth(q: Any, k: int, model: int, shape: float, before: int, after: int) -> None:
    """The level's size went from `before` to `after` lots."""
    front = q[k, FRONT]
    if model == RISK_AVERSE or model == L3_FIFO:
        q[k, FRONT] = min(front, float(after))
        return
    change = float(before - after) - q[k, TRADED]
    q[k, TRADED] = 0.0
    if change < 0.0:
        q[k, FRONT] = min(front, float(after))
        return
    ahead = max(front, 0.0)
    back = max(float(before) - ahead, 0.0)
    p = behind_probability(model, shape, ahead, back)
    left = front - (1.0 - p) * change + min(back - p * change, 0.0)
    q[k, FRONT] = min(left, float(after))


@inline
def queue_removed(q: Any, k: int, qty: int) -> None:
    """L3: `qty` lots of an order ahead are gone: traded, as far as a trade was reported, else canceled."""
    explained = min(float(qty), q[k, TRADED])
    q[k, TRADED] -= explained
    q[k, FRONT] = max(q[k, FRONT] - (float(qty) - explained), 0.0)


@inline
def queue_at_most(q: Any, k: int, level: int) -> None:
    """It is seen that no more than `level` lots can be ahead."""
    q[k, FRONT] = min(q[k, FRONT], float(level))
    q[k, TRADED] = 0.0


@inline
def queue_executable(q: Any, k: int) -> int:
    """Lots that have traded past the front of the queue and so into the order; the front is then 0."""
    past = int(math.floor(0.5 - q[k, FRONT]))
    if past <= 0:
        return 0
    q[k, FRONT] = 0.0
    return past
