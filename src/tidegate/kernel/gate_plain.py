"""The plain case of `gate_check`, in one pass: an order of which no control has anything to say.

`gate_judge` is the law. This asks the same questions in the order that costs least, each so that a yes is certain: a
limit order that does not reach through the touch, no scope of which is held, within every limit and every warning. It
is charged as `gate_judge` would charge it. Of any other order nothing is touched, and `gate_judge` says what is to be
said, so a doubt here costs time, never correctness: where a rule is awkward to ask (a root, a quotient), or where what
reduces risk would be spared it, a stricter one is asked.

What the limits on one order come to for such orders is worked out beforehand, in rows of `plain` (`risk.plain`).
"""

from __future__ import annotations

import math
from typing import Any

from tidegate.kernel.gate_commands import CHECK
from tidegate.kernel.gate_conduct import note_outcome
from tidegate.kernel.gate_likeness import key_of, looked_through, new_here, remember, size_of
from tidegate.kernel.gate_money import BOUND, counted, rate_of
from tidegate.kernel.gate_order import clear
from tidegate.kernel.gate_slots import open_slot
from tidegate.kernel.gate_state import (
    C_ASKS,
    C_BUYS,
    C_DRIFT_BASE,
    C_DRIFT_HIGH,
    C_DRIFT_LOW,
    C_DRIFT_TS,
    C_GROSS,
    C_LEG,
    C_LONG,
    C_MARGIN,
    C_MAX_LONG,
    C_MAX_SHARE,
    C_POS,
    C_RUN_BUYS,
    C_RUN_SELLS,
    C_SELLS,
    C_SENT,
    C_SENT_LOTS,
    C_TRADED_LOTS,
    C_TRADES,
    CH_HELD,
    CH_RULES,
    F_INVERSE,
    H_FACT,
    H_FREE,
    H_GAP,
    H_NEXT_DAY,
    H_TICK,
    I_ASK,
    I_BID,
    I_FLAGS,
    I_MARK_TS,
    I_SHARE,
    I_STATE,
    L_PRICE,
    MAX_TICKS,
    P_CAPITAL,
    P_GROSS,
    P_KEEP,
    P_LEG_SINCE,
    P_LONG,
    P_MARGIN,
    P_MAX_GROSS,
    P_MAX_NET_LONG,
    P_MAX_OPEN,
    P_MAX_ORDERS,
    P_MAX_TRADED,
    P_NEW_BURST,
    P_NEW_GAP,
    P_NEW_TAT,
    P_OPEN,
    P_ORDERS,
    P_PNL,
    P_TRADED,
    PL_ACCOUNT,
    PL_AGE,
    PL_CLOSED_FROM,
    PL_CLOSED_TO,
    PL_COLLAR,
    PL_DESK,
    PL_FORMS,
    PL_LAST_ENTRY,
    PL_LEAST_LOTS,
    PL_MOST_BUYS,
    PL_OWN,
    PL_RATIO,
    PL_RATIO_FREE,
    PL_RUN,
    PL_SAME,
    PL_SAME_WINDOW,
    PL_SCOPES,
    PL_SELF_MATCH,
    PL_SHARE,
    PL_SKEW,
    PL_STRATEGY,
    PL_VALUE,
    PL_VOLUME,
    PL_VOLUME_FREE,
    PPM,
    TAKES,
    X_MARGIN,
    X_MIN_NOTIONAL,
    X_UNIT,
    X_VALUE,
)
from tidegate.kernel.jit import inline, outline
from tidegate.kernel.layout import (
    BUY,
    FOK,
    IOC,
    LIMIT,
    O_ACCOUNT,
    O_CHARGE,
    O_DISPLAY,
    O_ID,
    O_INST,
    O_INSTRUMENT,
    O_OFFSET,
    O_PRICE,
    O_QTY,
    O_REF_ASK,
    O_REF_BID,
    O_REF_TS,
    O_SIDE,
    O_STOP,
    O_STRATEGY,
    O_TIF,
    O_TYPE,
)


