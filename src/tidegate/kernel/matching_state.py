"""The matching engine's memory: orders and levels as linked nodes, the window of ticks, the table of ids.

Two flat int64 arrays hold one book:

- `m`: a header, then nodes of eight words. An order is a node, and so is a live price level; what only special
  orders need lies in a second node of theirs. A level is the sentinel of the ring of its orders, so linking and
  unlinking need no case for the ends. Links are offsets into `m`; 0 is none.
- `t`: report rows; for each of four places (bids, asks, buy stops, sell stops) a map from tick to level node
  over a dense window of `H_SIZE` ticks from `H_BASE`, and a bitmap of the ticks in use; then the table of ids,
  open addressing with linear probing, an entry being 31 bits of hash over the node's number (deletion shifts
  entries back, so there are no tombstones).

Kernels never allocate: they stop and ask when reports fill up, nodes run out or a price is outside the window.
"""

from __future__ import annotations

from typing import Any

from tidegate.kernel.bitmap import bit_clear, bit_next, bit_prev, bit_set
from tidegate.kernel.bits import at, scatter
from tidegate.kernel.jit import inline, outline
from tidegate.kernel.layout import BUY, PEGGED
from tidegate.kernel.matching_layout import (
    NO_PRICE,
    R_CONTRA,
    R_CONTRA_LEAVES,
    R_ID,
    R_LEAVES,
    R_PRICE,
    R_QTY,
    R_REASON_SHIFT,
    R_SEQ,
    R_SIDE_SHIFT,
    R_WHAT,
    REPORT_WORDS,
    SIDE_SHIFT,
    TYPE_SHIFT,
)

# Places where an order may lie: the first two are its side, a stop's is its side + 2.
BIDS, ASKS, BUY_STOPS, SELL_STOPS, PARKED = 1, 2, 3, 4, 5

# The header. A word ending in + is followed by one for each place and is indexed by adding it.
(
    H_COMMAND,  # next command row of this call
    H_OUT,  # where in `t` the next report goes
    H_OUT_FULL,  # and from where on there is no room for another step
    H_SEQ,  # number of the current command over the engine's life
    H_WORK,  # the order that is matching, 0 for none
    H_LIMIT,  # its working price
    H_BASE,  # first tick of the window
    H_SIZE,  # ticks in the window
    H_WANT,  # the price that GROW_WINDOW asks room for
    H_DENIED,  # a price that no window could hold: its order is refused
    H_LAST,  # last trade price, NO_PRICE before the first
    H_FIRST,  # first trade price since stops were looked at, NO_PRICE when there was none
    H_NOW,  # time, by the latest TIME command; NO_PRICE before
    H_FREE,  # chain of free nodes
    H_BUMP,  # first node never used
    H_LIVE,  # live orders
    H_ROOM,  # most live orders these arrays hold
    H_IDS,  # where in `t` the table of ids starts
    H_IDS_MASK,  # its size less one
    H_IDS_SHIFT,  # 31 less the bits of an index into it
    H_SPECIAL,  # waiting stops and pegged orders: while 0, nothing can cascade
    H_PEGS,  # pegged orders
    H_PEG_NEXT,  # pegged order to look at next, 0 when all stand where they should
    H_TRAIL_NEXT,  # trailing stop to look at next, 0 when the round has not begun
    H_NEXT_EXPIRY,  # no GTD order expires before
    H_WALK,  # the walk over orders under way, 0 for none
    H_WALK_OWNER,
    H_WALK_PLACE,
    H_WALK_TICK,
    H_WALK_LEVEL,
    H_WALK_NEXT,
    H_REF,  # + the best bid and ask that pegs stand on; ∓ FAR for none
) = range(32)
H_BEST = 34  # + best bid, best ask; ∓ FAR for an empty side
H_TOP = 36  # + their level nodes
H_MAP = 38  # + where in `t` price 0 would be mapped
H_BITS = 42  # + where in `t` the bitmap starts
# Sentinels of lists in order of arrival: each looks like an order with its second node behind it.
S_QUEUE, S_TRAIL, S_PEGS, S_DUE = 48, 56, 72, 88
HEADER_WORDS = 104

FAR = 1 << 62
"""Beyond every price: the best price of an empty side."""
SWEEP = 1 << 61
"""The working price of a market order."""

# A node: the first two words link it into a ring.
NODE, NODE_SHIFT = 8, 3
N_NEXT, N_PREV = 0, 1
# An order.
N_LEVEL, N_KEY, N_LEAVES, N_CUM, N_FLAGS, N_OWNER = 2, 3, 4, 5, 6, 7
# A level. The upper half of L_COUNT counts the pegged orders among its orders.
L_PRICE, L_QTY, L_COUNT, L_PLACE = 2, 3, 4, 5
PEG_ONE = 1 << 32
COUNT_BITS = PEG_ONE - 1
# A special order's second node. An iceberg keeps its hidden quantity where stops keep their stop price.
X_EXTRA, X_STOP, X_LIMIT, X_TIME, X_DUE_NEXT, X_DUE_PREV, X_NEXT, X_PREV = range(8)
X_HIDDEN = X_STOP

