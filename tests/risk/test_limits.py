"""Limits as people write them: units, what goes before what, and one clear line for every mistake."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from gate_desk import FIRM, MAIN, MM, SCOPES, UNIVERSE, Desk

from tidegate.errors import UserError
from tidegate.kernel import gate_state as g
from tidegate.risk.controls import CONTROLS
from tidegate.risk.gate import Gate
from tidegate.risk.limits import InstrumentLimits, Limits, ScopeLimits, load_toml, unlimited
from tidegate.risk.reasons import Reason as R


def test_units_are_those_of_people() -> None:
    firm = Limits.load(
        {"firm": {"gross": "1_000_000.5", "price_collar": "2.5%", "period_drift": 0.01, "max_age": "250ms",
                  "order_qty": 3, "restricted_from": "2024-08-08T12:00:00", "loss": "unlimited"}}
    ).firm  # fmt: skip
    assert (firm.gross, firm.price_collar, firm.period_drift) == (
        Decimal("1000000.5"),
        Decimal("0.025"),
        Decimal("0.01"),
    )
    assert (firm.max_age, firm.order_qty, firm.loss) == (250_000_000, 3, Decimal("Infinity"))
    assert firm.restricted_from == 1_723_118_400_000_000_000
    assert firm.net is None


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"frim": {}}, "risk: unknown key 'frim'; did you mean 'firm'?"),
        ({"firm": {"max_agee": "1s"}}, "risk.firm: unknown key 'max_agee'; did you mean 'max_age'?"),
        ({"accounts": {"a": {"instruments": {"X": {"gross": 1}}}}}, "risk.accounts.a.instruments.X: unknown key"),
        ({"firm": {"gross": "lots"}}, "risk.firm.gross: number 'lots' is not a decimal number"),
        ({"firm": {"gross": -1}}, "risk.firm.gross: -1 is below 0"),
        ({"firm": {"price_collar": "five%"}}, "risk.firm.price_collar: number 'five' is not"),
        ({"firm": {"max_age": "soon"}}, "risk.firm.max_age: 'soon' is not a duration"),
        ({"firm": {"max_age": [1]}}, r"risk.firm.max_age: \[1\] is neither text nor an integer"),
        ({"firm": {"gross": True}}, "risk.firm.gross: number 'True' is not"),
        ({"firm": {"sides": ["long"]}}, "risk.firm.sides: unknown 'long'; known: buy, sell"),
        ({"firm": {"order_types": ["limt"]}}, "risk.firm.order_types: unknown 'limt'; did you mean 'limit'?"),
        ({"firm": 3}, "risk.firm: expected a table, got 3"),
        ({"desks": {"a": {"instruments": []}}}, r"risk.desks.a.instruments: expected a table, got \[\]"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_with_its_place_and_the_way_out(data: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        Limits.load(data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"accounts": {"mian": {}}}, "risk.accounts: unknown account 'mian'; did you mean 'main'?"),
        ({"strategies": {"nn": {}}}, "risk.strategies: unknown strategy 'nn'"),
        (
            {"firm": {"trade": ["BTCUSDT.XX"]}},
            "risk: unknown instrument 'BTCUSDT.XX'; did you mean 'BTCUSDT.X'?",
        ),
        ({"firm": {"trade": ["*.Z"]}}, r"risk: unknown instrument '\*.Z'"),
        ({"strategies": {"mm": {"instruments": {"ETH.X": {}}}}}, "risk: unknown instrument 'ETH.X'"),
    ],
)
def test_limits_for_what_does_not_exist_are_a_mistake(data: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Gate(UNIVERSE, SCOPES, Limits.load(data))


def test_a_rate_that_is_missing_or_unreadable_is_a_mistake() -> None:
    with pytest.raises(UserError, match=r"no rate from USDT to the base currency USD.*fx\.USDT"):
        Gate(UNIVERSE, SCOPES, Limits(), base_currency="USD")
    with pytest.raises(UserError, match=r"neither a number nor an instrument; did you mean 'BTCUSDT.X'"):
        Gate(UNIVERSE, SCOPES, Limits(), base_currency="USD", fx={"USDT": "BTCUSDT.XX"})


def test_limits_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "risk.toml"
    path.write_text('[firm]\ngross = "5"\n[strategies."*"]\nopen_orders = 7\n')
    limits = load_toml(path)
    assert limits.firm.gross == 5
    assert limits.strategies["*"].open_orders == 7
    path.write_text("[firm\n")
    with pytest.raises(UserError, match=r"risk\.toml"):
        load_toml(path)
    with pytest.raises(UserError, match="No such file"):
        load_toml(tmp_path / "none.toml")


def test_a_named_table_goes_before_the_star_and_an_instrument_before_all() -> None:
    changes = {
        "order_qty": 9,
        "instruments": {"BTCUSDT.X": {"order_qty": 5}},
    }
    desk = Desk(strategies={"*": changes, "mm": {"order_qty": 1, "instruments": {"CL.Y": {"order_qty": 2}}}})
    rules = desk.gate.state.rules
    mm, arb = 0, 2
    assert [int(rules[row, g.R_QTY]) for row in (mm, mm + 1, arb, arb + 1)] == [5_000, 2, 5_000, 9]
    desk = Desk(strategies={"*": changes, "mm": {"instruments": {"BTCUSDT.X": {"order_qty": 4}}}})
    assert desk.gate.state.rules[mm, g.R_QTY] == 4_000


def test_the_tightest_limit_of_the_chain_holds_and_names_its_scope() -> None:
    desk = Desk(
        accounts={"main": {"price_collar": "1%", "max_age": "5s"}}, strategies={"mm": {"price_collar": "3%"}}
    )
    assert desk.send(10, 607_000) == R.PRICE_COLLAR
    assert desk.gate.scope == MAIN
    row = desk.gate.state.rules[0]
    assert (row[g.R_AGE], row[g.R_AGE_SCOPE]) == (1_000_000_000, FIRM)


def test_permissions_are_what_every_list_on_the_chain_allows() -> None:
    desk = Desk(firm={"sides": ["buy"]}, strategies={"mm": {"sides": ["buy", "sell"]}})
    assert desk.send(-10, 600_010) == R.SIDE_NOT_PERMITTED
    assert desk.gate.scope == MM


def test_own_orders_may_meet_only_where_somebody_says_so_and_nobody_forbids_it() -> None:
    for changes, expected in (
        ({}, R.SELF_MATCH),
        ({"firm": {"self_match": True}}, R.NONE),
        ({"firm": {"self_match": True}, "strategies": {"mm": {"self_match": False}}}, R.SELF_MATCH),
    ):
        desk = Desk(**changes)
        assert desk.send(-10, 600_020) == R.NONE
        assert desk.send(10, 600_020) == expected


def test_unlimited_is_explicit_for_every_control() -> None:
    gate = Gate(UNIVERSE, SCOPES, unlimited())
    desk = Desk()
    desk.gate = gate
    assert not gate.state.rules[:, [g.R_MISSING, g.R_MISSING_RISK]].any()
    assert desk.send(90_000, 900_000) == R.NONE
    assert desk.send(-90_000, 300_000) == R.NONE


def test_every_limit_is_named_by_exactly_one_control() -> None:
    named = [field for control in CONTROLS for field in control.fields]
    assert len(named) == len(set(named))
    known = {*InstrumentLimits.__struct_fields__, *ScopeLimits.__struct_fields__}
    assert set(named) <= known
    companions = {
        "restricted", "restricted_from", "restricted_to", "expiry_window", "price_collar_floor", "dynamic_horizon",
        "dynamic_floor", "period_window", "duplicate_window", "self_match", "long", "short", "order_burst",
        "cancel_burst", "instruments", "ratio_free", "execution_window", "volume", "interest", "depth", "fill_burst",
        "legs", "leg_time",
    }  # fmt: skip
    assert known == set(named) | companions


def test_limits_that_nobody_set_are_said_once_for_each_scope_and_control(
    caplog: pytest.LogCaptureFixture,
) -> None:
    Desk()
    assert not caplog.records
    Desk(firm={"gross": None})
    Desk(firm={"order_qty": None}, strategies={"mm": {"instruments": {"CL.Y": {"order_qty": 1}}}})
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "risk: firm has no limit for control 18 (gross, net): what does not reduce in all instruments is refused",
        "risk: strategy:mm has no limit for control 4 (order_qty): everything in BTCUSDT.X is refused",
        "risk: strategy:arb has no limit for control 4 (order_qty): everything in all instruments is refused",
    ]


def test_a_configuration_without_limits_refuses_everything() -> None:
    desk = Desk()
    desk.gate = Gate(UNIVERSE, SCOPES, Limits())
    for strategy in (0, 1):
        assert desk.send(10, 600_000, strategy=strategy) == R.NO_LIMIT
    assert desk.gate.control == 30
    assert desk.gate.limit == 1


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-0.1", "wide"])
def test_a_floor_of_the_collar_is_a_number_and_not_below_0(text):
    with pytest.raises(UserError, match=r"price_collar_floor") as error:
        Limits.load({"firm": {"price_collar": "5%", "price_collar_floor": text}})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["unlimited", "1e30"])
def test_a_floor_may_be_as_wide_as_the_collar_is_to_be_none(text):
    limits = Limits.load({"firm": {"price_collar": "5%", "price_collar_floor": text}})
    Gate(UNIVERSE, SCOPES, limits)
