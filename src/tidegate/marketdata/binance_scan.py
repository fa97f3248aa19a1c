"""The compiled reader of Binance frames: bytes in, market events and message headers out.

It knows exactly the frames that Binance's combined streams send (`@depth`, `@bookTicker`, `@trade`) and the
REST depth snapshot, without white space or escapes, keys in any order but `s` and the times before the
levels. A line that differs in any way, or holds a value that is off its grid, stops the scan: `binance_slow`
reads that one and says what is wrong with it. So this file never has to explain, and the slow one never has
to be fast.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tidegate.kernel.jit import inline, kernel, outline
from tidegate.kernel.layout import BUY, SELL
from tidegate.marketdata.binance_shapes import (
    DEPTH,
    I_LOT_DECIMALS,
    I_LOT_NUM,
    I_MARKET,
    I_TICK_DECIMALS,
    I_TICK_NUM,
    K_A,
    K_ASKS,
    K_B,
    K_BSZ,
    K_E,
    K_ID,
    K_M,
    K_P,
    K_PU,
    K_Q,
    K_S,
    K_SYMBOL,
    K_T,
    K_TYPE,
    K_U,
    K_U1,
    K_UPDATE,
    K_X,
    M_EVENT,
    M_FIRST,
    M_INSTRUMENT,
    M_KIND,
    M_LAST,
    M_LINE,
    M_PREV,
    M_RECV,
    M_ROWS,
    M_TRADED,
    MAX_MS,
    MIN_RECV,
    NOBODY,
    S_HINT,
    S_LINE,
    S_MESSAGES,
    S_OFF_LOT,
    S_OWNER,
    S_POS,
    S_ROWS,
    SEVERAL,
    SHAPES,
    SHORT,
    SNAPSHOT,
    STATE_WORDS,
    TICKER,
    TRADE,
    V_BOOL,
    V_INTEGER,
    V_LEVELS,
    V_STRING,
    VALUES,
)
from tidegate.marketdata.binance_text import (
    CLOSE_OBJECT,
    COLON,
    COMMA,
    NEWLINE,
    OPEN_LIST,
    OPEN_OBJECT,
    QUOTE,
    SPACE,
    integer,
    literal,
    skip_string,
    steps,
    text,
)
from tidegate.marketdata.binance_tokens import find_instrument, long_key, read_levels, stream_kind
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
)
from tidegate.model.time import MS

DONE, FULL, ODD = 0, 1, 2
"""Why a scan ended: all read, no room for the next message, a line for the slow reader."""

_LAST = int(Flag.LAST) << FLAGS_SHIFT
_DELTA, _QUOTE, _TRADE = (int(k) << KIND_SHIFT for k in (Kind.DELTA, Kind.QUOTE, Kind.TRADE))
_BEGIN, _END = int(Kind.SNAPSHOT_BEGIN) << KIND_SHIFT, int(Kind.SNAPSHOT_END) << KIND_SHIFT
_BUY, _SELL = BUY << SIDE_SHIFT, SELL << SIDE_SHIFT

_STREAM = text('{"stream":"')
_IS_DEPTH, _IS_TICKER, _IS_TRADE = text('depthUpdate"'), text('bookTicker"'), text('trade"')
_PUBLIC_TRADE, _TRUE, _FALSE = text('MARKET"'), text("true"), text("false")


@outline
def _whose(buf: Any, kind: int, seen: int, value: Any, table: Any, state: Any) -> Any:
    """The instrument of a frame, by its symbol and by what only a futures frame has; −1 when unknown."""
    if kind == SNAPSHOT:
        if not (seen >> K_SYMBOL) & 1:
            return state[S_OWNER]
        return find_instrument(buf, value[K_SYMBOL], True, table, state[S_HINT])
    if not (seen >> K_S) & 1:
        return -1
    futures = (seen >> (K_X if kind == TRADE else K_T)) & 1
    return find_instrument(buf, value[K_S], futures != 0, table, state[S_HINT])


@outline
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
            key = SHORT[buf[p + 1]]
            p += 3
        else:
            key, p = long_key(buf, p + 1)
        if p < 0 or key < 0 or (seen >> key) & 1 or buf[p] != COLON:
            return -1, n, seen, who
        seen |= 1 << key
        p += 1
        wanted = VALUES[key]
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
            side = _SELL if key in (K_A, K_ASKS) else _BUY
            p, n = read_levels(buf, p + 1, table, who, _DELTA | side, rows, n, state)
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


@outline
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
def _frame(
    buf: Any, p: int, kind: int, recv: int, table: Any, rows: Any, n: int, message: Any, state: Any
) -> Any:
    """A frame's data after its opening brace, into rows and a header: (position after it, rows)."""
    first = n
    value = state[STATE_WORDS:]
    off_lot = state[S_OFF_LOT]
    if kind == SNAPSHOT:
        n += 1
        if n >= len(rows):
            return -2, first
    p, n, seen, who = _object(buf, p, kind, table, rows, n, state)
    if p < 0 or who < 0 or seen != SHAPES[kind - 1, table[who, I_MARKET]]:
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
        event = traded = np.int64(0)
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


@kernel(
    "int64(uint8[::1], int64, int64, int64[::1], int64[:,::1], int64[:,::1], int64[:,::1], int64[::1])",
    nogil=True,
)
def scan(
    buf: Any, start: int, stop: int, recvs: Any, table: Any, rows: Any, messages: Any, state: Any
) -> int:
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
                q, kind = stream_kind(buf, body)
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
