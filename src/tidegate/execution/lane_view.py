"""What a lane tells of one account, for reconciliation: asked at `oms.<lane>.orders`, answered by the lane's writer."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from tidegate.execution.core import Lane
from tidegate.execution.state import LaneOrder
from tidegate.model.order import OrdStatus, Side
from tidegate.risk.ledger import NOBODY, Ledger

ADOPTED = 64
"""Adoptions told of: the last ones."""
CLOSED = 1024
"""Closed orders told of where none are asked for by name: the last ones."""


class ViewRequest(msgspec.Struct, array_like=True, gc=False):
    """The question: an account, and the ClOrdIDs the venue has shown, which may be closed for the lane."""

    account: int
    ids: list[int] | None = None


class ViewOrder(msgspec.Struct, array_like=True, gc=False):
    """An order as its lane holds it. `missing`: the venue has named fills that have not come."""

    cl_ord_id: int
    account: int
    instrument: int
    side: Side
    status: OrdStatus
    qty: int
    price: int
    cum_qty: int
    leaves_qty: int
    ts_sent: int
    ts_update: int
    missing: bool
    strategy: int = -1


class LaneView(msgspec.Struct, array_like=True, gc=False):
    """One account in one lane, after entry `seq` of the lane's log.

    `orders` are all that are open; `closed` those asked for (else the last `CLOSED`) that are over and remembered;
    `given` how many ClOrdIDs the lane has given so far. `positions` are signed lots by instrument, over all
    strategies; `balances` cash in minor units by currency.
    """

    lane: int
    seq: int
    given: int
    orders: list[ViewOrder]
    closed: list[ViewOrder]
    positions: dict[int, int]
    balances: dict[str, int]
    nobody: dict[int, int] = {}
    """Of the positions, what no strategy holds."""
    adopted: list[str] = []
    """Commands of people to adopt positions of the account that were followed, by id: the last ones."""


def lane_view(lane: Lane, account: int, seq: int = 0, ids: Iterable[int] | None = None) -> LaneView:
    """The account as the lane holds it; `seq` is the last entry it has applied.

    Raises `TypeError` where the lane's ledger is not `risk.ledger.Ledger`.
    """
    s = lane.state
    if not isinstance(s.ledger, Ledger):
        raise TypeError(f"a lane's view needs risk.ledger.Ledger, this lane has {type(s.ledger).__name__}")
    if ids is None:
        remembered = list(s.closed.values())[-CLOSED:]
    else:
        remembered = [s.closed[key] for key in ids if key in s.closed]
    positions: dict[int, int] = {}
    nobody: dict[int, int] = {}
    for (owner, strategy, instrument), position in s.ledger.positions():
        if owner == account:
            positions[instrument] = positions.get(instrument, 0) + position.lots
            if strategy == NOBODY:
                nobody[instrument] = position.lots
    return LaneView(
        s.number,
        seq,
        s.seq,
        [_shown(order) for order in s.live.values() if order.account == account],
        [_shown(order) for order in remembered if order.account == account],
        positions,
        s.ledger.balances(account),
        nobody,
        [one.id for one in s.adopted if one.account == account][-ADOPTED:],
    )


def _shown(order: LaneOrder) -> ViewOrder:
    missing = order.closing is not OrdStatus.CREATED or order.venue_cum > order.cum_qty
    return ViewOrder(
        order.cl_ord_id, order.account, order.instrument, order.side, order.status, order.qty, order.price,
        order.cum_qty, order.leaves_qty, order.ts_sent, order.ts_update, missing,
        order.strategy,
    )  # fmt: skip


_encoder = msgspec.msgpack.Encoder()
_view = msgspec.msgpack.Decoder(LaneView)
_request = msgspec.msgpack.Decoder(ViewRequest)


def view_request(account: int, ids: Iterable[int]) -> bytes:
    """The question as bytes."""
    return _encoder.encode(ViewRequest(account, list(ids)))


def answer_view(lane: Lane, seq: int, question: bytes) -> bytes:
    """The answer of the lane's writer, which has applied entries up to `seq`."""
    asked = _request.decode(question)
    return _encoder.encode(lane_view(lane, asked.account, seq, asked.ids))


def read_view(data: bytes) -> LaneView:
    """The answer read; raises `ValueError` where it is none."""
    try:
        return _view.decode(data)
    except ValueError as error:
        raise ValueError(f"not a lane's view: {error}") from None
