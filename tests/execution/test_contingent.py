"""OCO, OTO and brackets, rule by rule."""

from __future__ import annotations

import pytest
from lane_world import THROTTLED, events, lane, new, sends

from tidegate.execution.state import Settings
from tidegate.model.messages import (
    CancelOrder,
    Mark,
    Message,
    ReplaceOrder,
    Report,
    SendCancel,
    SendNew,
    SendReplace,
    Tick,
)
from tidegate.model.order import Contingency, ExecType, OrdStatus, OrdType, Side, TimeInForce
from tidegate.risk.reasons import Reason


class Desk:
    """A lane, and a venue that answers what it is told to."""

    def __init__(self, **more) -> None:
        self.lane = lane(**more)
        self.ts = 10
        self.execs = 0

    def apply(self, msg: Message) -> list[Message]:
        self.ts += 1
        out = self.lane.apply(msg)
        self.lane.check()
        return out

    def place(self, cmd_id: int, **more) -> list[Message]:
        return self.apply(new(cmd_id, ts=self.ts, **more))

    def entry(self, qty: int = 10, **children) -> None:
        """A parent, acknowledged, then its children by cmd_id."""
        self.place(1, qty=qty)
        self.ack(1)
        for name, more in children.items():
            self.place(int(name[1:]), side=Side.SELL, parent_cmd_id=1, **{"qty": qty, **more})

    def bracket(self, qty: int = 10) -> None:
        """An entry with take-profit 2 and stop 3."""
        oco = {"contingency": Contingency.OCO, "link_group": 5}
        self.entry(
            qty, c2=dict(price=110, **oco), c3=dict(price=0, ord_type=OrdType.STOP, stop_price=90, **oco)
        )

    def order(self, cmd_id: int):
        return self.lane.by_command(cmd_id)

    def ack(self, cmd_id: int) -> list[Message]:
        return self.report(cmd_id, ExecType.NEW)

    def fill(self, cmd_id: int, qty: int) -> list[Message]:
        self.execs += 1
        return self.report(cmd_id, ExecType.TRADE, exec_id=self.execs, last_qty=qty, last_px=100)

    def replaced(self, cmd_id: int) -> list[Message]:
        order = self.order(cmd_id)
        return self.report(cmd_id, ExecType.REPLACED, qty=order.pending_qty, price=order.pending_price)

    def report(self, cmd_id: int, exec_type: ExecType, **more) -> list[Message]:
        key = self.order(cmd_id).cl_ord_id
        return self.apply(Report(self.ts, key, exec_type, ts_venue=self.ts, **more))

    def status(self, *cmd_ids: int) -> list[str]:
        return [self.order(n).status.name for n in cmd_ids]

    @property
    def charged(self) -> int:
        return sum(self.lane.state.gate.charges.values())


def oco(desk: Desk, *cmd_ids: int) -> None:
    for n in cmd_ids:
        desk.place(n, contingency=Contingency.OCO, link_group=9)
        desk.ack(n)


@pytest.mark.parametrize("qty", [1, 10])
def test_the_first_fill_of_an_oco_order_cancels_its_siblings(qty):
    desk = Desk()
    oco(desk, 1, 2, 3)
    out = desk.fill(2, qty)
    assert [m.cl_ord_id for m in sends(out, SendCancel)] == [desk.order(1).cl_ord_id, desk.order(3).cl_ord_id]
    assert desk.status(1, 3) == ["PENDING_CANCEL"] * 2
    assert desk.order(2).leaves_qty == 10 - qty, "the one that filled goes on"
    assert sends(desk.fill(2, 1)) == [], "and triggers once"


def test_both_fills_of_a_race_stand():
    desk = Desk()
    oco(desk, 1, 2)
    desk.fill(1, 10)
    desk.fill(2, 10)
    assert desk.status(1, 2) == ["FILLED", "FILLED"]
    assert desk.lane.state.ledger.positions == {0: 20}


def test_a_cancelled_member_leaves_the_others_alone():
    desk = Desk()
    oco(desk, 1, 2)
    desk.apply(CancelOrder(desk.ts, 1))
    assert sends(desk.report(1, ExecType.CANCELED)) == []
    assert desk.status(2) == ["NEW"]


def test_a_member_that_comes_after_the_trigger_is_denied():
    desk = Desk()
    oco(desk, 1)
    desk.fill(1, 10)
    (told,) = desk.place(2, contingency=Contingency.OCO, link_group=9)
    assert (told.status, told.reason) == (OrdStatus.DENIED, Reason.SIBLING_DONE)
    assert desk.charged == 0


