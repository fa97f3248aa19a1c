"""What an order says of itself: may it be sent at all (controls 1, 2, 3), at which prices is it judged."""

from __future__ import annotations

import math
from typing import Any

from tidegate.kernel.gate_codes import (
    ABOVE_MAX_QTY,
    ACCOUNT_NOT_PERMITTED,
    BELOW_MIN_QTY,
    INSTRUMENT_EXPIRED,
    INSTRUMENT_HALTED,
    INSTRUMENT_NOT_PERMITTED,
    INVALID_DISPLAY,
    INVALID_EXEC_INST,
    INVALID_EXPIRY,
    INVALID_OFFSET,
    INVALID_ORD_TYPE,
    INVALID_PRICE,
    INVALID_QTY,
    INVALID_SIDE,
    INVALID_TIF,
    ORD_TYPE_NOT_PERMITTED,
    OUT_OF_RANGE,
    RESTRICTED,
    RESTRICTED_WINDOW,
    SCOPE_CANCEL_ONLY,
    SCOPE_KILLED,
    SIDE_NOT_PERMITTED,
    STOP_PRICE_MISSING,
    TIF_NOT_PERMITTED,
    UNKNOWN_ACCOUNT,
    UNKNOWN_INSTRUMENT,
    UNKNOWN_STRATEGY,
)
from tidegate.kernel.gate_commands import F_CONTROL, F_LIMIT, F_REASON, F_SCOPE, F_VALUE, F_WARNINGS
from tidegate.kernel.gate_state import (
    CH_HELD,
    CH_RULES,
    CH_STRATEGY,
    F_NEGATIVE,
    I_EXPIRY,
    I_FLAGS,
    I_MAX_QTY,
    I_MIN_QTY,
    I_STATE,
    MAX_LOTS,
    MAX_TICKS,
    P_STATE,
    PPM,
    R_CLOSED_FROM,
    R_CLOSED_TO,
    R_COLLAR,
    R_COLLAR_FLOOR,
    R_INSTRUMENT,
    R_LAST_ENTRY,
    R_PERMIT_SCOPE,
    R_SIDES,
    R_TIFS,
    R_TYPES,
    S_CANCEL_ONLY,
    S_KILLED,
    UNLIMITED,
)
from tidegate.kernel.jit import inline
from tidegate.kernel.layout import (
    BUY,
    FOK,
    GTD,
    ICEBERG,
    IOC,
    LIMIT,
    MARKET,
    O_ACCOUNT,
    O_DISPLAY,
    O_EXPIRE,
    O_INST,
    O_INSTRUMENT,
    O_OFFSET,
    O_SIDE,
    O_STOP,
    O_STRATEGY,
    O_TIF,
    O_TYPE,
    PEG_MARKET,
    PEG_MID,
    PEG_PRIMARY,
    PEGGED,
    POST_ONLY,
    SELL,
    STOP,
    STOP_LIMIT,
    TRAILING_STOP,
)

# Sets of order types, as bits.
PRICED = 1 << LIMIT | 1 << ICEBERG | 1 << STOP_LIMIT
STOPS = 1 << STOP | 1 << STOP_LIMIT | 1 << TRAILING_STOP
NEEDS_STOP = 1 << STOP | 1 << STOP_LIMIT
IMMEDIATE = 1 << MARKET | 1 << LIMIT
PASSIVE = 1 << LIMIT | 1 << ICEBERG | 1 << PEGGED
MAY_REST = 1 << LIMIT | 1 << ICEBERG
_PEGS = PEG_PRIMARY | PEG_MARKET | PEG_MID
_NOW = 1 << IOC | 1 << FOK
_TIFS = 1 << 0 | 1 << 1 | 1 << IOC | 1 << FOK | 1 << GTD


@inline
def clear(out: Any) -> None:
    """No figures yet."""
    out[F_REASON], out[F_LIMIT], out[F_VALUE], out[F_SCOPE], out[F_CONTROL], out[F_WARNINGS] = (
        0,
        0,
        0,
        0,
        0,
        0,
    )


@inline
def deny(out: Any, reason: int, control: int, limit: int, value: int, scope: int) -> int:
    """Write the figures of a denial, or of none where `reason` is 0; gives back the reason."""
    if reason != 0:
        out[F_REASON], out[F_LIMIT], out[F_VALUE], out[F_SCOPE], out[F_CONTROL] = (
            reason,
            limit,
            value,
            scope,
            control,
        )
    return reason


