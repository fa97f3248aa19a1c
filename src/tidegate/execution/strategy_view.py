"""What a strategy is told of itself when it starts again: its open orders and positions, as its lane holds them."""

from __future__ import annotations

import msgspec

from tidegate.execution.core import Lane
from tidegate.execution.ids import HOUSE_IDS
from tidegate.execution.state import LaneOrder
from tidegate.model.messages import NewOrder, OrderEvent
from tidegate.risk.ledger import Ledger

ENDED = 64
"""Orders told of that have ended: the last ones."""


class OpenOrder(msgspec.Struct, array_like=True, gc=False):
    """An order: the command that would ask for it as it stands, and the event that brings it there."""

    command: NewOrder
    event: OrderEvent
    cum_value: int


class StrategyView(msgspec.Struct, array_like=True, gc=False):
    """One strategy on one lane, after the event `events_at` of EVT_<n>; 0 until that is known.

    `last_cmd` is the highest command id the lane has seen of it. `orders` are those that are open, and of those that
    have ended the last ones, and children that may be released again. `positions` are signed lots by instrument.
    """

    lane: int
    events_at: int
    last_cmd: int
    orders: list[OpenOrder]
    positions: list[tuple[int, int]]


def strategy_view(lane: Lane, strategy: int, events_at: int = 0) -> StrategyView:
    """The strategy's view of `lane`, of which events up to `events_at` have been told."""
    s = lane.state
    assert isinstance(s.ledger, Ledger)
    mine = [order for order in s.live.values() if order.strategy == strategy]
    closed = [order for order in s.closed.values() if order.strategy == strategy]
    shown = {order.cmd_id: order for order in (*_children(lane, strategy), *closed[-ENDED:], *mine)}
    ids = [order.cmd_id for order in (*mine, *closed) if order.cmd_id < HOUSE_IDS]
    held: dict[int, int] = {}
    for (_, owner, instrument), position in s.ledger.positions():
        if owner == strategy:
            held[instrument] = held.get(instrument, 0) + position.lots
    return StrategyView(
        s.number,
        events_at,
        max([s.forgotten.get(strategy, 0), *ids]),
        [_open_order(order) for order in shown.values()],
        sorted(held.items()),
    )


def _children(lane: Lane, strategy: int) -> list[LaneOrder]:
    """Contingent orders of which more may come, though none is open."""
    s = lane.state
    commands = [link.command for links in s.links.values() for link in links if not link.over]
    mine = [s.by_cmd.get(command.cmd_id) for command in commands if command.strategy == strategy]
    return [order for order in mine if order is not None]


def _open_order(order: LaneOrder) -> OpenOrder:
    command = NewOrder(
        order.ts_submit, order.cmd_id, order.account, order.strategy, order.instrument, order.side, order.ord_type,
        order.qty, order.price, order.stop_price, order.time_in_force, order.exec_inst, order.display_qty,
        order.offset, order.expire_ts, contingency=order.contingency, link_group=order.link_group,
    )  # fmt: skip
    event = OrderEvent(
        order.ts_update, order.cl_ord_id, order.cmd_id, order.account, order.strategy, order.instrument, order.status,
        None, order.leaves_qty, order.cum_qty, version=order.version, side=order.side,
    )  # fmt: skip
    return OpenOrder(command, event, order.cum_value)