def test_groups_of_different_strategies_do_not_meet():
    desk = Desk()
    desk.place(1, contingency=Contingency.OCO, link_group=9)
    desk.place(2, contingency=Contingency.OCO, link_group=9, strategy=8)
    assert sends(desk.fill(1, 10)) == []


def test_a_throttled_cancel_of_a_sibling_is_owed_and_sent_at_a_tick():
    desk = Desk()
    oco(desk, 1, 2)
    desk.lane.state.gate.cancels_allowed = False
    assert sends(desk.fill(1, 10)) == []
    assert desk.order(2).target is OrdStatus.CANCELED
    assert sends(desk.apply(Tick(desk.ts))) == []
    desk.lane.state.gate.cancels_allowed = True
    assert len(sends(desk.apply(Tick(desk.ts)), SendCancel)) == 1
    assert sends(desk.apply(Tick(desk.ts))) == []
    assert THROTTLED not in desk.lane.counts


def test_a_child_waits_uncharged_until_its_parent_fills():
    desk = Desk()
    desk.entry(c2={})
    assert desk.status(2) == ["CREATED"]
    assert desk.charged == 10, "the parent alone"
    child, parent = desk.order(2), desk.order(1)
    assert (child.parent, child.root) == (parent.cl_ord_id, parent.cl_ord_id)
    out = desk.fill(1, 4)
    (sent,) = sends(out, SendNew)
    assert (sent.cl_ord_id, sent.qty, sent.side) == (child.cl_ord_id, 4, Side.SELL)
    assert desk.charged == 6 + 4


def test_a_child_grows_by_a_replace_as_its_parent_fills():
    desk = Desk()
    desk.entry(c2={"price": 110})
    desk.fill(1, 4)
    assert sends(desk.fill(1, 3)) == [], "not before the child is acknowledged"
    (sent,) = sends(desk.ack(2), SendReplace)
    assert (sent.qty, sent.price) == (7, 110)
    assert sends(desk.fill(1, 3)) == [], "nor while a replace is under way"
    (sent,) = sends(desk.replaced(2), SendReplace)
    assert sent.qty == 10
    desk.replaced(2)
    assert (desk.order(2).qty, desk.status(1, 2)) == (10, ["FILLED", "NEW"])


def test_a_childs_quantity_is_in_proportion_to_its_parents():
    desk = Desk()
    desk.entry(10, c2={"qty": 25})
    assert sends(desk.fill(1, 3), SendNew)[0].qty == 7, "25 × 3 ÷ 10, rounded down"
    desk.ack(2)
    assert sends(desk.fill(1, 7), SendReplace)[0].qty == 25


def test_a_fill_too_small_for_one_lot_of_the_child_releases_nothing():
    desk = Desk()
    desk.entry(10, c2={"qty": 1})
    assert sends(desk.fill(1, 9)) == []
    assert sends(desk.fill(1, 1), SendNew)[0].qty == 1


def test_a_child_that_has_filled_is_followed_by_another_for_the_rest():
    desk = Desk()
    desk.entry(c2={"price": 110})
    desk.fill(1, 4)
    first = desk.order(2)
    desk.ack(2)
    desk.fill(2, 4)
    (sent,) = sends(desk.fill(1, 6), SendNew)
    second = desk.order(2)
    assert (sent.qty, sent.price, sent.cl_ord_id) == (6, 110, second.cl_ord_id)
    assert (second.cmd_id, second.parent) == (first.cmd_id, first.parent)
    assert second.cl_ord_id > first.cl_ord_id
    (again,) = desk.place(2, side=Side.SELL, parent_cmd_id=1)
    assert again.cl_ord_id == second.cl_ord_id, "a retry of the child is no second child"


def test_an_order_that_follows_has_the_price_last_replaced():
    desk = Desk()
    desk.entry(c2={"price": 110})
    desk.fill(1, 4)
    desk.ack(2)
    desk.apply(ReplaceOrder(desk.ts, 2, price=108))
    desk.replaced(2)
    desk.fill(2, 4)
    assert sends(desk.fill(1, 6), SendNew)[0].price == 108


def test_every_fill_of_a_parent_has_its_own_immediate_hedge():
    desk = Desk()
    desk.entry(c2={"ord_type": OrdType.MARKET, "price": 0, "time_in_force": TimeInForce.IOC})
    hedged = []
    for qty in (4, 5, 1):
        (sent,) = sends(desk.fill(1, qty), SendNew)
        hedged.append(sent.qty)
        desk.report(2, ExecType.CANCELED) if qty == 5 else desk.fill(2, qty)
    assert hedged == [4, 5, 1], "what an immediate order did not get is not asked for again"


