"""Price bands and volatility halts: the rules by themselves, and the dialect's words for them."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sim_venue import FAR, QTY, SYMBOL, VENUES, Client, serving

from tidegate.errors import UserError
from tidegate.model.order import Side
from tidegate.model.time import DAY, SECOND
from tidegate.risk.reasons import Reason
from tidegate.venue.binance.errors import reason
from tidegate.venue.sim.bands import BandRules, Bands, _Extremes

T0 = 20_000 * DAY + 10 * 3600 * SECOND


class Tape:
    """Marks over time, and what the bands did."""

    def __init__(self, *rules: BandRules) -> None:
        self.bands, self.now, self.acts = Bands(), T0, []
        for number, one in enumerate(rules):
            self.bands.set(number, one)

    def run(self, seconds: int, *prices: int) -> None:
        for _ in range(seconds):
            for act in self.bands.look(self.now, lambda n: prices[n]):
                self.acts.append(((self.now - T0) // SECOND, act.number, act.halted))
            self.now += SECOND


def test_a_limit_beyond_the_band_is_not_let_in_and_follows_the_mean():
    tape = Tape(BandRules(band=0.05, reference=60))
    tape.run(60, 10_000)
    admits = tape.bands.admits
    assert tape.bands.bounds(0, tape.now) == (9_500, 10_500)
    assert [admits(0, Side.BUY, p, tape.now) for p in (1, 10_500, 10_501)] == [True, True, False]
    assert [admits(0, Side.SELL, p, tape.now) for p in (1 << 40, 9_500, 9_499)] == [True, True, False]
    assert admits(0, Side.BUY, 0, tape.now), "a market order has no price"
    tape.run(60, 10_400)
    assert tape.bands.bounds(0, tape.now) == (9_880, 10_920)


def test_a_mark_that_stands_at_the_band_pauses_and_one_that_comes_back_does_not():
    rules = BandRules(band=0.05, reference=300, limit_state=15, pause=300)
    tape = Tape(rules)
    tape.run(300, 10_000)
    tape.run(10, 10_700)
    tape.run(5, 10_000)
    assert tape.acts == []
    tape.run(16, 10_800)
    assert tape.acts == [(330, 0, True)]
    tape.run(300, 10_800)
    assert tape.acts[1:] == [(630, 0, False)]
    tape.run(100, 10_800)
    assert len(tape.acts) == 2, "where it reopened is the reference now"


def test_three_and_a_half_per_cent_within_an_hour_halt_for_two_minutes():
    tape = Tape(BandRules(move=0.035))
    tape.run(1_800, 100_000)
    tape.run(1_000, 98_000)
    assert tape.acts == []
    tape.run(1, 96_500)
    assert tape.acts == [(2_800, 0, True)]
    tape.run(130, 95_000)
    assert tape.acts[1:] == [(2_920, 0, False)]
    slow = Tape(BandRules(move=0.035))
    for n in range(40):
        slow.run(600, 100_000 - 400 * n)  # 2.4 % an hour
    assert slow.acts == []


def test_the_markets_fall_halts_all_at_seven_thirteen_and_twenty_per_cent_once_a_day():
    rules = BandRules(levels=(0.07, 0.13, 0.2))
    tape = Tape(rules, rules)
    tape.run(10, 10_000, 20_000)
    tape.run(10, 9_100, 19_200)  # 6.5 % on average
    assert tape.acts == []
    tape.run(1, 9_000, 19_000)
    assert tape.acts == [(20, 0, True), (20, 1, True)]
    tape.run(1_000, 9_000, 19_000)
    assert tape.acts[2:] == [(920, 0, False), (920, 1, False)], "level one once"
    tape.run(1, 7_900, 15_900)
    assert [act[2] for act in tape.acts[4:]] == [True, True]
    tape.run(7_200, 7_900, 15_900)
    assert len(tape.acts) == 6, "for the rest of the day"
    tape.now = T0 // DAY * DAY + DAY
    tape.run(2, 7_900, 15_900)
    assert [act[2] for act in tape.acts[6:]] == [False, False]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(1, 200), st.integers(1, 1 << 30)), min_size=1, max_size=10))
def test_whatever_the_marks_halts_alternate_and_end(path):
    tape = Tape(BandRules(band=0.02, move=0.035, levels=(0.07, 0.13, 0.2)))
    for seconds, price in path:
        tape.run(seconds, price)
    halted = False
    for _, _, on in tape.acts:
        if on:
            halted = True  # a deeper market-wide level may come on top
        else:
            assert halted
            halted = False


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"band": 1.5}, "band is 1.5, must be from 0 to below 1"),
        ({"levels": [0.13, 0.07]}, "fractions that rise"),
        ({"pause": 0}, "pause is 0.0, must be above 0"),
        ({"bnd": 1}, "bnd"),
    ],
)
def test_rules_that_cannot_be_are_refused(raw, words):
    with pytest.raises(UserError, match=words):
        BandRules.load(raw)


@pytest.mark.parametrize(
    ("market", "code"), [("spot", -1013), ("usdm", -4024), ("coinm", -4024)]
)  # a sell far below the market
def test_an_order_beyond_the_band_is_refused_in_the_dialects_words_and_a_halt_ends_by_itself(market, code):
    async def work():
        async with serving() as server, aiohttp.ClientSession() as session:
            client = Client(session, server, market)
            name = f"{SYMBOL[market]}.{VENUES[list(QTY).index(market)]}"
            status, body = await client.admin()("POST", "bands", instrument=name, band=0.01)
            assert status == 200, body
            async with asyncio.timeout(10):
                while not (await client.admin()("GET", "bands"))[1]["bands"]:
                    await asyncio.sleep(0.05)
            order = {"symbol": SYMBOL[market], "type": "LIMIT", "quantity": QTY[market], "timeInForce": "GTC"}
            status, body, _ = await client.rest(
                "POST", "order", side="SELL", price=FAR[market].replace("6", "5", 1), **order
            )
            assert body["code"] == code, body
            scope = "spot" if market == "spot" else "futures"
            assert reason(body["code"], body["msg"], scope) is Reason.VENUE_PRICE_BAND
            low = (await client.admin()("GET", "bands"))[1]["bands"][name][0]
            assert float(low) > 50_000
            status, body = await client.admin()("POST", "bands", instrument=name, band=7)
            assert (status, "band is 7.0" in body["error"]) == (400, True)

    asyncio.run(work())


def test_a_volatility_halt_of_the_exchange_is_in_its_list_of_symbols_and_ends():
    async def work():
        async with serving() as server:
            exchange, now = server.exchange, server.clock.now()
            marks = {"at": 100_000}
            exchange.mark = lambda number: marks["at"]
            exchange.bands.set(1, BandRules(move=0.035, move_pause=5))
            halt = exchange.listings[1]
            for n, price in enumerate((100_000, 100_000, 95_000)):
                marks["at"] = price
                exchange._look(now + n * SECOND)
            assert halt.number in exchange.halted
            assert exchange.paused == {1: "a move of 3.5% within 60 minutes"}
            exchange._look(now + 9 * SECOND)
            assert halt.number not in exchange.halted
            exchange.halt(halt, True, now)  # an administrator's is not ended by the rules
            marks["at"] = 80_000
            for n in range(10, 30):
                exchange._look(now + n * SECOND)
            assert halt.number in exchange.halted

    asyncio.run(work())


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 50)), min_size=1, max_size=60))
def test_the_extremes_are_those_of_the_last_window(path):
    extremes, marks, now = _Extremes(100), [], 0
    for gap, price in path:
        now += gap
        marks.append((now, price))
        recent = [p for ts, p in marks if now - ts <= 100]
        assert extremes.add(now, price) == (min(recent), max(recent))
