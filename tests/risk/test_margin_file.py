"""Files of margin tiers: what is read, and the one line that a mistake gives."""

from __future__ import annotations

import json
from decimal import Decimal as D
from pathlib import Path

import pytest

from tidegate.errors import UserError
from tidegate.marketdata.binance_instruments import BINANCE
from tidegate.risk.margin.file import apply, brackets, load, packaged, with_tiers

SPOT, USDM, ETH, COINM = BINANCE[0], BINANCE[2], BINANCE[3], BINANCE[4]
GOOD = """
[instruments."BTCUSDT.BINANCE_USDM"]
leverage = 10
price = 100_000
tiers = [
    { to = 50_000, leverage = 125, maintenance = "0.4%" },
    { from = 50_000, to = 250_000, initial = "1%", maintenance = 0.005, amount = 50 },
]
[collateral.BTC]
tiers = [{ to = 1_000_000, ratio = "95%" }, { ratio = 0.9 }]
[collateral.USDC]
ratio = "99.99%"
"""


def written(folder: Path, text: str, name: str = "tiers.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_file_is_read_in_human_units(tmp_path):
    file = load(written(tmp_path, GOOD))
    found = apply(USDM, file, "here")
    assert (found.leverage, found.margin_price) == (10, D(100_000))
    assert [(t.floor, t.cap, t.maintenance) for t in found.tiers] == [
        (D(0), D(50_000), D("0.004")),
        (D(50_000), D(250_000), D("0.005")),
    ]
    assert found.margin_table.maintenance(100_000 * 10**8) == 450 * 10**8
    assert [(t.cap, t.ratio) for t in file.collateral["BTC"]] == [(D(1_000_000), D("0.95")), (D(0), D("0.9"))]
    assert file.collateral["USDC"][0].ratio == D("0.9999")


def test_what_is_no_contract_keeps_no_tiers(tmp_path):
    assert apply(SPOT, load(written(tmp_path, GOOD)), "here") is SPOT


def test_the_packaged_tables_are_those_of_the_sample():
    file = packaged()
    linear, inverse = apply(USDM, file, "x"), apply(COINM, file, "x")
    assert (len(linear.tiers), len(inverse.tiers)) == (12, 9)
    assert linear.tiers[0].maintenance == USDM.maintenance_margin
    assert 1 / linear.tiers[0].leverage == USDM.initial_margin
    assert inverse.tiers[0].maintenance == COINM.maintenance_margin
    assert linear.margin_table.amounts[-1] == 421_481_450 * 10**8


def change(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new, 1)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (change("from = 50_000", "from = 40_000"), "tier 2: it begins at 40000 and overlaps the one below, which ends at 50000"),
        (change("from = 50_000", "from = 60_000"), "tier 2: it begins at 60000 and leaves a gap: the one below ends at 50000"),
        (change("0.005", "0.003"), "tier 2: the maintenance rate falls, from 0.004 to 0.003"),
        (change('initial = "1%"', 'initial = "0.5%"'), "tier 2: the initial rate falls, from 0.008 to 0.005"),
        (change("amount = 50", "amount = 60"), "tier 2: the amount is 60, which makes a step: 50 follows from the tiers below"),
        (change("to = 50_000, leverage", "leverage"), "tier 1: only the last tier may have no end"),
        (change("leverage = 10", "leverage = -1"), "leverage is -1, must be a whole number from 1 on, or 0"),
        (change("maintenance = 0.005", "upkeep = 0.005"), "tier 2: unknown key 'upkeep'; known: amount, from"),
        (change(', maintenance = "0.4%"', ""), "tier 1: maintenance is not given"),
        (change('"0.4%"', '"a little"'), "tier 1: maintenance: 'a little' is not a number"),
        (change("[collateral.USDC]", "[colateral.USDC]"), "unknown key 'colateral'; did you mean 'collateral'?"),
        (change("ratio = 0.9 ", "ratio = 0.99 "), "collateral.BTC: tier 2: the ratio rises, from 0.95 to 0.99"),
        (change('ratio = "99.99%"', 'ratio = "101%"'), "collateral.USDC: tier 1: the ratio is 1.01, must be 0 … 1"),
        ("[[[", "not valid TOML"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(tmp_path, text, says):
    path = written(tmp_path, text)
    with pytest.raises(UserError) as caught:
        load(path)
    assert says in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_contract_without_tiers_is_told_and_not_guessed_at(tmp_path):
    path = written(tmp_path, GOOD)
    with pytest.raises(
        UserError, match=r"run.toml: venues.BINANCE_COINM.margin_tiers: tiers.toml: no tiers for BTCUSD_PERP"
    ):
        with_tiers(
            [USDM, COINM],
            {"BINANCE_USDM": "tiers.toml", "BINANCE_COINM": "tiers.toml"},
            path.parent,
            "run.toml",
        )


def test_tiers_by_venue_and_by_file(tmp_path):
    written(tmp_path, GOOD)
    found = with_tiers(
        [SPOT, USDM, COINM], {"BINANCE_USDM": "tiers.toml", "BINANCE_COINM": ""}, tmp_path, "run.toml"
    )
    assert [len(item.tiers) for item in found] == [0, 2, 9]
    assert with_tiers([USDM], {"BINANCE_USDM": "none"}, tmp_path, "run.toml") == [USDM]
    assert with_tiers([ETH], {}, tmp_path, "run.toml") == [ETH], "not among those that come with tidegate"
    with pytest.raises(UserError, match=r"cannot read margin tiers .*none.toml: No such file"):
        with_tiers([USDM], {"BINANCE_USDM": "none.toml"}, tmp_path, "run.toml")


LINEAR = {
    "symbol": "BTCUSDT",
    "brackets": [
        {"bracket": 2, "initialLeverage": 100, "notionalCap": 250_000, "notionalFloor": 50_000,
         "maintMarginRatio": 0.005, "cum": 50.0},
        {"bracket": 1, "initialLeverage": 125, "notionalCap": 50_000, "notionalFloor": 0,
         "maintMarginRatio": 0.004, "cum": 0.0},
    ],
}  # fmt: skip
INVERSE = {
    "pair": "BTCUSD",
    "brackets": [{"bracket": 1, "initialLeverage": 125, "qtyCap": 50, "qtylFloor": 0, "maintMarginRatio": 0.004, "cum": 0.0}],
}  # fmt: skip


def test_an_answer_of_binances_is_a_file_too(tmp_path):
    path = written(tmp_path, json.dumps([LINEAR, INVERSE]), "brackets.json")
    file = load(path)
    assert [t.cap for t in apply(USDM, file, "x").tiers] == [D(50_000), D(250_000)]
    assert [t.cap for t in apply(COINM, file, "x").tiers] == [D(50)]


def test_an_accounts_coefficient_widens_its_tiers():
    found = brackets([LINEAR | {"notionalCoef": 1.5}], "answer")["BTCUSDT"]
    assert [t.cap for t in found.tiers] == [D(75_000), D(375_000)]


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([{"symbol": "X"}], "expected [{symbol, brackets}, …] as of leverageBracket"),
        ([{"symbol": "X", "brackets": [{}]}], "X: a bracket has bracket, cum, initialLeverage, maintMarginRatio"),
        ([{"symbol": "X", "brackets": [{"bracket": 1, "initialLeverage": 1, "maintMarginRatio": 0.1, "cum": 0}]}],
         "no notionalFloor and notionalCap, nor qtyFloor and qtyCap"),
    ],
)  # fmt: skip
def test_an_answer_that_is_none_is_refused(rows, says):
    with pytest.raises(UserError) as caught:
        brackets(rows, "answer")
    assert says in str(caught.value)
