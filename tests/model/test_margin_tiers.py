"""Tables of margin tiers: what they ask, and which ones are refused."""

from __future__ import annotations

from decimal import Decimal as D
from fractions import Fraction

import msgspec
import pytest

from tidegate.marketdata.binance_instruments import BINANCE
from tidegate.model.instrument import Instrument, InstrumentKind
from tidegate.model.margin_tiers import Tier, TierTable, problem

TWO = (
    Tier(cap=D(50_000), leverage=D(125), maintenance=D("0.004")),
    Tier(floor=D(50_000), cap=D(250_000), leverage=D(100), maintenance=D("0.005")),
)
E8 = 10**8


def changed(n: int, **fields: object) -> tuple[Tier, ...]:
    made = list(TWO)
    made[n] = msgspec.structs.replace(made[n], **fields)
    return tuple(made)


def test_amounts_are_what_makes_maintenance_go_on_at_a_tiers_floor():
    table = TierTable(TWO, "USDT")
    assert table.amounts == [0, 50 * E8]
    assert table.maintenance(50_000 * E8) == 200 * E8
    assert table.maintenance(50_000 * E8 + 200) == 200 * E8 + 1
    assert table.maintenance(100_000 * E8) == 450 * E8


def test_a_value_at_a_cap_is_still_in_the_tier_below():
    table = TierTable(TWO, "USDT")
    assert [table.tier(v * E8) for v in (0, 50_000, 50_001, 250_000, 999_999)] == [0, 0, 1, 1, 1]
    assert [table.beyond(v * E8) for v in (250_000, 250_001)] == [False, True]


def test_the_leverage_chosen_asks_for_more_than_the_tier_and_never_for_less():
    table = TierTable(TWO, "USDT")
    assert table.initial(10_000 * E8) == 80 * E8
    assert table.initial(10_000 * E8, 20) == 500 * E8
    assert table.initial(100_000 * E8, 125) == 1_000 * E8


def test_beyond_the_table_all_of_the_value_is_asked_for():
    table = TierTable(TWO, "USDT")
    assert table.initial(250_000 * E8 + 1) == 250_000 * E8 + 1


def test_requirements_are_rounded_up_to_a_minor_unit():
    table = TierTable([Tier(leverage=D(3), maintenance=D("0.1"))], "USDT")
    assert (table.initial(10), table.maintenance(11)) == (4, 2)
    assert table.rate(10) == Fraction(1, 3)


@pytest.mark.parametrize(
    ("tiers", "says"),
    [
        ((), "no tiers"),
        (changed(0, floor=D(1)), "tier 1: it begins at 1: the first begins at 0"),
        (
            changed(1, floor=D(40_000)),
            "tier 2: it begins at 40000 and overlaps the one below, which ends at 50000",
        ),
        (
            changed(1, floor=D(60_000)),
            "tier 2: it begins at 60000 and leaves a gap: the one below ends at 50000",
        ),
        (changed(1, maintenance=D("0.003")), "tier 2: the maintenance rate falls, from 0.004 to 0.003"),
        (changed(1, leverage=D(150)), "tier 2: the initial rate falls, from 0.008 to 0.00666667"),
        (
            changed(0, maintenance=D("0.01")),
            "tier 1: the maintenance rate 0.01 is above the initial one, 0.008",
        ),
        (changed(0, leverage=D("0.5")), "tier 1: leverage is 0.5, must be 1 or more"),
        (changed(0, initial=D("0.1")), "tier 1: give leverage, or initial, and not both"),
        (changed(0, cap=D(0)), "tier 1: only the last tier may have no end"),
        (changed(1, cap=D(50_000)), "tier 2: it ends at 50000, which is not above where it begins, 50000"),
        (changed(0, maintenance=D("NaN")), "tier 1: a figure is not a finite number"),
        (
            changed(0, maintenance=D("-0.1")),
            "tier 1: the maintenance rate is -0.1, must be at least 0 and below 1",
        ),
    ],
)
def test_a_table_that_cannot_be_is_refused_and_says_why(tiers, says):
    assert problem(tiers) == says
    with pytest.raises(ValueError, match=says.partition(":")[0]):
        TierTable(tiers, "USDT")


def test_an_instrument_carries_its_tiers_through_json():
    item = msgspec.structs.replace(BINANCE[2], tiers=TWO, leverage=20)
    again = msgspec.json.decode(msgspec.json.encode(item), type=Instrument)
    assert again == item
    assert again.margin_table.maintenance(100_000 * E8) == 450 * E8


def test_without_tiers_an_instrument_has_one_of_its_two_rates():
    table = BINANCE[2].margin_table
    assert (len(table), table.end) == (1, 0)
    assert (table.initial(10**12), table.maintenance(10**12)) == (8 * 10**9, 4 * 10**9)


def test_an_instrument_with_wrong_tiers_is_refused():
    with pytest.raises(ValueError, match="margin tier 2: the maintenance rate falls"):
        msgspec.structs.replace(BINANCE[2], tiers=changed(1, maintenance=D("0.003")))


def test_a_future_may_be_inverse_and_needs_an_expiry():
    fields = {
        "symbol": "BTCUSD_241227", "venue": "BINANCE_COINM", "kind": InstrumentKind.INVERSE_FUTURE, "base": "BTC",
        "quote": "USD", "tick": D("0.1"), "lot": D(1), "multiplier": D(100),
    }  # fmt: skip
    item = Instrument(**fields, expiry=10**18)
    assert item.inverse
    assert item.settle_currency == "BTC"
    with pytest.raises(ValueError, match="a future needs an expiry"):
        Instrument(**fields)
