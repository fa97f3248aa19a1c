"""New orders and replaces: judged wholly before anything changes, so that a stop for room just repeats them."""

from __future__ import annotations

from typing import Any

from tidegate.kernel.jit import inline, outline
from tidegate.kernel.layout import (
    BUY,
    FOK,
    GTD,
    ICEBERG,
    IOC,
    LIMIT,
    MARKET,
    PEG_MARKET,
    PEG_MID,
    PEG_PRIMARY,
    PEGGED,
    POST_ONLY,
    SELL,
    STOP,
    STOP_LIMIT,
    STP_DECREMENT,
    TRAILING_STOP,
)
from tidegate.kernel.matching_layout import (
    C_EXTRA,
    C_ID,
    C_OWNER,
    C_PRICE,
    C_QTY,
    C_STOP,
    C_TIME,
    C_WHAT,
    EX_CANCEL_REJECTED,
    EX_CANCELED,
    EX_NEW,
    EX_REJECTED,
    EX_REPLACED,
    INST_SHIFT,
    KIND_BITS,
    MAX_QTY,
    NO_PRICE,
    PRICE_LIMIT,
    SIDE_SHIFT,
    STP_SHIFT,
    TIF_SHIFT,
    TYPE_SHIFT,
    WHAT_BITS,
    WHY_COMBINATION,
    WHY_DUPLICATE,
    WHY_FIELD,
    WHY_KILLED,
    WHY_LATE,
    WHY_NO_REFERENCE,
    WHY_NONE,
    WHY_POST_ONLY,
    WHY_PRICE,
    WHY_QTY,
    WHY_SPAN,
    WHY_UNKNOWN,
)
from tidegate.kernel.matching_settle import (
    DENIED,
    FITS,
    GROW_ORDERS,
    GROW_WINDOW,
    QUIET,
    enqueue,
    fit,
    peg_target,
    reference,
)
from tidegate.kernel.matching_state import (
    DUE,
    EXTRA_SHIFT,
    H_FIRST,
    H_LAST,
    H_LIMIT,
    H_LIVE,
    H_NEXT_EXPIRY,
    H_NOW,
    H_PEGS,
    H_REF_ASK,
    H_REF_BID,
    H_ROOM,
    H_SPECIAL,
    HAS_EXTRA,
    L_QTY,
    N_CUM,
    N_FLAGS,
    N_KEY,
    N_LEAVES,
    N_LEVEL,
    N_OWNER,
    S_DUE,
    S_PEGS,
    S_TRAIL,
    SWEEP,
    WAITING,
    X_DUE_NEXT,
    X_DUE_PREV,
    X_EXTRA,
    X_HIDDEN,
    X_LIMIT,
    X_NEXT,
    X_PREV,
    X_STOP,
    X_TIME,
    crosses,
    emit,
    extra_at,
    find,
    link,
    price_at,
    remember,
    side_at,
    take_node,
    type_at,
    unlink,
)
from tidegate.kernel.matching_trade import can_fill, list_append, open_qty

KNOWN_INST = POST_ONLY | PEG_PRIMARY | PEG_MARKET | PEG_MID
PEG_BITS = PEG_PRIMARY | PEG_MARKET | PEG_MID


@inline
def priced(price: int) -> Any:
    """Whether this is a price in range."""
    return -PRICE_LIMIT <= price <= PRICE_LIMIT


@inline
def waits(kind: int) -> Any:
    """Whether orders of this type wait for a trigger."""
    return STOP <= kind <= TRAILING_STOP


@inline
def bad_terms(what: int, qty: int, price: int, stop: int, extra: int) -> Any:
    """What is wrong with a new order whatever the state of the book, or WHY_NONE."""
    side, kind = (what >> SIDE_SHIFT) & 15, (what >> TYPE_SHIFT) & 15
    time_in_force, inst = (what >> TIF_SHIFT) & 15, (what >> INST_SHIFT) & 0xFF
    if what & ~WHAT_BITS or not BUY <= side <= SELL or not MARKET <= kind <= PEGGED:
        return WHY_FIELD
    if time_in_force > GTD or time_in_force in (2, 5) or (what >> STP_SHIFT) & 15 > STP_DECREMENT:
        return WHY_FIELD
    if inst & ~KNOWN_INST:
        return WHY_FIELD
    if not 1 <= qty <= MAX_QTY or (kind == ICEBERG and not 1 <= extra <= qty):
        return WHY_QTY
    if kind in (LIMIT, STOP_LIMIT, ICEBERG) and not priced(price):
        return WHY_PRICE
    if kind == PEGGED and price != NO_PRICE and not priced(price):
        return WHY_PRICE
    if waits(kind) and not priced(stop) and (kind != TRAILING_STOP or stop != NO_PRICE):
        return WHY_PRICE
    if kind == TRAILING_STOP and not 1 <= extra <= PRICE_LIMIT:
        return WHY_PRICE
    if kind == PEGGED and not 0 <= extra <= PRICE_LIMIT:
        return WHY_PRICE
    return bad_combination(kind, time_in_force, inst)


