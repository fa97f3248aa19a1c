"""Orders: FIX's vocabulary, and the life of an order as one table.

Every value below is FIX 4.4's meaning under a compact integer, for kernels and codecs compare integers.
`TRANSITIONS` is the state machine itself: code looks moves up in it, and docs print it.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

import msgspec


class Side(IntEnum):
    """FIX tag 54. `sign` is +1 for a buy, −1 for a sell."""

    BUY = 1
    SELL = 2

    @property
    def sign(self) -> int:
        return 3 - 2 * self.value

    @property
    def opposite(self) -> Side:
        return Side(3 - self.value)


class OrdType(IntEnum):
    """FIX tag 40, with the venues' iceberg, trailing and pegged forms as types of their own."""

    MARKET = 1
    LIMIT = 2
    STOP = 3
    STOP_LIMIT = 4
    TRAILING_STOP = 5
    ICEBERG = 6
    PEGGED = 7


class TimeInForce(IntEnum):
    """FIX tag 59."""

    DAY = 0
    GTC = 1
    IOC = 3
    FOK = 4
    GTD = 6


class ExecInst(IntFlag):
    """FIX tag 18, the instructions the platform understands."""

    NONE = 0
    POST_ONLY = 1
    """Participate, don't initiate: refused rather than trade on arrival."""
    REDUCE_ONLY = 2
    """May only shrink the position."""
    PEG_PRIMARY = 4
    """A PEGGED order follows the best price of its own side."""
    PEG_MARKET = 8
    """A PEGGED order follows the best price of the other side."""
    PEG_MID = 16
    """A PEGGED order follows the middle, rounded away from the other side."""


class SelfTrade(IntEnum):
    """Self-trade prevention: what happens when an order would meet one of its own account group."""

    ALLOW = 0
    CANCEL_NEWEST = 1
    CANCEL_OLDEST = 2
    CANCEL_BOTH = 3
    DECREMENT = 4


class Contingency(IntEnum):
    """FIX tag 1385 for linked orders. A bracket is OTO whose two children are OCO."""

    NONE = 0
    OCO = 1
    OTO = 2


class OrdStatus(IntEnum):
    """FIX tag 39, and UNKNOWN: sent, not answered, resolved only by the venue's word."""

    CREATED = 0
    """Known to the lane, not sent: a contingent child that waits for its parent."""
    PENDING_NEW = 1
    NEW = 2
    PARTIALLY_FILLED = 3
    PENDING_REPLACE = 4
    PENDING_CANCEL = 5
    UNKNOWN = 6
    FILLED = 7
    CANCELED = 8
    REJECTED = 9
    EXPIRED = 10
    DENIED = 11
    """Refused by our own risk gate; never sent."""

    @property
    def terminal(self) -> bool:
        return self >= OrdStatus.FILLED


class ExecType(IntEnum):
    """FIX tag 150: what a report says happened."""

    NEW = 1
    TRADE = 2
    CANCELED = 3
    REPLACED = 4
    REJECTED = 5
    EXPIRED = 6
    CANCEL_REJECTED = 7
    """FIX's OrderCancelReject (35=9): the cancel or the replace was refused, the order stands."""
    RESTATED = 8
    """The venue changed the order unasked (self-trade decrement, iceberg refresh)."""
    TRIGGERED = 9
    TRADE_CANCEL = 10
    TRADE_CORRECT = 11
    ORDER_STATUS = 12
    """The answer to a status request."""
    NOT_FOUND = 13
    """The answer to a status request for an order the venue does not know."""


class Trigger(IntEnum):
    """What moves an order from one state to the next: a report, or an act of the lane itself."""

    SEND = 1
    ACK = 2
    PARTIAL_FILL = 3
    FULL_FILL = 4
    CANCEL_REQUEST = 5
    REPLACE_REQUEST = 6
    CANCELED = 7
    REPLACED = 8
    REQUEST_REJECTED_NEW = 9
    """A cancel or replace was refused and nothing has filled: back to NEW."""
    REQUEST_REJECTED_PARTIAL = 10
    """A cancel or replace was refused and part has filled: back to PARTIALLY_FILLED."""
    REJECTED = 11
    EXPIRED = 12
    TIMEOUT = 13
    """No answer in time."""
    DENY = 14
    ACK_PARTIAL = 15
    """The venue knows the order, and part has filled."""
    REPLACED_PARTIAL = 16
    """A replace was accepted, and part has filled."""
    UNFILLED = 17
    """A trade cancel took back all that had filled."""
    FILL_MISSING = 18
    """The venue says the order is over and names more fills than have come: open until they do."""


_S, _T = OrdStatus, Trigger
_OPEN = (_S.NEW, _S.PARTIALLY_FILLED)
_PENDING = (_S.PENDING_REPLACE, _S.PENDING_CANCEL)
_SENT = (_S.PENDING_NEW, *_OPEN, *_PENDING, _S.UNKNOWN)

