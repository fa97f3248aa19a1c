"""The ledger closes to the last unit, whatever is booked, in every kind of instrument."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal as D
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.model import money
from tidegate.model.instrument import Instrument, InstrumentKind, Right, Universe
from tidegate.model.scale import round_half_even
from tidegate.risk.ledger import Ledger
from tidegate.risk.position import HISTORY

K = InstrumentKind
UNIVERSE = Universe(
    [
        Instrument(
            symbol="PERP", venue="X", kind=K.PERPETUAL, base="BTC", quote="USDT", tick=D("0.1"), lot=D("0.001")
        ),
        Instrument(
            symbol="INV", venue="X", kind=K.INVERSE_PERPETUAL, base="BTC", quote="USD", tick=D("0.1"), lot=D(1),
            multiplier=D(100),
        ),
        Instrument(symbol="SPOT", venue="X", kind=K.SPOT, base="BTC", quote="USDT", tick=D("0.01"), lot=D("0.00001")),
        Instrument(
            symbol="OIL", venue="X", kind=K.FUTURE, base="CL", quote="USD", expiry=1, tick=D("0.01"), lot=D(1),
            multiplier=D(1000), negative_prices=True,
        ),
        Instrument(
            symbol="CALL", venue="X", kind=K.OPTION, base="BTC", quote="USDT", expiry=1, strike=D(60000),
            right=Right.CALL, tick=D("0.5"), lot=D("0.01"),
        ),
        Instrument(symbol="EURJPY", venue="X", kind=K.FX, base="EUR", quote="JPY", tick=D("0.001"), lot=D(1)),
        # A lot finer than the base currency's unit, and a value that no fill hits exactly.
        Instrument(
            symbol="DUST", venue="X", kind=K.POOL, base="ETH", quote="JPY", tick=D("0.0000007"),
            lot=D("0.00000000000000003"),
        ),
    ]
)  # fmt: skip
N = len(UNIVERSE)
PRICES = [600_000, 600_000, 6_000_000, 30, 3_000, 160_000, 500_000_000]

fills = st.tuples(
    st.just("fill"), st.integers(0, 1), st.integers(0, 1), st.integers(0, N - 1),
    st.integers(-300, 300).filter(bool), st.integers(-40, 40), st.integers(-5_000, 90_000),
)  # fmt: skip
busts = st.tuples(st.just("bust"), st.integers(0, 10_000))
corrections = st.tuples(
    st.just("correct"), st.integers(0, 10_000), st.integers(-300, 300).filter(bool), st.integers(-40, 40)
)
fundings = st.tuples(
    st.just("funding"), st.integers(0, N - 1), st.integers(-75_000, 75_000), st.integers(-20, 20)
)
operations = st.lists(st.one_of(fills, fills, fills, fills, busts, corrections, fundings), max_size=60)


def price_of(instrument: int, offset: int) -> int:
    return PRICES[instrument] + offset * (1 if instrument != 3 else 2)


def cost_of(instrument: int, lots: int, price: int) -> int:
    """Signed cash paid, by the instrument's own definition of value."""
    item = UNIVERSE[instrument]
    sign = 1 if lots > 0 else -1
    value = sign * item.value(price, abs(lots))
    return -value if item.inverse else value


