"""Margin and liquidation against figures that venues have published. Each test names its source."""

from __future__ import annotations

from decimal import Decimal as D
from fractions import Fraction

import pytest
from margin_desk import BTC_2021, ETH_2021, hold, inverse, linear, pool, units

from tidegate.model import money
from tidegate.risk.margin.collateral import HaircutTier, collateral, credit
from tidegate.risk.margin.liquidation import of_pool
from tidegate.risk.margin.pool import Contract, funding
from tidegate.risk.margin.spot import CROSS_3X, CROSS_5X, Debt, SpotMargin, interest


def shown(contract: Contract, price: Fraction | None) -> str:
    """A price as a venue writes it: two decimals."""
    assert price is not None
    return f"{float(price * Fraction(contract.instrument.tick)):.2f}"


def test_binances_example_of_two_cross_positions():
    """Wallet 1,535,443.01 USDT; long 3,683.979 ETH at 1,456.84, mark 1,335.18; long 109.488 BTC at 32,481.98, mark
    31,967.27. Liquidation prices 1,153.26 and 26,316.89; the other's maintenance 71,200.81 and 356,512.51.

    https://www.binance.com/en/support/faq/b3c689c1f50a44cabb3a84e663b81d93 (its example of 2021); the same figures
    are in freqtrade's tests/exchange/test_binance.py.
    """
    eth = hold(linear("ETHUSDT", ETH_2021, 0), "3683.979", "1456.84", "1335.18")
    btc = hold(linear("BTCUSDT", BTC_2021, 1), "109.488", "32481.98", "31967.27")
    account = pool("1535443.01", eth, btc)
    assert money.show(btc.maintenance, "USDT", 2) == "71,200.81 USDT"
    assert money.show(eth.maintenance, "USDT", 2) == "356,512.51 USDT"
    assert money.show(btc.unrealised, "USDT", 2) == "-56,354.57 USDT"
    assert shown(eth.contract, of_pool(account, eth).price) == "1153.26"
    assert shown(btc.contract, of_pool(account, btc).price) == "26316.89"


@pytest.mark.parametrize(
    ("symbol", "table", "qty", "entry", "price"),
    [
        ("ETHUSDT", ETH_2021, "3683.979", "1456.84", "1114.78"),
        ("BTCUSDT", BTC_2021, "109.488", "32481.98", "18778.73"),
    ],
)
def test_the_same_positions_isolated(symbol, table, qty, entry, price):
    """Each alone with the whole wallet: 1,114.78 and 18,778.73 (freqtrade's tests/exchange/test_binance.py, where they
    were taken from Binance's formula with the rate of 10 % and 2.5 %)."""
    held = hold(linear(symbol, table), qty, entry, entry, isolated=units("1535443.01"))
    assert shown(held.contract, of_pool(pool("0", held), held).price) == price


def test_binances_coin_margined_calculator():
    """Wallet 101 BTC, long 100,000 contracts of 100 USD at 45,000: the calculator of the exchange gives 33,599.40.

    https://dev.binance.vision/t/coin-margined-futures-liquidation-price-calculation-help-cm-variable/6292 (2021). The
    position is worth 298 BTC there: 12.5 % and an amount of 11.605 BTC, as the FAQ gives for 300 BTC. The formula gives
    10,000,000 × 1.125 / (101 + 222.2222 + 11.605) = 33,599.42: the calculator is 0.02 lower, within a tick of 0.1.
    """
    held = hold(inverse(), "100000", "45000", "45000")
    account = pool("101", held, currency="BTC")
    found = of_pool(account, held)
    assert shown(held.contract, found.price) == "33599.42"
    assert abs(found.price - Fraction("335994.0")) < 1


def test_maintenance_amounts_of_coin_margined_tiers():
    """300 BTC of BTCUSD are in the tier of 12.5 % with an amount of 11.605 BTC; 100 contracts at 25,000 need 0.0016
    BTC. https://www.binance.com/en/support/faq/ceccfcfb4e3a45e3b48b0b1bb1a8ae46."""
    table = inverse().table
    tier = table.tier(units("300", "BTC"))
    assert (table.upkeep[tier], table.amounts[tier]) == (Fraction(1, 8), units("11.605", "BTC"))
    assert hold(inverse(), "100", "25000", "25000").maintenance == units("0.0016", "BTC")


