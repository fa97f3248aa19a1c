"""A change of limits: what it comes to, who must agree, what contradicts itself, what is below use."""

from __future__ import annotations

import pytest
from gate_desk import GENEROUS, SCOPES, T0, UNIVERSE, merged

from tidegate.errors import UserError
from tidegate.model.messages import OrderEvent
from tidegate.model.order import ExecType, OrdStatus, Side
from tidegate.risk.exposure import Exposure
from tidegate.risk.limit_changes import below_use, changes, contradictions, edit, people
from tidegate.risk.limits import Limits

BASE = Limits.load(GENEROUS)


def of(**tables):
    return Limits.load(merged(tables))


def changed(old, new):
    found = changes(old, new, UNIVERSE, SCOPES)
    return [str(change) for change in found], people(found)


def test_a_limit_is_told_once_and_where_it_comes_out():
    assert changed(BASE, of(accounts={"*": {"gross": 60_000_000}})) == (
        ["account:main.gross: 50,000,000 → 60,000,000", "account:other.gross: 50,000,000 → 60,000,000"], 1
    )  # fmt: skip
    assert changed(BASE, of(firm={"price_collar": "4%"})) == (["firm.price_collar: 0.05 → 0.04"], 1)
    assert changed(BASE, BASE) == ([], 1)


def test_twice_is_one_persons_and_more_than_twice_two_peoples():
    assert changed(BASE, of(firm={"loss": 1_000_000}))[1] == 1
    assert changed(BASE, of(firm={"loss": 1_000_001}))[1] == 2
    assert changed(BASE, of(firm={"loss": "unlimited"}))[1] == 2
    assert changed(BASE, of(firm={"max_age": "2s"}))[1] == 1
    assert changed(BASE, of(firm={"max_age": "2001ms"}))[1] == 2
    assert changed(BASE, of(firm={"max_age": "unlimited"}))[1] == 2
    assert changed(BASE, of(firm={"loss": 1}))[1] == 1, "any tightening"


def test_what_stays_free_is_loosened_by_less():
    assert changed(BASE, of(accounts={"*": {"margin_buffer": "5%"}}))[1] == 1
    assert changed(BASE, of(accounts={"*": {"margin_buffer": "4%"}}))[1] == 2
    assert changed(BASE, of(accounts={"*": {"margin_buffer": "90%"}}))[1] == 1


def test_a_limit_taken_out_is_what_it_falls_back_to():
    tight = of(strategies={"mm": {"order_qty": 10}})
    lines, needed = changed(tight, BASE)
    assert (lines, needed) == (["strategy:mm.order_qty: 10 → not set"], 2)
    named = of(strategies={"mm": {"loss": 400_000}})
    assert changed(named, BASE) == (["strategy:mm.loss: 400,000 → 500,000"], 1), 'falls back to "*"'
    closed = of(accounts={"*": {"loss": None}})
    assert changed(closed, BASE)[1] == 2, "where it was refused for want of a limit, it now trades"
    assert changed(BASE, closed)[1] == 1


def test_permissions_that_open_everything_need_two():
    narrow = of(firm={"trade": ["BTCUSDT.X"]})
    assert changed(narrow, BASE)[1] == 2
    assert changed(narrow, of(firm={"trade": ["BTCUSDT.X", "CL.Y"]}))[1] == 1
    assert changed(BASE, of(strategies={"*": {"self_match": True}}))[1] == 2


def test_an_instruments_limit_is_named_with_it():
    lines, needed = changed(BASE, of(firm={"instruments": {"CL.Y": {"order_qty": 200}}}))
    assert (lines, needed) == (["firm@CL.Y.order_qty: 90 → 200"], 2)


@pytest.mark.parametrize(
    ("tables", "line"),
    [
        ({"accounts": {"main": {"gross": 60_000_000}}}, "account:main.gross 60,000,000 is above firm.gross 50,000,000"),
        ({"strategies": {"mm": {"loss": 600_000}}}, "strategy:mm.loss 600,000 is above firm.loss 500,000"),
        ({"firm": {"net": 50_000_001}}, "firm.net 50,000,001 is above its gross 50,000,000"),
    ],
)  # fmt: skip
def test_contradictions_are_named(tables, line):
    new = of(**tables)
    assert contradictions(new, UNIVERSE, SCOPES, changes(BASE, new, UNIVERSE, SCOPES))[0] == line
    assert contradictions(new, UNIVERSE, SCOPES, []) == [], "what was there before is not this change's fault"


def test_the_whole_may_be_tightened_below_its_parts():
    new = of(firm={"gross": 1_000, "net": 1_000, "loss": 10})
    assert contradictions(new, UNIVERSE, SCOPES, changes(BASE, new, UNIVERSE, SCOPES)) == []


def test_what_is_used_now_is_compared():
    exposure = Exposure(UNIVERSE, SCOPES)
    exposure.mark(0, 600_000, 600_000, T0)
    exposure.apply(OrderEvent(T0, 1, 1, 0, 0, 0, OrdStatus.PENDING_NEW, None, 1_000, 0))
    exposure.apply(OrderEvent(
        T0, 1, 1, 0, 0, 0, OrdStatus.PARTIALLY_FILLED, ExecType.TRADE, 400, 600, 600, 600_000, side=Side.BUY
    ))  # fmt: skip
    assert below_use(BASE, exposure) == []
    lines = [str(line) for line in below_use(of(firm={"gross": 50_000, "position": "0.9"}), exposure)]
    assert lines == [
        "firm: gross 50,000 is below the 60,000.00 in use", "firm: long position in BTCUSDT.X 0.9 is below the 1.000 in use"
    ]  # fmt: skip
    tight = of(strategies={"mm": {"open_orders": 0, "open_value": 20_000}})
    assert [(b.scope, b.field) for b in below_use(tight, exposure)] == [
        ("strategy:mm", "open_value"), ("strategy:mm", "open_orders")
    ]  # fmt: skip


def test_one_limit_is_edited_in_its_place():
    assert edit(BASE, "firm.gross=5_000_000").firm.gross == 5_000_000
    assert edit(BASE, "account:main.loss=unlimited").accounts["main"].loss.is_infinite()
    assert str(edit(BASE, "strategy:*.price_collar=3%").strategies["*"].price_collar) == "0.03"
    assert edit(BASE, "firm@CL.Y.order_qty=3").firm.instruments["CL.Y"].order_qty == 3
    assert edit(BASE, "account:*.loss=").accounts["*"].loss is None
    assert edit(BASE, "firm.sides=buy").firm.sides == ("buy",)
    assert edit(edit(BASE, "firm.gross=1"), "firm.gross=50_000_000").to_json() == BASE.to_json()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("firm.gros=3", "unknown limit 'gros'; did you mean 'gross'"),
        ("gross=3", "write SCOPE.FIELD=VALUE"),
        ("venue:X.gross=3", "venue has none"),
        ("firm.gross=lots", "limits.firm.gross: .*'lots'"),
        ("team:a.gross=3", "write firm, or desk"),
    ],
)
def test_a_mistake_in_an_edit_is_one_line(text, message):
    with pytest.raises(UserError, match=message):
        edit(BASE, text)
