"""What a strategy is told when it starts again: what is open, what ended lately, and children that may come again."""

from __future__ import annotations

from lane_world import events, new, sends, universe

from tidegate.execution.core import Lane
from tidegate.execution.strategy_view import ENDED, strategy_view
from tidegate.model.messages import OrderEvent, Report, SendNew
from tidegate.model.order import Contingency, ExecType, OrdStatus, Side
from tidegate.risk.gate import Gate
from tidegate.risk.ledger import Ledger
from tidegate.risk.limits import unlimited
from tidegate.risk.scopes import ScopeTable
from tidegate.strategy.orders import StrategyOrder

STRATEGY = 0


def lane() -> Lane:
    u = universe()
    return Lane(0, u, Gate(u, ScopeTable.simple(1), unlimited(), open_orders=256), Ledger(u))


def place(made: Lane, cmd_id: int, **more) -> int:
    """A new order, acknowledged."""
    fields = {"account": 0, "strategy": STRATEGY, "ref_bid": 100, "ref_ask": 101, "ref_ts": 1, **more}
    (request,) = sends(made.apply(new(cmd_id, **fields)), SendNew)
    made.apply(Report(2, request.cl_ord_id, ExecType.NEW))
    return request.cl_ord_id


def fill(made: Lane, key: int, qty: int, exec_id: int) -> list[OrderEvent]:
    report = Report(3, key, ExecType.TRADE, exec_id=exec_id, last_qty=qty, last_px=100)
    return events(made.apply(report))


def test_open_orders_and_those_that_ended_lately_are_told():
    made = lane()
    keys = [place(made, n, qty=1) for n in range(1, ENDED + 11)]
    for key in keys[:-1]:
        fill(made, key, 1, key)
    view = strategy_view(made, STRATEGY, 7)
    told = {found.command.cmd_id: found.event.status for found in view.orders}
    assert view.last_cmd == len(keys)
    assert told.pop(len(keys)) is OrdStatus.NEW
    assert sorted(told) == list(range(10, len(keys)))
    assert set(told.values()) == {OrdStatus.FILLED}


def test_a_child_that_is_over_for_now_is_told_for_more_of_it_may_come():
    """Its parent has filled in part and so has it: what fills next is covered by a further order of its command."""
    made = lane()
    parent = place(made, 1, qty=4)
    made.apply(
        new(
            2, qty=4, price=110, side=Side.SELL, account=0, strategy=STRATEGY, parent_cmd_id=1,
            contingency=Contingency.OTO, ref_bid=100, ref_ask=101, ref_ts=1,
        )
    )  # fmt: skip
    (request,) = sends(
        made.apply(Report(3, parent, ExecType.TRADE, exec_id=1, last_qty=2, last_px=100)), SendNew
    )
    made.apply(Report(4, request.cl_ord_id, ExecType.NEW))
    fill(made, request.cl_ord_id, 2, 2)
    for n in range(10, 10 + ENDED):  # so many end after it that it is not among the last
        fill(made, place(made, n, qty=1), 1, n)
    view = strategy_view(made, STRATEGY, 0)
    assert {1: OrdStatus.PARTIALLY_FILLED, 2: OrdStatus.FILLED}.items() <= {
        found.command.cmd_id: found.event.status for found in view.orders
    }.items()


def test_events_say_the_side_and_a_bust_takes_the_average_price_back():
    made = lane()
    key = place(made, 1, qty=4, side=Side.SELL, price=90)
    (first,) = fill(made, key, 1, 11)
    second = events(made.apply(Report(4, key, ExecType.TRADE, exec_id=12, last_qty=1, last_px=120)))[0]
    bust = events(made.apply(Report(5, key, ExecType.TRADE_CANCEL, exec_id=13, ref_exec_id=12)))[0]
    assert {event.side for event in (first, second, bust)} == {Side.SELL}
    order = StrategyOrder(None, new(1, qty=4, side=Side.SELL))
    for event in (first, second):
        order.adopt(event)
    assert order.avg_px == 110
    order.adopt(bust)
    assert (order.avg_px, order.cum_qty) == (100, 1)
