"""Matching proper: an incoming order against the other side of the book, and how orders come to their end."""

from __future__ import annotations

from typing import Any

from tidegate.kernel.bits import at
from tidegate.kernel.jit import inline, outline
from tidegate.kernel.layout import (
    BUY,
    FOK,
    ICEBERG,
    IOC,
    LIMIT,
    MARKET,
    PEGGED,
    STP_ALLOW,
    STP_DECREMENT,
    STP_NEWEST,
    STP_OLDEST,
    TRAILING_STOP,
)
from tidegate.kernel.matching_layout import (
    EX_CANCELED,
    EX_RESTATED,
    EX_TRADE,
    NO_PRICE,
    R_SIDE_SHIFT,
    STP_SHIFT,
    TIF_SHIFT,
    TYPE_SHIFT,
    WHY_KILLED,
    WHY_REFRESH,
    WHY_REMAINDER,
    WHY_SELF_TRADE,
)
from tidegate.kernel.matching_state import (
    DUE,
    H_BEST,
    H_FIRST,
    H_LAST,
    H_LIMIT,
    H_LIVE,
    H_PEG_NEXT,
    H_PEGS,
    H_SPECIAL,
    H_TOP,
    HAS_EXTRA,
    L_PRICE,
    L_QTY,
    N_CUM,
    N_FLAGS,
    N_KEY,
    N_LEAVES,
    N_LEVEL,
    N_NEXT,
    N_OWNER,
    S_PEGS,
    WAITING,
    X_DUE_NEXT,
    X_EXTRA,
    X_HIDDEN,
    X_LIMIT,
    X_NEXT,
    X_STOP,
    extra_at,
    forget,
    full,
    give_node,
    lesser,
    link,
    price_at,
    report,
    ring_append,
    ring_remove,
    side_at,
    type_at,
    unlink,
    worse_level,
    write,
)

# What an order that simply rests looks like: LIMIT, DAY or GTC.
REST_BITS = (15 << TYPE_SHIFT) | (14 << TIF_SHIFT)
RESTS = LIMIT << TYPE_SHIFT
AT_ONCE = (1 << IOC) | (1 << FOK)  # times in force that never rest, as bits


@outline
def list_append(m: Any, sentinel: int, o: int, word: int) -> None:
    """Put an order at the end of a list; its second node links it by `word` (next) and `word + 1` (previous)."""
    last = m[extra_at(m, sentinel) + word + 1]
    m[extra_at(m, o) + word] = sentinel
    m[extra_at(m, o) + word + 1] = last
    m[extra_at(m, last) + word] = o
    m[extra_at(m, sentinel) + word + 1] = o


@outline
def list_remove(m: Any, o: int, word: int) -> None:
    """Take an order out of a list."""
    after, before = m[extra_at(m, o) + word], m[extra_at(m, o) + word + 1]
    m[extra_at(m, before) + word] = after
    m[extra_at(m, after) + word + 1] = before


@inline
def listed_after(m: Any, o: int, word: int, sentinel: int) -> Any:
    """The order after this one in a list, or 0 at its end."""
    after = m[extra_at(m, o) + word]
    return after if after != sentinel else 0


@outline
def drop_extra(m: Any, o: int) -> None:
    """Take a special order out of the lists it is in, and free its second node."""
    flags, kind = m[o + N_FLAGS], type_at(m, o)
    if flags & DUE:
        list_remove(m, o, X_DUE_NEXT)
    if kind == PEGGED:
        m[H_PEGS] -= 1
        if m[H_PEG_NEXT] == o:
            m[H_PEG_NEXT] = listed_after(m, o, X_NEXT, S_PEGS)
        m[H_SPECIAL] -= 1
        list_remove(m, o, X_NEXT)
    elif flags & WAITING:
        m[H_SPECIAL] -= 1
        if kind == TRAILING_STOP:
            list_remove(m, o, X_NEXT)
    give_node(m, extra_at(m, o))


@inline
def end_order(m: Any, t: Any, o: int) -> None:
    """Forget an order that lies in no queue any more."""
    forget(m, t, o)
    if m[at(o + N_FLAGS)] & HAS_EXTRA:
        drop_extra(m, o)
    give_node(m, o)
    m[H_LIVE] -= 1


