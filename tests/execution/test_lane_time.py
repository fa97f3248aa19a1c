"""Ticks: what is not answered is UNKNOWN, charged, and asked about until the venue has spoken."""

from __future__ import annotations

import itertools

import pytest
from lane_world import MS, PLACE, events, lane, new, sends

from tidegate.model.messages import CancelOrder, ReplaceOrder, Report, SendCancel, SendStatus, Tick
from tidegate.model.order import ExecType, OrdStatus, OrdType, TimeInForce
from tidegate.risk.reasons import Reason

KEY = 3 << 40 | 1
SENT = 1_000 * MS
TIMEOUT, WINDOW = 100 * MS, 500 * MS


def sent(**more):
    world = lane()
    world.apply(new(1, ts=SENT, **more))
    return world


def unknown(acked=False, **more):
    world = sent(**more)
    if acked:
        world.apply(Report(SENT + 1, KEY, ExecType.NEW, ts_venue=SENT + 1))
        world.apply(ReplaceOrder(SENT + 2, 1, qty=20))
    world.apply(Tick(SENT + 2 * TIMEOUT))
    assert world.order(KEY).status is OrdStatus.UNKNOWN
    return world


def answer(exec_type, at, **more):
    return Report(at, KEY, exec_type, ts_venue=at, **more)


def test_an_order_unanswered_is_unknown_charged_and_asked_about():
    world = sent()
    assert world.apply(Tick(SENT + TIMEOUT - 1)) == []
    told, asked = world.apply(Tick(SENT + TIMEOUT))
    assert (told.status, told.reason) == (OrdStatus.UNKNOWN, Reason.ACK_TIMEOUT)
    assert asked == SendStatus(SENT + TIMEOUT, KEY, *PLACE)
    assert world.state.gate.charges == {KEY: 10}