def test_maintenance_of_linear_tiers():
    """264,000 USDT of BTCUSDT are in the tier of 1 %, 500,000 have an amount of 1,300 USDT.

    https://www.binance.com/en/support/faq/b3c689c1f50a44cabb3a84e663b81d93."""
    table = linear().table
    assert table.upkeep[table.tier(units("264000"))] == Fraction(1, 100)
    assert table.amounts[table.tier(units("500000"))] == units("1300")


def test_the_cost_of_opening_a_position():
    """1 BTC at 9,253.30, leverage 20, mark 9,259.84: a long costs 462.66 USDT, a short loses 6.54 USDT at once.

    https://www.binance.com/en/support/faq/87fa7ee33b574f7084d42bd2ce2e463b. Ours asks a little more: an order is worth
    at least what the market is, 9,259.84 / 20 = 462.99.
    """
    contract = linear(leverage=20)
    buy = hold(contract, "0", mark="9259.84", orders=(("1", "9253.30"),))
    sell = hold(contract, "0", mark="9259.84", orders=(("-1", "9253.30"),))
    assert (buy.initial, buy.order_loss) == (units("462.992"), 0)
    assert (sell.initial, sell.order_loss) == (units("462.992"), units("6.54"))


def test_haircuts_by_tiers():
    """6,000 BTC at 20,000: 100 million in full, 20 million at 97.5 %: 119.5 million.

    https://www.binance.com/en/support/faq/4bec9126c021472285b20874f9380dfb, example 1."""
    tiers = [
        HaircutTier(cap=D(cap), ratio=D(ratio))
        for cap, ratio in (
            (100_000_000, "1"),
            (120_000_000, "0.975"),
            (150_000_000, "0.95"),
            (180_000_000, "0.9"),
        )
    ]
    held = collateral(units("6000", "BTC"), "BTC", {"BTC": Fraction(20_000)}, {"BTC": tiers})
    assert held == 119_500_000


def test_a_flat_haircut_of_multi_assets_mode():
    """BNB worth 1,000 USD counts for 950. https://www.binance.com/en/futures/trading-rules/perpetual/multi-asset-info."""
    haircuts = {"BNB": [HaircutTier(ratio=D("0.95"))]}
    assert credit({"BNB": units("2", "BNB")}, "USDT", {"BNB": Fraction(500)}, haircuts) == units("950")


def test_margin_levels_of_borrowed_spot():
    """Cross 3x: a call at 1.3, liquidation at 1.1; 5x: 1.16 and 1.1.

    https://www.binance.com/en/support/faq/360030493931. 1 BTC bought with 6,000 of its 10,000 USDT borrowed: level 1.67,
    liquidated at 6,600."""
    assert (CROSS_3X.call, CROSS_5X.call) == (Fraction("1.3"), Fraction("1.16"))
    account = SpotMargin({"BTC": units("1", "BTC")}, {"USDT": Debt(units("6000"))})
    figures = account.figures({"BTC": Fraction(10_000), "USDT": Fraction(1)}, "USDT")
    assert figures.level == Fraction(5, 3)
    assert (figures.equity, figures.maintenance) == (units("4000"), units("600"))
    assert account.liquidation("BTC", {"USDT": Fraction(1)}) == 6_600


def test_a_short_of_borrowed_coin_is_liquidated_above():
    """1 BTC borrowed and sold at 10,000 beside 5,000 USDT: 15,000 = 1.1 × price at 13,636.36."""
    account = SpotMargin({"USDT": units("15000")}, {"BTC": Debt(units("1", "BTC"))})
    assert account.liquidation("BTC", {"USDT": Fraction(1)}) == Fraction(15_000) / Fraction("1.1")


def test_interest_is_by_the_hour_begun_and_rounded_up():
    hour = 3600 * 10**9
    assert interest(units("6000"), D("0.00001"), 0, hour) == units("0.06")
    assert interest(units("6000"), D("0.00001"), 0, hour + 1) == units("0.12")
    assert interest(1, D("0.00001"), 0, 1) == 1


def test_funding_is_paid_by_longs_at_a_rate_above_0():
    """Notional × rate: 1 BTC at 50,000 and 0.01 % pays 5 USDT (https://www.binance.com/en/support/faq/360033525031)."""
    mark = linear().instrument.ticks("50000")
    assert funding(hold(linear(), "1", "50000", "50000"), 10_000, mark) == units("5")
    assert funding(hold(linear(), "-1", "50000", "50000"), 10_000, mark) == units("-5")
