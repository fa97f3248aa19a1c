"""Every reason an order is refused for: one stable number each, in one table.

1–199 are the gate's (with the control of the catalogue that spoke), 200–299 a venue's, 300–399 the lane's own.
`docs/risk.md` prints this table (`risk.reference`), so the documentation cannot drift from the code.
"""

from __future__ import annotations

from enum import IntEnum, unique

from tidegate.kernel import gate_codes as codes


@unique
class Reason(IntEnum):
    """A reason code: `int`, its `control` (0 where no control of the gate spoke) and one line of `text`."""

    control: int
    text: str

    def __new__(cls, number: int, control: int = 0, text: str = "") -> Reason:
        member = int.__new__(cls, number)
        member._value_ = number
        member.control = control
        member.text = text
        return member

    NONE = 0, 0, "Passed"

    UNKNOWN_INSTRUMENT = codes.UNKNOWN_INSTRUMENT, 1, "The instrument's number is not in the universe"
    UNKNOWN_ACCOUNT = codes.UNKNOWN_ACCOUNT, 1, "The account's number is not in the scope table"
    UNKNOWN_STRATEGY = codes.UNKNOWN_STRATEGY, 1, "The strategy's number is not in the scope table"
    ACCOUNT_NOT_PERMITTED = codes.ACCOUNT_NOT_PERMITTED, 1, "The strategy may not trade on this account"
    INSTRUMENT_NOT_PERMITTED = (
        codes.INSTRUMENT_NOT_PERMITTED,
        1,
        "The instrument is on no allow-list that applies",
    )
    SIDE_NOT_PERMITTED = codes.SIDE_NOT_PERMITTED, 1, "This side may not be traded"
    ORD_TYPE_NOT_PERMITTED = codes.ORD_TYPE_NOT_PERMITTED, 1, "This order type may not be used"
    TIF_NOT_PERMITTED = codes.TIF_NOT_PERMITTED, 1, "This time in force may not be used"
    RESTRICTED = codes.RESTRICTED, 2, "The instrument is restricted"
    RESTRICTED_WINDOW = codes.RESTRICTED_WINDOW, 2, "The instrument is restricted at this time"
    INVALID_SIDE = codes.INVALID_SIDE, 3, "The side is neither buy nor sell"
    INVALID_ORD_TYPE = codes.INVALID_ORD_TYPE, 3, "Unknown order type"
    INVALID_TIF = codes.INVALID_TIF, 3, "This time in force does not go with the order type"
    INVALID_QTY = (
        codes.INVALID_QTY,
        3,
        "The quantity is not above 0, or a replace asks for no more than has filled",
    )
    BELOW_MIN_QTY = codes.BELOW_MIN_QTY, 3, "The quantity is below the instrument's minimum"
    ABOVE_MAX_QTY = codes.ABOVE_MAX_QTY, 3, "The quantity is above the instrument's maximum"
    BELOW_MIN_NOTIONAL = codes.BELOW_MIN_NOTIONAL, 3, "Price × quantity is below the instrument's minimum"
    INVALID_PRICE = codes.INVALID_PRICE, 3, "The limit price is missing or not above 0"
    STOP_PRICE_MISSING = codes.STOP_PRICE_MISSING, 3, "The stop price is missing or not above 0"
    INVALID_OFFSET = codes.INVALID_OFFSET, 3, "The trailing distance is not above 0"
    INVALID_DISPLAY = codes.INVALID_DISPLAY, 3, "The displayed quantity is not between 1 and the quantity"
    INVALID_EXEC_INST = codes.INVALID_EXEC_INST, 3, "The instructions do not go with the order type"
    INVALID_EXPIRY = codes.INVALID_EXPIRY, 3, "A good-till-date order needs a time in the future"
    INSTRUMENT_EXPIRED = codes.INSTRUMENT_EXPIRED, 3, "The instrument has expired"
    OUT_OF_RANGE = codes.OUT_OF_RANGE, 3, "A number does not fit the gate's arithmetic"
    NOT_CHARGED = codes.NOT_CHARGED, 3, "A replace for an order that the gate does not hold open"
    MAX_ORDER_QTY = codes.MAX_ORDER_QTY, 4, "The quantity is above the largest order"
    MAX_ORDER_VALUE = codes.MAX_ORDER_VALUE, 5, "The value is above the largest order"
    MAX_PARENT_VALUE = codes.MAX_PARENT_VALUE, 6, "The value of the parent or basket is above its limit"
    PRICE_COLLAR = codes.PRICE_COLLAR, 7, "The price is too far from the reference"
    NO_REFERENCE = codes.NO_REFERENCE, 7, "There is no reference to value or collar the order by"
    DYNAMIC_COLLAR = (
        codes.DYNAMIC_COLLAR,
        8,
        "The price is further through the touch than volatility explains",
    )
    PERIOD_COLLAR = codes.PERIOD_COLLAR, 9, "Own aggressive fills have moved the price too far in the window"
    MARKET_DATA_MISSING = codes.MARKET_DATA_MISSING, 10, "No two-sided reference price is known"
    MARKET_DATA_CROSSED = codes.MARKET_DATA_CROSSED, 10, "The reference's bid is above its ask"
    MARKET_DATA_STALE = codes.MARKET_DATA_STALE, 10, "The reference is too old"
    NO_FX_RATE = codes.NO_FX_RATE, 10, "The settlement currency has no rate to the base currency yet"
    DUPLICATE_ORDER = codes.DUPLICATE_ORDER, 11, "The same order too often within the window"
    DUPLICATE_ID = codes.DUPLICATE_ID, 11, "The client order id was used before"
    SELF_MATCH = codes.SELF_MATCH, 12, "It would trade with an own resting order of the account group"
    ORDER_THROTTLE = codes.ORDER_THROTTLE, 13, "Too many new orders and replaces a second"
    CANCEL_THROTTLE = codes.CANCEL_THROTTLE, 13, "Too many cancels a second"
    ORDER_TRADE_RATIO = codes.ORDER_TRADE_RATIO, 14, "Too many orders for the trades they made today"
    VOLUME_TRADE_RATIO = codes.VOLUME_TRADE_RATIO, 14, "Too much volume ordered for what was traded today"
    REPEATED_EXECUTION = (
        codes.REPEATED_EXECUTION,
        15,
        "Too many executions on this side: a person must acknowledge them first",
    )
    OPEN_ORDERS = codes.OPEN_ORDERS, 16, "Too many open orders"
    OPEN_VALUE = codes.OPEN_VALUE, 16, "Too much value in open orders"
    GATE_FULL = codes.GATE_FULL, 16, "The gate's table of open orders is full"
    POSITION_LIMIT = codes.POSITION_LIMIT, 17, "The position would be too large if all open orders filled"
    GROSS_NOTIONAL = codes.GROSS_NOTIONAL, 18, "The gross notional would be too large"
    NET_NOTIONAL = codes.NET_NOTIONAL, 18, "The net notional would be too large"
    MARGIN = codes.MARGIN, 20, "The initial margin would be above the equity less its buffer"
    CONCENTRATION = codes.CONCENTRATION, 22, "The position would be too large a part of the market"
    DEPTH_SHARE = codes.DEPTH_SHARE, 22, "The order is too large a part of the depth within 10 basis points"
    NO_MARKET_REFERENCE = (
        codes.NO_MARKET_REFERENCE,
        22,
        "The market's volume, open interest or depth is not known",
    )
    LOSS_LIMIT = codes.LOSS_LIMIT, 23, "The day's loss has reached its limit: the scope only reduces"
    DRAWDOWN_LIMIT = codes.DRAWDOWN_LIMIT, 23, "The drawdown has reached its limit: the scope only reduces"
    ANOMALY_FILLS = codes.ANOMALY_FILLS, 24, "The strategy filled too often: it only reduces"
    ANOMALY_SLIPPAGE = (
        codes.ANOMALY_SLIPPAGE,
        24,
        "The strategy's slippage is far from its usual: it only reduces",
    )
    ANOMALY_REJECTS = (
        codes.ANOMALY_REJECTS,
        24,
        "Too many of the strategy's orders were refused: it only reduces",
    )
    TRADED_VALUE = codes.TRADED_VALUE, 25, "The day's traded value would be above its limit"
    VENUE_SHARE = codes.VENUE_SHARE, 26, "Too much of all equity is at the instrument's venue"
    SCOPE_REDUCE_ONLY = codes.SCOPE_REDUCE_ONLY, 27, "The scope only reduces, and this order does not"
    SCOPE_CANCEL_ONLY = codes.SCOPE_CANCEL_ONLY, 27, "The scope only cancels"
    SCOPE_KILLED = codes.SCOPE_KILLED, 27, "The scope is killed"
    REDUCE_ONLY_EXCEEDED = (
        codes.REDUCE_ONLY_EXCEEDED,
        27,
        "A reduce-only order is larger than what is left to reduce",
    )
    INSTRUMENT_REDUCE_ONLY = (
        codes.INSTRUMENT_REDUCE_ONLY,
        27,
        "The instrument may only be reduced, and this order does not",
    )
    INSTRUMENT_HALTED = codes.INSTRUMENT_HALTED, 27, "The instrument takes cancels only"
    LEG_RISK = (
        codes.LEG_RISK,
        28,
        "The strategy's legs have been out of balance for too long: only hedges pass",
    )
    CLOCK_SKEW = codes.CLOCK_SKEW, 29, "The order's time is too far from the lane's"
    REFERENCE_IN_FUTURE = codes.REFERENCE_IN_FUTURE, 29, "The order's reference price is from the future"
    RISK_LOG_GAP = codes.RISK_LOG_GAP, 29, "The risk log has a gap: nothing passes"
    NO_LIMIT = codes.NO_LIMIT, 30, "No limit is set for a control that needs one"

    WOULD_CROSS = 201, 0, "A post-only order would trade on arrival"
    UNKNOWN_ORDER = 202, 0, "The venue does not know the order"
    TOO_LATE_TO_CANCEL = 203, 0, "The order is already filled, canceled or expired"
    VENUE_HALTED = 204, 0, "Trading in the instrument is halted"
    NO_LIQUIDITY = 205, 0, "Nothing to trade with"
    IOC_REMAINDER = 206, 0, "What an immediate-or-cancel order did not fill"
    FOK_NOT_FILLABLE = 207, 0, "A fill-or-kill order that could not fill whole"
    ORDER_EXPIRED = 208, 0, "The order's time in force ended"
    DUPLICATE_CL_ORD_ID = 209, 0, "The venue has seen this client order id"
    VENUE_SELF_TRADE = 210, 0, "The venue's self-trade prevention acted"
    VENUE_INVALID_ORDER = 211, 0, "The venue found a field or a combination invalid"
    VENUE_PRICE_BAND = 212, 0, "The price is outside the venue's band"
    INSUFFICIENT_FUNDS = 213, 0, "The venue found too little balance or margin"
    VENUE_REDUCE_ONLY = 214, 0, "The venue found nothing to reduce"
    VENUE_THROTTLE = 215, 0, "The venue's rate limit"
    VENUE_CLOSED = 216, 0, "The market is closed"
    VENUE_CANCELED = 217, 0, "The venue canceled the order unasked"
    GATEWAY_HELD = (
        218,
        0,
        "The gateway lets no new orders out now: not reconciled, or canceling all",
    )
    VENUE_DOWN = 219, 0, "No connection to the venue: the order never left"
    REQUEST_EXPIRED = 220, 0, "The request was too old when it came to the gateway; it was not sent"
    GATEWAY_HALTED = 221, 0, "A scope of the order is halted, and the gateway lets nothing of it out"
    BEFORE_HALT = 222, 0, "The order was checked before the last halt of a scope it is under; it was not sent"
    VENUE_OTHER = 299, 0, "Another reason of the venue's"

    DUPLICATE_COMMAND = 301, 0, "The command was seen before; it is done once"
    UNKNOWN_COMMAND = 302, 0, "The command names an order the lane does not know"
    ORDER_NOT_OPEN = 303, 0, "The order is not in a state that takes this request"
    REQUEST_PENDING = 304, 0, "A replace or cancel of the order is still unanswered"
    PARENT_NOT_OPEN = 305, 0, "The order's parent ended before it released the order"
    SIBLING_DONE = 306, 0, "Another order of its group filled or ended"
    INVALID_CONTINGENCY = 307, 0, "The links to parent or group do not fit"
    ACK_TIMEOUT = 308, 0, "No answer from the venue in time; its state is unknown"
    STRATEGY_FAILED = 309, 0, "The strategy raised, so its orders were canceled"
    RUN_ENDED = 310, 0, "The run ended with the order open"
    CMD_ID_REUSED = 311, 0, "Another order has this command id already"
    STALE_COMMAND = 312, 0, "The command id is not above those whose orders the lane has forgotten"
    ILLEGAL_REPLACE = 313, 0, "The order's type or filled quantity does not admit this replace"
    INVALID_COMMAND = 314, 0, "A field of the command is of the wrong type or out of range"
    CHILD_FILLED = 315, 0, "A child of the bracket has filled: what is left of the parent is canceled"
    UNCOVERED = 316, 0, "The parent filled more and its child is over for good: nothing covers the rest"
    NOT_FOUND = 317, 0, "The venue does not know the order, and said so after its reconciliation window"
    FILL_MISSING = 318, 0, "The venue says the order is over and names more fills than have come"
    LATE_FILL = 319, 0, "A fill of an order that was over: the position moves, the status stays"
    OVERFILL = 320, 0, "More filled than was ordered"
    FILL_BUSTED = 321, 0, "The venue took a fill back"
    ALIVE_AFTER_CLOSE = 322, 0, "An order concluded as not found is alive at the venue: it is canceled there"
    ORPHAN_REPORT = 323, 0, "A report for an order that the lane does not know or never sent"
    MALFORMED_REPORT = 324, 0, "A report whose fields cannot be true: not applied"
    UNKNOWN_FILL = 325, 0, "A trade cancel or correct of a fill that was taken back before"
    STALE_REPORT = 326, 0, "Counted only: a report that later ones have overtaken"
    DUPLICATE_REPORT = 327, 0, "Counted only: a report that was adopted before"
    EARLY_BUST = 328, 0, "Counted only: a trade cancel or correct that came before its fill, applied with it"
    INVALID_CONTROL = (
        329,
        0,
        "Counted only: a state, limit, lease or factor of what does not exist, or that cannot be read",
    )
    LIMIT_BELOW_USE = (
        330,
        0,
        "Counted only: a limit was lowered below what is in use; until it fits, only what reduces passes",
    )
    FOREIGN_COMMAND = (
        331,
        0,
        "Counted only: an entry whose sender had no right to say it; none of it is applied",
    )
    ADOPTED = 340, 0, "People took a position that was at the venue into the books; it was not traded here"
    NOT_ADOPTED = 341, 0, "Counted only: a position had moved since people looked at it; nothing was adopted"
    BEING_FLATTENED = 332, 0, "People flatten a scope of the order: only the house closes what is held there"
    NOT_OF_STEP = 334, 0, "An order of a margin call that its step does not ask for, or not any more"
    ENTRY_SKIPPED = 342, 0, "Counted only: an entry that breaks the lane, passed over by two people's word"
    ENTRY_TOO_LARGE = 343, 0, "Counted only: an entry of too many messages; none of it is applied"
    LANE_FULL = 399, 0, "The lane's tables are full"


GATE_REASONS = tuple(reason for reason in Reason if 0 < reason < 200)


_BY_NUMBER = {int(reason): reason for reason in Reason}


def describe(number: int) -> str:
    """`POSITION_LIMIT: The position would be …`; an unlisted number is named by itself."""
    reason = _BY_NUMBER.get(number)
    return f"reason {number}" if reason is None else f"{reason.name}: {reason.text}"