@inline
def bad_combination(kind: int, time_in_force: int, inst: int) -> Any:
    """WHY_COMBINATION when type, time in force and instructions do not go together."""
    pegs = inst & PEG_BITS
    one_peg = pegs != 0 and pegs & (pegs - 1) == 0
    if one_peg != (kind == PEGGED) or (pegs != 0 and kind != PEGGED):
        return WHY_COMBINATION
    at_once = time_in_force in (IOC, FOK)
    if at_once and (kind in (ICEBERG, PEGGED) or inst & POST_ONLY):
        return WHY_COMBINATION
    if inst & POST_ONLY and kind in (MARKET, STOP, TRAILING_STOP):
        return WHY_COMBINATION
    return WHY_NONE


@inline
def start_of_trail(m: Any, side: int, stop: int, distance: int) -> Any:
    """A trailing stop's stop price: the given one or, where nearer, the distance from the last trade."""
    if m[H_LAST] == NO_PRICE:
        return stop
    near = m[H_LAST] + (3 - 2 * side) * distance
    if stop == NO_PRICE:
        return near
    return min(stop, near) if side == BUY else max(stop, near)


@inline
def reached(m: Any, side: int, stop: int) -> Any:
    """Whether the last trade price triggers this stop price."""
    last = m[H_LAST]
    return last != NO_PRICE and (last >= stop if side == BUY else last <= stop)


@inline
def accept(m: Any, ids: Any, what: int, key: int, owner: int, qty: int) -> Any:
    """A node for a new order, its id in the table."""
    o = take_node(m)
    m[o + N_LEVEL] = 0
    m[o + N_KEY] = key
    m[o + N_LEAVES] = qty
    m[o + N_CUM] = 0
    m[o + N_FLAGS] = what & ~KIND_BITS
    m[o + N_OWNER] = owner
    remember(m, ids, key, o)
    m[H_LIVE] += 1
    return o


@inline
def add_extra(m: Any, o: int, extra: int, stop: int, limit: int, time: int) -> None:
    """Give a special order its second node, and its places in the lists."""
    x = take_node(m)
    m[o + N_FLAGS] |= HAS_EXTRA | (x << EXTRA_SHIFT)
    m[x + X_EXTRA] = extra
    m[x + X_STOP] = stop
    m[x + X_LIMIT] = limit
    m[x + X_TIME] = time
    kind = type_at(m, o)
    if (m[o + N_FLAGS] >> TIF_SHIFT) & 15 == GTD:
        m[o + N_FLAGS] |= DUE
        list_append(m, S_DUE, o, X_DUE_NEXT, X_DUE_PREV)
        m[H_NEXT_EXPIRY] = min(m[H_NEXT_EXPIRY], time)
    if kind == PEGGED:
        list_append(m, S_PEGS, o, X_NEXT, X_PREV)
        m[H_PEGS] += 1
        m[H_SPECIAL] += 1
    elif waits(kind):
        m[o + N_FLAGS] |= WAITING
        m[H_SPECIAL] += 1
        if kind == TRAILING_STOP:
            list_append(m, S_TRAIL, o, X_NEXT, X_PREV)


@inline
def wait(m: Any, w: Any, o: int, stop: int) -> None:
    """Put a stop order where it waits, or, when the last trade triggers it already, into the queue."""
    side = side_at(m, o)
    m[H_FIRST] = NO_PRICE  # what traded before is no concern of this order
    if reached(m, side, stop):
        enqueue(m, o)
    else:
        link(m, w, side + 2, stop, o)


@inline
def refuse(m: Any, out: Any, execution: int, side: int, why: int, key: int, price: int, qty: int) -> Any:
    """Report a refusal; nothing is left to do."""
    leaves = qty if execution == EX_CANCEL_REJECTED else 0
    emit(m, out, execution, side, why, key, 0, price, qty, leaves, 0)
    return QUIET


