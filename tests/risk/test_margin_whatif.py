"""An order judged before it is sent: what it would ask for, where the account would end, and what is refused."""

from __future__ import annotations

from decimal import Decimal as D
from fractions import Fraction

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from margin_desk import hold, inverse, linear, pool, units

from tidegate.model.instrument import Instrument, InstrumentKind, Right
from tidegate.risk.margin.account import MarginAccount, filled
from tidegate.risk.margin.collateral import HaircutTier
from tidegate.risk.margin.liquidation import of_pool
from tidegate.risk.margin.models import MODELS, Paid, Tiered, WholeRisk
from tidegate.risk.margin.pool import Contract, Holding, Pool, Touch
from tidegate.risk.margin.whatif import Intent, answer, read, what_if
from tidegate.risk.position import Position


def account(*pools: Pool, **more: object) -> MarginAccount:
    return MarginAccount("main", "X", pools[0].currency, pools, **more)


def intent(contract: Contract, qty: str, price: str = "") -> Intent:
    item = contract.instrument
    return Intent(contract.number, item.lots(qty), item.ticks(price) if price else 0)


def test_before_and_after_an_order():
    """10 BTC at 50,000 with 20x: 25,000 USDT of margin, and it ends where the formula says."""
    c = linear(leverage=20)
    empty = hold(c, "0", mark="50000")
    found = what_if(account(pool("30000")), empty, intent(c, "10", "50000"))
    assert found.allowed
    assert (found.before.initial, found.before.maintenance) == (0, 0)
    assert found.after.initial == units("25000")
    assert found.after.maintenance == units("3700")  # 500,000 × 1 % − 1,300
    bought = pool("29750", hold(c, "10", "50000", "50000"))  # the fee: 0.05 % of 500,000
    assert found.after.liquidation == of_pool(bought, bought.holdings[0])
    assert found.after.equity == units("29750")


def test_too_little_margin_is_refused_with_both_figures():
    c = linear(leverage=20)
    found = what_if(
        account(pool("30000")), hold(c, "0", mark="50000"), intent(c, "10"), buffer=Fraction(1, 5)
    )
    assert not found.allowed
    assert found.reason == "MARGIN"
    assert found.text == (
        "initial margin 25,000.00 USDT would be above 23,800.00 USDT, equity less its buffer"
    )


def test_what_only_reduces_is_always_allowed():
    c = linear(leverage=20)
    held = hold(c, "10", "50000", "47500")
    broke = account(pool("25100", held))
    assert broke.available < 0
    assert what_if(broke, held, intent(c, "-10")).text == "it only reduces"
    assert not what_if(broke, held, intent(c, "-20.001")).allowed
    assert not what_if(broke, held, intent(c, "0.001")).allowed
    resting = hold(c, "10", "50000", "47500", orders=(("-5", "60000"),))
    assert not what_if(account(pool("25100", resting)), resting, intent(c, "-6")).allowed, "with what is open"


def test_open_orders_and_the_new_one_count_together():
    c = linear(leverage=20)
    held = hold(c, "1", "50000", "50000", orders=(("2", "49000"), ("-9", "51000")))
    found = what_if(account(pool("100000", held)), held, intent(c, "4", "50000"))
    # Buys: 1 + 2 + 4 at 50,000 (the market's, where the limit is below it); sells: 9 at 51,000 less 1 at 50,000.
    assert found.after.initial == max(units("17500"), units("20450"))


def test_beyond_the_tiers_the_venue_takes_no_position():
    c = linear(leverage=1)
    found = what_if(account(pool("900000000")), hold(c, "0", mark="50000"), intent(c, "10001"))
    assert found.reason == "BEYOND_TIERS"


def test_a_stale_mark_opens_nothing_and_closes():
    c = linear()
    held = hold(c, "1", "50000", "50000")
    old = account(pool("1000000", held), stale=(c.instrument.id,))
    assert what_if(old, held, intent(c, "1")).reason == "STALE_MARK"
    assert what_if(old, held, intent(c, "-1")).allowed


OPTION = Instrument(
    symbol="BTC-60000-C", venue="X", kind=InstrumentKind.OPTION, base="BTC", quote="USDT", tick=D("0.1"), lot=D("0.01"),
    expiry=10**18, strike=D(60_000), right=Right.CALL, underlying="BTC",
)  # fmt: skip


def test_a_short_option_is_refused_and_one_that_is_there_counts_with_its_notional():
    c = Contract(0, OPTION)
    empty = hold(c, "0", mark="1000", ask="1010")
    rich = account(pool("1000000"))
    assert what_if(rich, empty, intent(c, "-0.01")).reason == "NOT_COVERED"
    bought = what_if(rich, empty, intent(c, "1", "1010"))
    assert bought.allowed
    assert bought.after.initial == units("1020")  # the premium, and the spread that it would lose at once
    held = hold(c, "-1", "1000", "1000", "1010")
    assert held.maintenance == units("61010")
    assert account(pool("1000000", held)).uncovered == (OPTION.id,)
    assert what_if(account(pool("1", held)), held, intent(c, "1")).allowed, "buying back only reduces"