class Books:
    """A ledger beside a plain record of what is booked in it."""

    def __init__(self) -> None:
        self.ledger = Ledger(UNIVERSE)
        self.fills: list[tuple[int, int, int, int, int, int]] = []
        self.funding: defaultdict[tuple[int, int], int] = defaultdict(int)
        self.deposits = {
            (a, c): 10**15 + a for a in (0, 1) for c in ("USDT", "BTC", "USD", "JPY", "EUR", "ETH")
        }
        for (account, currency), units in self.deposits.items():
            self.ledger.deposit(account, currency, units)

    def do(self, operation: tuple[object, ...]) -> None:
        match operation:
            case ("fill", int(a), int(s), int(i), int(lots), int(offset), int(fee)):
                self.ledger.apply_fill(a, s, i, lots, price_of(i, offset), fee, 0)
                self.fills.append((a, s, i, lots, price_of(i, offset), fee))
            case ("bust", int(n)) if self.fills:
                a, s, i, lots, price, fee = self.fills.pop(n % len(self.fills))
                self.ledger.bust(a, s, i, lots, price, fee, 0)
            case ("correct", int(n), int(lots), int(offset)) if self.fills:
                a, s, i, *old = self.fills[n % len(self.fills)]
                new = (lots, price_of(i, offset), old[2] + 7)
                self.ledger.correct(a, s, i, (old[0], old[1], old[2]), new, 0)
                self.fills[n % len(self.fills)] = (a, s, i, *new)
            case ("funding", int(i), int(rate), int(offset)):
                for (a, _, _), paid in self.ledger.apply_funding(i, rate, price_of(i, offset), 0):
                    self.funding[a, UNIVERSE[i].settle_currency] += paid
            case _:
                pass

    def expected_balances(self) -> dict[tuple[int, str], int]:
        """What each account must hold, from the record and the positions' own profit."""
        cash: defaultdict[tuple[int, str], int] = defaultdict(int, self.deposits)
        for key, paid in self.funding.items():
            cash[key] += paid
        for a, _, i, lots, price, fee in self.fills:
            item = UNIVERSE[i]
            cash[a, item.settle_currency] -= fee
            if item.cash or item.kind is K.OPTION:
                cash[a, item.settle_currency] -= cost_of(i, lots, price)
        for (a, _, i), position in self.ledger.positions():
            item = UNIVERSE[i]
            if item.cash:
                units = Fraction(position.lots * item.lot * item.multiplier) / Fraction(money.unit(item.base))
                cash[a, item.base] += round_half_even(units.numerator, units.denominator)
            elif item.kind is not K.OPTION:
                cash[a, item.settle_currency] += position.realised
        return cash

    def check(self) -> None:
        booked: defaultdict[tuple[int, int, int], list[int]] = defaultdict(lambda: [0, 0, 0])
        for a, s, i, lots, price, fee in self.fills:
            entry = booked[a, s, i]
            entry[0] += lots
            entry[1] += cost_of(i, lots, price)
            entry[2] += fee
        for key, position in self.ledger.positions():
            lots, cost, fees = booked[key]
            assert position.lots == lots
            assert position.cost - position.realised == cost, "cost is lost or made"
            assert position.fees == fees
            if not lots:
                assert position.cost == 0, "a flat position still holds cost"
        for (account, currency), units in self.expected_balances().items():
            assert self.ledger.balance(account, currency) == units


@given(operations)
@settings(max_examples=300, deadline=None)
def test_books_close_to_the_last_unit_after_any_sequence(sequence: list[tuple[object, ...]]) -> None:
    books = Books()
    for operation in sequence:
        books.do(operation)
    books.check()
    # Flatten everything: all cost is released, and cash alone holds the profit.
    for (a, s, i), position in list(books.ledger.positions()):
        if position.lots:
            books.do(("fill", a, s, i, -position.lots, 3, 11))
    books.check()
    assert all(p.lots == 0 and p.cost == 0 for _, p in books.ledger.positions())


