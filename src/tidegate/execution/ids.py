"""ClOrdIDs: a function of the lane and its own count of orders, so that a replay names every order alike.

An id is a positive int64: the lane's number in the upper 23 bits below the sign, the sequence in the lower
40. That is 8,388,607 lanes of 1.1e12 orders each; lane 0 is allowed, sequence 0 is not (ClOrdID 0 means
    none).
"""

from __future__ import annotations

HOUSE_IDS = 1 << 62
"""From here on cmd_ids are the house's own, for orders that it places in a strategy's name (`flattener`, `reducer`): they are
no part of the strategy's count."""
MARGIN_IDS = HOUSE_IDS | 1 << 61
"""From here on they are of margin calls: the number of what is to be closed (`reductions.Cut`), moved up by
`SLICE_BITS`, and which order of it, from 1."""
SLICE_BITS = 20
SEQUENCE_BITS = 40
MAX_SEQUENCE = (1 << SEQUENCE_BITS) - 1
MAX_LANE = (1 << (63 - SEQUENCE_BITS)) - 1


def cl_ord_id(lane: int, sequence: int) -> int:
    """The ClOrdID of a lane's order number `sequence`; raises `ValueError` outside the two ranges."""
    if not 0 <= lane <= MAX_LANE:
        raise ValueError(f"lane {lane} is outside 0 … {MAX_LANE}")
    if not 0 < sequence <= MAX_SEQUENCE:
        raise ValueError(f"order sequence {sequence} is outside 1 … {MAX_SEQUENCE}")
    return lane << SEQUENCE_BITS | sequence


def lane_of(order_id: int) -> int:
    """The lane that gave this ClOrdID."""
    return order_id >> SEQUENCE_BITS


def sequence_of(order_id: int) -> int:
    """The order's number within its lane, from 1."""
    return order_id & MAX_SEQUENCE


def origin_of(cmd_id: int) -> str:
    """Who asked for the order: `strategy`; `flatten`, people by that command; `margin`, a margin call."""
    return "strategy" if cmd_id < HOUSE_IDS else "margin" if cmd_id >= MARGIN_IDS else "flatten"
