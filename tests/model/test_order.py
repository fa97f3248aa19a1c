"""Orders: FIX's words, and a table of transitions that leaves no order stuck."""

from __future__ import annotations

import pytest

from tidegate.model.order import (
    TRANSITIONS,
    IllegalTransition,
    Order,
    OrdStatus,
    OrdType,
    Side,
    TimeInForce,
    Trigger,
    next_status,
)

SENT = [status for status in OrdStatus if not status.terminal and status is not OrdStatus.CREATED]
WORDS = {
    Trigger.FULL_FILL: OrdStatus.FILLED,
    Trigger.CANCELED: OrdStatus.CANCELED,
    Trigger.REJECTED: OrdStatus.REJECTED,
    Trigger.EXPIRED: OrdStatus.EXPIRED,
}


def order(**more) -> Order:
    return Order(1, 1, 0, 0, 0, Side.BUY, OrdType.LIMIT, TimeInForce.GTC, 10, **more)


def test_sides_are_signs_and_opposites():
    assert (Side.BUY.sign, Side.SELL.sign) == (1, -1)
    assert (Side.BUY.opposite, Side.SELL.opposite) == (Side.SELL, Side.BUY)


def test_terminal_states_have_no_way_out():
    terminal = [status for status in OrdStatus if status.terminal]
    assert [status.name for status in terminal] == ["FILLED", "CANCELED", "REJECTED", "EXPIRED", "DENIED"]
    assert not [pair for pair in TRANSITIONS if pair[0] in terminal]


@pytest.mark.parametrize("status", SENT)
@pytest.mark.parametrize("trigger", WORDS)
def test_the_venues_last_word_is_taken_in_every_state(status, trigger):
    assert next_status(status, trigger) is WORDS[trigger]


@pytest.mark.parametrize("status", SENT)
def test_a_partial_fill_is_taken_in_every_state(status):
    after = next_status(status, Trigger.PARTIAL_FILL)
    pending = status in (OrdStatus.PENDING_REPLACE, OrdStatus.PENDING_CANCEL)
    assert after is (status if pending else OrdStatus.PARTIALLY_FILLED)


def test_only_a_send_or_an_end_leads_out_of_created():
    targets = {target for (status, _), target in TRANSITIONS.items() if status is OrdStatus.CREATED}
    assert targets == {OrdStatus.PENDING_NEW, OrdStatus.DENIED, OrdStatus.CANCELED}


def test_denied_is_only_for_orders_never_sent():
    assert {pair[0] for pair, target in TRANSITIONS.items() if target is OrdStatus.DENIED} == {
        OrdStatus.CREATED
    }


def test_every_state_can_be_reached_and_left():
    reached, todo = {OrdStatus.CREATED}, [OrdStatus.CREATED]
    while todo:
        here = todo.pop()
        for (status, _), target in TRANSITIONS.items():
            if status is here and target not in reached:
                reached.add(target)
                todo.append(target)
    assert reached == set(OrdStatus)


def test_every_trigger_moves_something():
    assert {trigger for _, trigger in TRANSITIONS} == set(Trigger)


def test_what_has_filled_is_not_shown_as_new():
    for trigger in (Trigger.ACK_PARTIAL, Trigger.REPLACED_PARTIAL, Trigger.REQUEST_REJECTED_PARTIAL):
        assert OrdStatus.NEW not in {target for (_, by), target in TRANSITIONS.items() if by is trigger}


@pytest.mark.parametrize(
    "status", [OrdStatus.PENDING_NEW, OrdStatus.PENDING_REPLACE, OrdStatus.PENDING_CANCEL]
)
def test_silence_makes_a_pending_order_unknown(status):
    assert next_status(status, Trigger.TIMEOUT) is OrdStatus.UNKNOWN


def test_an_unknown_order_that_is_cancelled_stays_unknown():
    assert next_status(OrdStatus.UNKNOWN, Trigger.CANCEL_REQUEST) is OrdStatus.UNKNOWN


def test_an_illegal_move_names_state_and_trigger():
    with pytest.raises(IllegalTransition, match="an order that is FILLED cannot take CANCELED"):
        next_status(OrdStatus.FILLED, Trigger.CANCELED)


def test_an_order_is_open_until_it_is_terminal():
    assert order().open
    assert order(status=OrdStatus.UNKNOWN).open
    assert not order(status=OrdStatus.DENIED).open


def test_the_average_price_is_of_what_has_filled():
    assert order().avg_px == 0.0
    assert order(cum_qty=4, cum_value=402).avg_px == 100.5