@inline
def check_known(g: Any, orders: Any, k: int, out: Any) -> int:
    """The order's instrument, account and strategy exist and go together."""
    order, strategies = orders[k], g.ring.shape[0]
    i, a, t = order[O_INSTRUMENT], order[O_ACCOUNT], order[O_STRATEGY]
    reason, limit, value, scope = 0, 0, 0, 0
    if i < 0 or i >= g.inst.shape[0]:
        reason, limit, value = UNKNOWN_INSTRUMENT, g.inst.shape[0], i
    elif t < 0 or t >= strategies:
        reason, limit, value = UNKNOWN_STRATEGY, strategies, t
    elif a < 0 or a * strategies >= g.chain.shape[0]:
        reason, limit, value = UNKNOWN_ACCOUNT, g.chain.shape[0] // strategies, a
    else:
        links = g.chain[a * strategies + t]
        if links[CH_RULES] >= 0:
            return 0
        reason, value, scope = ACCOUNT_NOT_PERMITTED, a, links[CH_STRATEGY]
    return deny(out, reason, 1, limit, value, scope)


@inline
def plainly_permitted(g: Any, order: Any, links: Any, rules: Any, ts: int) -> Any:
    """Whether nothing of `check_permitted` speaks, asked in one question. Its masks have bits of what exists only."""
    side, kind, tif = order[O_SIDE], order[O_TYPE], order[O_TIF]
    if (side | kind | tif) >> 6 != 0 or (links[CH_HELD] | g.inst[order[O_INSTRUMENT], I_STATE]) != 0:
        return False
    allowed = rules[R_INSTRUMENT] & rules[R_SIDES] >> side & rules[R_TYPES] >> kind & rules[R_TIFS] >> tif & 1
    return allowed != 0 and ts < rules[R_LAST_ENTRY] and not (rules[R_CLOSED_FROM] <= ts < rules[R_CLOSED_TO])


@inline
def check_permitted(g: Any, orders: Any, k: int, links: Any, rules: Any, ts: int, out: Any) -> int:
    """Killed and cancel-only scopes and instruments (27), permissions (1), the restricted list and its windows (2)."""
    order = orders[k]
    if plainly_permitted(g, order, links, rules, ts):
        return 0
    for j in range(CH_STRATEGY, CH_STRATEGY + 4):
        s = links[j]
        if s >= 0:
            state = g.scope[s, P_STATE]
            if state >= S_CANCEL_ONLY:
                return deny(out, SCOPE_KILLED if state == S_KILLED else SCOPE_CANCEL_ONLY, 27, 0, state, s)
    state = g.inst[order[O_INSTRUMENT], I_STATE]
    if state >= S_CANCEL_ONLY:
        return deny(out, INSTRUMENT_HALTED, 27, 0, state, 0)
    side, kind, tif, scope = order[O_SIDE], order[O_TYPE], order[O_TIF], rules[R_PERMIT_SCOPE]
    opens, closes, last = rules[R_CLOSED_FROM], rules[R_CLOSED_TO], rules[R_LAST_ENTRY]
    reason, control, limit, value = 0, 1, 0, order[O_INSTRUMENT]
    if side != BUY and side != SELL:
        reason, control, value = INVALID_SIDE, 3, side
    elif kind < MARKET or kind > PEGGED:
        reason, control, value = INVALID_ORD_TYPE, 3, kind
    elif tif < 0 or tif > GTD or (_TIFS >> tif) & 1 == 0:
        reason, control, value = INVALID_TIF, 3, tif
    elif rules[R_INSTRUMENT] == 0:
        reason = INSTRUMENT_NOT_PERMITTED
    elif (rules[R_SIDES] >> side) & 1 == 0:
        reason, limit, value = SIDE_NOT_PERMITTED, rules[R_SIDES], side
    elif (rules[R_TYPES] >> kind) & 1 == 0:
        reason, limit, value = ORD_TYPE_NOT_PERMITTED, rules[R_TYPES], kind
    elif (rules[R_TIFS] >> tif) & 1 == 0:
        reason, limit, value = TIF_NOT_PERMITTED, rules[R_TIFS], tif
    elif opens <= ts < closes:
        control, scope = 2, 0
        if closes == UNLIMITED:
            reason = RESTRICTED
        else:
            reason, limit, value = RESTRICTED_WINDOW, closes, ts
    elif ts >= last:
        reason, control, limit, value, scope = RESTRICTED_WINDOW, 2, last, ts, 0
    return deny(out, reason, control, limit, value, scope)


