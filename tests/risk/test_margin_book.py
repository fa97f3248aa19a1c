"""Every account's margin from order events, marks and venues' statements; and requests about orders to come."""

from __future__ import annotations

import json
from decimal import Decimal as D
from fractions import Fraction

import msgspec
from gate_desk import T0, merged
from hypothesis import given, settings
from hypothesis import strategies as st
from margin_desk import BTC_2021, BTCUSD, units

from tidegate.model.instrument import Instrument, InstrumentKind, Universe
from tidegate.model.messages import OrderEvent
from tidegate.model.order import ExecType, OrdStatus, Side
from tidegate.risk.exposure import Exposure
from tidegate.risk.limits import Limits
from tidegate.risk.margin.book import MarginBook
from tidegate.risk.margin.compare import VenueMargin, VenuePosition, VenueWallet
from tidegate.risk.margin.watch import Level, MarginSettings
from tidegate.risk.margin.whatif import WhatIfAnswer
from tidegate.risk.position import Position, Terms
from tidegate.risk.scopes import Account, ScopeTable, State, StrategyScope

SECOND = 10**9
USDM = Instrument(
    symbol="BTCUSDT", venue="U", kind=InstrumentKind.PERPETUAL, base="BTC", quote="USDT", tick=D("0.1"),
    lot=D("0.001"), taker_fee=D("0.0005"), tiers=BTC_2021, leverage=20,
)  # fmt: skip
COINM = Instrument(
    symbol="BTCUSD_PERP", venue="C", kind=InstrumentKind.INVERSE_PERPETUAL, base="BTC", quote="USD", tick=D("0.1"),
    lot=D(1), multiplier=D(100), taker_fee=D("0.0005"), tiers=BTCUSD, leverage=20,
)  # fmt: skip
SPOT = Instrument(
    symbol="BTCUSDT", venue="S", kind=InstrumentKind.SPOT, base="BTC", quote="USDT", tick=D("0.1"), lot=D("0.001"),
)  # fmt: skip
UNIVERSE = Universe([USDM, COINM, SPOT])


class Desk:
    """An exposure of two accounts, and a book over it."""

    def __init__(self, capital: int = 30_000, buffer: str = "0%", **more: object) -> None:
        self.scopes = ScopeTable(
            [Account(name="main", capital=D(capital)), Account(name="other", capital=D(10**9))],
            [
                StrategyScope(name="one", accounts=("main",)),
                StrategyScope(name="two", accounts=("main", "other")),
            ],
        )
        self.exposure = Exposure(UNIVERSE, self.scopes, fx={"BTC": "BTCUSDT.S"})
        self.limits = Limits.load(merged({"accounts": {"*": {"margin_buffer": buffer}}}))
        self.book = MarginBook(self.exposure, self.limits, **more)
        self.now, self.number = T0, 0
        for n in range(3):
            self.mark(n, 500_000, 500_000)

    def mark(self, n: int, bid: int, ask: int = 0) -> None:
        self.exposure.mark(n, bid, ask or bid, self.now)

    def trade(self, n: int, lots: int, price: int, fee: int = 0, strategy: int = 0, account: int = 0) -> None:
        self.number += 1
        self.exposure.apply(OrderEvent(
            self.now, self.number, self.number, account, strategy, n, OrdStatus.FILLED, ExecType.TRADE, 0, abs(lots),
            last_qty=abs(lots), last_px=price, fee=fee, exec_id=self.number, side=Side.BUY if lots > 0 else Side.SELL,
        ))  # fmt: skip

    def rest(self, n: int, lots: int, account: int = 0) -> None:
        self.number += 1
        self.exposure.apply(OrderEvent(
            self.now, self.number, self.number, account, 0, n, OrdStatus.NEW, ExecType.NEW, abs(lots), 0,
            side=Side.BUY if lots > 0 else Side.SELL,
        ))  # fmt: skip

    def say(self, wallet: str, lots: int = 0, entry: str = "0", venue: str = "U", **more: object) -> bool:
        """A statement of the USDⓈ-M venue."""
        position = VenuePosition(0, lots, D(entry), D(50_000), D(0), D(0), D(0), 20, **more)
        wallets = {"USDT": VenueWallet(D(wallet), D(0), D(0))}
        return self.book.statement(venue, "main", VenueMargin(self.now, wallets, [position]))

    def ask(self, **fields: object) -> dict:
        asked = {"account": "main", "instrument": "BTCUSDT.U", "side": "buy", "quantity": "1"} | fields
        return json.loads(self.book.what_if(json.dumps(asked).encode(), self.now))


