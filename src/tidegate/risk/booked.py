"""Whether an order event moved the books. A lane also tells of reports that it did not apply, with what they said of a
fill: who adds fills up to a position must not count those."""

from __future__ import annotations

from tidegate.model.messages import OrderEvent
from tidegate.model.order import ExecType
from tidegate.risk.reasons import Reason

_SIGNS: dict[ExecType | None, int] = {
    ExecType.TRADE: 1, ExecType.TRADE_CANCEL: -1, ExecType.TRADE_CORRECT: 1,
}  # fmt: skip
NOT_APPLIED = frozenset((Reason.ORPHAN_REPORT, Reason.MALFORMED_REPORT))
"""Reports of which nothing was taken into any state."""
_IN_NO_BOOK = NOT_APPLIED | {Reason.UNKNOWN_FILL}


def booked(event: OrderEvent) -> int:
    """1 for a fill that was booked, −1 for one that was taken back, 0 for all else. A correction is told as the old fill
    taken back, then as the fill as it is."""
    sign = _SIGNS.get(event.exec_type, 0)
    return sign if sign and event.reason not in _IN_NO_BOOK else 0