@inline
def check_valid(g: Any, orders: Any, k: int, qty: int, price: int, ts: int, out: Any) -> int:
    """Control 3: the order fits its instrument and itself. Ticks and lots are on the grid by construction."""
    order = orders[k]
    inst = g.inst[order[O_INSTRUMENT]]
    kind, tif, stop, offset, shown = (
        order[O_TYPE],
        order[O_TIF],
        order[O_STOP],
        order[O_OFFSET],
        order[O_DISPLAY],
    )
    bit, now, pegs = 1 << kind, (_NOW >> tif) & 1 != 0, order[O_INST] & _PEGS
    positive = inst[I_FLAGS] & F_NEGATIVE == 0
    one_peg = pegs != 0 and pegs & (pegs - 1) == 0
    far = max(abs(price), abs(stop), abs(offset))
    reason, limit, value = 0, 0, order[O_INST]
    if qty <= 0:
        reason, limit, value = INVALID_QTY, 1, qty
    elif qty > MAX_LOTS:
        reason, limit, value = OUT_OF_RANGE, MAX_LOTS, qty
    elif far > MAX_TICKS:
        reason, limit, value = OUT_OF_RANGE, MAX_TICKS, far
    elif qty < inst[I_MIN_QTY]:
        reason, limit, value = BELOW_MIN_QTY, inst[I_MIN_QTY], qty
    elif qty > inst[I_MAX_QTY]:
        reason, limit, value = ABOVE_MAX_QTY, inst[I_MAX_QTY], qty
    elif ts >= inst[I_EXPIRY]:
        reason, limit, value = INSTRUMENT_EXPIRED, inst[I_EXPIRY], ts
    elif (now and bit & IMMEDIATE == 0) or (tif == GTD and kind == MARKET):
        reason, value = INVALID_TIF, tif
    elif tif == GTD and order[O_EXPIRE] <= ts:
        reason, limit, value = INVALID_EXPIRY, ts, order[O_EXPIRE]
    elif positive and price <= 0 and (bit & PRICED or (kind == PEGGED and price < 0)):
        reason, limit, value = INVALID_PRICE, 1, price
    elif positive and stop <= 0 and bit & NEEDS_STOP:
        reason, limit, value = STOP_PRICE_MISSING, 1, stop
    elif kind == TRAILING_STOP and offset <= 0:
        reason, limit, value = INVALID_OFFSET, 1, offset
    elif shown < 0 or shown > qty or (kind == ICEBERG and shown == 0):
        reason, limit, value = INVALID_DISPLAY, qty, shown
    elif (value & POST_ONLY and (bit & PASSIVE == 0 or now)) or (kind == PEGGED) != one_peg:
        reason = INVALID_EXEC_INST
    return deny(out, reason, 3, limit, value, 0)


@inline
def collar_width(rules: Any, base2: int) -> int:
    """How far twice a price may be from `base2` (twice a reference); UNLIMITED where there is no collar."""
    ppm = rules[R_COLLAR]
    if ppm >= UNLIMITED:
        return UNLIMITED
    return max(math.floor(float(ppm) * abs(base2) / PPM), 2 * rules[R_COLLAR_FLOOR])


@inline
def priced(orders: Any, k: int, price: int) -> Any:
    """Whether the order's own limit bounds the price it trades at."""
    kind = orders[k, O_TYPE]
    return (PRICED >> kind) & 1 != 0 or (kind == PEGGED and price != 0)


@inline
def stop_of(orders: Any, k: int, bid: int, ask: int) -> int:
    """The price a stop waits for; a trailing stop without one starts its distance from the touch."""
    if orders[k, O_TYPE] == TRAILING_STOP and orders[k, O_STOP] == 0:
        return ask + orders[k, O_OFFSET] if orders[k, O_SIDE] == BUY else bid - orders[k, O_OFFSET]
    return orders[k, O_STOP]


@inline
def judged_prices(g: Any, orders: Any, k: int, rules: Any, price: int, bid: int, ask: int) -> Any:
    """(worst price it may trade at, its plain price, twice the price it is collared against).

    A limit is both its worst and its plain price. Market orders, and stops once triggered, may trade as far
    as the collar around the middle, or around the stop price; without a collar the touch, or the stop price,
    is all there is to go by.
    """
    buy = orders[k, O_SIDE] == BUY
    plain, base2 = ask if buy else bid, bid + ask
    if (STOPS >> orders[k, O_TYPE]) & 1:
        plain = stop_of(orders, k, bid, ask)
        base2 = 2 * plain
    if priced(orders, k, price):
        return price, price, base2
    width = collar_width(rules, base2)
    if width == UNLIMITED:
        return plain, plain, base2
    worst = (base2 + width + 1) >> 1 if buy else (base2 - width) >> 1
    if worst <= 0 and g.inst[orders[k, O_INSTRUMENT], I_FLAGS] & F_NEGATIVE == 0:
        worst = 1
    return worst, plain, base2
