"""Limits in force: a document changed while the gate runs, factors that tighten, and what of both is restored."""

from __future__ import annotations

from decimal import Decimal

import pytest
from gate_desk import BTC, GENEROUS, MM, OIL, UNIVERSE, Desk, merged

from tidegate.errors import UserError
from tidegate.kernel.gate_state import MICRO, UNLIMITED
from tidegate.risk.leases.fields import Field
from tidegate.risk.limits import Limits, unlimited
from tidegate.risk.reasons import Reason as R

HALF = 500_000


def limits(**changes: object) -> Limits:
    return Limits.load(merged(changes))


def test_a_document_comes_back_from_its_json_as_it_was() -> None:
    rich = limits(
        firm={"restricted_from": "2024-08-08T12:00:00.000000001", "max_age": "unlimited", "long": "0.5"},
        accounts={"main": {"instruments": {"BTCUSDT.X": {"position": "1.25", "sides": ["buy"]}}}},
    )
    for document in (rich, unlimited(), Limits(), Limits.load(GENEROUS)):
        assert Limits.from_json(document.to_json()) == document
        assert Limits.from_json(document.to_json()).to_json() == document.to_json()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{", "the document is not JSON"),
        (b"\xff", "the document is not JSON"),
        (b"[]", "risk: expected a table"),
        (b'{"frim": {}}', "unknown key 'frim'"),
    ],
)
def test_a_document_that_cannot_be_read_is_one_line(data: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Limits.from_json(data)


def test_new_limits_hold_at_once_and_what_is_used_stays() -> None:
    desk = Desk()
    desk.mark()
    desk.trade(30, 600_010)
    resting = desk.order(20, 599_990)
    assert desk.check(resting) == R.NONE
    before = [desk.gate.use(MM, field, BTC if field.per_instrument else -1) for field in Field]
    below = desk.gate.set_limits(
        limits(
            strategies={"mm": {"position": "0.04", "open_orders": 1, "gross": 4_000, "price_collar": "1%"}}
        )
    )
    assert [desk.gate.use(MM, field, BTC if field.per_instrument else -1) for field in Field] == before
    assert [(b.scope, b.field, b.instrument, b.use, b.limit) for b in below] == [
        (MM, Field.LONG, BTC, 50, 40)
    ]
    assert str(below[0]) == "strategy mm, BTCUSDT.X: LONG is 50, the limit 40"
    assert desk.send(1, 599_000) == R.BELOW_MIN_QTY
    assert desk.send(2, 599_000) == R.OPEN_ORDERS
    desk.gate.release(resting, 20, desk.ts)
    assert desk.send(11, 599_000) == R.POSITION_LIMIT
    assert desk.send(10, 607_000) == R.PRICE_COLLAR
    assert desk.send(-30, 600_000) == R.NONE


def test_a_limit_below_its_use_takes_what_reduces_and_nothing_else() -> None:
    desk = Desk()
    desk.mark()
    desk.trade(30, 600_010)
    tight = {"position": "0.001", "gross": 1, "net": 1, "traded_value": 1}
    below = desk.gate.set_limits(limits(strategies={"mm": tight}))
    assert {b.field for b in below} == {Field.GROSS, Field.NET_LONG, Field.TRADED, Field.LONG}
    assert desk.send(2, 599_000) == R.POSITION_LIMIT
    assert desk.send(-31, 600_000) != R.NONE
    assert desk.send(-20, 600_000) == R.NONE
    assert desk.gate.set_limits(limits()) == []
    assert desk.send(2, 599_000) == R.NONE


def test_a_document_with_a_mistake_changes_nothing() -> None:
    desk = Desk()
    before = desk.gate.state_bytes()
    with pytest.raises(UserError, match="unknown strategy 'nn'"):
        desk.gate.set_limits(Limits.load({"strategies": {"nn": {}}}))
    assert desk.gate.state_bytes() == before


def test_a_limit_that_new_limits_lack_is_refused_and_named() -> None:
    desk = Desk()
    desk.gate.set_limits(limits(firm={"order_qty": None}))
    assert desk.send(10, 600_000) == R.NO_LIMIT
    assert desk.gate.limit == 4


def test_a_factor_tightens_size_value_and_position_and_never_loosens() -> None:
    desk = Desk(firm={"order_qty": "0.02", "order_value": 1_000}, strategies={"mm": {"position": "0.03"}})
    desk.mark()
    desk.gate.set_factor(BTC, HALF)
    assert desk.send(11, 600_000) == R.MAX_ORDER_QTY
    assert desk.figures[:2] == (10, 11)
    assert desk.send(9, 600_000) == R.MAX_ORDER_VALUE
    assert desk.figures[:2] == (500 * MICRO, 9 * 60_001_000)
    assert desk.send(8, 600_000) == R.NONE
    assert desk.send(8, 599_990) == R.POSITION_LIMIT
    assert desk.figures == (15, 16, MM)
    assert desk.gate.limit_of(MM, Field.LONG, BTC) == 15
    assert desk.gate.human_limit(MM, Field.LONG, BTC) == 30
    assert desk.gate.limit_of(MM, Field.LONG, OIL) == 0, "0.03 of a whole lot"
    desk.gate.set_factor(BTC, 1_000_000)
    assert desk.send(8, 599_990) == R.NONE
    for factor in (0, -1, 1_000_001):
        with pytest.raises(ValueError, match=f"factor {factor} is not above 0"):
            desk.gate.set_factor(BTC, factor)
    with pytest.raises(ValueError, match="instrument 2 of 2"):
        desk.gate.set_factor(len(UNIVERSE), HALF)


def test_under_the_smallest_factor_what_reduces_still_passes_at_peoples_limits() -> None:
    desk = Desk(firm={"order_qty": "0.02"})
    desk.mark()
    desk.trade(20, 600_010)
    desk.gate.set_factor(BTC, 1)
    assert desk.send(2, 600_000) == R.MAX_ORDER_QTY
    assert desk.send(-21, 600_000) == R.MAX_ORDER_QTY
    assert desk.send(-20, 600_000) == R.NONE


def test_unlimited_stays_unlimited_under_a_factor_and_the_smaller_of_lease_and_factor_holds() -> None:
    desk = Desk(strategies={"mm": {"position": "unlimited"}})
    desk.gate.set_factor(BTC, HALF)
    assert desk.gate.limit_of(MM, Field.LONG, BTC) == UNLIMITED
    desk = Desk(strategies={"mm": {"position": "0.1"}})
    desk.gate.set_limit(MM, Field.LONG, BTC, 60)
    desk.gate.set_factor(BTC, HALF)
    assert desk.gate.limit_of(MM, Field.LONG, BTC) == 50
    desk.gate.set_factor(BTC, 900_000)
    assert desk.gate.limit_of(MM, Field.LONG, BTC) == 60
    desk.gate.set_limits(limits(strategies={"mm": {"position": "0.02"}}))
    assert desk.gate.limit_of(MM, Field.LONG, BTC) == 18


def test_document_factors_and_leases_come_back_with_the_state() -> None:
    desk, other = Desk(), Desk()
    desk.mark()
    same = desk.gate.state_bytes()
    desk.gate.set_limits(limits(firm={"order_qty": "0.05"}))
    desk.gate.set_limits(limits())
    assert desk.gate.state_bytes() == same, "the document of the configuration is not kept twice"
    desk.gate.set_limits(limits(firm={"order_qty": "0.05"}))
    desk.gate.set_factor(BTC, HALF)
    desk.gate.set_limit(MM, Field.LONG, BTC, 3)
    data = desk.gate.state_bytes()
    other.gate.load(data)
    assert other.gate.state_bytes() == data
    assert (other.gate.state.rules == desk.gate.state.rules).all()
    assert other.gate.limits.firm.order_qty == Decimal("0.05")
    assert other.send(26, 600_000) == desk.send(26, 600_000) == R.MAX_ORDER_QTY
    assert other.send(4, 600_000) == desk.send(4, 600_000) == R.POSITION_LIMIT
