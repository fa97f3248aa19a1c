"""Reports: adopted once, in whatever order they come."""

from __future__ import annotations

import itertools

import pytest
from lane_world import PLACE, events, lane, new, sends

from tidegate.model.messages import CancelOrder, ReplaceOrder, Report, SendCancel, SendStatus, Tick
from tidegate.model.order import ExecType, OrdStatus, Side
from tidegate.risk.reasons import Reason

KEY = 3 << 40 | 1


def sent(**more):
    world = lane()
    world.apply(new(1, **more))
    return world


def acked(**more):
    world = sent(**more)
    world.apply(Report(2, KEY, ExecType.NEW, ts_venue=2))
    return world


def trade(exec_id, qty, ts=5, price=100, fee=1, **more):
    return Report(
        ts, KEY, ExecType.TRADE, ts_venue=ts, exec_id=exec_id, last_qty=qty, last_px=price, fee=fee, **more
    )


def status(world):
    return world.order(KEY).status


def test_a_fill_moves_charge_to_position_and_is_told():
    world = acked()
    (told,) = world.apply(trade(7, 4, price=99, fee=3, maker=True))
    assert (told.status, told.exec_type, told.exec_id) == (OrdStatus.PARTIALLY_FILLED, ExecType.TRADE, 7)
    assert (told.last_qty, told.last_px, told.fee, told.maker) == (4, 99, 3, True)
    assert (told.cum_qty, told.leaves_qty) == (4, 6)
    assert world.state.gate.charges == {KEY: 6}
    assert world.state.ledger.positions == {0: 4}
    assert world.order(KEY).avg_px == 99.0


def test_a_sell_moves_the_position_down():
    world = acked(side=Side.SELL)
    world.apply(trade(7, 4))
    assert world.state.ledger.positions == {0: -4}


def test_a_fill_counts_once():
    world = acked()
    world.apply(trade(7, 4))
    assert world.apply(trade(7, 4)) == []
    assert world.counts == {Reason.DUPLICATE_REPORT: 1}
    assert world.order(KEY).cum_qty == 4


def test_a_fill_before_the_acknowledgement_proves_the_order():
    world = sent()
    world.apply(trade(7, 4))
    assert status(world) is OrdStatus.PARTIALLY_FILLED
    assert world.apply(Report(6, KEY, ExecType.NEW)) == []
    assert status(world) is OrdStatus.PARTIALLY_FILLED


def test_every_order_of_the_same_reports_ends_alike():
    reports = [
        Report(2, KEY, ExecType.NEW, ts_venue=2),
        trade(7, 4, ts=3, cum_qty=4, leaves_qty=6),
        trade(8, 6, ts=4, cum_qty=10, leaves_qty=0),
    ]
    for order in itertools.permutations(reports * 2):
        world = sent()
        for report in order:
            world.apply(report)
        final = world.order(KEY)
        assert (final.status, final.cum_qty, final.leaves_qty) == (OrdStatus.FILLED, 10, 0)
        assert world.state.gate.charges == {}
        assert world.state.ledger.positions == {0: 10}


def test_a_late_fill_moves_the_position_and_not_the_status():
    world = acked()
    world.apply(Report(3, KEY, ExecType.CANCELED, ts_venue=3))
    (told,) = world.apply(trade(7, 4))
    assert (told.status, told.reason, told.cum_qty) == (OrdStatus.CANCELED, Reason.LATE_FILL, 4)
    assert world.state.ledger.positions == {0: 4}
    assert world.state.gate.charges == {}


def test_a_terminal_word_with_fills_missing_waits_for_them():
    world = acked()
    (told,) = world.apply(Report(6, KEY, ExecType.CANCELED, ts_venue=6, cum_qty=4, leaves_qty=0))
    assert (told.status, told.reason) == (OrdStatus.UNKNOWN, Reason.FILL_MISSING)
    assert world.state.gate.charges == {KEY: 10}, "charged until the fills are here"
    (refused,) = world.apply(CancelOrder(7, 1))
    assert refused.reason == Reason.ORDER_NOT_OPEN
    (told,) = world.apply(trade(7, 4))
    assert (told.status, told.cum_qty, told.leaves_qty) == (OrdStatus.CANCELED, 4, 0)
    assert world.state.gate.charges == {}