@inline
def open_qty(m: Any, o: int) -> Any:
    """What remains open of an order that is not matching: displayed and hidden."""
    qty = m[at(o + N_LEAVES)]
    if type_at(m, o) == ICEBERG:
        qty += m[at(extra_at(m, o) + X_HIDDEN)]
    return qty


@inline
def remove_here(m: Any, t: Any, o: int, execution: int, why: int) -> None:
    """End an order that rests, waits or is parked, with one report."""
    stop, price = 0, price_at(m, o)
    if m[at(o + N_FLAGS)] & WAITING:
        stop, price = m[at(extra_at(m, o) + X_STOP)], m[at(extra_at(m, o) + X_LIMIT)]
    report(m, t, o, execution, why, stop, price, open_qty(m, o), 0)
    if m[at(o + N_LEVEL)] != 0:
        unlink(m, t, o)
    end_order(m, t, o)


@outline
def remove(m: Any, t: Any, o: int, execution: int, why: int) -> None:
    """`remove_here` for the rare places."""
    remove_here(m, t, o, execution, why)


@inline
def working_limit(m: Any, o: int) -> Any:
    """The price at which the order that is matching is reported."""
    return NO_PRICE if type_at(m, o) == MARKET else m[H_LIMIT]


@outline
def drop(m: Any, t: Any, o: int, why: int) -> None:
    """Cancel what is left of the order that is matching."""
    report(m, t, o, EX_CANCELED, why, 0, working_limit(m, o), m[o + N_LEAVES], 0)
    end_order(m, t, o)


@outline
def refresh(m: Any, t: Any, o: int) -> None:
    """An iceberg whose displayed part is gone shows the next, at the back of its queue."""
    x, level = extra_at(m, o), m[o + N_LEVEL]
    part = lesser(m[x + X_EXTRA], m[x + X_HIDDEN])
    m[x + X_HIDDEN] -= part
    m[o + N_LEAVES] = part
    m[level + L_QTY] += part
    ring_remove(m, o)
    ring_append(m, level, o)
    report(m, t, o, EX_RESTATED, WHY_REFRESH, 0, m[level + L_PRICE], part, open_qty(m, o))


@inline
def decrement(m: Any, t: Any, o: int, maker: int, leaves: int) -> Any:
    """Self-trade prevention by decrement: both lose what they would have traded. Returns the taker's rest."""
    qty = lesser(leaves, m[maker + N_LEAVES])
    level = m[maker + N_LEVEL]
    if open_qty(m, maker) == qty:
        remove(m, t, maker, EX_CANCELED, WHY_SELF_TRADE)
    else:
        m[maker + N_LEAVES] -= qty
        m[level + L_QTY] -= qty
        shown, rest = m[maker + N_LEAVES], open_qty(m, maker)
        report(m, t, maker, EX_RESTATED, WHY_SELF_TRADE, 0, m[level + L_PRICE], shown, rest)
        if shown == 0:
            refresh(m, t, maker)
    leaves -= qty
    if leaves == 0:
        report(m, t, o, EX_CANCELED, WHY_SELF_TRADE, 0, working_limit(m, o), qty, 0)
    else:
        report(m, t, o, EX_RESTATED, WHY_SELF_TRADE, 0, working_limit(m, o), leaves, leaves)
    return leaves


@outline
def self_trade(m: Any, t: Any, o: int, maker: int, leaves: int) -> Any:
    """Order `o` meets one of its own group: act by its mode. Returns what of it goes on matching."""
    mode = (m[o + N_FLAGS] >> STP_SHIFT) & 15
    if mode == STP_DECREMENT:
        return decrement(m, t, o, maker, leaves)
    if mode != STP_NEWEST:
        remove(m, t, maker, EX_CANCELED, WHY_SELF_TRADE)
    if mode != STP_OLDEST:
        report(m, t, o, EX_CANCELED, WHY_SELF_TRADE, 0, working_limit(m, o), leaves, 0)
        return 0
    return leaves


@inline
def guarded(m: Any, o: int) -> Any:
    """The owner whose resting orders an incoming order must not trade with, or 0."""
    return m[at(o + N_OWNER)] if (m[at(o + N_FLAGS)] >> STP_SHIFT) & 15 != STP_ALLOW else 0


