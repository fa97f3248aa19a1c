"""What the world does to the gate's valuations: marks, funding, the end of a day, and states set by people."""

from __future__ import annotations

from typing import Any

from tidegate.kernel.gate_conduct import forget_conduct
from tidegate.kernel.gate_money import (
    move_state,
    revalue,
    revalue_pnl,
    set_touch,
    settle_value,
    unit_at,
    watch_legs,
    watch_losses,
    whole,
)
from tidegate.kernel.gate_state import (
    C_BUYS,
    C_CASH,
    C_POS,
    C_SELLS,
    C_SENT,
    C_SENT_LOTS,
    C_TRADED_LOTS,
    C_TRADES,
    F_NEGATIVE,
    H_DAY_OFFSET,
    H_FACT,
    H_NEXT_DAY,
    I_ASK,
    I_BAD_MARKS,
    I_BID,
    I_CURRENCY,
    I_FLAGS,
    I_FX,
    I_FX_QUOTE,
    I_MARK_TS,
    I_MARKS,
    MAX_TICKS,
    P_CAUSE,
    P_DAY_PNL,
    P_FILL_TAT,
    P_PEAK,
    P_PNL,
    P_STATE,
    P_TRADED,
    S_KILLED,
    S_RECOVERING,
    S_REDUCE_ONLY,
    X_MEMORY,
    X_PRICE,
    X_RATE,
    X_UNIT,
    X_UNITS,
    X_VARIANCE,
)
from tidegate.kernel.jit import inline, outline
from tidegate.model.time import DAY


@inline
def roll_day(g: Any, ts: int) -> None:
    """Begin a new day for traded value, the day's loss and its orders and trades, when `ts` lies past the last one's end."""
    header = g.slot[0]
    if ts < header[H_NEXT_DAY]:
        return
    offset = header[H_DAY_OFFSET]
    header[H_NEXT_DAY] = (ts - offset) // DAY * DAY + DAY + offset
    for s in range(g.scope.shape[0]):
        g.scope[s, P_TRADED] = 0
        g.scope[s, P_DAY_PNL] = g.scope[s, P_PNL]
    for row in range(g.cell.shape[0]):
        cell = g.cell[row]
        cell[C_SENT], cell[C_SENT_LOTS], cell[C_TRADES], cell[C_TRADED_LOTS] = 0, 0, 0, 0


@inline
def note_time(g: Any, ts: int) -> None:
    """Something has happened at `ts`: no order's time lies far before it (29), and the day may be a new one."""
    header = g.slot[0]
    header[H_FACT] = max(header[H_FACT], ts)
    roll_day(g, ts)


@inline
def usable(g: Any, i: int, bid: int, ask: int) -> Any:
    """Whether a touch can serve as a reference: both sides there and in range."""
    if abs(bid) > MAX_TICKS or abs(ask) > MAX_TICKS:
        return False
    return g.inst[i, I_FLAGS] & F_NEGATIVE != 0 or (bid > 0 and ask > 0)


@outline
def revalue_all(g: Any, i: int) -> None:
    """Revalue an instrument in every scope that has anything in it."""
    n = g.inst.shape[0]
    for s in range(g.scope.shape[0]):
        cell = g.cell[s * n + i]
        if cell[C_POS] != 0 or cell[C_BUYS] != 0 or cell[C_SELLS] != 0 or cell[C_CASH] != 0:
            revalue(g, s, i)
            revalue_pnl(g, s, i)


@inline
def move_rate(g: Any, i: int, mid: float) -> None:
    """The instrument's middle is the rate of a settlement currency: revalue all that settles in it."""
    n, currency = g.inst.shape[0], g.inst[i, I_FX]
    quote, rated = g.real[n + g.inst[i, I_FX_QUOTE]], g.real[n + currency]
    rated[X_RATE] = mid * g.real[i, X_PRICE] * quote[X_RATE] * quote[X_UNITS] / rated[X_UNITS]
    for j in range(n):
        inst = g.inst[j]
        if inst[I_CURRENCY] == currency and inst[I_MARK_TS] != 0 and j != i:
            g.real[j, X_UNIT] = unit_at(g, j, inst[I_BID], inst[I_ASK])
            revalue_all(g, j)


@outline
def gate_mark(g: Any, instrument: int, bid: int, ask: int, ts: int) -> None:
    """A sampled touch: volatility, notional, margin, P&L, and the loss limits (23) of every scope concerned.

    A mark that is crossed or one-sided is counted and otherwise ignored. Where the instrument prices a
    settlement currency, all that settles in it is revalued.
    """
    note_time(g, ts)
    inst, real = g.inst[instrument], g.real[instrument]
    if bid > ask or not usable(g, instrument, bid, ask):
        inst[I_BAD_MARKS] += 1
        return
    gap, mid = ts - inst[I_MARK_TS], 0.5 * (bid + ask)
    if inst[I_MARK_TS] != 0 and gap > 0:
        move = mid - 0.5 * (inst[I_BID] + inst[I_ASK])
        real[X_VARIANCE] += gap / (real[X_MEMORY] + gap) * (move * move / gap - real[X_VARIANCE])
    inst[I_MARKS] += 1
    if inst[I_FX] >= 0:
        move_rate(g, instrument, mid)
    set_touch(g, instrument, bid, ask, max(ts, 1))
    revalue_all(g, instrument)
    # Only now: between two instruments' revaluations a sum is neither the old nor the new one.
    for s in range(g.scope.shape[0]):
        watch_losses(g, s)
        watch_legs(g, s)


@inline
def gate_funding(g: Any, instrument: int, rate_e8: int, price: int, ts: int) -> None:
    """Funding is paid: position value at `price` × rate (× 1e-8), by longs when the rate is above 0."""
    note_time(g, ts)
    for s in range(g.scope.shape[0]):
        cell = g.cell[s * g.inst.shape[0] + instrument]
        if cell[C_POS] != 0:
            cell[C_CASH] -= whole(float(settle_value(g, instrument, price, cell[C_POS])) * rate_e8 * 1e-8)
            revalue_pnl(g, s, instrument)
            watch_losses(g, s)


@inline
def gate_set_state(g: Any, scope: int, state: int, ts: int) -> None:
    """The halt service tells a scope's state. Where the gate itself has stopped the scope, of the states that let it
    trade only RECOVERING counts: that one comes of nothing but two people's resume.

    Let up from REDUCE_ONLY or stricter, a scope's drawdown starts anew, and what control 24 saw of a strategy is
    forgotten. A scope or a state that does not exist changes nothing.
    """
    if scope < 0 or scope >= g.scope.shape[0] or state < 0 or state > S_KILLED:
        return
    note_time(g, ts)
    row = g.scope[scope]
    stopped = row[P_STATE] >= S_REDUCE_ONLY
    if stopped and row[P_CAUSE] != 0 and state < S_REDUCE_ONLY and state != S_RECOVERING:
        return
    move_state(g, scope, state, 0, 0, 0)
    if stopped and state < S_REDUCE_ONLY:
        row[P_PEAK] = row[P_PNL]
        t = scope - (g.scope.shape[0] - g.ring.shape[0])
        if t >= 0:
            row[P_FILL_TAT] = 0
            forget_conduct(g, t)