def test_missing_fills_are_asked_for():
    world = acked()
    world.apply(Report(6, KEY, ExecType.EXPIRED, cum_qty=4))
    out = world.apply(Tick(10**12))
    assert sends(out) == [SendStatus(10**12, KEY, *PLACE)]
    out = world.apply(Report(10**12, KEY, ExecType.NOT_FOUND))
    assert status(world) is OrdStatus.UNKNOWN, "never concluded while fills are known to be missing"


def test_a_fill_the_order_has_no_room_for_proves_the_replace_under_way():
    world = acked()
    world.apply(ReplaceOrder(3, 1, qty=20))
    (told,) = world.apply(trade(7, 15))
    assert (told.status, told.reason) == (OrdStatus.PARTIALLY_FILLED, 0)
    assert (told.cum_qty, told.leaves_qty) == (15, 5)
    assert world.state.gate.charges == {KEY: 5}
    assert world.apply(Report(9, KEY, ExecType.REPLACED, ts_venue=9, qty=20, price=100)) == []


def test_an_old_answer_does_not_undo_what_a_fill_has_proved():
    world = acked()
    world.apply(ReplaceOrder(3, 1, qty=20))
    world.apply(trade(7, 15, ts=9))
    old = {"status": OrdStatus.NEW, "cum_qty": 0, "leaves_qty": 10}
    assert world.apply(Report(12, KEY, ExecType.ORDER_STATUS, ts_venue=8, **old)) == []
    order = world.order(KEY)
    assert (order.status, order.qty, order.leaves_qty) == (OrdStatus.PARTIALLY_FILLED, 20, 5)


def test_what_the_venue_still_works_stays_open_though_more_filled_here():
    world = acked()
    world.apply(trade(7, 4, ts=3))
    world.apply(trade(8, 5, ts=4))
    cut = {"qty": 6, "price": 100, "cum_qty": 5, "leaves_qty": 1}
    (told,) = world.apply(Report(9, KEY, ExecType.RESTATED, ts_venue=9, **cut))
    assert (told.status, told.cum_qty, told.leaves_qty) == (OrdStatus.PARTIALLY_FILLED, 9, 1)
    assert world.state.gate.charges == {KEY: 1}, "fill 7 was busted, and we have not heard"


def test_an_order_that_closed_by_our_count_and_lives_is_cancelled_there():
    world = acked()
    world.apply(trade(7, 10, ts=3))
    assert status(world) is OrdStatus.FILLED
    alive = {"status": OrdStatus.PARTIALLY_FILLED, "cum_qty": 10, "leaves_qty": 2}
    assert sends(world.apply(Report(4, KEY, ExecType.ORDER_STATUS, ts_venue=2, **alive))) == []
    told, cancel = world.apply(Report(5, KEY, ExecType.ORDER_STATUS, ts_venue=5, **alive))
    assert (told.status, told.reason) == (OrdStatus.FILLED, Reason.ALIVE_AFTER_CLOSE)
    assert cancel == SendCancel(5, KEY, *PLACE)


def test_an_overfill_is_money_all_the_same():
    world = acked()
    (told,) = world.apply(trade(7, 13))
    assert (told.status, told.reason, told.cum_qty) == (OrdStatus.FILLED, Reason.OVERFILL, 13)
    assert world.state.ledger.positions == {0: 13}
    assert world.state.gate.charges == {}


def test_a_full_fill_does_not_close_what_a_replace_may_have_enlarged():
    world = acked()
    world.apply(ReplaceOrder(3, 1, qty=20))
    (told,) = world.apply(trade(7, 10))
    assert (told.status, told.leaves_qty) == (OrdStatus.PENDING_REPLACE, 0)
    assert world.state.gate.charges == {KEY: 10}, "charged for what the replace may bring"
    world.check()
    (told,) = world.apply(Report(6, KEY, ExecType.CANCEL_REJECTED, qty=20, price=100))
    assert told.status is OrdStatus.FILLED
    assert world.state.gate.charges == {}