@inline
def _form(order: Any, plain: Any) -> Any:
    """The order is a limit order of a form that is permitted and valid (1, 3), for the instrument's sake and its own."""
    side, post, tif = order[O_SIDE] - BUY, order[O_INST], order[O_TIF]
    if order[O_TYPE] != LIMIT or (side | post) >> 1 | tif >> 3 != 0:
        return False
    if order[O_STOP] | order[O_DISPLAY] | order[O_OFFSET] != 0:
        return False
    return plain[PL_FORMS] >> (tif << 2 | post << 1 | side) & 1 != 0


@inline
def _in_time(header: Any, plain: Any, ts: int, seen: int) -> Any:
    """Nothing is closed (2, 3), the reference is young enough (10), and the clocks agree (29)."""
    if ts >= header[H_NEXT_DAY] or header[H_GAP] != 0 or ts >= plain[PL_LAST_ENTRY]:
        return False
    if plain[PL_CLOSED_FROM] <= ts and ts < plain[PL_CLOSED_TO]:
        return False
    skew, fact, tick = plain[PL_SKEW], header[H_FACT], header[H_TICK]
    if tick != 0 and ts - max(fact, tick) > skew:
        return False
    return abs(ts - seen) <= plain[PL_AGE] and seen - ts <= skew and fact - ts <= skew


@inline
def _at_peace(g: Any, inst: Any, plain: Any, side: int) -> Any:
    """The instrument trades (27); repeated executions (15), venue share (26), legs (28)."""
    cell = g.cell[plain[PL_STRATEGY]]
    if inst[I_STATE] != 0 or inst[I_SHARE] > plain[PL_SHARE]:
        return False
    if cell[C_RUN_BUYS + (C_RUN_SELLS - C_RUN_BUYS) * side] >= plain[PL_RUN]:
        return False
    return g.scope[plain[PL_SCOPES], P_LEG_SINCE] == 0 or cell[C_LEG] == 0


@inline
def _within(ordered: int, traded: int, most: int) -> Any:
    return 1000.0 * ordered <= float(most) * max(traded, 1)


@inline
def _in_proportion(cell: Any, plain: Any, lots: int) -> Any:
    """Orders to trades (14), by number and by volume."""
    orders, volume = cell[C_SENT] + 1, cell[C_SENT_LOTS] + lots
    if orders > plain[PL_RATIO_FREE] and not _within(orders, cell[C_TRADES], plain[PL_RATIO]):
        return False
    return orders <= plain[PL_VOLUME_FREE] or _within(volume, cell[C_TRADED_LOTS], plain[PL_VOLUME])


@inline
def _priced_well(g: Any, plain: Any, side: int, price: int, bid: int, ask: int, taking: Any) -> Any:
    """The price is within the collar (7), and where it takes nothing has drifted (9); it meets no own order (12)."""
    base2 = bid + ask
    if float(abs(2 * price - base2)) * PPM >= float(plain[PL_COLLAR]) * base2:
        return False
    if taking:
        cell = g.cell[plain[PL_STRATEGY]]
        extreme = cell[C_DRIFT_HIGH] if side == 0 else cell[C_DRIFT_LOW]
        moved = 2 * extreme - cell[C_DRIFT_BASE]
        if cell[C_DRIFT_TS] != 0 and (moved if side == 0 else -moved) > 0:
            return False
    own = g.cell[plain[PL_OWN], C_ASKS - side]
    if own == 0 or plain[PL_SELF_MATCH] == 0:
        return True
    meets = g.slot[own, L_PRICE]
    return price < meets if side == 0 else price > meets


@inline
def _worth(g: Any, inst: Any, real: Any, i: int, price: int, other: int, lots: int) -> int:
    """`gate_charge.charged_value` where both prices are above 0."""
    if inst[I_FLAGS] & F_INVERSE:
        return counted(abs(real[X_VALUE] * lots / min(price, other)) * rate_of(g, i))
    return counted(abs(real[X_VALUE] * max(price, other) * lots) * rate_of(g, i))


