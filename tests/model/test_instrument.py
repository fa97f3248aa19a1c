"""Instruments: their grid, their value, and what cannot be one."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.model import money
from tidegate.model.instrument import Instrument, InstrumentKind, Right, Universe
from tidegate.model.scale import ScaleError

K = InstrumentKind


def make(kind=K.PERPETUAL, **more) -> Instrument:
    fields = {
        "symbol": "BTCUSDT",
        "venue": "BINANCE",
        "base": "BTC",
        "quote": "USDT",
        "tick": Decimal("0.10"),
        "lot": Decimal("0.001"),
    }
    return Instrument(kind=kind, **{**fields, **more})


ALL = [
    make(K.SPOT),
    make(K.PERPETUAL),
    make(K.INVERSE_PERPETUAL, quote="USD", lot=Decimal(1), multiplier=Decimal(100)),
    make(K.FUTURE, expiry=10**18),
    make(K.OPTION, expiry=10**18, strike=Decimal(60000), right=Right.CALL, underlying="BTC"),
    make(K.FX, symbol="EURUSD", base="EUR", quote="USD", tick=Decimal("0.00001"), lot=Decimal(1000)),
    make(K.POOL, symbol="WETHUSDC", base="WETH", quote="USDC", pool_fee=Decimal("0.003")),
]


@pytest.mark.parametrize("item", ALL, ids=lambda item: item.kind.value)
def test_every_kind_survives_the_way_through_a_file(item):
    assert msgspec.json.decode(msgspec.json.encode(item), type=Instrument) == item


def test_an_instrument_is_read_from_a_configuration():
    text = """
        symbol = "BTCUSDT"
        venue = "BINANCE"
        kind = "perpetual"
        base = "BTC"
        quote = "USDT"
        tick = "0.10"
        lot = "0.001"
    """
    assert msgspec.toml.decode(text, type=Instrument) == make()


@pytest.mark.parametrize("item", ALL, ids=lambda item: item.kind.value)
@given(st.integers(1, 1 << 40))
def test_prices_and_quantities_survive_the_way_there_and_back(item, n):
    assert item.ticks(item.price(n)) == n
    assert item.lots(item.qty(n)) == n


def test_an_off_tick_price_names_the_nearest_ticks():
    with pytest.raises(ScaleError) as error:
        make().ticks("60000.17")
    assert str(error.value) == (
        "BTCUSDT.BINANCE: price 60000.17 is not a multiple of 0.1: nearest are 60000.1 and 60000.2"
    )


def test_an_off_lot_quantity_names_the_nearest_lots():
    with pytest.raises(ScaleError, match=r"quantity 0\.0015 .* nearest are 0\.001 and 0\.002"):
        make().lots("0.0015")


@pytest.mark.parametrize("price", ["0", "-1.0"])
def test_a_price_must_be_above_zero(price):
    with pytest.raises(ScaleError, match="not above 0"):
        make().ticks(price)


def test_negative_prices_work_where_the_instrument_has_them():
    oil = make(
        K.FUTURE,
        negative_prices=True,
        tick=Decimal("0.01"),
        lot=Decimal(1),
        expiry=1,
        multiplier=Decimal(1000),
    )
    assert oil.ticks("-37.63") == -3763
    assert oil.price(-3763) == Decimal("-37.63")
    assert oil.ticks("0") == 0
    assert money.from_units(oil.value(-3763, 2), "USDT") == Decimal("-75260")


@given(st.integers(1, 10**8), st.integers(-(10**10), 10**10))
def test_the_value_of_a_linear_contract_is_price_times_quantity(ticks, lots):
    item = make(multiplier=Decimal("0.5"))
    exact = Fraction(item.price(ticks)) * Fraction(item.qty(lots)) / 2 / Fraction(money.unit("USDT"))
    assert item.value(ticks, lots) == round(exact)


@given(st.integers(1, 10**8), st.integers(-(10**10), 10**10))
def test_the_value_of_an_inverse_contract_is_quantity_over_price(ticks, lots):
    item = ALL[2]
    assert item.settle_currency == "BTC"
    exact = Fraction(item.qty(lots)) * 100 / Fraction(item.price(ticks)) / Fraction(money.unit("BTC"))
    assert item.value(ticks, lots) == round(exact)


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_the_float_factor_is_the_value_near_enough(ticks, lots):
    item = make()
    whole = float(money.from_units(item.value(ticks, lots), "USDT"))
    assert item.value_float * ticks * lots == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize(
    ("item", "settle"), [(ALL[0], "USDT"), (ALL[1], "USDT"), (ALL[2], "BTC"), (make(settle="FDUSD"), "FDUSD")]
)
def test_what_profit_is_paid_in(item, settle):
    assert item.settle_currency == settle


def test_only_cash_instruments_exchange_the_assets_themselves():
    assert [item.cash for item in ALL] == [True, False, False, False, False, True, True]


WRONG = [
    ({"tick": Decimal(0)}, "tick is 0, must be above 0"),
    ({"lot": Decimal("-1")}, "lot is -1, must be above 0"),
    ({"multiplier": Decimal(0)}, "multiplier is 0"),
    ({"tick": Decimal("NaN")}, "tick is NaN, not a finite number"),
    ({"maker_fee": Decimal("Infinity")}, "maker_fee is Infinity"),
    ({"min_qty": Decimal(-1)}, "min_qty is -1, must not be below 0"),
    ({"initial_margin": Decimal("-0.1")}, "initial_margin is -0.1"),
    ({"expiry": -1}, "expiry is -1"),
    ({"min_qty": Decimal(5), "max_qty": Decimal(4)}, "max_qty 4 is below min_qty 5"),
    ({"symbol": ""}, "symbol is empty"),
    ({"venue": ""}, "venue is empty"),
    ({"kind": K.FUTURE}, "a future needs an expiry"),
    ({"kind": K.OPTION, "right": Right.PUT, "strike": Decimal(1)}, "an option needs"),
    ({"kind": K.OPTION, "expiry": 1, "strike": Decimal(1)}, "an option needs"),
    ({"kind": K.OPTION, "expiry": 1, "right": Right.PUT}, "an option needs right, strike and expiry"),
    ({"kind": K.INVERSE_PERPETUAL, "negative_prices": True}, "cannot have negative prices"),
]


@pytest.mark.parametrize(("fields", "message"), WRONG, ids=[message for _, message in WRONG])
def test_what_cannot_be_an_instrument_is_an_error_that_names_it(fields, message):
    with pytest.raises(ValueError, match=message):
        make(**fields)


def test_a_rebate_is_a_fee_below_zero():
    assert make(maker_fee=Decimal("-0.0001")).maker_fee < 0


def test_an_unknown_field_in_a_file_is_an_error():
    data = {**msgspec.to_builtins(make()), "tik": "0.1"}
    with pytest.raises(msgspec.ValidationError, match="tik"):
        msgspec.convert(data, Instrument)


def test_a_universe_numbers_its_instruments_in_order():
    universe = Universe(ALL[:1] + ALL[5:])
    assert len(universe) == 3
    assert [universe.number(item.id) for item in universe.instruments] == [0, 1, 2]
    assert universe[1].symbol == "EURUSD"


def test_an_unknown_instrument_names_the_known_ones():
    with pytest.raises(KeyError, match=r"unknown instrument 'X\.Y'; known: BTCUSDT\.BINANCE"):
        Universe([make()]).number("X.Y")
    with pytest.raises(KeyError, match="known: none"):
        Universe([]).number("X.Y")


def test_an_instrument_defined_twice_is_an_error():
    with pytest.raises(ValueError, match=r"defined twice: BTCUSDT\.BINANCE"):
        Universe([make(), make()])