def test_a_parent_that_ends_unfilled_cancels_its_children():
    desk = Desk()
    desk.entry(c2={}, c3={})
    out = desk.report(1, ExecType.EXPIRED)
    assert [event.reason for event in events(out)[1:]] == [Reason.PARENT_NOT_OPEN] * 2
    assert desk.status(2, 3) == ["CANCELED", "CANCELED"]
    assert sends(out) == []


def test_a_parent_that_ends_in_part_keeps_what_was_released():
    desk = Desk()
    desk.entry(c2={})
    desk.fill(1, 4)
    desk.ack(2)
    desk.report(1, ExecType.CANCELED)
    assert desk.status(1, 2) == ["CANCELED", "NEW"]
    assert desk.order(2).qty == 4


def test_a_late_fill_of_a_parent_is_covered_though_its_child_was_cancelled():
    desk = Desk()
    desk.entry(c2={})
    desk.report(1, ExecType.CANCELED)
    first = desk.order(2)
    assert first.status is OrdStatus.CANCELED
    (sent,) = sends(desk.fill(1, 4), SendNew)
    assert sent.qty == 4
    assert desk.order(2) is not first


def test_a_child_of_a_parent_that_has_filled_is_sent_at_once():
    desk = Desk()
    desk.place(1)
    desk.ack(1)
    desk.fill(1, 10)
    assert sends(desk.place(2, side=Side.SELL, parent_cmd_id=1), SendNew)[0].qty == 10


@pytest.mark.parametrize("denied", [True, False])
def test_a_child_of_a_parent_that_is_over_is_cancelled_at_once(denied):
    desk = Desk(max_qty=10)
    desk.place(1, qty=11 if denied else 10)
    if not denied:
        desk.report(1, ExecType.REJECTED)
    desk.place(2, side=Side.SELL, parent_cmd_id=1)
    assert desk.status(2) == ["CANCELED"]


def test_a_child_of_nobody_is_refused():
    (told,) = Desk().place(2, parent_cmd_id=99)
    assert told.reason == Reason.INVALID_CONTINGENCY


def test_a_child_its_owner_cancelled_is_not_released_and_what_fills_is_told_as_uncovered():
    desk = Desk()
    desk.entry(c2={})
    desk.apply(CancelOrder(desk.ts, 2))
    out = desk.fill(1, 4)
    assert sends(out) == []
    assert (events(out)[-1].reason, events(out)[-1].cmd_id) == (Reason.UNCOVERED, 1)


def test_an_immediate_child_its_owner_cancelled_is_not_followed():
    desk = Desk()
    desk.entry(c2={"ord_type": OrdType.MARKET, "price": 0})
    desk.fill(1, 4)
    desk.apply(CancelOrder(desk.ts, 2))
    desk.report(2, ExecType.CANCELED)
    out = desk.fill(1, 4)
    assert sends(out) == []
    assert events(out)[-1].reason == Reason.UNCOVERED


def test_an_immediate_child_that_lost_to_its_sibling_is_not_followed():
    desk = Desk()
    oco = {"contingency": Contingency.OCO, "link_group": 5}
    desk.entry(c2={"price": 110, **oco}, c3={"time_in_force": TimeInForce.IOC, **oco})
    desk.fill(1, 4)
    desk.fill(2, 4)
    desk.report(3, ExecType.CANCELED)
    assert [m.price for m in sends(desk.fill(1, 6), SendNew)] == [110]


def test_a_child_the_gate_denies_is_over_for_good():
    desk = Desk(max_qty=10)
    desk.entry(c2={"qty": 30})
    out = desk.fill(1, 4)
    assert [event.status.name for event in events(out)] == ["PARTIALLY_FILLED", "DENIED"]
    assert events(desk.fill(1, 4))[-1].reason == Reason.UNCOVERED


def test_a_growth_the_gate_refuses_is_told_once_and_tried_at_every_tick():
    desk = Desk(max_qty=10)
    desk.entry(c2={"qty": 20})
    desk.fill(1, 4)
    told = events(desk.ack(2) + desk.fill(1, 4))
    assert (told[-1].exec_type, told[-1].limit, told[-1].value) == (ExecType.CANCEL_REJECTED, 10, 16)
    assert desk.apply(Tick(desk.ts)) == []
    desk.lane.state.gate.max_qty = 100
    assert sends(desk.apply(Tick(desk.ts)), SendReplace)[0].qty == 16
    desk.replaced(2)
    assert desk.apply(Tick(desk.ts)) == []


