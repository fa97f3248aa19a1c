"""The layout of one order as int64 words: what kernels, the replay's journal and the gate share.

Prices in ticks, quantities in lots, times in ns. Enumerations are those of `model.order`, as constants, for
Numba freezes module-level integers at compile time and knows nothing of enum members' cost.
"""

from __future__ import annotations

from tidegate.model.order import ExecInst, OrdStatus, OrdType, SelfTrade, Side, TimeInForce

(
    O_ID,  # ClOrdID
    O_TS,  # time of the last change of state, local
    O_ACCOUNT,
    O_STRATEGY,
    O_INSTRUMENT,
    O_SIDE,
    O_TYPE,
    O_TIF,
    O_INST,  # ExecInst bits
    O_QTY,  # total quantity
    O_PRICE,  # limit price
    O_STOP,  # stop price
    O_DISPLAY,  # iceberg: shown quantity
    O_OFFSET,  # trailing distance or peg offset, ticks
    O_EXPIRE,  # GTD: expiry, ns
    O_STATUS,  # OrdStatus
    O_LEAVES,
    O_CUM,
    O_VALUE,  # sum of fill price × fill quantity, ticks × lots
    O_REF_BID,  # the touch the sender saw, ticks; 0 for none
    O_REF_ASK,
    O_REF_TS,
    O_TAG,  # the command that asked for it
    O_CHARGE,  # the gate's handle of what it has charged for the order, 0 for none
    O_PENDING_QTY,  # what a pending replace asks for
    O_PENDING_PRICE,
) = range(26)
ORDER_WORDS = 26

BUY, SELL = int(Side.BUY), int(Side.SELL)
MARKET, LIMIT, STOP, STOP_LIMIT, TRAILING_STOP, ICEBERG, PEGGED = (int(t) for t in OrdType)
DAY, GTC, IOC, FOK, GTD = (int(t) for t in TimeInForce)
POST_ONLY, REDUCE_ONLY = int(ExecInst.POST_ONLY), int(ExecInst.REDUCE_ONLY)
PEG_PRIMARY, PEG_MARKET, PEG_MID = (
    int(ExecInst.PEG_PRIMARY),
    int(ExecInst.PEG_MARKET),
    int(ExecInst.PEG_MID),
)
CREATED, PENDING_NEW, NEW, PARTIALLY_FILLED, PENDING_REPLACE, PENDING_CANCEL, UNKNOWN = (
    int(s) for s in list(OrdStatus)[:7]
)
FILLED, CANCELED, REJECTED, EXPIRED, DENIED = (int(s) for s in list(OrdStatus)[7:])
STP_ALLOW, STP_NEWEST, STP_OLDEST, STP_BOTH, STP_DECREMENT = (int(s) for s in SelfTrade)
