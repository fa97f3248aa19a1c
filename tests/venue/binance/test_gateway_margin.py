"""A gateway's look at its account's margin: what is told, to whom, and what is not looked at."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from decimal import Decimal

import msgspec
from binance_world import CONFIG, UNIVERSE, Session, run, server

from tidegate.log.memory import MemoryServer
from tidegate.log.streams import declared
from tidegate.marketdata.binance_instruments import Market
from tidegate.model.clock import SystemClock
from tidegate.model.instrument import Universe
from tidegate.model.order import ExecType, Side
from tidegate.risk.margin.compare import decode
from tidegate.risk.margin.file import with_tiers
from tidegate.venue.gateway.alerts import Alerts
from tidegate.venue.gateway.margin import MarginCheck


class Desk:
    """A check on a session, a log that it tells, and what was told."""

    def __init__(self, session: Session, universe: Universe) -> None:
        self.clock = SystemClock()
        self.server = MemoryServer(1, clock=self.clock, log=declared(1))
        self.log = self.server.client("gateway")
        self.counts: Counter[str] = Counter()
        self.alerts = Alerts(self.log, self.clock, "X.one", "test", self.counts, lambda: None)
        name = f"{session.name}.one"
        self.check = MarginCheck(
            name, session.venue, universe, self.log, self.clock, self.alerts, self.counts, 0.01
        )
        self.heard: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        self.server.client("risk").subscribe("margin.>", lambda *told: self.heard.put_nowait(told))

    async def told(self) -> list[dict]:
        assert await self.alerts.drained(5)
        return [json.loads(entry.data) for entry in self.server.streams["ALERT"].entries]


TIERED = Universe(with_tiers(UNIVERSE.instruments, {}, None, "packaged"))


def other(maintenance: str) -> Universe:
    """The same with another rate in the first tier of USDⓈ-M."""
    item = TIERED[1]
    first = msgspec.structs.replace(item.tiers[0], maintenance=Decimal(maintenance))
    wrong = msgspec.structs.replace(item, tiers=(first, *item.tiers[1:]))
    return Universe([TIERED[0], wrong, TIERED[2]])


async def buy(session: Session) -> None:
    session.new(Side.BUY, 2, 1.0)
    await session.told(ExecType.NEW, ExecType.TRADE)


def test_a_statement_is_published_and_nothing_is_said_where_both_agree(tmp_path):
    async def work():
        async with server(tmp_path, CONFIG) as at, Session(at, "BINANCE_USDM") as session:
            await buy(session)
            desk = Desk(session, TIERED)
            assert await desk.check.once()
            subject, data = await asyncio.wait_for(desk.heard.get(), 5)
            assert subject == "margin.BINANCE_USDM.one"
            said = decode(data)
            assert [p.lots for p in said.positions if p.lots] == [2000]
            assert said.tiers == {}
            assert desk.check.last is not None
            assert desk.check.last.tiers, "asked for with the first look"
            assert await desk.told() == []
            assert await desk.check.once()
            assert not desk.check.last.tiers, "and not again within the hour"

    run(work)


def test_other_tiers_are_told_once_a_minute(tmp_path):
    async def work():
        async with server(tmp_path, CONFIG) as at, Session(at, "BINANCE_USDM") as session:
            await buy(session)
            desk = Desk(session, other("0.0039"))
            for _ in range(3):
                await desk.check.once()
            told = await desk.told()
            assert {a["kind"] for a in told} == {"margin_differs"}
            assert sorted(a["figures"]["what"] for a in told) == [
                "maintenance margin", "maintenance margin", "tier 1",
            ]  # fmt: skip
            assert {a["figures"]["of"] for a in told} == {"BTCUSDT.BINANCE_USDM", "the USDT wallet"}
            assert any("0.0039 by our tiers" in a["text"] for a in told)
            assert desk.counts["margin_differs"] == 7, "of the tiers only the first time"

    run(work)


def test_instruments_without_tiers_are_not_compared(tmp_path):
    async def work():
        async with server(tmp_path, CONFIG) as at, Session(at, "BINANCE_USDM") as session:
            await buy(session)
            desk = Desk(session, UNIVERSE)
            assert await desk.check.once()
            assert await desk.told() == []

    run(work)


def test_spot_states_what_is_held_and_again_when_that_has_changed_but_not_for_an_order_that_rests(tmp_path):
    async def work():
        async with server(tmp_path, CONFIG) as at, Session(at, "BINANCE") as session:
            desk = Desk(session, TIERED)
            desk.check._every = 30.0
            running = asyncio.create_task(desk.check.run())

            async def heard() -> dict[str, Decimal]:
                _, data = await asyncio.wait_for(desk.heard.get(), 5)
                said = decode(data)
                assert said.positions == []
                return {name: wallet.wallet for name, wallet in said.wallets.items()}

            assert await heard() == {"USDT": Decimal(100_000), "BTC": Decimal(1000)}
            asked = at.record.size[0]
            session.new(Side.BUY, 1, -1.0)
            await session.told(ExecType.NEW)
            session.new(Side.BUY, 1, 1.0)
            await session.told(ExecType.NEW, ExecType.TRADE)
            held = await heard()
            assert held["USDT"] == Decimal("100000") - Decimal("100.01")
            assert Decimal(1000) < held["BTC"] < Decimal(1001), (
                "less the fee, which is taken in what is bought"
            )
            assert at.record.size[0] == asked + 2, "two orders, and no question about the account"
            assert desk.check.last is not None
            at.treasury.deposit(at.exchange.accounts[0], Market.SPOT, "USDT", "5", at.clock.now())
            at.outlets.flush()
            assert (await heard())["USDT"] == held["USDT"] + 5, "a difference has the account asked again"
            assert at.record.size[0] == asked + 3
            assert await desk.told() == []
            running.cancel()

    run(work)


def test_a_venue_that_cannot_answer_is_asked_again_later(tmp_path):
    async def work():
        async with server(tmp_path, CONFIG) as at, Session(at, "BINANCE_USDM") as session:
            desk = Desk(session, TIERED)
            at.exchange.by_key.clear()  # the venue knows the key no more
            assert await desk.check.once()
            assert desk.counts["margin_unanswered"] == 1
            assert desk.check.last is None

    run(work)


def test_money_that_no_fill_explains_has_a_futures_account_asked_at_once(tmp_path):
    async def work():
        async with server(tmp_path, CONFIG) as at, Session(at, "BINANCE_USDM") as session:
            desk = Desk(session, TIERED)
            desk.check._every = 30.0
            running = asyncio.create_task(desk.check.run())
            first = decode((await asyncio.wait_for(desk.heard.get(), 5))[1]).wallets["USDT"].wallet
            at.treasury.deposit(at.exchange.accounts[0], Market.USDM, "USDT", "-250", at.clock.now())
            at.outlets.flush()
            again = decode((await asyncio.wait_for(desk.heard.get(), 5))[1]).wallets["USDT"].wallet
            assert again == first - 250
            running.cancel()

    run(work)
