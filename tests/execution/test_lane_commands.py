"""Commands: charged, then told, then sent; refused with a reason; done once."""

from __future__ import annotations

import pytest
from lane_world import MS, PLACE, THROTTLED, TOO_LARGE, events, lane, new, sends

from tidegate.execution.ids import MAX_LANE, MAX_SEQUENCE, cl_ord_id, lane_of, sequence_of
from tidegate.execution.state import LaneBroken, Settings
from tidegate.model.messages import (
    CancelAll,
    CancelOrder,
    Funding,
    Mark,
    OrderEvent,
    ReplaceOrder,
    Report,
    ScopeState,
    SendCancel,
    SendNew,
    SendReplace,
    Tick,
)
from tidegate.model.order import Contingency, ExecType, OrdStatus, OrdType, Side, TimeInForce
from tidegate.risk.reasons import Reason

FIRST = 3 << 40 | 1


def acked(world, cmd_id=1, **more):
    """A lane with one acknowledged order; its ClOrdID."""
    out = world.apply(new(cmd_id, **more))
    key = sends(out, SendNew)[0].cl_ord_id
    world.apply(Report(2, key, ExecType.NEW, ts_venue=2))
    return key


def test_an_id_carries_its_lane_and_its_sequence():
    assert cl_ord_id(0, 1) == 1
    largest = cl_ord_id(MAX_LANE, MAX_SEQUENCE)
    assert largest == (1 << 63) - 1
    assert (lane_of(largest), sequence_of(largest)) == (MAX_LANE, MAX_SEQUENCE)


@pytest.mark.parametrize(("number", "sequence"), [(-1, 1), (MAX_LANE + 1, 1), (0, 0), (0, MAX_SEQUENCE + 1)])
def test_an_id_outside_its_range_is_an_error(number, sequence):
    with pytest.raises(ValueError, match="outside"):
        cl_ord_id(number, sequence)


def test_a_new_order_is_charged_then_told_then_sent():
    world = lane()
    told, sent = world.apply(new(1, qty=7, price=101, ts=5))
    assert isinstance(told, OrderEvent)
    assert isinstance(sent, SendNew)
    assert (told.status, told.cl_ord_id, told.leaves_qty, told.ts) == (OrdStatus.PENDING_NEW, FIRST, 7, 5)
    assert (sent.cl_ord_id, sent.qty, sent.price) == (FIRST, 7, 101)
    assert world.state.gate.charges == {FIRST: 7}
    assert world.order(FIRST) is world.by_command(1)


def test_every_field_reaches_the_gateway():
    fields = {
        "ord_type": OrdType.STOP_LIMIT, "stop_price": 103, "time_in_force": TimeInForce.GTD, "expire_ts": 99,
        "exec_inst": 1, "display_qty": 3, "offset": 4, "instrument": 2,
    }  # fmt: skip
    sent = sends(lane().apply(new(1, qty=7, price=101, side=Side.SELL, **fields)))[0]
    for name, value in {**fields, "side": Side.SELL, "qty": 7, "price": 101, "account": 1}.items():
        assert getattr(sent, name) == value, name


def test_a_denied_order_is_told_with_its_figures_and_never_sent():
    world = lane(max_qty=5)
    (told,) = world.apply(new(1, qty=6))
    assert (told.status, told.exec_type, told.reason) == (OrdStatus.DENIED, ExecType.REJECTED, TOO_LARGE)
    assert (told.limit, told.value, told.scope, told.leaves_qty) == (5, 6, 7, 0)
    assert world.state.gate.charges == {}
    assert world.by_command(1).status is OrdStatus.DENIED
    assert world.open_orders() == []


def test_denied_orders_use_up_a_number_and_refused_commands_do_not():
    world = lane(max_qty=5)
    world.apply(new(1, qty=6))
    world.apply(new(2, qty=-1))
    assert sends(world.apply(new(3, qty=1)))[0].cl_ord_id == FIRST + 1