@given(st.lists(fills, min_size=1, max_size=HISTORY), st.integers(0, 10_000), st.booleans())
@settings(max_examples=200, deadline=None)
def test_a_busted_fill_has_never_been(sequence: list[tuple[object, ...]], which: int, correct: bool) -> None:
    books, without = Books(), Books()
    for operation in sequence:
        books.do(operation)
    victim = which % len(sequence)
    changed = list(sequence)
    if correct:
        name, a, s, i, *_ = sequence[victim]
        changed[victim] = (name, a, s, i, 5, 17, 1)
    else:
        del changed[victim]
    for operation in changed:
        without.do(operation)
    a, s, i, lots, price, fee = books.fills[victim]
    twins = [n for n, f in enumerate(books.fills) if f == books.fills[victim]]
    if twins[-1] != victim:
        return
    if correct:
        books.ledger.correct(a, s, i, (lots, price, fee), (5, price_of(i, 17), 1), 0)
    else:
        books.ledger.bust(a, s, i, lots, price, fee, 0)
    mine = [(k, p.lots, p.cost, p.realised, p.fees) for k, p in books.ledger.positions() if p.history]
    theirs = [(k, p.lots, p.cost, p.realised, p.fees) for k, p in without.ledger.positions()]
    assert mine == theirs
    assert [books.ledger.balances(n) for n in (0, 1)] == [
        {c: without.ledger.balance(n, c) for c in books.ledger.balances(n)} for n in (0, 1)
    ]


@given(operations)
@settings(max_examples=60, deadline=None)
def test_the_same_books_are_the_same_bytes_and_survive_a_restart(sequence: list[tuple[object, ...]]) -> None:
    books = Books()
    for operation in sequence:
        books.do(operation)
    other = Ledger(UNIVERSE)
    other.load(books.ledger.state_bytes())
    assert other.state_bytes() == books.ledger.state_bytes()
    if books.fills:
        books.ledger.bust(*books.fills[-1], 0)
        other.bust(*books.fills[-1], 0)
        assert other.state_bytes() == books.ledger.state_bytes()


@given(operations, st.lists(st.integers(-30, 30), min_size=N, max_size=N))
@settings(max_examples=100, deadline=None)
def test_equity_is_what_was_put_in_plus_profit_less_fees(
    sequence: list[tuple[object, ...]], offsets: list[int]
) -> None:
    books = Books()
    for operation in sequence:
        books.do(operation)
    marks = [price_of(i, offset) for i, offset in enumerate(offsets)]
    ledger = books.ledger
    unrealised = ledger.unrealised(marks)
    for account in (0, 1):
        # In USD only the oil future trades: one currency, so no rate comes in.
        usd = [
            (k, p)
            for k, p in ledger.positions()
            if k[0] == account and UNIVERSE[k[2]].settle_currency == "USD"
        ]
        other = Ledger(UNIVERSE, base_currency="USD")
        other.load("\n".join(
            line for line in ledger.state_bytes().decode().split("\n")
            if line.split()[:3] == ["B", str(account), "USD"] or (line[0] == "P" and line.split()[3] == "3")
        ).encode())  # fmt: skip
        profit = sum(p.realised + p.funding - p.fees + unrealised.get(k, 0) for k, p in usd)
        assert other.equity(account, marks, "USD") == books.deposits[account, "USD"] + profit


def test_a_flip_through_zero_closes_at_its_price_and_opens_the_rest() -> None:
    ledger = Ledger(UNIVERSE)
    ledger.apply_fill(0, 0, 0, 10, 600_000, 0, 0)
    gained = ledger.apply_fill(0, 0, 0, -25, 601_000, 0, 0)
    position = ledger.position(0, 0, 0)
    # 10 lots × 1000 ticks × 0.1 × 0.001 = 1 USDT
    assert gained == money.to_units("1", "USDT") == ledger.balance(0, "USDT")
    assert (position.lots, position.average_price) == (-15, 601_000.0)
    assert position.unrealised(600_000) == money.to_units("1.5", "USDT")


def test_an_inverse_contract_earns_in_the_base_currency() -> None:
    ledger = Ledger(UNIVERSE)
    ledger.apply_fill(0, 0, 1, 100, 500_000, 0, 0)
    assert ledger.position(0, 0, 1).average_price == 500_000.0
    gained = ledger.apply_fill(0, 0, 1, -100, 625_000, 0, 0)
    # 10,000 USD: 0.2 BTC at 50,000 and 0.16 BTC at 62,500.
    assert gained == money.to_units("0.04", "BTC")