@inline
def _room(g: Any, plain: Any, j: int, unit: float, side: int, lots: int, value: int, ts: int) -> Any:
    """Whether scope `j` of the path has room (16, 17, 18, 22, 25) and a token (13); then, with the order, the
    instrument's gross notional and that of all, its end on this side and that of all, and the worst case's worth."""
    scope, cell, sign = g.scope[plain[PL_SCOPES + j]], g.cell[plain[PL_STRATEGY + j]], 1 - 2 * side
    held = sign * cell[C_POS]
    would, other = held + cell[C_BUYS + side] + lots, cell[C_SELLS - side] - held
    worth = scope[P_OPEN] + value
    worst = unit * max(would, other)
    if would > cell[C_MAX_LONG + side] or would > cell[C_MAX_SHARE] // 2 or worst >= BOUND:
        return False, 0, 0, 0, 0, 0.0
    if scope[P_ORDERS] >= scope[P_MAX_ORDERS] or worth > scope[P_MAX_OPEN]:
        return False, 0, 0, 0, 0, 0.0
    if worth + scope[P_TRADED] > scope[P_MAX_TRADED] or scope[P_NEW_TAT] - scope[P_NEW_BURST] > ts:
        return False, 0, 0, 0, 0, 0.0
    gross, end = int(worst + 0.5), math.floor(float(sign) * (unit * would) + 0.5)
    grown, net = scope[P_GROSS] + (gross - cell[C_GROSS]), scope[P_LONG + side] + (end - cell[C_LONG + side])
    fits = grown <= scope[P_MAX_GROSS] and sign * net <= scope[P_MAX_NET_LONG + side]
    return fits, gross, grown, end, net, worst


@inline
def _charge(
    g: Any, plain: Any, j: int, side: int, lots: int, value: int, ts: int, gross: int, grown: int, end: int, net: int
) -> None:  # fmt: skip
    """Leave scope `j` of the path as `_room` found that it would be."""
    scope, cell = g.scope[plain[PL_SCOPES + j]], g.cell[plain[PL_STRATEGY + j]]
    scope[P_OPEN] += value
    scope[P_ORDERS] += 1
    scope[P_NEW_TAT] = max(ts, scope[P_NEW_TAT]) + scope[P_NEW_GAP]
    cell[C_BUYS + side] += lots
    cell[C_GROSS], scope[P_GROSS] = gross, grown
    cell[C_LONG + side], scope[P_LONG + side] = end, net


@inline
def _margin(g: Any, plain: Any, rate: float, worst: float) -> Any:
    """Whether the account can keep the margin of `worst` (20), the margin, and that of all its instruments."""
    scope, cell = g.scope[plain[PL_SCOPES + 1]], g.cell[plain[PL_ACCOUNT]]
    margin, keep = int(worst * rate + 0.5), scope[P_KEEP]
    asked = scope[P_MARGIN] + (margin - cell[C_MARGIN])
    # A part in a million stricter than the limit, in which the roundings disappear.
    kept = keep < 0 or float(asked) * (PPM + 1) <= float(scope[P_CAPITAL] + scope[P_PNL]) * keep
    return kept, margin, asked


@inline
def _take(g: Any, plain: Any, real: Any, side: int, lots: int, value: int, ts: int) -> Any:
    """Charge the order to its scopes, from the strategy up, where every one has room; False: nothing was done."""
    unit, desk = real[X_UNIT], plain[PL_DESK] >= 0
    first, gross0, grown0, end0, net0, _ = _room(g, plain, 0, unit, side, lots, value, ts)
    if not first:
        return False
    second, gross1, grown1, end1, net1, worst = _room(g, plain, 1, unit, side, lots, value, ts)
    if not second:
        return False
    third, gross2, grown2, end2, net2, _ = _room(g, plain, 2, unit, side, lots, value, ts)
    if not third:
        return False
    kept, margin, asked = _margin(g, plain, real[X_MARGIN], worst)
    if not kept:
        return False
    if desk:
        fourth, gross3, grown3, end3, net3, _ = _room(g, plain, 3, unit, side, lots, value, ts)
        if not fourth:
            return False
        _charge(g, plain, 3, side, lots, value, ts, gross3, grown3, end3, net3)
    _charge(g, plain, 0, side, lots, value, ts, gross0, grown0, end0, net0)
    _charge(g, plain, 1, side, lots, value, ts, gross1, grown1, end1, net1)
    _charge(g, plain, 2, side, lots, value, ts, gross2, grown2, end2, net2)
    g.cell[plain[PL_ACCOUNT], C_MARGIN], g.scope[plain[PL_SCOPES + 1], P_MARGIN] = margin, asked
    return True