def test_a_full_fill_that_says_so_closes_at_once():
    world = acked()
    world.apply(ReplaceOrder(3, 1, qty=20))
    (told,) = world.apply(trade(7, 10, cum_qty=10, leaves_qty=0))
    assert told.status is OrdStatus.FILLED
    assert world.state.gate.charges == {}


def test_a_replaced_order_that_has_filled_stays_partially_filled():
    world = acked()
    world.apply(trade(7, 4))
    world.apply(ReplaceOrder(6, 1, qty=20))
    (told,) = world.apply(Report(9, KEY, ExecType.REPLACED, ts_venue=9, qty=20, price=100))
    assert (told.status, told.leaves_qty) == (OrdStatus.PARTIALLY_FILLED, 16)


def test_a_replace_down_to_what_has_filled_ends_the_order():
    world = acked()
    world.apply(ReplaceOrder(3, 1, qty=4))
    world.apply(trade(7, 4))
    (told,) = world.apply(Report(9, KEY, ExecType.REPLACED, ts_venue=9, qty=4, price=100))
    assert told.status is OrdStatus.FILLED
    assert world.state.gate.charges == {}


def test_a_report_that_later_ones_overtook_is_stale():
    world = acked()
    for ts, qty in ((3, 20), (5, 15)):
        world.apply(ReplaceOrder(ts, 1, qty=qty))
        world.apply(Report(ts + 1, KEY, ExecType.REPLACED, ts_venue=ts + 1, qty=qty, price=100))
    assert world.apply(Report(7, KEY, ExecType.REPLACED, ts_venue=4, qty=20, price=100)) == []
    assert world.order(KEY).qty == 15
    assert world.counts[Reason.STALE_REPORT] == 1


def test_a_restatement_leaves_a_replace_under_way_and_charged():
    world = acked()
    world.apply(ReplaceOrder(3, 1, qty=20))
    world.apply(Report(4, KEY, ExecType.RESTATED, ts_venue=4, qty=8, price=100))
    order = world.order(KEY)
    assert (order.status, order.qty, order.leaves_qty) == (OrdStatus.PENDING_REPLACE, 8, 8)
    assert world.state.gate.charges == {KEY: 20}
    world.apply(Report(5, KEY, ExecType.CANCEL_REJECTED, qty=20, price=100))
    assert world.state.gate.charges == {KEY: 8}


def test_a_triggered_stop_is_told():
    world = sent()
    (told,) = world.apply(Report(3, KEY, ExecType.TRIGGERED))
    assert (told.status, told.exec_type) == (OrdStatus.NEW, ExecType.TRIGGERED)


@pytest.mark.parametrize(
    ("exec_type", "final"),
    [
        (ExecType.CANCELED, OrdStatus.CANCELED),
        (ExecType.REJECTED, OrdStatus.REJECTED),
        (ExecType.EXPIRED, OrdStatus.EXPIRED),
    ],
)
def test_a_terminal_report_releases_the_rest_and_is_final(exec_type, final):
    world = acked()
    world.apply(trade(7, 4))
    (told,) = world.apply(Report(6, KEY, exec_type, ts_venue=6, reason=217, cum_qty=4))
    assert (told.status, told.leaves_qty, told.cum_qty, told.reason) == (final, 0, 4, 217)
    assert world.state.gate.charges == {}
    for other in (ExecType.NEW, ExecType.REPLACED, ExecType.CANCELED, ExecType.EXPIRED, ExecType.NOT_FOUND):
        assert world.apply(Report(7, KEY, other, ts_venue=5, qty=30, price=1)) == []
    assert status(world) is final


def test_a_refused_cancel_leaves_the_order_and_is_looked_into_once():
    world = acked()
    world.apply(CancelOrder(3, 1))
    (told,) = world.apply(Report(4, KEY, ExecType.CANCEL_REJECTED, reason=203))
    assert (told.status, told.reason) == (OrdStatus.NEW, 203)
    assert sends(world.apply(Tick(10**12)), SendStatus), "the venue did not say how the order stands"
    world.apply(Report(10**12, KEY, ExecType.ORDER_STATUS, status=OrdStatus.NEW, cum_qty=0, leaves_qty=10))
    assert world.state.waiting == {}


