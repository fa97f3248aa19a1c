"""A cross margin account over HTTP: what it owes is stated, our book's figures are the venue's, orders borrow and repay."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from decimal import Decimal as D
from fractions import Fraction

import pytest
from binance_world import CONFIG, KEY, QUICK, UNIVERSE, Session, run, server
from test_gateway_margin import Desk as Check

from tidegate.config_live import SimulatedSection
from tidegate.errors import UserError
from tidegate.kernel.gate_state import MICRO
from tidegate.marketdata.binance_instruments import Market
from tidegate.model import money
from tidegate.model.clock import SystemClock
from tidegate.model.messages import SendStatus
from tidegate.model.order import ExecType, OrdStatus, Side
from tidegate.model.time import SECOND
from tidegate.risk.exposure import Exposure
from tidegate.risk.limits import unlimited
from tidegate.risk.margin.book import MarginBook
from tidegate.risk.margin.compare import VenueLoan, decode
from tidegate.risk.reasons import Reason
from tidegate.risk.scopes import ScopeTable
from tidegate.sim.venue_role import VenueRole
from tidegate.venue.binance.keys import Keys
from tidegate.venue.binance.products import simulated
from tidegate.venue.binance.spot_margin import SpotMarginVenue

BORROWER = CONFIG["accounts"][0] | {"spot": "margin", "balances": {"BINANCE": {"USDT": "100", "BTC": "2"}}}
LENDING = CONFIG | {"accounts": [BORROWER], "lending": {"USDT": "0.00001", "BTC": "0.00002"}}


class Borrower(Session):
    """A session of the margin account."""

    def __init__(self, at, effect: str = "NO_SIDE_EFFECT") -> None:
        super().__init__(at, "BINANCE")
        keys = Keys(KEY, KEY.replace("key", "secret"))
        self.venue = SpotMarginVenue(
            UNIVERSE, simulated("127.0.0.1", self.port, "BINANCE"), keys, SystemClock(), effect, pace=QUICK
        )

    async def loan(self, asset: str, amount: str, kind: str = "BORROW") -> None:
        await self.venue._rest.signed(
            "POST", "/sapi/v1/margin/borrow-repay", {"asset": asset, "amount": amount, "type": kind}
        )


@asynccontextmanager
async def borrowing(tmp_path, effect: str = "NO_SIDE_EFFECT"):
    async with server(tmp_path, LENDING) as at, Borrower(at, effect) as session:
        yield at, session


def book(at) -> tuple[MarginBook, int]:
    """Our own margin, marked where the venue marks."""
    now, exposure = 10**18, Exposure(UNIVERSE, ScopeTable.simple())
    mark = at.exchange.mark(0)
    exposure.mark(0, mark, mark, now)
    return MarginBook(exposure, unlimited()), now


@pytest.mark.parametrize(
    "loans", [[], [("USDT", "250")], [("BTC", "1.5")], [("USDT", "120.5"), ("BTC", "0.75")]]
)
def test_what_the_book_makes_of_the_statement_is_what_the_venue_shows_to_the_unit(tmp_path, loans):
    async def work():
        async with borrowing(tmp_path) as (at, session):
            for asset, amount in loans:
                await session.loan(asset, amount)
            desk = Check(session, UNIVERSE)
            assert await desk.check.once()
            subject, data = await desk.heard.get()
            assert subject.startswith("margin.BINANCE.")
            said = decode(data)
            assert {a: w.wallet for a, w in said.wallets.items()} == {
                "USDT": 100 + sum(D(n) for a, n in loans if a == "USDT"),
                "BTC": 2 + sum(D(n) for a, n in loans if a == "BTC"),
            }  # fmt: skip
            rate = {"USDT": D("0.00001"), "BTC": D("0.00002")}
            assert said.lending.loans == {a: VenueLoan(D(n), D(n) * rate[a]) for a, n in loans}
            ours, now = book(at)
            assert ours.statement("BINANCE", "main", said)
            judged = ours.at("BINANCE", 0, "USDT", now)
            assets, debts = at.lender.worths(at.exchange.accounts[0])
            unit = Fraction(money.unit("USDT"))
            assert judged.figures.assets == math.floor(assets / unit)
            assert judged.figures.debts == math.ceil(debts / unit)
            assert ours.equity("BINANCE", now) == math.floor((assets - debts) * MICRO)
            shown = said.lending.level
            if loans:
                level = judged.figures.level
                assert D(level.numerator) / level.denominator == pytest.approx(shown, abs=D("1e-8"))
            else:
                assert (judged.figures.level, shown) == (None, 0)

    run(work)


def test_an_order_borrows_and_repays_as_it_is_set(tmp_path):
    async def work():
        async with borrowing(tmp_path, "AUTO_BORROW_REPAY") as (_, session):
            bought = session.new(Side.BUY, 3, 0.01)
            await session.told(ExecType.NEW, ExecType.TRADE, of=bought.cl_ord_id)
            said = await session.venue.margin()
            assert said.lending.loans["USDT"].borrowed == D("200.03")
            assert said.lending.level > 2
            session.new(Side.SELL, 3, 0.0)
            await session.told(ExecType.NEW, ExecType.TRADE)
            assert (await session.venue.margin()).lending.loans == {}

    run(work)


def test_an_order_outside_the_time_window_is_refused_and_not_sent_once_more(tmp_path):
    """It may have been stopped meanwhile; a cancel is."""

    async def work():
        async with borrowing(tmp_path) as (_, session):
            order = session.new(Side.SELL, 1, 1.0)
            await session.told(ExecType.NEW, of=order.cl_ord_id)
            session.venue._rest.offset -= 3_600 * SECOND
            late = session.new(Side.SELL, 1, 1.0)
            [refused] = await session.told(ExecType.REJECTED, of=late.cl_ord_id)
            assert refused.reason == Reason.VENUE_OTHER
            assert session.venue.counters()["timestamps refused"] == 1
            await session.venue._entry.sync()
            session.venue._rest.offset -= 3_600 * SECOND
            session.cancel(order)
            await session.told(ExecType.CANCELED, of=order.cl_ord_id)

    run(work)


def test_without_that_nothing_is_borrowed(tmp_path):
    async def work():
        async with borrowing(tmp_path) as (_, session):
            session.new(Side.BUY, 3, 0.01)
            (refused,) = await session.told(ExecType.REJECTED)
            assert refused.reason == Reason.INSUFFICIENT_FUNDS
            assert (await session.venue.margin()).lending.loans == {}

    run(work)


def test_orders_of_a_margin_account_rest_are_found_and_are_cancelled(tmp_path):
    async def work():
        async with borrowing(tmp_path) as (at, session):
            resting = session.new(Side.BUY, 0.5, -2.0)
            await session.told(ExecType.NEW)
            (found,) = await session.venue.open_orders()
            assert found.cl_ord_id == resting.cl_ord_id
            session.replace(resting, 1, -2.0)
            (refused,) = await session.told(ExecType.CANCEL_REJECTED)
            assert refused.reason == Reason.VENUE_INVALID_ORDER
            session.cancel(resting)
            await session.told(ExecType.CANCELED)
            assert not at.exchange.accounts[0].open
            status = await session.venue.status(SendStatus(1, resting.cl_ord_id, 0, session.number))
            assert status[-1].status is OrdStatus.CANCELED
            session.new(Side.SELL, 1, 0.0)
            (_, fill) = await session.told(ExecType.NEW, ExecType.TRADE)
            (seen,) = await session.venue.fills(0)
            assert seen.report.exec_id == fill.exec_id
            session.new(Side.BUY, 0.5, -3.0)
            await session.told(ExecType.NEW)
            await session.venue.cancel_all()
            await session.told(ExecType.CANCELED)

    run(work)


def test_a_change_of_money_is_told_and_a_token_that_ends_is_followed_by_another(tmp_path):
    async def work():
        async with borrowing(tmp_path) as (at, session):
            told = []
            session.venue.on_money(lambda: (told.append(1), session._news.set()))
            at.treasury.deposit(at.exchange.accounts[0], Market.SPOT, "USDT", "5", at.clock.now())
            at.outlets.flush()
            await session.until(lambda: told)
            at.users.expire(at.clock.now() + 25 * 3_600_000_000_000)
            at.outlets.flush()
            await session.until(lambda: session.changes[-2:] == [False, True])
            session.new(Side.BUY, 0.5, -2.0)
            await session.told(ExecType.NEW)
            assert session.venue.health()["user"]["by"] == "subscription"

    run(work)


def test_a_key_without_a_margin_account_never_connects(tmp_path):
    async def work():
        async with server(tmp_path, CONFIG) as at:
            session = Borrower(at)
            await session.venue.open(session._reported, session._changed)
            assert not session.venue.connected
            await session.venue.close()

    run(work)


def test_a_wrong_side_effect_is_one_line():
    with pytest.raises(UserError, match="must be one of NO_SIDE_EFFECT"):
        SpotMarginVenue(UNIVERSE, simulated("127.0.0.1", 1, "BINANCE"), Keys("a", "b"), SystemClock(), "GIFT")


def test_a_margin_account_of_a_configuration_is_one_at_the_simulated_venue(tmp_path):
    path = tmp_path / "key.toml"
    path.write_text('key = "a"\nsecret = "b"\n')
    path.with_name("two.toml").write_text('key = "c"\nsecret = "d"\n')
    agents = {item.id: {"price": "100"} for item in UNIVERSE.instruments}
    section = SimulatedSection(agents=agents)
    role = VenueRole(
        UNIVERSE, section, [], {"one": path, "two": path.with_name("two.toml")}, 0, SystemClock(), print,
        frozenset({"one"}),
    )  # fmt: skip
    assert [account.lends for account in role.server.exchange.accounts] == [True, False]
    assert set(role.server.lender.hourly) == {"BTC", "USDT"}
