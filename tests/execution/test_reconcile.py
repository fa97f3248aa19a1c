"""Every cell of the table of reconciliation, against a real lane; and what is held."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from lane_world import MS, lane
from reconcile_world import ACCOUNT, LANE, RULES, SECOND, Shown, reach, world

from tidegate.execution.ids import cl_ord_id
from tidegate.execution.lane_view import ViewRequest
from tidegate.execution.reconcile import (
    Looks,
    VenueView,
    answer_view,
    compare,
    lane_view,
    read_view,
    view_request,
)
from tidegate.execution.reconcile_table import (
    HOLDINGS,
    ORDERS,
    Act,
    Finding,
    Holding,
    Ours,
    Theirs,
    write_into,
)
from tidegate.model.messages import Report
from tidegate.model.order import ExecType, OrdStatus, Side
from tidegate.risk.reasons import Reason

DOC = Path(__file__).parents[2] / "docs" / "recovery.md"
CELLS = [pytest.param(*cell, act, id=f"{cell[0].name}-{cell[1].name}") for cell, act in ORDERS.items()]


def agree(w):
    """What the lane holds of the order is what the venue holds, unless a request of ours is still under way."""
    ours, theirs = w.lane.order(w.key), w.venue.orders[w.key]
    assert ours.cum_qty == theirs.cum
    assert ours.open == theirs.open
    if ours.open and ours.status not in (OrdStatus.PENDING_REPLACE, OrdStatus.PENDING_CANCEL):
        assert (ours.qty, ours.price) == (theirs.qty, theirs.price)


def quiet(plan):
    return not (plan.reports or plan.ask or plan.cancel or plan.alarms or plan.restrict)


def check_nothing(w, plan, before):
    assert quiet(plan)
    assert not plan.again


def check_adopt(w, plan, before):
    assert [(r.cl_ord_id, r.exec_type) for r in plan.reports] == [(w.key, ExecType.ORDER_STATUS)]
    assert not plan.cancel
    w.settle()  # a fill that the status counts is still to come: the lane asks for it
    agree(w)


def check_ask(w, plan, before):
    assert [question.cl_ord_id for question, _ in plan.ask] == [w.key]
    assert not plan.reports
    agree(w)


def check_ask_alert(w, plan, before):
    assert [question.cl_ord_id for question, _ in plan.ask] == [w.key]
    assert not plan.alarms
    agree(w)  # the answer brought the trade cancel that was missed


def check_append(w, plan, before):
    assert not plan.alarms
    assert not plan.cancel
    if w.key in w.venue.orders:
        assert w.lane.order(w.key).cum_qty == w.venue.orders[w.key].cum


def check_append_alert(w, plan, before):
    assert [alarm.kind for alarm in plan.alarms] == ["foreign_fill"]
    assert w.lane.counts[Reason.ORPHAN_REPORT] >= 1


def check_close(w, plan, before):
    assert w.lane.order(w.key).status is before, "one look is not enough"
    assert plan.again
    assert not plan.alarms
    plan = w.look()
    assert w.lane.order(w.key).status is OrdStatus.CANCELED
    assert w.lane.order(w.key).reason == Reason.NOT_FOUND
    assert [alarm.kind for alarm in plan.alarms] == ["order_lost"]
    check_nothing(w, w.look(), None)


def check_cancel(w, plan, before):
    assert quiet(plan), "one look is not enough"
    assert plan.again
    plan = w.look()
    assert [cancel.cl_ord_id for cancel in plan.cancel] == [w.key]
    assert [alarm.kind for alarm in plan.alarms] == ["stray_order"]
    assert not w.venue.orders[w.key].open
    assert quiet(w.look())


def check_alert(w, plan, before):
    (alarm,) = plan.alarms
    assert alarm.kind in ("foreign_order", "foreign_fill")
    assert not plan.cancel
    assert w.venue.orders[w.key].open or alarm.kind == "foreign_fill"
    assert quiet(w.look()), "told once"


CHECKS = {
    Act.NOTHING: check_nothing,
    Act.ADOPT: check_adopt,
    Act.ASK: check_ask,
    Act.ASK_ALERT: check_ask_alert,
    Act.APPEND: check_append,
    Act.APPEND_ALERT: check_append_alert,
    Act.CLOSE: check_close,
    Act.CANCEL: check_cancel,
    Act.ALERT: check_alert,
}


@pytest.mark.parametrize(("ours", "theirs", "act"), CELLS)
def test_each_cell_of_the_table(ours, theirs, act):
    w = reach(ours, theirs)
    order = w.lane.order(w.key) if w.key > 0 else None
    if order is not None and ours.name in OrdStatus.__members__:
        assert order.status.name == ours.name
    before = order.status if order else None
    moving = w.now - 5 * MS if ours is Ours.MOVING else None
    CHECKS[act](w, w.look(began=moving), before)


def test_every_state_an_order_can_have_has_its_row():
    named = {ours.name for ours in Ours} - {"MOVING", "FORGOTTEN", "NEVER_GIVEN", "FOREIGN", "CLOSED"}
    assert named == {status.name for status in OrdStatus if not status.terminal} | {"DENIED"}
    for ours in Ours:
        words = {theirs for o, theirs in ORDERS if o is ours}
        assert Theirs.OPEN in words or {Theirs.SAME, Theirs.AHEAD, Theirs.CHANGED, Theirs.GONE} <= words


def test_the_page_shows_the_tables_as_they_are():
    text = DOC.read_text()
    assert write_into(text) == text, "run: python -m tidegate.execution.reconcile_table docs/recovery.md"
    with pytest.raises(ValueError, match="markers"):
        write_into("# Recovery")


def test_an_order_that_stays_behind_is_told_at_the_second_look():
    w = reach(Ours.PARTIALLY_FILLED, Theirs.BEHIND)
    w.venue.orders[w.key].history.clear()  # a venue whose history does not tell of trade cancels
    kinds = [[alarm.kind for alarm in w.look().alarms] for _ in range(3)]
    assert kinds == [[], ["order_behind"], []]


def test_not_found_never_ends_an_order_with_fills_missing():
    w = reach(Ours.PARTIALLY_FILLED, Theirs.NOT_FOUND)
    w.tell(
        Report(w.now, w.key, ExecType.ORDER_STATUS, w.now, status=OrdStatus.CANCELED, cum_qty=5, leaves_qty=0)
    )
    assert w.lane.order(w.key).status is OrdStatus.UNKNOWN
    for _ in range(3):
        w.look()
    assert w.lane.order(w.key).open


def test_a_finding_that_is_gone_at_the_second_look_begins_anew():
    w = reach(Ours.CLOSED, Theirs.OPEN)
    assert w.look().again
    order = w.venue.orders[w.key]
    order.status = OrdStatus.CANCELED
    assert not w.look().again
    order.status = OrdStatus.NEW
    assert not w.look().cancel


def test_what_moves_and_differs_is_told_apart_from_what_only_moves():
    w = reach(Ours.NEW, Theirs.SAME)
    assert not w.look(began=w.now - 5 * MS).moving
    for theirs in (Theirs.GONE, Theirs.CHANGED, Theirs.AHEAD):
        w = reach(Ours.NEW, theirs)
        plan = w.look(began=w.now - 5 * MS)
        assert plan.moving
        assert quiet(plan)
        assert not w.look().moving


def test_an_order_of_another_installation_is_not_ours():
    w = world()
    w.inject(cl_ord_id(LANE + 1, 5))
    assert [alarm.kind for alarm in w.look().alarms] == ["foreign_order"]
    assert quiet(w.look())
    assert w.look().foreign == {0: 1}


def test_a_lane_that_does_not_answer_proves_nothing():
    w = reach(Ours.NEW, Theirs.GONE)
    stray = Shown(cl_ord_id(LANE, 999), 0, Side.BUY, 1, 1, 0, 1, OrdStatus.NEW, w.now)
    view = VenueView(w.now, w.now, [stray], positions={0: 5})
    plan = compare(view, {LANE: None}, Looks(), RULES)
    assert quiet(plan)
    assert not plan.again


# What is held.


def held(w, looks, positions=None, balances=None, moved=()):
    view = VenueView(
        w.now + 2 * SECOND, w.now + 2 * SECOND, w.shown(), positions=positions or {}, balances=balances or {},
        moved=frozenset(moved),
    )  # fmt: skip
    return compare(view, {LANE: lane_view(w.lane, ACCOUNT)}, looks, RULES)


def filled_world():
    w = world()
    w.key = w.place()
    w.fill(4, heard=True)
    return w


def test_every_measure_is_exercised_below():
    assert len(HOLDINGS) == len(Holding) * len(Finding)


def test_an_equal_position_is_quiet():
    w = filled_world()
    plan = held(w, Looks(), {0: 4, 1: 0})
    assert not plan.restrict
    assert not plan.again


def test_a_position_that_differs_twice_restricts_the_account_once():
    w = filled_world()
    first = held(w, Looks(), {0: 6})
    assert first.again
    assert not first.restrict
    second = held(w, first.looks, {0: 6})
    assert second.restrict == {0: 2}
    assert [alarm.kind for alarm in second.alarms] == ["position_mismatch"]
    third = held(w, second.looks, {0: 6})
    assert quiet(third), "people may have accepted it"
    other = held(w, held(w, third.looks, {0: 7}).looks, {0: 7})
    assert other.restrict == {0: 3}


def test_a_difference_that_changes_between_two_looks_is_none():
    w = filled_world()
    plan = held(w, held(w, Looks(), {0: 6}).looks, {0: 5})
    assert not plan.restrict
    assert plan.again


def test_once_equal_a_difference_is_told_again():
    w = filled_world()
    looks = held(w, held(w, Looks(), {0: 6}).looks, {0: 6}).looks
    looks = held(w, looks, {0: 4}).looks
    assert held(w, held(w, looks, {0: 6}).looks, {0: 6}).restrict == {0: 2}


def test_while_fills_come_a_difference_must_last_five_looks():
    w, looks = filled_world(), Looks()
    for n in range(1, 6):
        plan = held(w, looks, {0: 6}, moved=[0])
        assert bool(plan.restrict) is (n == 5)
        looks = plan.looks


def test_a_position_is_not_judged_while_its_fills_are_known_to_be_missing():
    w = filled_world()
    w.tell(
        Report(w.now, w.key, ExecType.ORDER_STATUS, w.now, status=OrdStatus.CANCELED, cum_qty=6, leaves_qty=0)
    )
    looks = held(w, Looks(), {0: 6}).looks
    assert not held(w, looks, {0: 6}).restrict


def test_balances_are_judged_by_how_their_difference_moves():
    w = filled_world()
    view = lane_view(w.lane, ACCOUNT)
    ours = Decimal(view.balances["USDT"]) / 10**8
    first = held(w, Looks(), balances={"USDT": ours + 1000, "DOGE": Decimal(7)})
    assert quiet(first)
    assert not first.again, "what was there before us is taken as given"
    second = held(w, first.looks, balances={"USDT": ours + 900})
    assert second.again
    third = held(w, second.looks, balances={"USDT": ours + 900})
    assert [alarm.kind for alarm in third.alarms] == ["balance_mismatch"]
    assert not third.restrict
    assert quiet(held(w, third.looks, balances={"USDT": ours + 900})), "told once"
    assert not held(w, third.looks, balances={"USDT": ours + 900 + Decimal("0.001")}).again, "rounding drifts"


def test_balances_wait_while_fills_come():
    w = filled_world()
    ours = Decimal(lane_view(w.lane, ACCOUNT).balances["USDT"]) / 10**8
    looks = held(w, Looks(), balances={"USDT": ours}).looks
    for n in range(1, 6):
        plan = held(w, looks, balances={"USDT": ours + 5}, moved=[1])
        assert bool(plan.alarms) is (n == 5)
        looks = plan.looks


# The lane's answer.


def test_a_view_travels():
    w = filled_world()
    w.tell(new_closed := w.venue.end(w.key, ExecType.CANCELED, w.now))
    assert new_closed.cl_ord_id == w.key
    view = read_view(answer_view(w.lane, 77, view_request(ACCOUNT, [w.key, 5])))
    assert (view.lane, view.seq, view.given) == (LANE, 77, 1)
    assert [(o.cl_ord_id, o.status, o.cum_qty) for o in view.closed] == [(w.key, OrdStatus.CANCELED, 4)]
    assert view.positions == {0: 4}
    assert view == lane_view(w.lane, ACCOUNT, 77)
    assert lane_view(w.lane, ACCOUNT + 1).positions == {}
    assert (
        read_view(answer_view(w.lane, 1, msgspec.msgpack.encode(ViewRequest(ACCOUNT)))).closed == view.closed
    )


def test_what_is_no_view_is_an_error():
    with pytest.raises(ValueError, match="not a lane's view"):
        read_view(b"\x93\x01\x02\x03")
    with pytest.raises(TypeError, match="SummingLedger"):
        lane_view(lane(), ACCOUNT)