def test_a_refusal_that_says_the_order_is_over_ends_it():
    world = acked()
    world.apply(CancelOrder(3, 1))
    world.apply(
        Report(
            4, KEY, ExecType.CANCEL_REJECTED, ts_venue=4, status=OrdStatus.FILLED, cum_qty=10, leaves_qty=0
        )
    )
    assert status(world) is OrdStatus.UNKNOWN
    world.apply(trade(7, 10))
    assert status(world) is OrdStatus.FILLED


def test_a_refusal_before_the_acknowledgement_settles_nothing_and_the_cancel_is_sent_again():
    world = sent()
    world.apply(CancelOrder(2, 1))
    out = world.apply(Report(3, KEY, ExecType.CANCEL_REJECTED, reason=202))
    assert status(world) is OrdStatus.UNKNOWN
    assert sends(out) == []
    assert sends(world.apply(Tick(3))) == [SendStatus(3, KEY, *PLACE)]
    out = world.apply(Report(4, KEY, ExecType.NEW))
    assert sends(out) == [SendCancel(4, KEY, *PLACE)]
    assert status(world) is OrdStatus.PENDING_CANCEL


def test_a_cancel_refused_while_a_replace_is_out_leaves_the_replace_out():
    world = acked()
    world.apply(ReplaceOrder(3, 1, qty=20))
    world.apply(CancelOrder(4, 1))
    world.apply(Report(5, KEY, ExecType.CANCEL_REJECTED, status=OrdStatus.NEW))
    assert status(world) is OrdStatus.PENDING_REPLACE
    assert world.state.gate.charges == {KEY: 20}


def test_a_replace_refused_while_a_cancel_is_out_leaves_the_cancel_out():
    world = acked()
    world.apply(ReplaceOrder(3, 1, qty=20))
    world.apply(CancelOrder(4, 1))
    world.apply(Report(5, KEY, ExecType.CANCEL_REJECTED, qty=20, price=100))
    assert status(world) is OrdStatus.PENDING_CANCEL
    assert world.state.gate.charges == {KEY: 10}


@pytest.mark.parametrize("exec_type", ExecType)
def test_a_report_for_no_order_is_told_and_counted(exec_type):
    world = lane()
    (told,) = world.apply(Report(2, 12345, exec_type, exec_id=1, last_qty=3, last_px=9))
    assert (told.reason, told.cl_ord_id, told.last_qty) == (Reason.ORPHAN_REPORT, 12345, 3)
    assert world.state.ledger.positions == {}
    assert world.counts == {Reason.ORPHAN_REPORT: 1}


@pytest.mark.parametrize("waiting", [True, False])
def test_a_report_for_an_order_never_sent_is_an_orphan(waiting):
    world = lane(max_qty=5)
    world.apply(new(1, qty=2 if waiting else 9))
    key = KEY
    if waiting:
        world.apply(new(2, side=Side.SELL, parent_cmd_id=1))
        key = KEY + 1
    (told,) = world.apply(Report(3, key, ExecType.TRADE, exec_id=1, last_qty=1, last_px=1))
    assert told.reason == Reason.ORPHAN_REPORT
    assert world.state.ledger.positions == {}


@pytest.mark.parametrize(
    "wrong",
    [
        {"exec_id": 0}, {"last_qty": 0}, {"last_qty": -3}, {"last_px": 0}, {"last_px": -1}, {"fee": 0.5},
        {"last_qty": "4"}, {"exec_type": 99}, {"exec_type": []}, {"cl_ord_id": "x"}, {"ts_venue": 1 << 70},
    ],
)  # fmt: skip
def test_a_report_that_cannot_be_true_is_told_and_not_applied(wrong):
    world = acked()
    report = trade(7, 4)
    for name, value in wrong.items():
        setattr(report, name, value)
    (told,) = world.apply(report)
    assert told.reason == Reason.MALFORMED_REPORT
    assert world.error
    assert world.order(KEY).cum_qty == 0
    assert world.state.ledger.positions == {}


