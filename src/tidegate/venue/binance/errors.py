"""Binance's error codes: what each means for an order, and which mean that nothing is known."""

from __future__ import annotations

from tidegate.risk.reasons import Reason

TIMESTAMP, NO_SUCH_ORDER, CANCEL_REFUSED = -1021, -2013, -2011
UNKNOWN_ORDER = frozenset({NO_SUCH_ORDER, CANCEL_REFUSED})
UNKNOWN_OUTCOME = frozenset({-1000, -1001, -1006, -1007})
"""The request may have been carried out all the same."""
BAD_KEY = frozenset({-1002, -1022, -2008, -2014, -2015})
"""The session itself is refused: key, signature, address or permission."""
THROTTLED = frozenset({-1003, -1008, -1015, -1034})

_REASONS: dict[int, Reason] = {
    **dict.fromkeys(THROTTLED, Reason.VENUE_THROTTLE),
    -1021: Reason.VENUE_OTHER,
    -1013: Reason.VENUE_INVALID_ORDER,
    -2011: Reason.UNKNOWN_ORDER,
    -2013: Reason.UNKNOWN_ORDER,
    -2018: Reason.INSUFFICIENT_FUNDS,
    -2019: Reason.INSUFFICIENT_FUNDS,
    -2020: Reason.NO_LIQUIDITY,
    -2024: Reason.VENUE_REDUCE_ONLY,
    -2026: Reason.VENUE_REDUCE_ONLY,
    -2027: Reason.INSUFFICIENT_FUNDS,
    -2028: Reason.INSUFFICIENT_FUNDS,
    -2039: Reason.UNKNOWN_ORDER,
    -4016: Reason.VENUE_PRICE_BAND,
    -4024: Reason.VENUE_PRICE_BAND,
    -4108: Reason.VENUE_CLOSED,
    -4116: Reason.DUPLICATE_CL_ORD_ID,
    -4118: Reason.VENUE_REDUCE_ONLY,
    -4140: Reason.VENUE_HALTED,
    -4131: Reason.VENUE_PRICE_BAND,
    -5021: Reason.FOK_NOT_FILLABLE,
    -5022: Reason.WOULD_CROSS,
}
_BY_SCOPE: dict[tuple[str, int], Reason] = {
    ("futures", -2021): Reason.VENUE_INVALID_ORDER,  # a stop would trigger at once
    ("futures", -2022): Reason.VENUE_REDUCE_ONLY,
}
_TEXTS = (
    ("insufficient balance", Reason.INSUFFICIENT_FUNDS),
    ("margin is insufficient", Reason.INSUFFICIENT_FUNDS),
    ("immediately match", Reason.WOULD_CROSS),
    ("cancel restrictions", Reason.TOO_LATE_TO_CANCEL),
    ("duplicate", Reason.DUPLICATE_CL_ORD_ID),
    ("market is closed", Reason.VENUE_CLOSED),
    ("not permitted for this symbol", Reason.VENUE_CLOSED),
    ("trading is disabled", Reason.VENUE_HALTED),
    ("halt", Reason.VENUE_HALTED),
    ("percent_price", Reason.VENUE_PRICE_BAND),
    ("filter failure", Reason.VENUE_INVALID_ORDER),
    ("trigger immediately", Reason.VENUE_INVALID_ORDER),
    ("liquidity", Reason.NO_LIQUIDITY),
)
"""What the message of a code that means many things (−2010, −1013) says."""


def reason(code: int, message: str, scope: str) -> Reason:
    """Why a request was refused, in the platform's codes. `scope` is the product's `error_scope`."""
    found = _BY_SCOPE.get((scope, code))
    if found is not None:
        return found
    if code in (-2010, -2011, -1013) or code not in _REASONS:
        low = message.lower()
        for text, meaning in _TEXTS:
            if text in low:
                return meaning
    if code in _REASONS:
        return _REASONS[code]
    if -1199 <= code <= -1100 or -4199 <= code <= -4000:  # parameters; filters
        return Reason.VENUE_INVALID_ORDER
    return Reason.VENUE_OTHER


class VenueError(Exception):
    """The venue answered a request with an error: HTTP status, its code, its words."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(f"{message} (code {code}, HTTP {status})")
        self.status = status
        self.code = code
        self.message = message