def test_the_same_order_twice_is_one_order():
    world = lane()
    command = new(1)
    world.apply(command)
    (again,) = world.apply(command)
    assert (again.cl_ord_id, again.status) == (FIRST, OrdStatus.PENDING_NEW)
    assert world.counts == {Reason.DUPLICATE_COMMAND: 1}
    assert world.state.gate.charges == {FIRST: 10}


def test_a_retry_is_recognised_after_the_order_is_over():
    world = lane()
    key = acked(world)
    world.apply(Report(3, key, ExecType.CANCELED))
    (again,) = world.apply(new(1))
    assert (again.cl_ord_id, again.status) == (key, OrdStatus.CANCELED)


@pytest.mark.parametrize("other", [{"side": Side.SELL}, {"instrument": 1}, {"account": 9}, {"strategy": 9}])
def test_another_order_under_a_taken_cmd_id_is_refused(other):
    world = lane()
    world.apply(new(1))
    (told,) = world.apply(new(1, **other))
    assert told.reason == Reason.CMD_ID_REUSED
    assert told.cl_ord_id == 0


def test_a_forgotten_command_is_refused_and_not_done_again():
    world = lane(Settings(history=2))
    for cmd_id in range(1, 6):
        world.apply(Report(2, acked(world, cmd_id), ExecType.CANCELED))
    assert len(world.state.closed) == 2
    (told,) = world.apply(new(3))
    assert told.reason == Reason.STALE_COMMAND
    assert sends(world.apply(new(6)), SendNew)
    assert sends(world.apply(new(1, strategy=3)), SendNew), "another strategy counts for itself"


