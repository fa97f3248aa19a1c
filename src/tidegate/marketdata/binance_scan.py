"""The compiled reader of Binance frames: bytes in, market events and message headers out.

It knows exactly the frames that Binance's combined streams send (`@depth`, `@bookTicker`, `@trade`) and the REST
depth snapshot, without white space or escapes, keys in any order but `s` and the times before the levels. A
line that differs in any way, or holds a value that is off its grid, stops the scan: `binance_slow` reads that
one and says what is wrong with it. So this file never has to explain, and the slow one never has to be fast.

A message header is one row of `messages` (int64):

| column       | depth    | bookTicker | trade | snapshot       |
|--------------|----------|------------|-------|----------------|
| M_LINE       | number of the line in its file, or of the frame in its batch, from 1 ||||
| M_KIND       | DEPTH    | TICKER     | TRADE | SNAPSHOT       |
| M_INSTRUMENT | number in the directory                  ||||
| M_RECV       | receive time as recorded, ns             ||||
| M_EVENT      | `E`, ns; 0 where the frame has none      ||||
| M_TRADED     | `T`, ns; 0 where the frame has none      ||||
| M_FIRST      | `U`      | `u`        | `t`   | `lastUpdateId` |
| M_LAST       | `u`      | `u`        | `t`   | `lastUpdateId` |
| M_PREV       | `pu`, or −1 | −1      | −1    | −1             |
| M_ROWS       | events the message made; they follow one another in `rows` ||||
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tidegate.kernel.jit import inline, kernel
from tidegate.kernel.layout import BUY, SELL
from tidegate.marketdata.binance_instruments import Directory, Market
from tidegate.marketdata.binance_text import (
    AT,
    CLOSE_LIST,
    CLOSE_OBJECT,
    COLON,
    COMMA,
    NEWLINE,
    NINE,
    OPEN_LIST,
    OPEN_OBJECT,
    QUOTE,
    SPACE,
    ZERO,
    integer,
    literal,
    skip_string,
    steps,
    text,
)
from tidegate.model.event import (
    FLAGS_SHIFT,
    KIND_SHIFT,
    META,
    PRICE,
    PRICE2,
    SEQ,
    SIDE_SHIFT,
    SIZE,
    SIZE2,
    TS_EVENT,
    TS_RECV,
    Flag,
    Kind,
    Words,
)
from tidegate.model.time import MS

(M_LINE, M_KIND, M_INSTRUMENT, M_RECV, M_EVENT, M_TRADED, M_FIRST, M_LAST, M_PREV, M_ROWS) = range(10)
MESSAGE_WORDS = 10
DEPTH, TICKER, TRADE, SNAPSHOT = 1, 2, 3, 4

DONE, FULL, ODD = 0, 1, 2
"""Why a scan ended: all read, no room for the next message, a line for the slow reader."""

(S_POS, S_LINE, S_ROWS, S_MESSAGES, S_OWNER, S_HINT, S_OFF_LOT) = range(7)
STATE_WORDS = 8
SCRATCH_WORDS = 32
NOBODY, SEVERAL = -1, -2
"""S_OWNER: the one instrument a connection has shown so far; whose a snapshot without a symbol is."""

# Columns of the table of instruments: the symbol's bytes, its market, its grids as num × 10^-decimals.
(I_NAME, I_NAME2, I_NAME3, I_MARKET, I_TICK_DECIMALS, I_TICK_NUM, I_LOT_DECIMALS, I_LOT_NUM) = range(8)
MAX_SYMBOL = 24

MAX_MS, MIN_RECV = 9_000_000_000_000, 1_000_000_000_000_000_000
"""Exchange times are ms (before the year 2255), receive times ns (after 2001): another unit is odd."""
_LAST = int(Flag.LAST) << FLAGS_SHIFT
_DELTA, _QUOTE, _TRADE = (int(k) << KIND_SHIFT for k in (Kind.DELTA, Kind.QUOTE, Kind.TRADE))
_BEGIN, _END = int(Kind.SNAPSHOT_BEGIN) << KIND_SHIFT, int(Kind.SNAPSHOT_END) << KIND_SHIFT
_BUY, _SELL = BUY << SIDE_SHIFT, SELL << SIDE_SHIFT
_SPOT = int(Market.SPOT)

_STREAM, _DATA = text('{"stream":"'), text('","data":{')
_AT_DEPTH, _AT_TICKER, _AT_TRADE = text("@depth"), text("@bookTicker"), text("@trade")
_IS_DEPTH, _IS_TICKER, _IS_TRADE = text('depthUpdate"'), text('bookTicker"'), text('trade"')
_PUBLIC_TRADE, _TRUE, _FALSE = text('MARKET"'), text("true"), text("false")

_KEYS = ("e", "E", "T", "s", "ps", "U", "u", "pu", "b", "a", "B", "A", "t", "p", "q", "X", "m", "M",
         "lastUpdateId", "symbol", "pair", "bids", "asks")  # fmt: skip
(K_TYPE, K_E, K_T, K_S, K_PS, K_U1, K_U, K_PU, K_B, K_A, K_BSZ, K_ASZ, K_ID, K_P, K_Q, K_X, K_M, K_BEST,
 K_UPDATE, K_SYMBOL, K_PAIR, K_BIDS, K_ASKS) = range(len(_KEYS))  # fmt: skip
V_INTEGER, V_STRING, V_BOOL, V_LEVELS = 1, 2, 4, 8
_VALUES = np.array([2, 1, 1, 2, 2, 1, 1, 1, 0, 0, 2, 2, 1, 2, 2, 2, 4, 4, 1, 2, 2, 8, 8], np.int64)
"""The kind of value each key has; `b` and `a` are levels in a depth frame and prices in a ticker."""


def _mask(keys: str) -> int:
    return sum(1 << _KEYS.index(key) for key in keys.split())


_SHORT = np.full(256, -1, np.int64)
for _number, _name in enumerate(_KEYS):
    if len(_name) == 1:
        _SHORT[ord(_name)] = _number
_SHAPES = np.array([
    [_mask("e E s U u b a"), _mask("e E T s U u pu b a"), _mask("e E T s ps U u pu b a")],
    [_mask("u s b B a A"), _mask("e u s b B a A T E"), _mask("u e s ps b B a A T E")],
    [_mask("e E s t p q T m M"), _mask("e E T s t p q X m"), _mask("e E T s t p q X m")],
    [_mask("lastUpdateId bids asks"), _mask("lastUpdateId E T bids asks"),
     _mask("lastUpdateId E T symbol pair bids asks")],
])  # fmt: skip
"""The keys a frame has, by kind − 1 and market: a frame of another shape is not ours to guess at."""
_PS, _PU, _UPDATE = text('ps"'), text('pu"'), text('lastUpdateId"')
_SYMBOL, _PAIR, _BIDS, _ASKS = text('symbol"'), text('pair"'), text('bids"'), text('asks"')


def symbol_words(symbol: str) -> list[int]:
    """A symbol's bytes as three int64 words, which is how the scan compares it."""
    raw = symbol.encode()
    if len(raw) > MAX_SYMBOL:
        raise ValueError(f"symbol {symbol!r} is longer than {MAX_SYMBOL} bytes")
    return [int.from_bytes(raw[i : i + 8], "little") for i in (0, 8, 16)]