# N_FLAGS: the command's own bits without its kind, then these, then from EXTRA_SHIFT up the second node.
HAS_EXTRA, WAITING, DUE = 1 << 28, 1 << 29, 1 << 30
EXTRA_SHIFT = 32

MARGIN = 8 * REPORT_WORDS
"""Words for reports that must be free before a step: more than any step writes."""


@inline
def lesser(a: int, b: int) -> Any:
    """The smaller of two."""
    return a if a < b else b


@inline
def full(m: Any) -> Any:
    """Whether there is no room for the reports of one more step."""
    return m[H_OUT] > m[H_OUT_FULL]


@inline
def side_at(m: Any, o: int) -> Any:
    """The order's side."""
    return (m[at(o + N_FLAGS)] >> SIDE_SHIFT) & 3


@inline
def type_at(m: Any, o: int) -> Any:
    """The order's type: a triggered stop's is what it became."""
    return (m[at(o + N_FLAGS)] >> TYPE_SHIFT) & 15


@inline
def extra_at(m: Any, o: int) -> Any:
    """The second node of an order that has one."""
    return m[at(o + N_FLAGS)] >> EXTRA_SHIFT


@inline
def write(
    m: Any, t: Any, what: int, key: int, contra: int, price: int, qty: int, leaves: int, contra_leaves: int
) -> None:
    """Write one report."""
    r = m[H_OUT]
    m[H_OUT] = r + REPORT_WORDS
    t[at(r + R_WHAT)] = what
    t[at(r + R_ID)] = key
    t[at(r + R_CONTRA)] = contra
    t[at(r + R_PRICE)] = price
    t[at(r + R_QTY)] = qty
    t[at(r + R_LEAVES)] = leaves
    t[at(r + R_CONTRA_LEAVES)] = contra_leaves
    t[at(r + R_SEQ)] = m[H_SEQ]


@outline
def report(
    m: Any, t: Any, o: int, execution: int, why: int, stop: int, price: int, qty: int, leaves: int
) -> None:
    """Report on an order: everything but a trade."""
    what = execution | (side_at(m, o) << R_SIDE_SHIFT) | (why << R_REASON_SHIFT)
    write(m, t, what, m[o + N_KEY], stop, price, qty, leaves, 0)


@inline
def take_node(m: Any) -> Any:
    """A free node; the caller has made sure that there is one."""
    node = m[H_FREE]
    if node != 0:
        m[H_FREE] = m[at(node)]
    else:
        node = m[H_BUMP]
        m[H_BUMP] = node + NODE
    return node


@inline
def give_node(m: Any, node: int) -> None:
    """Return a node to the chain of free ones."""
    m[at(node)] = m[H_FREE]
    m[H_FREE] = node


@inline
def find(m: Any, t: Any, key: int) -> Any:
    """The live order with this id, or 0."""
    tag, ids = scatter(key), m[H_IDS]
    i = tag >> m[H_IDS_SHIFT]
    entry = t[at(ids + i)]
    while entry != 0:
        if entry >> 32 == tag:
            o = (entry & 0xFFFF_FFFF) << NODE_SHIFT
            if m[at(o + N_KEY)] == key:
                return o
        i = (i + 1) & m[H_IDS_MASK]
        entry = t[at(ids + i)]
    return 0


@inline
def remember(m: Any, t: Any, key: int, o: int) -> None:
    """Enter an id that is not in the table."""
    tag, ids = scatter(key), m[H_IDS]
    i = tag >> m[H_IDS_SHIFT]
    while t[at(ids + i)] != 0:
        i = (i + 1) & m[H_IDS_MASK]
    t[at(ids + i)] = (tag << 32) | (o >> NODE_SHIFT)


@inline
def forget(m: Any, t: Any, o: int) -> None:
    """Delete the id of an order, moving back the entries that probed past it."""
    ids, mask, shift = m[H_IDS], m[H_IDS_MASK], m[H_IDS_SHIFT]
    tag = scatter(m[at(o + N_KEY)])
    entry = (tag << 32) | (o >> NODE_SHIFT)
    i = tag >> shift
    while t[at(ids + i)] != entry:
        i = (i + 1) & mask
    j = (i + 1) & mask
    entry = t[at(ids + j)]
    while entry != 0:
        home = (entry >> 32) >> shift
        if (j - home) & mask >= (j - i) & mask:
            t[at(ids + i)] = entry
            i = j
        j = (j + 1) & mask
        entry = t[at(ids + j)]
    t[at(ids + i)] = 0