def test_a_spot_trade_moves_both_balances_and_its_fee_may_be_in_the_base() -> None:
    ledger = Ledger(UNIVERSE)
    ledger.deposit(0, "USDT", money.to_units("1000", "USDT"))
    ledger.apply_fill(0, 0, 2, 1_000, 6_000_000, money.to_units("0.00001", "BTC"), 0, fee_currency="BTC")
    assert ledger.balance(0, "USDT") == money.to_units("400", "USDT")
    assert ledger.balance(0, "BTC") == money.to_units("0.00999", "BTC")
    assert ledger.position(0, 0, 2).fees == 0


def test_an_option_is_paid_for_when_it_trades() -> None:
    ledger = Ledger(UNIVERSE)
    ledger.deposit(0, "USDT", money.to_units("1000", "USDT"))
    ledger.apply_fill(0, 0, 4, 50, 1_000, 0, 0)
    assert ledger.balance(0, "USDT") == money.to_units("750", "USDT")
    assert ledger.equity(0, {4: 1_200}, "USDT") == money.to_units("1050", "USDT")


def test_negative_prices_earn_and_lose_as_they_should() -> None:
    ledger = Ledger(UNIVERSE)
    ledger.apply_fill(0, 0, 3, 2, 1_000, 0, 0)
    # Two lots bought at 10.00 and marked at −37.63, the settlement of 2020-04-20: −2 × 1000 × 47.63.
    assert ledger.position(0, 0, 3).unrealised(-3_763) == -money.to_units("95260", "USD")
    ledger.apply_fill(0, 0, 3, -2, -3_763, 0, 0)
    assert ledger.balance(0, "USD") == -money.to_units("95260", "USD")


def test_funding_is_paid_by_longs_and_received_by_shorts() -> None:
    ledger = Ledger(UNIVERSE)
    ledger.apply_fill(0, 0, 0, 1_000, 600_000, 0, 0)
    ledger.apply_fill(1, 0, 0, -1_000, 600_000, 0, 0)
    paid = dict(ledger.apply_funding(0, 10_000, 600_000, 0))
    # 60,000 USDT × 0.01 %
    assert paid == {(0, 0, 0): -money.to_units("6", "USDT"), (1, 0, 0): money.to_units("6", "USDT")}


def test_equity_converts_by_marks_and_names_what_is_missing() -> None:
    ledger = Ledger(UNIVERSE, fx={"BTC": "SPOT.X", "USD": D("0.9990")})
    ledger.deposit(0, "BTC", money.to_units("2", "BTC"))
    ledger.deposit(0, "USD", money.to_units("100", "USD"))
    assert ledger.equity(0, {2: 6_000_000}, "USDT") == money.to_units("120099.9", "USDT")
    assert ledger.equity(0, {2: 6_000_000}, "BTC") == round(money.to_units("2.001665", "BTC"))
    ledger.deposit(0, "JPY", 1)
    with pytest.raises(LookupError, match=r"JPY.*fx\.JPY"):
        ledger.equity(0, {2: 6_000_000}, "USDT")


def test_a_bust_older_than_the_history_keeps_the_sum_of_profit() -> None:
    ledger = Ledger(UNIVERSE)
    ledger.apply_fill(0, 0, 0, 5, 590_000, 0, 0)
    for n in range(HISTORY):
        ledger.apply_fill(0, 0, 0, 1 if n % 2 else -1, 600_000 + n, 0, 0)
    truth = Ledger(UNIVERSE)
    for n in range(HISTORY):
        truth.apply_fill(0, 0, 0, 1 if n % 2 else -1, 600_000 + n, 0, 0)
    ledger.bust(0, 0, 0, 5, 590_000, 0, 0)
    mine, other = ledger.position(0, 0, 0), truth.position(0, 0, 0)
    assert mine.lots == other.lots == 0
    assert mine.realised + mine.unrealised(605_000) == other.realised + other.unrealised(605_000)