def test_a_growth_the_venue_refuses_is_tried_again_when_more_has_filled():
    desk = Desk()
    desk.entry(c2={})
    desk.fill(1, 4)
    desk.ack(2)
    desk.fill(1, 3)
    out = desk.report(2, ExecType.CANCEL_REJECTED, qty=7, price=100, status=OrdStatus.NEW)
    assert sends(out) == []
    assert sends(desk.fill(1, 2), SendReplace)[0].qty == 9


def test_a_child_is_judged_by_the_last_mark_in_the_log():
    desk = Desk()
    seen = []
    check = desk.lane.state.gate.check

    def watching(order, bid, ask, ref_ts, ts):
        seen.append((bid, ask, ref_ts))
        return check(order, bid, ask, ref_ts, ts)

    desk.lane.state.gate.check = watching
    desk.entry(c2={"ref_bid": 98, "ref_ask": 99, "ref_ts": 7})
    desk.fill(1, 4)
    desk.apply(Mark(desk.ts, 0, 104, 106))
    desk.ack(2)
    desk.fill(2, 4)
    desk.fill(1, 6)
    assert seen[1] == (98, 99, 7)
    assert seen[2][:2] == (104, 106)


def test_a_bust_does_not_shrink_a_child():
    desk = Desk()
    desk.entry(c2={})
    desk.fill(1, 4)
    desk.ack(2)
    desk.report(1, ExecType.TRADE_CANCEL, exec_id=99, ref_exec_id=1)
    assert desk.order(2).qty == 4
    assert sends(desk.fill(1, 4)) == [], "the same four lots are covered already"


def test_a_bracket_protects_from_the_first_fill():
    desk = Desk()
    desk.bracket()
    sent = sends(desk.fill(1, 4), SendNew)
    assert [(m.qty, m.price, m.stop_price) for m in sent] == [(4, 110, 0), (4, 0, 90)]


def test_the_first_exit_of_a_bracket_ends_the_other_and_the_entry():
    desk = Desk()
    desk.bracket()
    desk.fill(1, 4)
    desk.ack(2)
    desk.ack(3)
    out = desk.fill(2, 1)
    assert [m.cl_ord_id for m in sends(out, SendCancel)] == [desk.order(3).cl_ord_id, desk.order(1).cl_ord_id]
    assert desk.order(1).reason == Reason.CHILD_FILLED


def test_what_the_entry_fills_after_the_exit_is_covered_by_the_exit_that_filled():
    desk = Desk()
    desk.bracket()
    desk.fill(1, 4)
    desk.ack(2)
    desk.ack(3)
    desk.fill(2, 4)
    desk.report(3, ExecType.CANCELED)
    out = desk.fill(1, 6)
    (sent,) = sends(out, SendNew)
    assert (sent.qty, sent.price) == (6, 110)
    assert Reason.UNCOVERED not in desk.lane.counts, "the stop lost to its sibling, which covers"


def test_a_bracket_whose_entry_is_cancelled_unfilled_leaves_nothing():
    desk = Desk()
    desk.bracket()
    desk.apply(CancelOrder(desk.ts, 1))
    desk.report(1, ExecType.CANCELED)
    assert desk.status(1, 2, 3) == ["CANCELED"] * 3
    assert desk.lane.open_orders() == []
    assert desk.charged == 0


def test_grandchildren_wait_for_children():
    desk = Desk()
    desk.entry(c2={})
    desk.place(3, parent_cmd_id=2)
    desk.fill(1, 10)
    assert desk.status(2, 3) == ["PENDING_NEW", "CREATED"]
    desk.ack(2)
    assert sends(desk.fill(2, 5), SendNew)[0].qty == 5
    assert desk.order(3).root == desk.order(1).cl_ord_id


def test_a_family_ends_with_its_first_parent():
    desk = Desk()
    desk.entry(c2={})
    desk.place(3, parent_cmd_id=2)
    desk.report(1, ExecType.CANCELED)
    assert desk.status(1, 2, 3) == ["CANCELED"] * 3


def test_a_child_long_forgotten_does_not_leave_its_parent_unhedged():
    desk = Desk(settings=Settings(history=1))
    desk.entry(c2={"ord_type": OrdType.MARKET, "price": 0})
    desk.fill(1, 4)
    desk.fill(2, 4)
    for n in (11, 12, 13):
        desk.place(n)
        desk.report(n, ExecType.CANCELED)
    assert sends(desk.fill(1, 6), SendNew)[0].qty == 6