def test_without_a_statement_an_account_is_judged_by_its_capital():
    desk = Desk()
    desk.trade(0, 10_000, 490_000, fee=units("245"))
    [(key, account)] = desk.book.accounts(desk.now)
    assert key == ("main", "", "USDT")
    assert account.equity == units("30000") + units("10000") - units("245")
    assert account.initial == units("25000")
    assert account.maintenance == units("3700")


def test_what_settles_in_another_currency_is_converted_at_its_marks():
    desk = Desk()
    desk.trade(1, 10_000, 500_000, fee=units("0.01", "BTC"))  # 1,000,000 USD at 50,000: 20 BTC
    [(_, account)] = desk.book.accounts(desk.now)
    assert account.equity == units("30000") - units("500")
    assert account.initial == units("50000")
    desk.mark(1, 400_000)
    desk.mark(2, 400_000)
    [(_, account)] = desk.book.accounts(desk.now)
    assert account.equity == units("30000") - units("400") - units("200000"), "5 BTC lost, at 40,000"


def test_a_venues_wallet_is_carried_on_from_its_statement():
    """What has filled since is in the exposure's cash: equity is to the unit what the venue's next one would be."""
    desk = Desk()
    desk.trade(0, 10_000, 490_000)
    assert desk.say("5000", 10_000, "49000")
    [(key, account)] = desk.book.accounts(desk.now)
    assert key == ("main", "U", "USDT")
    assert account.equity == units("15000")
    desk.trade(0, -4_000, 500_000, fee=units("100"))
    [(_, account)] = desk.book.accounts(desk.now)
    assert account.equity == units("14900")
    assert desk.say("8900", 6_000, "49000"), "4 BTC closed with 4,000 of profit, less the fee"
    [(_, again)] = desk.book.accounts(desk.now)
    assert (again.equity, again.maintenance) == (account.equity, account.maintenance)


def test_a_statement_that_a_fill_has_overtaken_is_not_taken():
    desk = Desk()
    desk.trade(0, 10_000, 490_000)
    assert not desk.say("5000", 9_000, "49000")
    assert not desk.say("5000", 0)
    assert desk.book.counts["statements_overtaken"] == 2
    assert [key for key, _ in desk.book.accounts(desk.now)] == [("main", "", "USDT")]
    assert not desk.book.statement("U", "nobody", VenueMargin(0, {}, []))


def test_an_isolated_position_stands_on_its_own_wallet():
    desk = Desk()
    desk.trade(0, 10_000, 500_000)
    assert desk.say("100000", 10_000, "50000", isolated=D(4_500))
    [(_, account)] = desk.book.accounts(desk.now)
    assert account.equity == units("100000")
    assert account.maintenance == 0
    assert account.ratio == Fraction(units("3950"), units("4500")), "3,700 and a fee of 250, of its own 4,500"


def test_open_orders_count_and_those_of_another_account_do_not():
    desk = Desk()
    desk.rest(0, 10_000)
    desk.trade(0, 50_000, 500_000, account=1, strategy=1)
    found = dict(desk.book.accounts(desk.now))
    assert found["main", "", "USDT"].initial == units("25000")
    assert found["other", "", "USDT"].initial == units("125000")


def test_old_marks_are_named_and_decide_nothing():
    desk = Desk(settings=MarginSettings(max_age=SECOND))
    desk.trade(0, 10_000, 500_000)
    desk.now += 2 * SECOND
    [(_, account)] = desk.book.accounts(desk.now)
    assert account.stale == ("BTCUSDT.U",)
    [(_, _, acts)] = desk.book.step(desk.now)
    assert [s.kind for s in acts.said] == ["margin_stale"]
    assert desk.book.step(desk.now) == []