TRANSITIONS: dict[tuple[OrdStatus, Trigger], OrdStatus] = {
    (_S.CREATED, _T.SEND): _S.PENDING_NEW,
    (_S.CREATED, _T.DENY): _S.DENIED,
    (_S.CREATED, _T.CANCELED): _S.CANCELED,
    (_S.PENDING_NEW, _T.ACK): _S.NEW,
    (_S.PENDING_NEW, _T.TIMEOUT): _S.UNKNOWN,
    (_S.PENDING_NEW, _T.CANCEL_REQUEST): _S.PENDING_CANCEL,
    (_S.UNKNOWN, _T.ACK): _S.NEW,
    (_S.UNKNOWN, _T.CANCEL_REQUEST): _S.UNKNOWN,
    (_S.UNKNOWN, _T.REQUEST_REJECTED_NEW): _S.UNKNOWN,
    (_S.UNKNOWN, _T.REQUEST_REJECTED_PARTIAL): _S.UNKNOWN,
    (_S.UNKNOWN, _T.TIMEOUT): _S.UNKNOWN,
    **{(s, _T.PARTIAL_FILL): _S.PARTIALLY_FILLED for s in (_S.PENDING_NEW, _S.UNKNOWN, *_OPEN)},
    **{(s, _T.PARTIAL_FILL): s for s in _PENDING},
    **{(s, _T.FULL_FILL): _S.FILLED for s in _SENT},
    **{(s, _T.CANCELED): _S.CANCELED for s in _SENT},
    **{(s, _T.REJECTED): _S.REJECTED for s in _SENT},
    **{(s, _T.EXPIRED): _S.EXPIRED for s in _SENT},
    **{(s, _T.CANCEL_REQUEST): _S.PENDING_CANCEL for s in (*_OPEN, *_PENDING)},
    **{(s, _T.REPLACE_REQUEST): _S.PENDING_REPLACE for s in _OPEN},
    **{(s, _T.ACK): s for s in (*_OPEN, *_PENDING)},
    **{(s, _T.ACK_PARTIAL): s for s in (_S.PARTIALLY_FILLED, *_PENDING)},
    (_S.UNKNOWN, _T.ACK_PARTIAL): _S.PARTIALLY_FILLED,
    **{(s, _T.REPLACED): _S.NEW for s in (_S.NEW, _S.PENDING_REPLACE, _S.UNKNOWN)},
    (_S.PENDING_CANCEL, _T.REPLACED): _S.PENDING_CANCEL,
    **{
        (s, _T.REPLACED_PARTIAL): _S.PARTIALLY_FILLED
        for s in (_S.PARTIALLY_FILLED, _S.PENDING_REPLACE, _S.UNKNOWN)
    },
    (_S.PENDING_CANCEL, _T.REPLACED_PARTIAL): _S.PENDING_CANCEL,
    (_S.PARTIALLY_FILLED, _T.UNFILLED): _S.NEW,
    **{(s, _T.UNFILLED): s for s in (*_PENDING, _S.UNKNOWN)},
    **{(s, _T.FILL_MISSING): _S.UNKNOWN for s in _SENT},
    **{(s, _T.REQUEST_REJECTED_NEW): _S.NEW for s in (_S.NEW, *_PENDING)},
    **{(s, _T.REQUEST_REJECTED_PARTIAL): _S.PARTIALLY_FILLED for s in (_S.PARTIALLY_FILLED, *_PENDING)},
    **{(s, _T.TIMEOUT): _S.UNKNOWN for s in _PENDING},
}
"""(status, trigger) → next status. A pair that is absent is illegal: terminal states have no way out."""


class IllegalTransition(ValueError):
    """A trigger arrived that the order's status does not admit."""


def next_status(status: OrdStatus, trigger: Trigger) -> OrdStatus:
    """Where `trigger` leads from `status`; raises `IllegalTransition` where it leads nowhere."""
    try:
        return TRANSITIONS[status, trigger]
    except KeyError:
        raise IllegalTransition(f"an order that is {status.name} cannot take {trigger.name}") from None


class Order(msgspec.Struct, gc=False):
    """One order, as the lane and the strategy see it. Prices in ticks, quantities in lots, times in ns.

    `cl_ord_id` is the lane's (a function of lane and sequence); `cmd_id` is the command that asked for the
    order (a function of strategy and its counter), the key a retry is recognised by. `parent` and `root` are
    cl_ord_ids, 0 for none. `cum_value` is Σ price × quantity of the fills, in ticks × lots.
    """

    cl_ord_id: int
    cmd_id: int
    account: int
    strategy: int
    instrument: int
    side: Side
    ord_type: OrdType
    time_in_force: TimeInForce
    qty: int
    price: int = 0
    stop_price: int = 0
    display_qty: int = 0
    offset: int = 0
    """Ticks: the distance of a trailing stop, or the offset of a peg."""
    expire_ts: int = 0
    exec_inst: int = 0
    status: OrdStatus = OrdStatus.CREATED
    target: OrdStatus = OrdStatus.NEW
    """What was last asked for: NEW, CANCELED, or FILLED for an IOC or a market order."""
    version: int = 0
    cum_qty: int = 0
    leaves_qty: int = 0
    cum_value: int = 0
    parent: int = 0
    root: int = 0
    contingency: Contingency = Contingency.NONE
    link_group: int = 0
    reason: int = 0
    ts_submit: int = 0
    ts_update: int = 0
    pending_qty: int = 0
    """The quantity and price a pending replace asks for."""
    pending_price: int = 0

    @property
    def open(self) -> bool:
        """True until the status is terminal."""
        return self.status < OrdStatus.FILLED

    @property
    def avg_px(self) -> float:
        """Average fill price in ticks; 0.0 before the first fill."""
        return self.cum_value / self.cum_qty if self.cum_qty else 0.0