@inline
def match(m: Any, t: Any, o: int) -> Any:
    """Match order `o` at its working price as far as it goes, then rest or end it.

    False when the reports filled up before that: call again to go on.
    """
    side = side_at(m, o)
    sign, other, owner = 3 - 2 * side, 3 - side, guarded(m, o)
    limit, leaves = m[H_LIMIT] * sign, m[at(o + N_LEAVES)]
    what = EX_TRADE | (side << R_SIDE_SHIFT)
    while leaves != 0 and m[at(H_BEST + other)] * sign <= limit:
        if full(m):
            m[at(o + N_LEAVES)] = leaves
            return False
        level = m[at(H_TOP + other)]
        maker = m[at(level + N_NEXT)]
        if owner != 0 and m[at(maker + N_OWNER)] == owner:
            leaves = self_trade(m, t, o, maker, leaves)
            continue
        shown, price = m[at(maker + N_LEAVES)], m[at(level + L_PRICE)]
        qty = lesser(leaves, shown)
        leaves -= qty
        m[at(o + N_CUM)] += qty
        m[at(maker + N_CUM)] += qty
        m[at(maker + N_LEAVES)] = shown - qty
        m[at(level + L_QTY)] -= qty
        m[H_LAST] = price
        if m[H_FIRST] == NO_PRICE:
            m[H_FIRST] = price
        rest = open_qty(m, maker)
        write(m, t, what, m[at(o + N_KEY)], m[at(maker + N_KEY)], price, qty, leaves, rest)
        if rest == 0:
            unlink(m, t, maker)
            end_order(m, t, maker)
        elif shown == qty:
            refresh(m, t, maker)
    m[at(o + N_LEAVES)] = leaves
    if leaves == 0:
        end_order(m, t, o)
        return True
    if m[at(o + N_FLAGS)] & REST_BITS != RESTS:
        return come_to_rest(m, t, o, side, leaves)
    link(m, t, side, m[H_LIMIT], o)
    return True


@outline
def come_to_rest(m: Any, t: Any, o: int, side: int, leaves: int) -> Any:
    """What an order does with the quantity that found no match. False when there is no room to report it."""
    kind, time_in_force = type_at(m, o), (m[o + N_FLAGS] >> TIF_SHIFT) & 15
    if kind == MARKET or (AT_ONCE >> time_in_force) & 1:
        if full(m):
            return False
        drop(m, t, o, WHY_REMAINDER)
        return True
    if kind == ICEBERG:
        x = extra_at(m, o)
        shown = lesser(leaves, m[x + X_EXTRA])
        m[o + N_LEAVES] = shown
        m[x + X_HIDDEN] = leaves - shown
    link(m, t, side, m[H_LIMIT], o)
    return True


@inline
def takes(side: int, limit: int, price: int) -> Any:
    """Whether an order of this side and limit would trade at this price."""
    return price <= limit if side == BUY else price >= limit


@inline
def can_fill(m: Any, t: Any, o: int) -> Any:
    """Whether the order about to match would fill wholly, self-trade prevention and hidden quantity included.

    Hidden quantity comes to the front only after all that is displayed at its price; so an order of one's own
    group that would end the matching ends the count at its place in the queue.
    """
    side, owner = side_at(m, o), guarded(m, o)
    need, limit = m[o + N_LEAVES], m[H_LIMIT]
    skips = (m[o + N_FLAGS] >> STP_SHIFT) & 15 == STP_OLDEST
    level = m[H_TOP + 3 - side]
    while level != 0 and takes(side, limit, m[level + L_PRICE]):
        hidden, maker = 0, m[level + N_NEXT]
        while maker != level and need > 0:
            if owner == 0 or m[maker + N_OWNER] != owner:
                need -= m[maker + N_LEAVES]
                hidden += open_qty(m, maker) - m[maker + N_LEAVES]
            elif not skips:
                return False
            maker = m[maker + N_NEXT]
        need -= hidden
        if need <= 0:
            return True
        level = worse_level(m, t, 3 - side, m[level + L_PRICE])
    return False


@outline
def begin(m: Any, t: Any, o: int, limit: int) -> Any:
    """Let an order match at this working price: returns it, or 0 for a fill-or-kill that would not fill."""
    m[H_LIMIT] = limit
    if (m[o + N_FLAGS] >> TIF_SHIFT) & 15 == FOK and not can_fill(m, t, o):
        drop(m, t, o, WHY_KILLED)
        return 0
    return o