@outline
def new_order(m: Any, w: Any, ids: Any, out: Any, commands: Any, c: int) -> Any:
    """NEW, in full: an order's node that has to match, QUIET, GROW_ORDERS or GROW_WINDOW."""
    what, key, qty, price = commands[c + C_WHAT], commands[c + C_ID], commands[c + C_QTY], commands[c + C_PRICE]
    stop, extra, time = commands[c + C_STOP], commands[c + C_EXTRA], commands[c + C_TIME]
    side, kind = (what >> SIDE_SHIFT) & 15, (what >> TYPE_SHIFT) & 15
    time_in_force, inst = (what >> TIF_SHIFT) & 15, (what >> INST_SHIFT) & 0xFF
    why = bad_terms(what, qty, price, stop, extra)
    if why != WHY_NONE:
        return refuse(m, out, EX_REJECTED, side, why, key, price, qty)
    if m[H_LIVE] >= m[H_ROOM]:
        return GROW_ORDERS
    if time_in_force == GTD and time <= m[H_NOW]:
        return refuse(m, out, EX_REJECTED, side, WHY_LATE, key, price, qty)
    if find(m, ids, key) != 0:
        return refuse(m, out, EX_REJECTED, side, WHY_DUPLICATE, key, price, qty)
    if kind == TRAILING_STOP:
        stop = start_of_trail(m, side, stop, extra)
        if stop == NO_PRICE:
            return refuse(m, out, EX_REJECTED, side, WHY_NO_REFERENCE, key, price, qty)
    limit = price  # where it will match and rest; NO_PRICE: nowhere yet
    if kind == PEGGED:
        m[H_REF_BID] = reference(m, w, BUY)
        m[H_REF_ASK] = reference(m, w, SELL)
        limit = peg_target(m, side, inst, extra, price)
    live_price = stop if waits(kind) else limit
    if kind != MARKET and live_price != NO_PRICE:
        fits = fit(m, live_price)
        if fits == GROW_WINDOW:
            return GROW_WINDOW
        if fits == DENIED:
            return refuse(m, out, EX_REJECTED, side, WHY_SPAN, key, price, qty)
    if inst & POST_ONLY and not waits(kind) and limit != NO_PRICE and crosses(m, side, limit):
        return refuse(m, out, EX_REJECTED, side, WHY_POST_ONLY, key, price, qty)
    return admit(m, w, ids, out, commands, c, limit, stop)


@inline
def admit(m: Any, w: Any, ids: Any, out: Any, commands: Any, c: int, limit: int, stop: int) -> Any:
    """Take in an order that nothing speaks against."""
    what, key, qty, owner = commands[c + C_WHAT], commands[c + C_ID], commands[c + C_QTY], commands[c + C_OWNER]
    side, kind, time_in_force = (what >> SIDE_SHIFT) & 15, (what >> TYPE_SHIFT) & 15, (what >> TIF_SHIFT) & 15
    price = NO_PRICE if kind in (MARKET, STOP, TRAILING_STOP) else commands[c + C_PRICE]
    shown_price = limit if kind == PEGGED else price
    emit(m, out, EX_NEW, side, WHY_NONE, key, stop if waits(kind) else 0, shown_price, qty, qty, 0)
    working = (3 - 2 * side) * SWEEP if kind == MARKET else limit
    if time_in_force == FOK and not waits(kind):
        if not can_fill(m, w, side, working, qty, owner, (what >> STP_SHIFT) & 15):
            emit(m, out, EX_CANCELED, side, WHY_KILLED, key, 0, price, qty, 0, 0)
            return QUIET
    o = accept(m, ids, what, key, owner, qty)
    if waits(kind) or time_in_force == GTD or kind in (ICEBERG, PEGGED):
        hidden_or_stop = 0 if kind == ICEBERG else stop
        add_extra(m, o, commands[c + C_EXTRA], hidden_or_stop, price, commands[c + C_TIME])
    if waits(kind):
        wait(m, w, o, stop)
        return QUIET
    m[H_LIMIT] = working
    return o if working != NO_PRICE else QUIET


@outline
def replace_order(m: Any, w: Any, ids: Any, out: Any, commands: Any, c: int) -> Any:
    """REPLACE: an order's node that has to match again, QUIET, or GROW_WINDOW."""
    key, qty, price, stop = commands[c + C_ID], commands[c + C_QTY], commands[c + C_PRICE], commands[c + C_STOP]
    o = find(m, ids, key)
    if o == 0:
        return refuse(m, out, EX_CANCEL_REJECTED, 0, WHY_UNKNOWN, key, NO_PRICE, 0)
    leaves, side = open_qty(m, o), side_at(m, o)
    total = m[o + N_CUM] + leaves
    if qty == 0:
        qty = total
    why = WHY_NONE
    if not m[o + N_CUM] < qty <= MAX_QTY:
        why = WHY_QTY
    elif (price != NO_PRICE and not priced(price)) or (stop != NO_PRICE and not priced(stop)):
        why = WHY_PRICE
    if why != WHY_NONE:
        return refuse(m, out, EX_CANCEL_REJECTED, side, why, key, price, leaves)
    if m[o + N_FLAGS] & WAITING:
        return replace_waiting(m, w, out, o, qty, price, stop)
    if stop != NO_PRICE:
        return refuse(m, out, EX_CANCEL_REJECTED, side, WHY_COMBINATION, key, price, leaves)
    return replace_resting(m, w, out, o, qty, price)