def instrument_table(directory: Directory) -> Words:
    """The directory as the scan reads it, one row an instrument."""
    table = np.zeros((len(directory.instruments), 8), np.int64)
    for row, item, market in zip(table, directory.instruments, directory.markets, strict=True):
        row[:4] = *symbol_words(item.symbol), market
        for column, grid in ((I_TICK_DECIMALS, item.tick), (I_LOT_DECIMALS, item.lot)):
            decimals = max(0, -int(grid.as_tuple().exponent))
            row[column : column + 2] = decimals, int(grid.scaleb(decimals))
    return table


@inline
def _find(buf: Any, begin: int, futures: Any, table: Any, hint: int) -> int:
    """The instrument whose symbol is the string at `begin`, on spot or on futures; −1 when it is unknown."""
    w0 = w1 = w2 = np.int64(0)
    i = 0
    while buf[begin + i] != QUOTE:
        byte = np.int64(buf[begin + i]) << np.int64(8 * (i & 7))
        if i < 8:
            w0 |= byte
        elif i < 16:
            w1 |= byte
        elif i < MAX_SYMBOL:
            w2 |= byte
        else:
            return -1
        i += 1
    for k in range(-1, len(table)):
        i = hint if k < 0 else k
        if table[i, I_NAME] == w0 and table[i, I_NAME2] == w1 and table[i, I_NAME3] == w2:
            if (table[i, I_MARKET] != _SPOT) == futures:
                return i
    return -1