def test_a_bust_takes_the_fill_back_once():
    world = acked()
    world.apply(trade(7, 4, price=99, fee=3))
    bust = Report(6, KEY, ExecType.TRADE_CANCEL, ts_venue=6, exec_id=9, ref_exec_id=7)
    (told,) = world.apply(bust)
    assert (told.exec_type, told.exec_id, told.last_qty, told.last_px) == (ExecType.TRADE_CANCEL, 7, 4, 99)
    assert (told.status, told.cum_qty, told.leaves_qty) == (OrdStatus.NEW, 0, 10)
    assert world.state.ledger.positions == {0: 0}
    assert world.state.gate.charges == {KEY: 10}, "open again until the venue says otherwise"
    assert world.apply(bust) == []
    assert sends(world.apply(Tick(10**12)), SendStatus)
    world.check()


def test_a_bust_of_a_filled_order_leaves_it_filled():
    world = acked()
    world.apply(trade(7, 10))
    (told,) = world.apply(Report(6, KEY, ExecType.TRADE_CANCEL, exec_id=9, ref_exec_id=7))
    assert (told.status, told.cum_qty, told.reason) == (OrdStatus.FILLED, 0, Reason.FILL_BUSTED)
    assert world.state.gate.charges == {}


def test_a_bust_before_its_fill_is_applied_with_it():
    world = acked()
    bust = Report(6, KEY, ExecType.TRADE_CANCEL, exec_id=9, ref_exec_id=7)
    assert world.apply(bust) == []
    assert world.apply(bust) == []
    assert world.counts == {Reason.EARLY_BUST: 1, Reason.DUPLICATE_REPORT: 1}
    assert [event.exec_type for event in world.apply(trade(7, 4))] == [ExecType.TRADE, ExecType.TRADE_CANCEL]
    assert world.order(KEY).cum_qty == 0


def test_a_correction_is_told_as_taken_back_and_filled_anew():
    world = acked()
    world.apply(trade(7, 4, price=99, fee=3))
    fix = Report(6, KEY, ExecType.TRADE_CORRECT, exec_id=9, ref_exec_id=7, last_qty=5, last_px=98, fee=2)
    back, anew = world.apply(fix)
    assert (back.exec_type, back.last_qty, back.last_px, back.fee) == (ExecType.TRADE_CANCEL, 4, 99, 3)
    assert (anew.exec_type, anew.last_qty, anew.last_px, anew.exec_id) == (ExecType.TRADE_CORRECT, 5, 98, 9)
    assert world.order(KEY).cum_value == 5 * 98
    assert world.state.gate.charges == {KEY: 5}
    assert world.apply(fix) == []


def test_a_correction_of_a_corrected_fill_must_name_the_latest():
    world = acked()
    world.apply(trade(7, 4))
    world.apply(Report(6, KEY, ExecType.TRADE_CORRECT, exec_id=8, ref_exec_id=7, last_qty=4, last_px=98))
    (told,) = world.apply(
        Report(6, KEY, ExecType.TRADE_CORRECT, exec_id=9, ref_exec_id=7, last_qty=4, last_px=97)
    )
    assert told.reason == Reason.UNKNOWN_FILL
    assert world.order(KEY).cum_value == 4 * 98


def test_a_correction_to_an_order_that_is_over_moves_the_money():
    world = acked()
    world.apply(trade(7, 10, price=100))
    out = world.apply(
        Report(6, KEY, ExecType.TRADE_CORRECT, exec_id=8, ref_exec_id=7, last_qty=10, last_px=90)
    )
    assert [event.status for event in events(out)] == [OrdStatus.FILLED] * 2
    assert (world.order(KEY).cum_qty, world.order(KEY).cum_value) == (10, 900)


def test_negative_prices_fill_where_the_instrument_has_them():
    world = acked()
    item = world.state.universe.instruments[0]
    kwargs = {name: getattr(item, name) for name in item.__struct_fields__}
    world.state.universe.instruments[0] = type(item)(**{**kwargs, "negative_prices": True})
    (told,) = world.apply(trade(7, 4, price=-12))
    assert (told.reason, told.last_px) == (0, -12)