@inline
def _pass(g: Any, order: Any, ts: int, out: Any) -> Any:
    """Let the order pass and charge it, if it is a plain case; False: nothing was done."""
    header, i, a, t = g.slot[0], order[O_INSTRUMENT], order[O_ACCOUNT], order[O_STRATEGY]
    row = a * g.ring.shape[0] + t
    if i < 0 or i >= g.inst.shape[0] or t < 0 or t >= g.ring.shape[0] or a < 0 or row >= g.chain.shape[0]:
        return False
    links = g.chain[row]
    if links[CH_RULES] < 0 or links[CH_HELD] != 0:
        return False
    plain, inst, real = g.plain[links[CH_RULES] + i], g.inst[i], g.real[i]
    bid, ask, seen = order[O_REF_BID], order[O_REF_ASK], order[O_REF_TS]
    if seen == 0:
        bid, ask, seen = inst[I_BID], inst[I_ASK], inst[I_MARK_TS]
    if seen == 0 or bid <= 0 or bid > ask or ask > MAX_TICKS or not _form(order, plain):
        return False
    side, lots, price = order[O_SIDE] - BUY, order[O_QTY], order[O_PRICE]
    touch = ask if side == 0 else bid
    through = price - touch if side == 0 else touch - price
    taking = through == 0 and order[O_INST] == 0
    if through > 0 or price <= 0 or price > MAX_TICKS or not _in_time(header, plain, ts, seen):
        return False
    if lots < plain[PL_LEAST_LOTS] or lots > plain[PL_MOST_BUYS + side] or header[H_FREE] == 0:
        return False
    if not _at_peace(g, inst, plain, side) or not _priced_well(g, plain, side, price, bid, ask, taking):
        return False
    account = g.cell[plain[PL_ACCOUNT]]
    value = _worth(g, inst, real, i, price, touch, lots)
    if float(price) * lots < real[X_MIN_NOTIONAL] or value > plain[PL_VALUE]:
        return False
    if real[X_UNIT] == 0.0 or not _in_proportion(account, plain, lots):
        return False
    key, size, name = key_of(order, price), size_of(order, lots), order[O_ID]
    if not new_here(g, t, key, size, name):
        if looked_through(g, t, key, size, name, ts - plain[PL_SAME_WINDOW]) >= plain[PL_SAME]:
            return False
    if not _take(g, plain, real, side, lots, value, ts):
        return False
    clear(out)
    remember(g, t, key, size, ts, name)
    account[C_SENT] += 1
    account[C_SENT_LOTS] += lots
    rests, flags = order[O_TIF] != IOC and order[O_TIF] != FOK, TAKES if taking else 0
    order[O_CHARGE] = open_slot(g, order, row, plain[PL_OWN], lots, value, price, bid + ask, flags, rests)
    note_outcome(g, t, plain[PL_SCOPES], 0)
    return True


@outline
def pass_plainly(play: Any, number: int) -> int:
    """Carry out the CHECKs from command `number` of a `GatePlay` on, as far as they are plain cases: the number of the
    first command that is not. Of that one nothing was done."""
    g, commands = play.gate, play.commands
    while number < commands.shape[0]:
        command = commands[number]
        if command[0] != CHECK or not _pass(g, play.orders[command[1]], command[2], command):
            return number
        number += 1
    return number