@inline
def _whose(buf: Any, kind: int, seen: int, value: Any, table: Any, state: Any) -> int:
    """The instrument of a frame, by its symbol and by what only a futures frame has; −1 when unknown."""
    if kind == SNAPSHOT:
        if not (seen >> K_SYMBOL) & 1:
            return state[S_OWNER]
        return _find(buf, value[K_SYMBOL], True, table, state[S_HINT])
    if not (seen >> K_S) & 1:
        return -1
    futures = (seen >> (K_X if kind == TRADE else K_T)) & 1
    return _find(buf, value[K_S], futures != 0, table, state[S_HINT])


@inline
def _levels(buf: Any, p: int, table: Any, who: int, meta: int, rows: Any, n: int, state: Any) -> Any:
    """Price levels after their opening bracket: (position after the closing one, rows).

    The position is −1 for anything odd and −2 when the rows are full. A size is floored to whole lots.
    """
    tick_decimals, tick = table[who, I_TICK_DECIMALS], table[who, I_TICK_NUM]
    lot_decimals, lot = table[who, I_LOT_DECIMALS], table[who, I_LOT_NUM]
    if buf[p] == CLOSE_LIST:
        return p + 1, n
    while True:
        if buf[p] != OPEN_LIST or buf[p + 1] != QUOTE:
            return -1, n
        price, off_tick, p = steps(buf, p + 2, tick_decimals, tick)
        if p < 0 or off_tick or price == 0 or buf[p] != COMMA or buf[p + 1] != QUOTE:
            return -1, n
        size, off_lot, p = steps(buf, p + 2, lot_decimals, lot)
        if p < 0 or buf[p] != CLOSE_LIST:
            return -1, n
        if n >= len(rows):
            return -2, n
        if off_lot:
            state[S_OFF_LOT] += 1
        rows[n, PRICE] = price
        rows[n, SIZE] = size
        rows[n, PRICE2] = 0
        rows[n, SIZE2] = 0
        rows[n, META] = meta | who
        n += 1
        p += 1
        if buf[p] == COMMA:
            p += 1
        elif buf[p] == CLOSE_LIST:
            return p + 1, n
        else:
            return -1, n


@inline
def _long_key(buf: Any, p: int) -> Any:
    """A key of more than one letter after its opening quote: (number, position after its closing quote)."""
    first, second = buf[p], buf[p + 1]
    if first == 112 and second == 115:
        return K_PS, literal(buf, p, _PS)
    if first == 112 and second == 117:
        return K_PU, literal(buf, p, _PU)
    if first == 112:
        return K_PAIR, literal(buf, p, _PAIR)
    if first == 108:
        return K_UPDATE, literal(buf, p, _UPDATE)
    if first == 115:
        return K_SYMBOL, literal(buf, p, _SYMBOL)
    if first == 98:
        return K_BIDS, literal(buf, p, _BIDS)
    return K_ASKS, literal(buf, p, _ASKS)


