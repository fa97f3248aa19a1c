"""How a strategy behaves: order-to-trade ratio (14), repeated executions (15), anomalies (24), the share of a venue
(26), legs that do not hedge each other (28), clocks and gaps (29).

The checks hold back what adds risk. What they compare is noted as orders pass and fill, so a check reads few words.
"""

from __future__ import annotations

import math
from typing import Any

from tidegate.kernel.gate_codes import (
    ANOMALY_FILLS,
    ANOMALY_REJECTS,
    ANOMALY_SLIPPAGE,
    CLOCK_SKEW,
    LEG_RISK,
    ORDER_TRADE_RATIO,
    REFERENCE_IN_FUTURE,
    REPEATED_EXECUTION,
    VENUE_SHARE,
    VOLUME_TRADE_RATIO,
)
from tidegate.kernel.gate_commands import F_WARNINGS
from tidegate.kernel.gate_money import move_state, whole
from tidegate.kernel.gate_order import deny
from tidegate.kernel.gate_state import (
    C_BUYS,
    C_LEG,
    C_RUN_BUYS,
    C_RUN_BUYS_TS,
    C_RUN_SELLS,
    C_RUN_SELLS_TS,
    C_SELLS,
    C_SENT,
    C_SENT_LOTS,
    C_TRADED_LOTS,
    C_TRADES,
    CH_ACCOUNT,
    CH_RULES,
    CH_STRATEGY,
    H_FACT,
    H_TICK,
    HAS_RATIO,
    HAS_RUN,
    HAS_SHARE,
    HAS_SKEW,
    I_SHARE,
    L_FLAGS,
    L_MID2,
    P_FILL_BURST,
    P_FILL_GAP,
    P_FILL_TAT,
    P_LEG_DELTA,
    P_LEG_SINCE,
    P_LEG_TIME,
    P_MAX_REJECTS,
    P_MAX_SLIPPAGE,
    P_STATE,
    PPM,
    Q_JUDGED,
    Q_OUTCOMES,
    Q_REJECTS,
    Q_SLIP_MEAN,
    Q_SLIP_VAR,
    Q_SLIPS,
    R_FLAGS,
    R_RATIO,
    R_RATIO_FREE,
    R_RATIO_SCOPE,
    R_RUN,
    R_RUN_SCOPE,
    R_RUN_WINDOW,
    R_SHARE,
    R_SHARE_SCOPE,
    R_SKEW,
    R_SKEW_SCOPE,
    R_VOLUME,
    R_VOLUME_FREE,
    R_VOLUME_SCOPE,
    S_REDUCE_ONLY,
    TAKES,
    UNLIMITED,
    X_UNIT,
)
from tidegate.kernel.jit import inline, outline
from tidegate.kernel.layout import BUY, O_INSTRUMENT, O_SIDE, O_STRATEGY

OUTCOMES = 50
"""Control 24 looks at a strategy's last so many orders."""
OWN_FAULTS = ~(1 << 10 | 1 << 23 | 1 << 24 | 1 << 27 | 1 << 29 | 1 << 30)
"""Controls whose denials control 24 counts: not those of the market's data, of states and pauses, of clocks and gaps."""
WARM_FILLS = 30
"""Aggressive fills a strategy needs before its slippage is judged by control 24."""
SLIP_SHIFT = 8
"""Slippage is kept in parts per million × 2^8; its mean and variance remember about 2^5 fills."""
_WEIGHT = 5
_LEAST_VARIANCE = (100 << SLIP_SHIFT) ** 2  # deviations are measured in no less than a basis point
_LAST = (1 << OUTCOMES) - 1