def test_every_kind_of_instrument_has_a_model_and_says_whether_it_may_be_short():
    assert set(MODELS) == set(InstrumentKind)
    short = {kind for kind, model in MODELS.items() if model.covers_short}
    assert short == {
        InstrumentKind.PERPETUAL,
        InstrumentKind.INVERSE_PERPETUAL,
        InstrumentKind.FUTURE,
        InstrumentKind.INVERSE_FUTURE,
    }
    assert {type(model) for model in MODELS.values()} == {Tiered, Paid, WholeRisk}


def test_spot_is_paid_in_full():
    spot = Contract(0, Instrument(
        symbol="BTCUSDT", venue="X", kind=InstrumentKind.SPOT, base="BTC", quote="USDT", tick=D("0.01"), lot=D("0.001"),
    ))  # fmt: skip
    empty = hold(spot, "0", mark="50000")
    assert what_if(account(pool("50000")), empty, intent(spot, "0.9", "50000")).allowed
    assert not what_if(account(pool("50000")), empty, intent(spot, "1.1", "50000")).allowed
    assert what_if(account(pool("50000")), empty, intent(spot, "-0.1")).reason == "NOT_COVERED"


def test_several_currencies_are_counted_together_after_haircuts():
    """1 BTC at 50,000 and 95 %, beside 10,000 USDT: 57,500 for a position that settles in USDT."""
    c = linear(leverage=20)
    both = MarginAccount(
        "main", "X", "USDT", (pool("10000"), pool("1", currency="BTC")), {"BTC": Fraction(50_000)},
        haircuts={"BTC": [HaircutTier(ratio=D("0.95"))]},
    )  # fmt: skip
    assert both.equity == units("57500")
    assert what_if(both, hold(c, "0", mark="50000"), intent(c, "20")).allowed
    assert not what_if(both, hold(c, "0", mark="50000"), intent(c, "23")).allowed
    debt = MarginAccount(
        "main", "X", "USDT", (pool("60000"), pool("-1", currency="BTC")), {"BTC": Fraction(50_000)},
        haircuts={"BTC": [HaircutTier(ratio=D("0.95"))]},
    )  # fmt: skip
    assert debt.equity == units("10000")
    with pytest.raises(LookupError, match="no rate from BTC to USDT"):
        _ = MarginAccount("main", "X", "USDT", (pool("1", currency="BTC"),)).equity


def test_a_request_and_its_answer_in_human_units():
    asked = read(b'{"account":"main","instrument":"BTCUSDT.X","side":"buy","quantity":"0.5","price":"50000"}')
    assert (asked.quantity, asked.price) == (D("0.5"), D(50_000))
    with pytest.raises(ValueError, match="not a what-if request"):
        read(b'{"account":"main","quantiy":"1"}')
    c = linear(leverage=20)
    one = account(pool("30000"))
    told = answer(what_if(one, hold(c, "0", mark="50000"), intent(c, "10")), one, c, "the wallet at X")
    assert told.allowed
    assert told.after is not None
    # (500,000 − 29,750 − 1,300) / (10 × 0.99), up to the next tick
    assert (told.after.initial, told.after.liquidation) == (D(25_000), "47368.69")
    assert told.before is not None
    assert told.before.liquidation == "never"
    assert msgspec.json.decode(msgspec.json.encode(told), type=type(told)) == told


PRICES = st.integers(1, 400)
LOTS = st.integers(-5_000, 5_000)


@settings(max_examples=200, deadline=None)
@given(
    st.booleans(),
    st.lists(st.tuples(LOTS.filter(bool), PRICES), min_size=1, max_size=8),
    PRICES,
    st.booleans(),
)
def test_fills_are_booked_as_the_ledger_books_them(coin, fills, mark, isolated):
    c = inverse(tick=D("0.1")) if coin else linear(tick=D("0.1"))
    currency = c.instrument.settle_currency
    touch = Touch(mark, mark)
    own = Pool(currency, 10**9, (Holding(c, touch, isolated=10**8 if isolated else None),))
    book, fees = Position(c.terms), 0
    for lots, price in fills:
        own = filled(own, own.holdings[0], lots, price)
        fees += c.closing(lots, price)
        book.apply(lots, price, 0)
    [held] = own.holdings
    assert (held.lots, held.cost) == (book.lots, book.cost)
    wallet = held.isolated - 10**8 if isolated else own.wallet - 10**9
    assert wallet == book.realised - fees


@settings(max_examples=200, deadline=None)
@given(LOTS, st.integers(1, 5_000), st.integers(1, 5_000), PRICES, st.integers(0, 10**11), st.booleans())
def test_a_larger_order_never_asks_for_less_and_is_never_allowed_where_a_smaller_is_not(
    lots, small, more, price, wallet, coin
):
    c = inverse(tick=D("0.1"), leverage=10) if coin else linear(tick=D("0.1"), leverage=10)
    held = Holding(c, Touch(price, price), lots, c.terms.cost(lots, price) if lots else 0)
    one = MarginAccount(
        "main", "X", c.instrument.settle_currency, (Pool(c.instrument.settle_currency, wallet, (held,)),)
    )
    assume(lots >= 0)
    less, larger = (what_if(one, held, Intent(0, n)) for n in (small, small + more))
    assert less.after.initial <= larger.after.initial
    assert less.allowed or not larger.allowed
    assert larger.before == less.before