@inline
def _object(buf: Any, p: int, kind: int, table: Any, rows: Any, n: int, state: Any) -> Any:
    """An object after its opening brace: (position after the closing one, rows, keys seen, instrument).

    Integers go to the scratch words by key, and of a string its position; levels become rows at once.
    """
    seen, who = 0, -1
    value = state[STATE_WORDS:]
    while True:
        if buf[p] != QUOTE:
            return -1, n, seen, who
        if buf[p + 2] == QUOTE:
            key = _SHORT[buf[p + 1]]
            p += 3
        else:
            key, p = _long_key(buf, p + 1)
        if p < 0 or key < 0 or (seen >> key) & 1 or buf[p] != COLON:
            return -1, n, seen, who
        seen |= 1 << key
        p += 1
        wanted = _VALUES[key]
        if wanted == 0:
            wanted = V_STRING if kind == TICKER else V_LEVELS
        if wanted == V_INTEGER:
            value[key], p = integer(buf, p)
        elif wanted == V_STRING:
            if buf[p] != QUOTE:
                return -1, n, seen, who
            value[key] = p + 1
            p = skip_string(buf, p + 1)
        elif wanted == V_BOOL:
            q = literal(buf, p, _TRUE)
            value[key] = q
            p = q if q > 0 else literal(buf, p, _FALSE)
        else:
            if who < 0:
                who = _whose(buf, kind, seen, value, table, state)
            if who < 0 or buf[p] != OPEN_LIST or kind == TRADE:
                return -1, n, seen, who
            side = _SELL if key == K_A or key == K_ASKS else _BUY
            p, n = _levels(buf, p + 1, table, who, _DELTA | side, rows, n, state)
        if p < 0:
            return p, n, seen, who
        if buf[p] == COMMA:
            p += 1
        elif buf[p] == CLOSE_OBJECT:
            if who < 0:
                who = _whose(buf, kind, seen, value, table, state)
            return p + 1, n, seen, who
        else:
            return -1, n, seen, who


@inline
def _touch_or_trade(buf: Any, kind: int, table: Any, who: int, rows: Any, n: int, state: Any) -> int:
    """The one row of a ticker or a trade, from the positions of its texts. 0 for anything odd, else 1."""
    value = state[STATE_WORDS:]
    tick_decimals, tick = table[who, I_TICK_DECIMALS], table[who, I_TICK_NUM]
    lot_decimals, lot = table[who, I_LOT_DECIMALS], table[who, I_LOT_NUM]
    sides = 2 if kind == TICKER else 1
    for i in range(sides):
        at_price, at_size = value[K_P], value[K_Q]
        if kind == TICKER:
            at_price, at_size = value[K_B + i], value[K_BSZ + i]
        price, off_tick, q = steps(buf, at_price, tick_decimals, tick)
        size, off_lot, q2 = steps(buf, at_size, lot_decimals, lot)
        if q < 0 or q2 < 0 or off_tick or price == 0 or size == 0 or (off_lot and kind == TRADE):
            return 0
        if off_lot:
            state[S_OFF_LOT] += 1
        rows[n, PRICE + 2 * i] = price
        rows[n, SIZE + 2 * i] = size
    if kind == TICKER:
        rows[n, META] = _QUOTE | _LAST | who
        return 1 if rows[n, PRICE] < rows[n, PRICE2] else 0
    rows[n, PRICE2] = value[K_ID]
    rows[n, SIZE2] = 0
    rows[n, META] = who | _TRADE | _LAST | (_SELL if value[K_M] > 0 else _BUY)
    return 1


@inline
def _frame(buf: Any, p: int, kind: int, recv: int, table: Any, rows: Any, n: int, message: Any, state: Any) -> Any:
    """A frame's data after its opening brace, into rows and a header: (position after it, rows)."""
    first = n
    value = state[STATE_WORDS:]
    off_lot = state[S_OFF_LOT]
    if kind == SNAPSHOT:
        n += 1
        if n >= len(rows):
            return -2, first
    p, n, seen, who = _object(buf, p, kind, table, rows, n, state)
    if p < 0 or who < 0 or seen != _SHAPES[kind - 1, table[who, I_MARKET]]:
        state[S_OFF_LOT] = off_lot
        return (p if p < 0 else -1), first
    fits = 1
    if (seen >> K_TYPE) & 1:
        name = _IS_DEPTH if kind == DEPTH else (_IS_TICKER if kind == TICKER else _IS_TRADE)
        fits = literal(buf, value[K_TYPE], name)
    if (seen >> K_X) & 1 and fits > 0:
        fits = literal(buf, value[K_X], _PUBLIC_TRADE)
    if n >= len(rows) and kind != DEPTH:
        fits = -2
    elif fits > 0 and kind == SNAPSHOT:
        for i in range(first + 1, n):
            if rows[i, SIZE] == 0:
                fits = -1
        rows[first, PRICE:] = 0
        rows[n, PRICE:] = 0
        rows[first, META] = _BEGIN | who
        rows[n, META] = _END | _LAST | who
        n += 1
    elif fits > 0 and kind != DEPTH:
        fits = 1 if _touch_or_trade(buf, kind, table, who, rows, n, state) else -1
        n += 1
    elif n > first:
        rows[n - 1, META] |= _LAST
    event = value[K_E] if (seen >> K_E) & 1 else np.int64(0)
    traded = value[K_T] if (seen >> K_T) & 1 else np.int64(0)
    if event > MAX_MS or traded > MAX_MS:
        fits = -1
    event *= MS
    traded *= MS
    if fits < 0:
        state[S_OFF_LOT] = off_lot
        return fits, first
    last = value[K_UPDATE if kind == SNAPSHOT else (K_ID if kind == TRADE else K_U)]
    for i in range(first, n):
        rows[i, TS_EVENT] = traded if traded > 0 else event
        rows[i, TS_RECV] = recv
        rows[i, SEQ] = last
    message[M_KIND] = kind
    message[M_INSTRUMENT] = who
    message[M_RECV] = recv
    message[M_EVENT] = event
    message[M_TRADED] = traded
    message[M_FIRST] = value[K_U1] if kind == DEPTH else last
    message[M_LAST] = last
    message[M_PREV] = value[K_PU] if (seen >> K_PU) & 1 else np.int64(-1)
    message[M_ROWS] = n - first
    return p, n