@inline
def _ratio(ordered: int, traded: int, most: int, free: int, count: int, out: Any) -> Any:
    """Whether ordered ÷ traded − 1 is above `most` thousandths, after `free` orders; half of that warns."""
    if count <= free:
        return False
    sent, done = 1000.0 * ordered, float(max(traded, 1))
    if sent > (most // 2 + 1000.0) * done:
        out[F_WARNINGS] |= 1 << 14
    return sent > (most + 1000.0) * done


@inline
def ratio_of(ordered: int, traded: int) -> int:
    """Ordered ÷ traded − 1 in thousandths, the nearest; nothing traded counts as one."""
    return whole(1000.0 * ordered / max(traded, 1)) - 1000


@inline
def check_ratio(g: Any, rules: Any, row: int, lots: int, count: int, out: Any) -> int:
    """Control 14: the account's orders, cancels and replaces today against its trades, by number and by volume."""
    cell = g.cell[row]
    orders, volume, trades, traded = (
        cell[C_SENT] + count,
        cell[C_SENT_LOTS] + lots,
        cell[C_TRADES],
        cell[C_TRADED_LOTS],
    )
    if _ratio(orders, trades, rules[R_RATIO], rules[R_RATIO_FREE], orders, out):
        value = ratio_of(orders, trades)
        return deny(out, ORDER_TRADE_RATIO, 14, rules[R_RATIO], value, rules[R_RATIO_SCOPE])
    if _ratio(volume, traded, rules[R_VOLUME], rules[R_VOLUME_FREE], orders, out):
        value = ratio_of(volume, traded)
        return deny(out, VOLUME_TRADE_RATIO, 14, rules[R_VOLUME], value, rules[R_VOLUME_SCOPE])
    return 0


@inline
def check_clock(g: Any, rules: Any, seen: int, ts: int, out: Any) -> int:
    """Control 29: the sender's time against the lane's facts, and against the reference it names.

    Behind is judged by any fact; ahead only where time is ticked into the lane, for else a quiet market looks so.
    """
    header, most = g.slot[0], rules[R_SKEW]
    fact, tick = header[H_FACT], header[H_TICK]
    off = fact - ts
    if tick != 0:
        off = max(off, ts - max(fact, tick))
    if off > most:
        return deny(out, CLOCK_SKEW, 29, most, off, rules[R_SKEW_SCOPE])
    return deny(out, REFERENCE_IN_FUTURE if seen - ts > most else 0, 29, most, seen - ts, rules[R_SKEW_SCOPE])


@inline
def check_legs(g: Any, s: int, i: int, side: int, lots: int, ts: int, out: Any) -> int:
    """Control 28: once the strategy's legs have been out of balance for too long, only what hedges them passes.

    Being out of balance warns. An order hedges where, with all that is open on its side, the legs' value ends no
    further from nothing than it is.
    """
    scope, cell = g.scope[s], g.cell[s * g.inst.shape[0] + i]
    if scope[P_LEG_SINCE] == 0 or cell[C_LEG] == 0:
        return 0
    out[F_WARNINGS] |= 1 << 28
    delta, age = scope[P_LEG_DELTA], ts - scope[P_LEG_SINCE]
    lots += cell[C_BUYS] if side == BUY else cell[C_SELLS]
    after = delta + whole(g.real[i, X_UNIT] * lots) * (1 if side == BUY else -1)
    reason = LEG_RISK if age > scope[P_LEG_TIME] and abs(after) > abs(delta) else 0
    return deny(out, reason, 28, scope[P_LEG_TIME], age, s)


@inline
def check_conduct(
    g: Any, links: Any, rules: Any, i: int, side: int, lots: int, sent: int, count: int, seen: int, ts: int,
    out: Any,
) -> int:  # fmt: skip
    """Controls 29, 15, 14, 26 and 28, of what adds risk. `count` orders over `sent` lots are what control 14 counts."""
    s, n, reason, flags = links[CH_STRATEGY], g.inst.shape[0], 0, rules[R_FLAGS]
    if flags & HAS_SKEW:
        reason = check_clock(g, rules, seen, ts, out)
    if reason == 0 and flags & HAS_RUN:
        runs = g.cell[s * n + i, C_RUN_BUYS if side == BUY else C_RUN_SELLS]
        if runs >= rules[R_RUN]:
            reason = deny(out, REPEATED_EXECUTION, 15, rules[R_RUN], runs, rules[R_RUN_SCOPE])
    if reason == 0 and flags & HAS_RATIO:
        reason = check_ratio(g, rules, links[CH_ACCOUNT] * n + i, sent, count, out)
    if reason == 0 and flags & HAS_SHARE:
        share, most = g.inst[i, I_SHARE], rules[R_SHARE]
        if share > most - most // 5:
            out[F_WARNINGS] |= 1 << 26
        if share > most:
            reason = deny(out, VENUE_SHARE, 26, most, share, rules[R_SHARE_SCOPE])
    if reason == 0:
        reason = check_legs(g, s, i, side, lots, ts, out)
    return reason


@inline
def note_sent(g: Any, links: Any, i: int, count: int, lots: int) -> None:
    """Control 14: so many more orders, as the counting rule has them, over so many lots."""
    cell = g.cell[links[CH_ACCOUNT] * g.inst.shape[0] + i]
    cell[C_SENT] += count
    cell[C_SENT_LOTS] += lots


@inline
def pause(g: Any, s: int, cause: int, limit: int, value: int) -> None:
    """Control 24: the strategy only reduces from here on, until people look."""
    if g.scope[s, P_STATE] < S_REDUCE_ONLY:
        move_state(g, s, S_REDUCE_ONLY, cause, limit, value)


@outline
def forget_conduct(g: Any, t: int) -> None:
    """People have looked at strategy number `t`: what control 24 saw of it before does not count any more."""
    ring = g.ring[t]
    ring[Q_OUTCOMES], ring[Q_REJECTS], ring[Q_JUDGED] = 0, 0, 0
    ring[Q_SLIPS], ring[Q_SLIP_MEAN], ring[Q_SLIP_VAR] = 0, 0, 0


@inline
def _judge_rejects(g: Any, t: int, s: int) -> None:
    ring, most = g.ring[t], g.scope[s, P_MAX_REJECTS]
    rate = ring[Q_REJECTS] * (PPM // OUTCOMES)
    if ring[Q_JUDGED] >= OUTCOMES and rate > most:
        pause(g, s, ANOMALY_REJECTS, most, rate)


@inline
def note_outcome(g: Any, t: int, s: int, denied: int) -> None:
    """Control 24: an order of the strategy was let pass (0) or denied (1)."""
    if g.scope[s, P_MAX_REJECTS] >= UNLIMITED:
        return
    ring = g.ring[t]
    bits = ring[Q_OUTCOMES]
    ring[Q_REJECTS] += denied - ((bits >> (OUTCOMES - 1)) & 1)
    ring[Q_OUTCOMES] = (bits << 1 | denied) & _LAST
    ring[Q_JUDGED] += 1
    if denied != 0:
        _judge_rejects(g, t, s)


@inline
def note_reject(g: Any, t: int, s: int) -> None:
    """Control 24: the venue refused an order that had passed; the last one that counted as passed counts as not."""
    ring = g.ring[t]
    bits = ring[Q_OUTCOMES]
    if g.scope[s, P_MAX_REJECTS] >= UNLIMITED or bits == _LAST or ring[Q_REJECTS] >= ring[Q_JUDGED]:
        return
    ring[Q_OUTCOMES] = bits | (bits + 1)
    ring[Q_REJECTS] += 1
    _judge_rejects(g, t, s)


@inline
def _note_slip(g: Any, t: int, s: int, slip: int, most: int) -> None:
    """Control 24: how far a fill's slippage (parts per million, a loss above 0) is from the strategy's usual."""
    ring = g.ring[t]
    off = (max(-PPM, min(PPM, slip)) << SLIP_SHIFT) - ring[Q_SLIP_MEAN]
    if ring[Q_SLIPS] >= WARM_FILLS and off > 0:
        score = whole(1000.0 * off / math.sqrt(float(max(ring[Q_SLIP_VAR], _LEAST_VARIANCE))))
        if score > most:
            pause(g, s, ANOMALY_SLIPPAGE, most, score)
    ring[Q_SLIPS] += 1
    ring[Q_SLIP_MEAN] += off >> _WEIGHT
    ring[Q_SLIP_VAR] += (off * off - ring[Q_SLIP_VAR]) >> _WEIGHT


@outline
def note_fill(g: Any, orders: Any, k: int, chain: int, h: int, qty: int, price: int, ts: int) -> None:
    """A fill, for controls 14, 15 and 24; `h` is its order's slot, 0 where nothing is charged for it."""
    order, links, n = orders[k], g.chain[chain], g.inst.shape[0]
    i, side, t, s = order[O_INSTRUMENT], order[O_SIDE], order[O_STRATEGY], links[CH_STRATEGY]
    cell, scope = g.cell[links[CH_ACCOUNT] * n + i], g.scope[s]
    rules = g.rules[max(links[CH_RULES], 0) + i]
    cell[C_TRADES] += 1
    cell[C_TRADED_LOTS] += qty
    if rules[R_FLAGS] & HAS_RUN:
        run, began = (C_RUN_BUYS, C_RUN_BUYS_TS) if side == BUY else (C_RUN_SELLS, C_RUN_SELLS_TS)
        own = g.cell[s * n + i]
        if own[run] < rules[R_RUN] and (own[run] == 0 or ts - own[began] >= rules[R_RUN_WINDOW]):
            own[run], own[began] = 1, ts
        else:
            own[run] += 1
    gap, burst = scope[P_FILL_GAP], scope[P_FILL_BURST]
    if burst < UNLIMITED:
        scope[P_FILL_TAT] = max(ts, scope[P_FILL_TAT]) + gap
        ahead = scope[P_FILL_TAT] - gap - burst - ts
        if ahead > 0:
            pause(g, s, ANOMALY_FILLS, gap, ahead)
    most = scope[P_MAX_SLIPPAGE]
    if most < UNLIMITED and h != 0 and g.slot[h, L_FLAGS] & TAKES and g.slot[h, L_MID2] != 0:
        mid2 = g.slot[h, L_MID2]
        off = 2 * price - mid2 if side == BUY else mid2 - 2 * price
        _note_slip(g, t, s, whole(float(off) * PPM / abs(mid2)), most)
