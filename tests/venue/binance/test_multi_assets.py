"""Multi-assets mode: what a venue takes assets for stands behind positions, at the venue and in our own margin alike."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from binance_world import CONFIG, UNIVERSE, Session, run, server
from test_gateway_margin import TIERED
from test_gateway_margin import Desk as Check

from tidegate.errors import UserError
from tidegate.kernel.gate_state import MICRO
from tidegate.marketdata.binance_instruments import Market
from tidegate.model import money
from tidegate.model.messages import OrderEvent
from tidegate.model.order import ExecType, OrdStatus, Side
from tidegate.risk.exposure import Exposure
from tidegate.risk.limits import unlimited
from tidegate.risk.margin.book import MarginBook
from tidegate.risk.margin.collateral import HaircutTier
from tidegate.risk.margin.compare import VenueAsset, decode
from tidegate.risk.scopes import ScopeTable

NAME, N = "BINANCE_USDM", 1
ONE = CONFIG["accounts"][0] | {
    "multi_assets": True, "balances": {NAME: {"USDT": "1000", "BTC": "20", "DOGE": "5"}},
}  # fmt: skip
RULES = {"BTC": {"index": UNIVERSE[N].id, "buffer": "0.05"}}
TOGETHER = CONFIG | {"accounts": [ONE], "collateral": RULES}
WALLET = (Market.USDM, "USDT")


def book(fills, **more) -> tuple[MarginBook, int]:
    """Our own margin after these fills of (lots, price, fee), marked where the venue marks."""
    scopes, now = ScopeTable.simple(), 10**18
    exposure = Exposure(TIERED, scopes, fx={"BTC": "BTCUSDT.BINANCE"})
    exposure.mark(N, 1_000, 1_000, now)
    for number, (lots, price, fee) in enumerate(fills, 1):
        for status, kind, left in (
            (OrdStatus.PENDING_NEW, None, lots),
            (OrdStatus.FILLED, ExecType.TRADE, 0),
        ):
            fill = (
                {"last_qty": lots, "last_px": price, "fee": fee, "cum_qty": lots} if kind else {"cum_qty": 0}
            )
            exposure.apply(
                OrderEvent(now, number, number, 0, 0, N, status, kind, left, side=Side.BUY, **fill)
            )
    return MarginBook(exposure, unlimited(), **more), now


def test_collateral_lets_an_order_pass_that_the_wallet_alone_would_not(tmp_path):
    async def work():
        async with server(tmp_path, TOGETHER) as at, Session(at, NAME) as session:
            account = at.exchange.accounts[0]
            session.new(Side.BUY, 50, 1.0)
            reports = await session.told(ExecType.NEW, ExecType.TRADE)
            assert account.positions[N].lots == 50_000
            await at_least(session, 50_000, reports)
            session.new(Side.BUY, 60, -1.0)
            await session.told(ExecType.REJECTED)
            desk = Check(session, TIERED)
            assert await desk.check.once()
            said = decode((await desk.heard.get())[1])
            assert said.assets == {
                "USDT": VenueAsset(Decimal(1), Decimal(1)), "BTC": VenueAsset(Decimal(100), Decimal(95)),
            }  # fmt: skip
            assert await desk.told() == [], "of all wallets together no wallet's part is compared"
            fills = [(t.qty, t.price, t.fee) for t in account.trades.values()]
            ours, now = book(fills)
            assert ours.statement(NAME, "main", said)
            judged = ours.at(NAME, 0, "USDT", now)
            theirs = account.balance(at.exchange.mark) / Fraction(money.unit("USDT"))
            assert judged.equity == int(theirs)
            assert [key for key, _ in ours.accounts(now)] == [("main", NAME, "USDT")]
            maintenance = account.asked(
                lambda asset, marks: at.liquidator._kept(account, asset, marks), at.exchange.mark
            )
            assert judged.maintenance == maintenance / Fraction(money.unit("USDT"))
            assert b"all wallets at BINANCE_USDM" in ours.what_if(
                b'{"account":"main","instrument":"BTCUSDT.BINANCE_USDM","side":"buy","quantity":"1"}', now
            )
            strict = {NAME: {"BTC": (HaircutTier(ratio=Decimal("0.5")),)}}
            ours, now = book(fills, collateral=strict)
            assert ours.statement(NAME, "main", said)
            assert judged.equity - ours.at(NAME, 0, "USDT", now).equity == money.to_units(900, "USDT")
            ours.exposure.mark(0, 10_000, 10_000, now)
            assert ours.equity(NAME, now) == pytest.approx(
                float(theirs * Fraction(money.unit("USDT")) - 900) * MICRO
            ), "DOGE has no mark, and is not named"

    async def at_least(session, lots, told):
        """All of the order has filled."""
        filled = sum(r.last_qty for r in told)
        while filled < lots:
            filled += (await session.told(ExecType.TRADE))[-1].last_qty

    run(work)


def test_an_account_is_liquidated_by_all_its_wallets_and_its_mode_can_be_changed(tmp_path):
    async def work():
        async with server(tmp_path, TOGETHER) as at, Session(at, NAME) as session:
            account, rest = at.exchange.accounts[0], session.venue._rest
            session.new(Side.BUY, 5, 1.0)
            await session.told(ExecType.NEW, ExecType.TRADE)
            at.treasury.deposit(account, Market.USDM, "USDT", "-999", at.clock.now())
            assert not at.liquidator.due(account, WALLET)
            path = "/fapi/v1/multiAssetsMargin"
            assert await rest.signed("GET", path) == {"multiAssetsMargin": True}
            await rest.signed("POST", path, {"multiAssetsMargin": "false"})
            assert at.liquidator.due(account, WALLET)
            assert (await session.venue.margin()).assets == {}

    run(work)


@pytest.mark.parametrize("rule", [{"index": "dear"}, {"index": "5", "buffer": "1.5"}, {"buffer": "much"}])
def test_a_mistake_in_collateral_is_one_line(tmp_path, rule):
    async def work():
        async with server(tmp_path, CONFIG | {"collateral": {"BTC": rule}}):
            pass

    with pytest.raises(UserError, match="collateral BTC"):
        run(work)
