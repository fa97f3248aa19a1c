"""The pieces of a Binance frame, compiled: its stream's name, its keys, its symbol, its price levels."""

from __future__ import annotations

from typing import Any

import numpy as np

from tidegate.kernel.jit import outline
from tidegate.marketdata.binance_instruments import Market
from tidegate.marketdata.binance_shapes import (
    DEPTH,
    I_LOT_DECIMALS,
    I_LOT_NUM,
    I_MARKET,
    I_NAME,
    I_NAME2,
    I_NAME3,
    I_TICK_DECIMALS,
    I_TICK_NUM,
    K_ASKS,
    K_BIDS,
    K_PAIR,
    K_PS,
    K_PU,
    K_SYMBOL,
    K_UPDATE,
    MAX_SYMBOL,
    S_OFF_LOT,
    TICKER,
    TRADE,
)
from tidegate.marketdata.binance_text import (
    AT,
    CLOSE_LIST,
    COMMA,
    NEWLINE,
    NINE,
    OPEN_LIST,
    QUOTE,
    ZERO,
    literal,
    steps,
    text,
)
from tidegate.model.event import META, PRICE, PRICE2, SIZE, SIZE2

_SPOT = int(Market.SPOT)
_DATA = text('","data":{')
_AT_DEPTH, _AT_TICKER, _AT_TRADE = text("@depth"), text("@bookTicker"), text("@trade")
_PS, _PU, _UPDATE = text('ps"'), text('pu"'), text('lastUpdateId"')
_SYMBOL, _PAIR, _BIDS, _ASKS = text('symbol"'), text('pair"'), text('bids"'), text('asks"')


@outline
def find_instrument(buf: Any, begin: int, futures: Any, table: Any, hint: int) -> Any:
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


@outline
def read_levels(buf: Any, p: int, table: Any, who: int, meta: int, rows: Any, n: int, state: Any) -> Any:
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


@outline
def long_key(buf: Any, p: int) -> Any:
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


@outline
def stream_kind(buf: Any, p: int) -> Any:
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