def test_a_falling_market_leads_from_a_warning_to_a_reducing_plan():
    desk = Desk(capital=30_000)
    desk.trade(0, 10_000, 500_000)
    seen = []
    for price in (490_000, 478_000, 477_000, 475_000, 473_000):
        desk.now += 10 * SECOND
        desk.mark(0, price)
        for _, _, acts in desk.book.step(desk.now):
            seen += [h.state for h in acts.halts]
            if acts.plan is not None:
                seen.append([cut.lots < 0 for cut in acts.plan.cuts])
    assert seen == [State.WARN, State.REDUCE_ONLY, [True]]
    [watch] = desk.book.watches.values()
    assert watch.level is Level.REDUCE
    desk.rest(0, -2_500)
    desk.now += 10 * SECOND
    desk.mark(0, 473_000)
    [(_, _, acts)] = desk.book.step(desk.now)
    assert acts.plan is not None, "an order of its own that rests holds no step up"
    desk.book.rearm("main")
    [(_, _, acts)] = desk.book.step(desk.now)
    assert [h.state for h in acts.halts] == [State.REDUCE_ONLY]


# Requests.


def test_a_request_is_answered_before_and_after():
    desk = Desk(buffer="10%")
    answer = desk.ask(quantity="10", price="50000")
    assert answer["error"] == ""
    assert answer["allowed"] is True
    assert answer["basis"] == "the capital of main, over all venues"
    assert (answer["currency"], answer["after"]["initial"]) == ("USDT", "25000.00000000")
    assert (answer["before"]["initial"], answer["after"]["liquidation"]) == ("0E-8", "")
    refused = desk.ask(quantity="11", price="50000")
    assert (refused["allowed"], refused["reason"]) == (False, "MARGIN")


def test_against_a_venues_wallet_the_liquidation_price_is_known():
    desk = Desk()
    assert desk.say("30000")
    desk.trade(0, 1, 500_000)
    answer = desk.ask(quantity="9.999", price="50000")
    assert answer["basis"] == "the USDT wallet at U"
    assert 47_300 < float(answer["after"]["liquidation"]) < 47_500
    assert answer["before"]["liquidation"] == "never"


def test_an_order_in_a_currency_that_is_not_held_yet():
    answer = Desk().ask(instrument="BTCUSD_PERP.C", quantity="100", price="50000")
    assert answer["allowed"] is True
    assert D(answer["after"]["initial"]) == 500


def test_what_cannot_be_answered_says_why():
    desk = Desk()
    for fields, says in (
        ({"account": "man"}, "unknown account 'man'; did you mean 'main'?"),
        ({"instrument": "BTCUSDT.X"}, "unknown instrument 'BTCUSDT.X'; did you mean"),
        ({"side": "long"}, "side is 'long', must be buy or sell"),
        ({"quantity": "0"}, "quantity 0 is not above 0"),
        ({"quantity": "0.0001"}, "quantity 0.0001 is not a multiple of 0.001"),
        ({"price": "50000.05"}, "price 50000.05 is not a multiple of 0.1"),
        ({"leverage": 5}, "not a what-if request"),
    ):
        assert says in desk.ask(**fields)["error"], fields
    fresh = Desk()
    fresh.exposure.worth.ts[0] = 0
    assert fresh.ask()["error"] == "no mark of BTCUSDT.U is known yet"
    late = Desk()
    late.now += 60 * SECOND
    assert late.ask()["reason"] == "STALE_MARK"


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-3_000, 3_000).filter(bool), st.integers(480_000, 520_000)), min_size=1, max_size=12),
    st.integers(0, 11), st.integers(450_000, 550_000),
)  # fmt: skip
def test_equity_does_not_depend_on_when_the_venue_spoke(fills, spoke, mark):
    """A statement after any of the fills leads to the same equity and the same end."""
    early, late = Desk(), Desk()
    assert early.say("30000")
    book = Position(Terms(USDM))
    for n, (size, price) in enumerate(fills):
        for desk in (early, late):
            desk.trade(0, size, price)
        book.apply(size, price, 0)
        if n == min(spoke, len(fills) - 1):
            entry = Fraction(abs(book.cost) * 10**3, max(1, abs(book.lots)) * 10**8)
            wallet = D(30_000) + D(book.realised).scaleb(-8)
            text = str(D(entry.numerator) / D(entry.denominator))
            assert late.say(str(wallet), book.lots, text)
    for desk in (early, late):
        desk.mark(0, mark)
    one, other = (desk.book.at("U", 0, "USDT", desk.now) for desk in (early, late))
    assert abs(one.equity - other.equity) <= 2
    assert one.maintenance == other.maintenance


def test_answers_are_json_that_the_command_line_reads():
    desk = Desk()
    data = desk.book.what_if(
        b'{"account":"main","instrument":"BTCUSDT.U","side":"buy","quantity":"1"}', desk.now
    )
    assert msgspec.json.decode(data, type=WhatIfAnswer).allowed
