"""A spot margin account in the book: its level by the venue's statement and our marks, the call, and orders to come."""

from __future__ import annotations

from decimal import Decimal as D
from fractions import Fraction

from hypothesis import assume, given
from hypothesis import strategies as st
from margin_desk import units
from test_margin_book import Desk

from tidegate.kernel.gate_state import MICRO
from tidegate.model.time import SECOND
from tidegate.risk.margin.compare import VenueLending, VenueLoan, VenueMargin, VenueWallet, decode
from tidegate.risk.margin.watch import Level
from tidegate.risk.scopes import State

SPOT = 2


def say(desk: Desk, held: dict[str, str], owed: dict[str, tuple[str, str]]) -> VenueMargin:
    """A statement of the spot venue, as it goes over the wire: what is held; (borrowed, interest) by asset."""
    wallets = {name: VenueWallet(D(amount), D(0), D(0)) for name, amount in held.items()}
    loans = {name: VenueLoan(D(borrowed), D(interest)) for name, (borrowed, interest) in owed.items()}
    said = decode(VenueMargin(desk.now, wallets, [], lending=VenueLending(loans, D(9))).encode())
    assert desk.book.statement("S", "main", said)
    return said


def judged(desk: Desk):
    return desk.book.at("S", 0, "USDT", desk.now)


def test_level_equity_and_margins_are_the_venues_formulas():
    desk = Desk()
    say(desk, {"BTC": "2", "USDT": "1000", "DOGE": "5"}, {"USDT": ("70000", "40")})
    account = judged(desk)
    assert account.figures.assets == units("101000")
    assert account.equity == units("30960")
    assert account.figures.level == Fraction(101_000, 70_040)
    assert (account.initial, account.maintenance) == (units("35020"), units("7004"))
    assert account.ratio == Fraction(7_004, 30_960)
    assert [key for key, _ in desk.book.accounts(desk.now)] == [("main", "S", "USDT")]


def test_equity_of_the_venue_is_net_of_debts():
    desk = Desk()
    say(desk, {"BTC": "2", "USDT": "1000"}, {"USDT": ("70000", "40")})
    assert desk.book.equity("S", desk.now) == 30_960 * MICRO
    say(desk, {"USDT": "120000"}, {"BTC": ("1", "0.001")})
    assert desk.book.equity("S", desk.now) == (120_000 - 50_050) * MICRO


def test_equity_is_not_known_while_a_debt_has_no_worth():
    desk = Desk()
    say(desk, {"USDT": "120000"}, {"DOGE": ("1", "0")})
    for _ in range(30):
        assert desk.book.equity("S", desk.now) is None
        desk.now += SECOND
    assert judged(desk).stale == ("DOGE in USDT",)


def test_a_falling_level_leads_from_a_warning_to_a_call_that_nothing_here_can_end():
    desk = Desk()
    say(desk, {"BTC": "2"}, {"USDT": ("70000", "0")})
    seen = []
    for price in (50_000, 42_000, 41_000, 40_000, 39_000, 38_500):
        desk.now += SECOND
        desk.mark(SPOT, price * 10)
        for key, _, acts in desk.book.step(desk.now):
            assert key == ("main", "S", "USDT")
            assert acts.plan is None
            seen.append((price, [s.text for s in acts.said], [e.state for e in acts.halts]))
    assert [(price, states) for price, _, states in seen] == [
        (42_000, [State.WARN]), (40_000, [State.REDUCE_ONLY]), (39_000, []),
    ]  # fmt: skip
    assert "nothing here repays" in seen[-1][1][0]
    desk.now += SECOND
    say(desk, {"BTC": "1"}, {})
    ((_, _, acts),) = desk.book.step(desk.now)
    assert acts.over
    assert desk.book.watches["main", "S", "USDT"].level is Level.FINE


def test_old_marks_decide_nothing_and_are_named():
    desk = Desk()
    say(desk, {"BTC": "2"}, {"USDT": ("95000", "0")})
    desk.now += 6 * SECOND
    assert judged(desk).stale == ("BTCUSDT.S",)
    ((_, _, acts),) = desk.book.step(desk.now)
    assert not acts.halts
    assert acts.said[0].kind == "margin_stale"


def test_a_request_says_what_would_be_borrowed_and_whether_there_is_margin_for_it():
    desk = Desk()
    say(desk, {"BTC": "1", "USDT": "10000"}, {"USDT": ("20000", "0")})
    small = desk.ask(instrument="BTCUSDT.S", quantity="0.1")
    assert small["allowed"]
    assert "nothing is borrowed" in small["text"]
    assert small["basis"] == "all wallets at S"
    more = desk.ask(instrument="BTCUSDT.S", quantity="1")
    assert more["allowed"]
    assert "borrow 40000" in more["text"].replace(",", "")
    assert D(more["after"]["initial"]) == 30_000
    much = desk.ask(instrument="BTCUSDT.S", quantity="2")
    assert (much["allowed"], much["reason"]) == (False, "MARGIN")
    short = desk.ask(instrument="BTCUSDT.S", side="sell", quantity="1.5")
    assert short["allowed"]
    assert "BTC" in short["text"]
    desk.now += 10 * SECOND
    assert desk.ask(instrument="BTCUSDT.S", quantity="1")["reason"] == "STALE_MARK"


@given(st.integers(1, 40), st.integers(0, 100_000), st.integers(0, 200_000), st.integers(0, 20))
def test_at_the_price_that_is_shown_the_account_is_liquidated(btc, usdt, owed, owed_btc):
    desk = Desk()
    say(
        desk,
        {"BTC": f"{btc / 10}", "USDT": f"{usdt}"},
        {"USDT": (f"{owed}", "0"), "BTC": (f"{owed_btc / 10}", "0")},
    )
    shown = desk.ask(instrument="BTCUSDT.S", quantity="0.001")["before"]["liquidation"]

    def ends(ticks: int) -> bool:
        desk.mark(SPOT, ticks)
        return judged(desk).ratio >= 1

    if shown == "never":
        assert len({ends(ticks) for ticks in (1, 100, 500_000, 10**9)}) == 1
    else:
        ticks = int(D(shown) * 10)
        assume(ticks > 2)
        assert ends(ticks - 2) != ends(ticks + 2)