@inline
def replace_waiting(m: Any, w: Any, out: Any, o: int, qty: int, price: int, stop: int) -> Any:
    """Replace a stop that has not triggered. It keeps its place unless a price changes or the quantity grows."""
    x, side, kind, key = extra_at(m, o), side_at(m, o), type_at(m, o), m[o + N_KEY]
    leaves = m[o + N_LEAVES]
    if price != NO_PRICE and kind != STOP_LIMIT:
        return refuse(m, out, EX_CANCEL_REJECTED, side, WHY_COMBINATION, key, price, leaves)
    if stop == NO_PRICE:
        stop = m[x + X_STOP]
    elif kind == TRAILING_STOP:
        stop = start_of_trail(m, side, stop, m[x + X_EXTRA])
    limit = m[x + X_LIMIT] if price == NO_PRICE else price
    fits = fit(m, stop)
    if fits == GROW_WINDOW:
        return GROW_WINDOW
    if fits == DENIED:
        return refuse(m, out, EX_CANCEL_REJECTED, side, WHY_SPAN, key, price, leaves)
    emit(m, out, EX_REPLACED, side, WHY_NONE, key, stop, limit, qty, qty, 0)
    if stop == m[x + X_STOP] and limit == m[x + X_LIMIT] and qty <= leaves:
        m[m[o + N_LEVEL] + L_QTY] += qty - leaves
        m[o + N_LEAVES] = qty
        return QUIET
    unlink(m, w, o)
    m[o + N_LEAVES] = qty
    m[x + X_STOP] = stop
    m[x + X_LIMIT] = limit
    wait(m, w, o, stop)
    return QUIET


@inline
def replace_resting(m: Any, w: Any, out: Any, o: int, qty: int, price: int) -> Any:
    """Replace an order in the book, or a parked peg. Less quantity at the same price keeps its place."""
    side, kind, key, at = side_at(m, o), type_at(m, o), m[o + N_KEY], price_at(m, o)
    open_now, leaves = open_qty(m, o), qty - m[o + N_CUM]
    inst = (m[o + N_FLAGS] >> INST_SHIFT) & 0xFF
    target = at if price == NO_PRICE else price
    if kind == PEGGED and price != NO_PRICE:
        target = peg_target(m, side, inst, m[extra_at(m, o) + X_EXTRA], price)
    fits = fit(m, target) if target != NO_PRICE else FITS
    if fits == GROW_WINDOW:
        return GROW_WINDOW
    why = WHY_NONE
    if fits == DENIED:
        why = WHY_SPAN
    elif inst & POST_ONLY and target != NO_PRICE and crosses(m, side, target):
        why = WHY_POST_ONLY
    if why != WHY_NONE:
        return refuse(m, out, EX_CANCEL_REJECTED, side, why, key, price, open_now)
    if kind == PEGGED and price != NO_PRICE:
        m[extra_at(m, o) + X_LIMIT] = price
    emit(m, out, EX_REPLACED, side, WHY_NONE, key, 0, target, qty, leaves, 0)
    if target == at and leaves <= open_now:
        lose(m, o, open_now - leaves)
        return QUIET
    if at != NO_PRICE:
        unlink(m, w, o)
        m[o + N_LEVEL] = 0
    m[o + N_LEAVES] = leaves
    if kind == ICEBERG:
        m[extra_at(m, o) + X_HIDDEN] = 0
    m[H_LIMIT] = target
    return o if target != NO_PRICE else QUIET


@inline
def lose(m: Any, o: int, qty: int) -> None:
    """Take quantity from a resting order in its place: from what an iceberg hides first."""
    if type_at(m, o) == ICEBERG:
        x = extra_at(m, o)
        hidden = min(qty, m[x + X_HIDDEN])
        m[x + X_HIDDEN] -= hidden
        qty -= hidden
    m[o + N_LEAVES] -= qty
    level = m[o + N_LEVEL]
    if level != 0:
        m[level + L_QTY] -= qty
