"""The shapes of Binance frames: which keys of which kinds a frame of each market has, and what is kept of it.

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

import numpy as np

from tidegate.marketdata.binance_instruments import Directory
from tidegate.model.event import Words

(M_LINE, M_KIND, M_INSTRUMENT, M_RECV, M_EVENT, M_TRADED, M_FIRST, M_LAST, M_PREV, M_ROWS) = range(10)
MESSAGE_WORDS = 10
DEPTH, TICKER, TRADE, SNAPSHOT = 1, 2, 3, 4

# A scan's state, before its scratch words.
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
_KEYS = ("e", "E", "T", "s", "ps", "U", "u", "pu", "b", "a", "B", "A", "t", "p", "q", "X", "m", "M",
         "lastUpdateId", "symbol", "pair", "bids", "asks")  # fmt: skip
(K_TYPE, K_E, K_T, K_S, K_PS, K_U1, K_U, K_PU, K_B, K_A, K_BSZ, K_ASZ, K_ID, K_P, K_Q, K_X, K_M, K_BEST,
 K_UPDATE, K_SYMBOL, K_PAIR, K_BIDS, K_ASKS) = range(len(_KEYS))  # fmt: skip
V_INTEGER, V_STRING, V_BOOL, V_LEVELS = 1, 2, 4, 8
VALUES = np.array([2, 1, 1, 2, 2, 1, 1, 1, 0, 0, 2, 2, 1, 2, 2, 2, 4, 4, 1, 2, 2, 8, 8], np.int64)
"""The kind of value each key has; `b` and `a` are levels in a depth frame and prices in a ticker."""


def _mask(keys: str) -> int:
    return sum(1 << _KEYS.index(key) for key in keys.split())


SHORT = np.full(256, -1, np.int64)
for _number, _name in enumerate(_KEYS):
    if len(_name) == 1:
        SHORT[ord(_name)] = _number
SHAPES = np.array([
    [_mask("e E s U u b a"), _mask("e E T s U u pu b a"), _mask("e E T s ps U u pu b a")],
    [_mask("u s b B a A"), _mask("e u s b B a A T E"), _mask("u e s ps b B a A T E")],
    [_mask("e E s t p q T m M"), _mask("e E T s t p q X m"), _mask("e E T s t p q X m")],
    [_mask("lastUpdateId bids asks"), _mask("lastUpdateId E T bids asks"),
     _mask("lastUpdateId E T symbol pair bids asks")],
])  # fmt: skip
"""The keys a frame has, by kind − 1 and market: a frame of another shape is not ours to guess at."""


def symbol_words(symbol: str) -> list[int]:
    """A symbol's bytes as three int64 words, which is how the scan compares it."""
    raw = symbol.encode("ascii")
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