@inline
def outside(m: Any, price: int) -> Any:
    """Whether the window does not hold this price."""
    offset = price - m[H_BASE]
    return offset < 0 or offset >= m[H_SIZE]


@outline
def open_level(m: Any, t: Any, place: int, price: int) -> Any:
    """A new, empty level."""
    level = take_node(m)
    m[at(level + N_NEXT)] = level
    m[at(level + N_PREV)] = level
    m[at(level + L_PRICE)] = price
    m[at(level + L_QTY)] = 0
    m[at(level + L_COUNT)] = 0
    m[at(level + L_PLACE)] = place
    t[at(m[at(H_MAP + place)] + price)] = level
    bit_set(t, m[at(H_BITS + place)], m[H_SIZE], price - m[H_BASE])
    if place <= ASKS and (3 - 2 * place) * (price - m[at(H_BEST + place)]) > 0:
        m[at(H_BEST + place)] = price
        m[at(H_TOP + place)] = level
    return level


@outline
def worse_level(m: Any, t: Any, place: int, price: int) -> Any:
    """The level of a side of the book that comes next behind this price, or 0."""
    offset = price - m[H_BASE]
    if place == BIDS:
        offset = bit_prev(t, m[at(H_BITS + place)], m[H_SIZE], offset - 1)
    else:
        offset = bit_next(t, m[at(H_BITS + place)], m[H_SIZE], offset + 1)
    return t[at(m[at(H_MAP + place)] + m[H_BASE] + offset)] if offset >= 0 else 0


@outline
def close_level(m: Any, t: Any, level: int) -> None:
    """Take an empty level away; when it was the best, the next takes its place at the top."""
    place, price = m[at(level + L_PLACE)], m[at(level + L_PRICE)]
    t[at(m[at(H_MAP + place)] + price)] = 0
    bit_clear(t, m[at(H_BITS + place)], m[H_SIZE], price - m[H_BASE])
    give_node(m, level)
    if place <= ASKS and m[at(H_TOP + place)] == level:
        level = worse_level(m, t, place, price)
        m[at(H_TOP + place)] = level
        m[at(H_BEST + place)] = m[at(level + L_PRICE)] if level != 0 else (2 * place - 3) * FAR


@inline
def ring_append(m: Any, sentinel: int, o: int) -> None:
    """Link a node into a ring as its last."""
    last = m[at(sentinel + N_PREV)]
    m[at(o + N_NEXT)] = sentinel
    m[at(o + N_PREV)] = last
    m[at(last + N_NEXT)] = o
    m[at(sentinel + N_PREV)] = o


@inline
def ring_remove(m: Any, o: int) -> None:
    """Take a node out of its ring."""
    after, before = m[at(o + N_NEXT)], m[at(o + N_PREV)]
    m[at(before + N_NEXT)] = after
    m[at(after + N_PREV)] = before


@inline
def count_of(m: Any, o: int) -> Any:
    """What an order adds to its level's L_COUNT."""
    return PEG_ONE + 1 if type_at(m, o) == PEGGED else 1


@inline
def link(m: Any, t: Any, place: int, price: int, o: int) -> None:
    """Put an order at the back of the queue at a price, which lies in the window."""
    level = t[at(m[at(H_MAP + place)] + price)]
    if level == 0:
        level = open_level(m, t, place, price)
    ring_append(m, level, o)
    m[at(o + N_LEVEL)] = level
    m[at(level + L_QTY)] += m[at(o + N_LEAVES)]
    m[at(level + L_COUNT)] += count_of(m, o)


@inline
def unlink(m: Any, t: Any, o: int) -> None:
    """Take an order out of its queue, and the level with it when it was the last."""
    level = m[at(o + N_LEVEL)]
    ring_remove(m, o)
    m[at(level + L_QTY)] -= m[at(o + N_LEAVES)]
    m[at(level + L_COUNT)] -= count_of(m, o)
    m[at(o + N_LEVEL)] = 0
    if m[at(level + N_NEXT)] == level:
        close_level(m, t, level)


@inline
def price_at(m: Any, o: int) -> Any:
    """The price of the level an order lies at; NO_PRICE for none."""
    level = m[at(o + N_LEVEL)]
    return m[at(level + L_PRICE)] if level != 0 else NO_PRICE


@inline
def crosses(m: Any, side: int, limit: int) -> Any:
    """Whether an order of this side and limit would meet the other side's best."""
    best = m[at(H_BEST + 3 - side)]
    return best <= limit if side == BUY else best >= limit
