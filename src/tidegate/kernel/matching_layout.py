"""The matching engine's vocabulary as int64 words: commands in, reports out, and what its arrays hold.

Enumerations are those of `model.order`. Prices are ticks, quantities lots, times ns since the epoch. What the
words ask for, and the rules they follow, is in docs/matching.md.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from tidegate.model.order import ExecType

NO_PRICE = -(1 << 63)
"""The absent price, for 0 and negative prices are prices."""
PRICE_LIMIT = 1 << 50
"""Prices lie within ± this."""
MAX_QTY = 1 << 40
MAX_SPAN = 1 << 25
"""The lowest and the highest live price (resting orders, stop prices) lie less than this many ticks apart."""
ALL_OWNERS = -1
"""MASS_CANCEL of everybody's orders."""

# A command: one row of eight words.
(
    C_WHAT,  # kind, side, type, time in force, self-trade mode, instructions: see `what`
    C_ID,  # the order's id, unique among live orders
    C_OWNER,  # account group; self-trade prevention acts within one, and never in group 0
    C_QTY,  # total quantity; REPLACE: 0 keeps
    C_PRICE,  # limit price, or a pegged order's worst price (NO_PRICE: none); REPLACE: NO_PRICE keeps
    C_STOP,  # stop price; trailing stop: NO_PRICE starts at the last trade; REPLACE: NO_PRICE keeps
    C_EXTRA,  # ICEBERG: displayed quantity; TRAILING_STOP: distance; PEGGED: offset, away from the other side
    C_TIME,  # GTD: expiry; TIME: the time that it is
) = range(8)
COMMAND_WORDS = 8


class Command(IntEnum):
    """What a command asks for."""

    NEW = 1
    CANCEL = 2
    REPLACE = 3
    TIME = 4
    """The time is now C_TIME: GTD orders due by then expire."""
    END_OF_DAY = 5
    """DAY orders expire."""
    MASS_CANCEL = 6
    """Every order of C_OWNER."""


# A report: one row of eight words.
(
    R_WHAT,  # ExecType, side of the order, reason: see `exec_type`, `side_of`, `reason`
    R_ID,  # the order; TRADE: the incoming one
    R_CONTRA,  # TRADE: the resting order's id; a waiting stop: its stop price; else 0
    R_PRICE,  # TRADE: the resting order's price; else the order's limit, NO_PRICE for none
    R_QTY,  # TRADE: quantity; CANCELED, EXPIRED: what was taken away; RESTATED: displayed; else the total
    R_LEAVES,  # what remains open of the order
    R_CONTRA_LEAVES,  # TRADE: what remains open of the resting order; else 0
    R_SEQ,  # which command caused it, counted from 0 over the engine's life
) = range(8)
REPORT_WORDS = 8


class Reason(IntEnum):
    """Why: rejections first, then cancellations, expiries and restatements."""

    NONE = 0
    BAD_FIELD = 1
    """Unknown kind, side, type, time in force, self-trade mode or instruction."""
    BAD_QTY = 2
    """Quantity or displayed quantity out of range, or a replace down to what has filled already."""
    BAD_PRICE = 3
    """A price that is missing, out of range, or that this type of order does not have."""
    BAD_COMBINATION = 4
    """A type, a time in force and instructions that do not go together."""
    DUPLICATE_ID = 5
    UNKNOWN_ORDER = 6
    NO_REFERENCE = 7
    """A trailing stop without stop price before the first trade."""
    POST_ONLY = 8
    """It would trade on arrival."""
    PRICE_SPAN = 9
    """Too far from the other live prices: see MAX_SPAN."""
    TOO_LATE = 10
    """A GTD order already expired, or time running backwards."""
    REQUESTED = 16
    MASS_CANCEL = 17
    REMAINDER = 18
    """What an IOC or market order did not fill."""
    FILL_OR_KILL = 19
    SELF_TRADE = 20
    EXPIRY = 21
    END_OF_DAY = 22
    REFRESH = 23
    """An iceberg displays its next part."""
    PEG = 24
    """A pegged order follows its reference."""
    TRAIL = 25
    """A trailing stop follows the last trade."""


KIND_BITS = 0xF
SIDE_SHIFT, TYPE_SHIFT, TIF_SHIFT, STP_SHIFT, INST_SHIFT = 4, 8, 12, 16, 20
WHAT_BITS = 0xFFF_FFFF


def what(
    kind: Any, side: Any = 0, ord_type: Any = 0, time_in_force: Any = 0, self_trade: Any = 0, inst: Any = 0
) -> Any:
    """The first word of a command: scalars, enumeration members, or int64 arrays."""
    return (
        kind
        | (side << SIDE_SHIFT)
        | (ord_type << TYPE_SHIFT)
        | (time_in_force << TIF_SHIFT)
        | (self_trade << STP_SHIFT)
        | (inst << INST_SHIFT)
    )


# The same as plain integers, which kernels freeze at compile time.
DO_NEW, DO_CANCEL, DO_REPLACE, DO_TIME, DO_END_OF_DAY, DO_MASS_CANCEL = (int(c) for c in Command)
(
    EX_NEW,
    EX_TRADE,
    EX_CANCELED,
    EX_REPLACED,
    EX_REJECTED,
    EX_EXPIRED,
    EX_CANCEL_REJECTED,
    EX_RESTATED,
    EX_TRIGGERED,
) = (int(e) for e in list(ExecType)[:9])
(
    WHY_NONE,
    WHY_FIELD,
    WHY_QTY,
    WHY_PRICE,
    WHY_COMBINATION,
    WHY_DUPLICATE,
    WHY_UNKNOWN,
    WHY_NO_REFERENCE,
    WHY_POST_ONLY,
    WHY_SPAN,
    WHY_LATE,
    WHY_REQUESTED,
    WHY_MASS_CANCEL,
    WHY_REMAINDER,
    WHY_KILLED,
    WHY_SELF_TRADE,
    WHY_EXPIRY,
    WHY_END_OF_DAY,
    WHY_REFRESH,
    WHY_PEG,
    WHY_TRAIL,
) = (int(r) for r in Reason)

R_SIDE_SHIFT, R_REASON_SHIFT = 8, 16


def exec_type(word: Any) -> Any:
    """ExecType of a report's first word; scalar or array."""
    return word & 0xFF


def side_of(word: Any) -> Any:
    """Side of a report's first word; TRADE: of the incoming order. 0 where no order is known."""
    return (word >> R_SIDE_SHIFT) & 0xFF


def reason(word: Any) -> Any:
    """Reason of a report's first word; scalar or array."""
    return word >> R_REASON_SHIFT