BAD = {
    "qty of 0": {"qty": 0},
    "qty below 0": {"qty": -5},
    "qty that is a float": {"qty": 1.0},
    "qty beyond int64": {"qty": 1 << 63},
    "price that is text": {"price": "100"},
    "unknown side": {"side": 3},
    "unknown type": {"ord_type": 99},
    "unknown time in force": {"time_in_force": 2},
    "unknown contingency": {"contingency": 7},
    "time below 0": {"ts": -1},
    "time that is nothing": {"ts": None},
    "account below 0": {"account": -1},
    "cmd_id of 0": {"cmd_id": 0},
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_a_command_that_cannot_be_is_refused_and_the_lane_goes_on(bad):
    world = lane()
    command = new(1)
    for name, value in bad.items():
        setattr(command, name, value)
    before = world.state.seq
    (told,) = world.apply(command)
    assert (told.status, told.reason, told.cl_ord_id) == (OrdStatus.DENIED, Reason.INVALID_COMMAND, 0)
    assert world.error
    assert world.state.seq == before
    assert world.state.gate.charges == {}
    assert sends(world.apply(new(2)), SendNew)


@pytest.mark.parametrize("instrument", [-1, 3, 1 << 40])
def test_an_unknown_instrument_is_refused_before_the_gate_sees_it(instrument):
    world = lane()
    for message in (new(1, instrument=instrument), Mark(1, instrument, 1, 2)):
        (told,) = world.apply(message)
        assert told.reason == Reason.UNKNOWN_INSTRUMENT
    assert world.state.gate.calls == 0


def test_whole_numbers_of_numpy_are_taken_as_what_they_are():
    numpy = pytest.importorskip("numpy")
    world = lane()
    sent = sends(world.apply(new(numpy.int64(1), qty=numpy.int64(4), price=numpy.int64(100))))[0]
    assert type(sent.qty) is int
    assert type(world.order(FIRST).cmd_id) is int
    assert world.snapshot()


def test_a_gate_that_raises_costs_one_command():
    world = lane()

    def broken(*_):
        raise ZeroDivisionError("in the gate")

    honest, world.state.gate.check = world.state.gate.check, broken
    (told,) = world.apply(new(1))
    assert told.reason == Reason.INVALID_COMMAND
    assert "in the gate" in world.error
    world.state.gate.check = honest
    assert sends(world.apply(new(1)), SendNew)[0].cl_ord_id == FIRST


def test_a_message_the_lane_does_not_know_is_refused():
    world = lane()
    (told,) = world.apply(SendCancel(1, 5))
    assert told.reason == Reason.INVALID_COMMAND


def test_a_cancel_before_the_acknowledgement_is_sent_at_once():
    world = lane()
    world.apply(new(1))
    told, sent = world.apply(CancelOrder(2, 1))
    assert told.status is OrdStatus.PENDING_CANCEL
    assert sent == SendCancel(2, FIRST, *PLACE)
    assert world.state.gate.charges == {FIRST: 10}, "charged until the venue has spoken"


def test_a_second_cancel_is_told_and_not_sent():
    world = lane()
    world.apply(new(1))
    world.apply(CancelOrder(2, 1))
    out = world.apply(CancelOrder(3, 1))
    assert sends(out) == []
    assert events(out)[0].status is OrdStatus.PENDING_CANCEL


@pytest.mark.parametrize("command", [CancelOrder(2, 77), ReplaceOrder(2, 77, 5), CancelOrder(2, "x")])
def test_a_request_for_no_order_is_refused(command):
    (told,) = lane().apply(command)
    assert (told.reason, told.exec_type) == (Reason.UNKNOWN_COMMAND, ExecType.CANCEL_REJECTED)
    assert told.status is OrdStatus.REJECTED


@pytest.mark.parametrize("command", [CancelOrder(4, 1), ReplaceOrder(4, 1, 5)])
def test_a_request_for_an_order_that_is_over_comes_too_late(command):
    world = lane()
    key = acked(world)
    world.apply(Report(3, key, ExecType.CANCELED))
    (told,) = world.apply(command)
    assert (told.reason, told.status) == (Reason.ORDER_NOT_OPEN, OrdStatus.CANCELED)


def test_a_throttled_cancel_is_told_and_the_order_stands():
    world = lane()
    acked(world)
    world.state.gate.cancels_allowed = False
    (told,) = world.apply(CancelOrder(3, 1))
    assert (told.reason, told.exec_type, told.status) == (THROTTLED, ExecType.CANCEL_REJECTED, OrdStatus.NEW)
    assert world.by_command(1).target is OrdStatus.NEW


def test_a_replace_is_charged_at_the_worse_until_it_is_answered():
    world = lane()
    key = acked(world)
    told, sent = world.apply(ReplaceOrder(3, 1, qty=25, price=99))
    assert told.status is OrdStatus.PENDING_REPLACE
    assert sent == SendReplace(3, key, 25, 99, *PLACE, Side.BUY, 2, 0)
    assert (world.order(key).qty, world.state.gate.charges[key]) == (10, 25)
    world.apply(Report(4, key, ExecType.CANCEL_REJECTED, qty=25, price=99))
    assert (world.order(key).status, world.state.gate.charges[key]) == (OrdStatus.NEW, 10)


def test_a_replaced_order_has_its_new_form():
    world = lane()
    key = acked(world)
    world.apply(ReplaceOrder(3, 1, qty=6))
    (told,) = world.apply(Report(4, key, ExecType.REPLACED, ts_venue=4, qty=6, price=100))
    order = world.order(key)
    assert (told.exec_type, told.status, told.leaves_qty) == (ExecType.REPLACED, OrdStatus.NEW, 6)
    assert (order.qty, order.price, order.pending_qty) == (6, 100, 0)
    assert world.state.gate.charges == {key: 6}


def test_only_one_replace_is_under_way_at_a_time():
    world = lane()
    acked(world)
    world.apply(ReplaceOrder(3, 1, qty=6))
    same = world.apply(ReplaceOrder(4, 1, qty=6))
    assert sends(same) == []
    assert events(same)[0].reason == 0
    (told,) = world.apply(ReplaceOrder(4, 1, qty=7))
    assert told.reason == Reason.REQUEST_PENDING


def test_a_replace_needs_an_acknowledged_order():
    world = lane()
    world.apply(new(1))
    (told,) = world.apply(ReplaceOrder(2, 1, qty=5))
    assert told.reason == Reason.REQUEST_PENDING


def test_a_replace_the_gate_refuses_is_told_with_its_figures():
    world = lane(max_qty=12)
    key = acked(world)
    (told,) = world.apply(ReplaceOrder(3, 1, qty=13))
    assert (told.reason, told.limit, told.value) == (TOO_LARGE, 12, 13)
    assert told.exec_type is ExecType.CANCEL_REJECTED
    assert world.state.gate.charges == {key: 10}


def test_a_market_order_has_no_price_to_replace():
    world = lane()
    acked(world, ord_type=OrdType.MARKET, price=0)
    (told,) = world.apply(ReplaceOrder(3, 1, price=5))
    assert told.reason == Reason.ILLEGAL_REPLACE


@pytest.mark.parametrize(
    "command", [CancelAll(2, account="all"), CancelAll(2, instrument=0.5), Mark(2, 0, "x", 5)]
)
def test_a_command_for_many_that_cannot_be_is_refused_and_not_overheard(command):
    world = lane()
    acked(world)
    (told,) = world.apply(command)
    assert told.reason == Reason.INVALID_COMMAND
    assert world.by_command(1).status is OrdStatus.NEW
    assert world.state.marks == {}


def test_cancel_all_takes_a_scope_oldest_first():
    world = lane()
    keys = [acked(world, n, instrument=n % 2) for n in range(1, 7)]
    out = world.apply(CancelAll(9, instrument=0))
    assert [m.cl_ord_id for m in sends(out, SendCancel)] == [keys[1], keys[3], keys[5]]
    out = world.apply(CancelAll(10))
    assert [m.cl_ord_id for m in sends(out, SendCancel)] == [keys[0], keys[2], keys[4]], "each once"
    assert world.apply(CancelAll(11)) == []


def test_cancel_all_takes_orders_in_flight_and_waiting_children():
    world = lane()
    world.apply(new(1))
    world.apply(new(2, side=Side.SELL, parent_cmd_id=1))
    out = world.apply(CancelAll(2, account=1, strategy=2))
    assert len(sends(out, SendCancel)) == 1
    assert world.by_command(2).status is OrdStatus.CANCELED


def test_marks_funding_and_states_reach_gate_and_ledger():
    world = lane()
    assert world.apply(Mark(1, 2, 99, 101)) == []
    assert world.apply(Funding(2, 1, 10_000, 100)) == []
    assert world.apply(ScopeState(3, 4, 2)) == []
    assert world.state.marks == {2: (99, 101, 1)}
    assert world.state.ledger.funded == 1
    assert world.state.gate.states == {4: 2}


def test_a_fact_that_cannot_be_adopted_breaks_the_lane():
    with pytest.raises(LaneBroken, match="Funding"):
        lane().apply(Funding(1, 99, 1, 1))
    with pytest.raises(LaneBroken, match="Tick"):
        lane().apply(Tick("now"))


def test_an_invariant_that_breaks_is_named():
    world = lane()
    key = acked(world)
    world.check()
    world.order(key).leaves_qty += 1
    with pytest.raises(LaneBroken, match="quantity: order"):
        world.check()


@pytest.mark.parametrize(
    "change", [{"ack_timeout": 0}, {"history": -1}, {"max_backoff": 5 * MS}, {"ack_timeout": 10}]
)
def test_settings_that_cannot_be_are_errors(change):
    with pytest.raises(ValueError, match="lane setting"):
        Settings(**change)


@pytest.mark.parametrize("links", [{"contingency": Contingency.OCO}, {"link_group": 4}])
def test_an_oco_order_has_a_group_and_no_other_has_one(links):
    (told,) = lane().apply(new(1, **links))
    assert told.reason == Reason.INVALID_CONTINGENCY
