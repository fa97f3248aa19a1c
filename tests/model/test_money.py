"""Amounts as integers of a currency's minor unit."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.model.money import DEFAULT_DECIMALS, decimals, from_units, show, to_units, unit
from tidegate.model.scale import ScaleError

currencies = st.sampled_from(["USD", "USDT", "BTC", "ETH", "JPY", "XYZ"])


@given(st.integers(-(1 << 63) + 1, (1 << 63) - 1), currencies)
def test_amounts_survive_the_way_there_and_back(units, currency):
    assert to_units(from_units(units, currency), currency) == units


def test_a_sum_larger_than_64_bits_is_still_exact():
    assert from_units(10**40 + 1, "USD") == Decimal("100000000000000000000000000000000.00000001")


@pytest.mark.parametrize(("currency", "digits"), [("BTC", 10), ("JPY", 6), ("DOGE", DEFAULT_DECIMALS)])
def test_a_currency_has_its_unit(currency, digits):
    assert decimals(currency) == digits
    assert unit(currency) == Decimal(1).scaleb(-digits)


def test_an_amount_finer_than_the_unit_is_an_error():
    with pytest.raises(ScaleError, match="amount in BTC"):
        to_units("0.00000000001", "BTC")


def test_amounts_are_shown_for_people():
    assert show(123_450_000_000, "USDT") == "1234.5 USDT"
    assert show(123_450_000_000, "USDT", 2) == "1,234.50 USDT"
    assert show(-1, "BTC") == "-0.0000000001 BTC"