@inline
def _stream(buf: Any, p: int) -> Any:
    """A stream's name up to its data: (position after `"data":{`, kind)."""
    while buf[p] != AT:
        if buf[p] == QUOTE or buf[p] == NEWLINE:
            return -1, 0
        p += 1
    kind, q = DEPTH, literal(buf, p, _AT_DEPTH)
    if q > 0 and buf[q] == AT:
        q += 1
        while ZERO <= buf[q] <= NINE or buf[q] == 109 or buf[q] == 115:  # 0ms, 100ms
            q += 1
    elif q < 0:
        kind, q = TICKER, literal(buf, p, _AT_TICKER)
        if q < 0:
            kind, q = TRADE, literal(buf, p, _AT_TRADE)
            if q < 0:
                return -1, 0
    return literal(buf, q, _DATA), kind


@kernel(
    "int64(uint8[::1], int64, int64, int64[::1], int64[:,::1], int64[:,::1], int64[:,::1], int64[::1])",
    nogil=True,
)
def scan(buf: Any, start: int, stop: int, recvs: Any, table: Any, rows: Any, messages: Any, state: Any) -> int:
    """Read the lines of `buf[start:stop]`, which ends with a newline, until one is odd or the room is used.

    Lines are `<receive ns> <frame>`; with `recvs` they are bare frames and those are their receive times.
    Returns DONE, FULL or ODD; `state` says how far it came (S_POS: the start of the line it stopped at).
    """
    p, code = start, DONE
    n, m, line = state[S_ROWS], state[S_MESSAGES], state[S_LINE]
    while p < stop:
        if m >= len(messages):
            code = FULL
            break
        recv, q = np.int64(0), p
        if len(recvs) > 0:
            recv = recvs[line]
        else:
            recv, q = integer(buf, p)
            q = q + 1 if q > 0 and buf[q] == SPACE and recv >= MIN_RECV else -1
        kind = SNAPSHOT
        if q >= 0:
            body = literal(buf, q, _STREAM)
            if body > 0:
                q, kind = _stream(buf, body)
            else:
                q = q + 1 if buf[q] == OPEN_OBJECT else -1
        k = n
        if q >= 0:
            q, k = _frame(buf, q, kind, recv, table, rows, n, messages[m], state)
        if q >= 0 and kind != SNAPSHOT:
            q = q + 1 if buf[q] == CLOSE_OBJECT else -1
        if q < 0 or buf[q] != NEWLINE:
            code = FULL if q == -2 else ODD
            break
        line += 1
        messages[m, M_LINE] = line
        who = messages[m, M_INSTRUMENT]
        state[S_HINT] = who
        if kind != SNAPSHOT and state[S_OWNER] != who:
            state[S_OWNER] = who if state[S_OWNER] == NOBODY else SEVERAL
        n = k
        m += 1
        p = q + 1
    state[S_POS] = p
    state[S_LINE] = line
    state[S_ROWS] = n
    state[S_MESSAGES] = m
    return code