def test_the_pauses_between_questions_double_but_for_one_when_not_found_begins_to_prove():
    world = sent()
    asked, now = [], SENT
    for _ in range(120):
        now += 25 * MS
        asked += [m.ts for m in sends(world.apply(Tick(now)), SendStatus)]
    pauses = [(b - a) // MS for a, b in itertools.pairwise(asked)]
    assert pauses == [100, 200, 125, 800, 800, 800]


def test_questions_are_asked_in_the_order_in_which_the_waiting_began():
    world = lane()
    for n in (1, 2, 3):
        world.apply(new(n, ts=SENT + n))
    world.apply(Report(SENT + 9, KEY + 1, ExecType.NEW))
    assert [m.cl_ord_id for m in sends(world.apply(Tick(SENT + TIMEOUT + 9)))] == [KEY, KEY + 2]


@pytest.mark.parametrize("at", [SENT + 2, SENT + WINDOW - 1])
def test_not_found_within_the_window_proves_nothing(at):
    world = unknown()
    assert world.apply(answer(ExecType.NOT_FOUND, at)) == []
    assert world.order(KEY).status is OrdStatus.UNKNOWN
    assert world.state.gate.charges == {KEY: 10}


def test_not_found_that_was_said_within_the_window_and_came_later_proves_nothing():
    world = unknown()
    world.apply(Report(SENT + 10 * WINDOW, KEY, ExecType.NOT_FOUND, ts_venue=SENT + 5))
    assert world.order(KEY).status is OrdStatus.UNKNOWN


def test_not_found_after_the_window_rejects_an_order_never_acknowledged():
    world = unknown()
    (told,) = world.apply(answer(ExecType.NOT_FOUND, SENT + WINDOW))
    assert (told.status, told.reason) == (OrdStatus.REJECTED, Reason.NOT_FOUND)
    assert world.state.gate.charges == {}
    assert world.state.waiting == {}


def test_not_found_after_the_window_cancels_an_order_that_was_acknowledged():
    world = unknown(acked=True)
    (told,) = world.apply(answer(ExecType.NOT_FOUND, SENT + 2 + WINDOW))
    assert told.status is OrdStatus.CANCELED
    assert world.state.gate.charges == {}


def test_cancels_repeated_do_not_keep_a_lost_order_unknown():
    world = unknown()
    for n in range(1, 4):
        world.apply(CancelOrder(SENT + n * WINDOW // 4, 1))
    (told,) = world.apply(answer(ExecType.NOT_FOUND, SENT + WINDOW))
    assert told.status is OrdStatus.REJECTED


def test_not_found_of_an_order_that_rests_and_was_not_asked_about_is_stale():
    world = sent()
    world.apply(answer(ExecType.NEW, SENT + 1))
    assert world.apply(answer(ExecType.NOT_FOUND, SENT + 9 * WINDOW)) == []
    assert world.order(KEY).status is OrdStatus.NEW


def test_an_order_concluded_as_over_that_lives_is_cancelled_there():
    world = unknown()
    world.apply(answer(ExecType.NOT_FOUND, SENT + WINDOW))
    told, cancel = world.apply(answer(ExecType.NEW, SENT + 2 * WINDOW))
    assert (told.status, told.reason) == (OrdStatus.REJECTED, Reason.ALIVE_AFTER_CLOSE)
    assert cancel == SendCancel(SENT + 2 * WINDOW, KEY, *PLACE)
    told = events(world.apply(answer(ExecType.TRADE, SENT + 3 * WINDOW, exec_id=1, last_qty=2, last_px=9)))[0]
    assert (told.reason, told.cum_qty) == (Reason.LATE_FILL, 2)


def test_an_unknown_order_found_alive_goes_on():
    world = unknown()
    at = SENT + 3 * TIMEOUT
    (told,) = world.apply(answer(ExecType.ORDER_STATUS, at, status=OrdStatus.NEW, cum_qty=0, leaves_qty=10))
    assert (told.status, told.exec_type) == (OrdStatus.NEW, ExecType.ORDER_STATUS)
    assert world.state.waiting == {}


@pytest.mark.parametrize(
    ("final", "cum"), [(OrdStatus.CANCELED, 0), (OrdStatus.REJECTED, 0), (OrdStatus.EXPIRED, 0)]
)
def test_an_unknown_order_found_over_closes(final, cum):
    world = unknown()
    world.apply(answer(ExecType.ORDER_STATUS, SENT + WINDOW, status=final, cum_qty=cum, leaves_qty=0))
    assert world.order(KEY).status is final
    assert world.state.gate.charges == {}


def test_an_unknown_order_found_filled_waits_for_its_fills():
    world = unknown()
    world.apply(answer(ExecType.ORDER_STATUS, SENT + WINDOW, status=OrdStatus.FILLED))
    assert world.order(KEY).status is OrdStatus.UNKNOWN
    assert world.order(KEY).cum_qty == 0, "a fill is never invented"
    world.apply(answer(ExecType.TRADE, SENT + WINDOW + 1, exec_id=1, last_qty=10, last_px=100))
    assert world.order(KEY).status is OrdStatus.FILLED


def test_a_cancel_of_an_unknown_order_is_sent_and_the_order_stays_unknown():
    world = unknown()
    told, cancel = world.apply(CancelOrder(SENT + 3 * TIMEOUT, 1))
    assert told.status is OrdStatus.UNKNOWN
    assert isinstance(cancel, SendCancel)
    world.apply(answer(ExecType.CANCELED, SENT + 4 * TIMEOUT))
    assert world.order(KEY).status is OrdStatus.CANCELED


def test_an_order_found_alive_that_should_be_cancelled_is_cancelled_again():
    world = sent()
    world.apply(CancelOrder(SENT + 1, 1))
    world.apply(Tick(SENT + 2 * TIMEOUT))
    at = SENT + 3 * TIMEOUT
    out = world.apply(answer(ExecType.ORDER_STATUS, at, status=OrdStatus.NEW, cum_qty=0, leaves_qty=10))
    assert sends(out) == [SendCancel(at, KEY, *PLACE)]
    assert world.order(KEY).status is OrdStatus.PENDING_CANCEL


def test_a_replace_unanswered_is_taken_as_done_when_the_quantity_shows_it():
    world = unknown(acked=True)
    at = SENT + 3 * TIMEOUT
    world.apply(answer(ExecType.ORDER_STATUS, at, status=OrdStatus.NEW, cum_qty=0, leaves_qty=20))
    order = world.order(KEY)
    assert (order.status, order.qty, order.pending_qty) == (OrdStatus.NEW, 20, 0)
    assert world.state.gate.charges == {KEY: 20}


def test_a_replace_unanswered_is_lost_only_after_the_window():
    world = unknown(acked=True)
    old = {"status": OrdStatus.NEW, "cum_qty": 0, "leaves_qty": 10}
    world.apply(answer(ExecType.ORDER_STATUS, SENT + 3 * TIMEOUT, **old))
    assert world.order(KEY).status is OrdStatus.UNKNOWN
    assert world.state.gate.charges == {KEY: 20}, "the replace may still arrive"
    world.apply(answer(ExecType.ORDER_STATUS, SENT + 2 + WINDOW, **old))
    assert (world.order(KEY).status, world.order(KEY).qty) == (OrdStatus.NEW, 10)
    assert world.state.gate.charges == {KEY: 10}


@pytest.mark.parametrize(
    "more",
    [{"time_in_force": TimeInForce.IOC}, {"time_in_force": TimeInForce.FOK}, {"ord_type": OrdType.MARKET}],
)
def test_an_immediate_order_that_is_not_over_is_asked_about(more):
    world = sent(**more)
    world.apply(answer(ExecType.NEW, SENT + 1))
    out = world.apply(Tick(SENT + 2 * TIMEOUT))
    assert out == [SendStatus(SENT + 2 * TIMEOUT, KEY, *PLACE)]
    assert world.order(KEY).status is OrdStatus.NEW


def test_an_order_past_its_expiry_is_asked_about():
    world = sent(time_in_force=TimeInForce.GTD, expire_ts=SENT + WINDOW)
    world.apply(answer(ExecType.NEW, SENT + 1))
    assert world.apply(Tick(SENT + WINDOW)) == []
    assert sends(world.apply(Tick(SENT + WINDOW + TIMEOUT)), SendStatus)


def test_a_resting_order_is_left_in_peace():
    world = sent()
    world.apply(answer(ExecType.NEW, SENT + 1))
    assert world.apply(Tick(SENT + 1000 * WINDOW)) == []


def test_fills_that_are_known_to_be_missing_are_asked_for():
    world = sent()
    trade = {"last_qty": 2, "last_px": 100}
    world.apply(answer(ExecType.TRADE, SENT + 9, exec_id=2, cum_qty=6, leaves_qty=4, **trade))
    assert sends(world.apply(Tick(SENT + 2 * TIMEOUT)), SendStatus)
    world.apply(answer(ExecType.TRADE, SENT + 8, exec_id=1, last_qty=4, last_px=100))
    assert world.state.waiting == {}
