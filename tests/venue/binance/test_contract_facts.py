"""Open interest and funding: asked of the venue, told to lanes and the risk service, and booked alike by all of them."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal

import pytest
from binance_world import CONFIG, NUMBERS, QUICK, UNIVERSE, Session, run, server
from risk.halting import VERIFIER
from test_gateway_on_binance import Stack

from tidegate.access.replays import Replays
from tidegate.execution.core import Lane
from tidegate.execution.lane_log import LaneKind
from tidegate.kernel.gate_state import C_CASH
from tidegate.model import money
from tidegate.model.clock import SystemClock
from tidegate.model.messages import Funding, Mark, MarketReference
from tidegate.model.order import ExecType, Side
from tidegate.model.time import HOUR, SECOND
from tidegate.model.wire import decode, pack
from tidegate.risk.gate import Gate
from tidegate.risk.ledger import Ledger
from tidegate.risk.limits import Limits, unlimited
from tidegate.risk.service import RiskService, RiskSetup
from tidegate.venue.binance.feed import BinanceFeed
from tidegate.venue.binance.products import simulated
from tidegate.venue.feed import FeedService
from tidegate.venue.sim.config import FundingRule

IDS = {name: UNIVERSE[NUMBERS[name]].id for name in ("BINANCE_USDM", "BINANCE_COINM")}
contracts = pytest.mark.parametrize("name", IDS)
FX = {"BTC": Decimal(100)}


class Ahead:
    """The system's clock, set ahead at will."""

    def __init__(self):
        self.ahead, self.system = 0, SystemClock()

    def now(self):
        return self.system.now() + self.ahead


@asynccontextmanager
async def feeding(at, name, clock):
    port = int(at.url.rpartition(":")[2])
    feed = BinanceFeed(
        name, UNIVERSE, simulated("127.0.0.1", port, name), clock, pace=QUICK, contract_paces=(0.05, 0.05)
    )
    await feed.start(lambda number, rows: None)
    try:
        yield feed
    finally:
        await feed.stop()


async def until(holds, seconds=20.0):
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.01)


@contracts
def test_a_feed_knows_open_interest_and_the_next_funding_and_then_what_was_paid(tmp_path, name):
    async def work():
        clock, number = Ahead(), NUMBERS[name]
        config = CONFIG | {"funding": {IDS[name]: {"rate": "-0.0003"}}, "open_interest": {IDS[name]: "7"}}
        async with (
            server(tmp_path, config, clock=clock) as at,
            feeding(at, name, clock) as feed,
            Session(at, name) as session,
        ):
            lot = 7_000 if name == "BINANCE_USDM" else 7
            await until(lambda: feed.facts(number).interest == lot and feed.facts(number).funding_at)
            facts = feed.facts(number)
            assert (facts.rate, facts.mark, facts.paid) == (-30_000, 1_000, ())
            assert facts.funding_at % (8 * HOUR) == 0
            session.new(Side.BUY, 2, 1.0)
            await session.told(ExecType.NEW, ExecType.TRADE)
            await until(lambda: feed.facts(number).interest > lot)
            clock.ahead += facts.funding_at - clock.now() + SECOND
            at.pump()
            await until(lambda: feed.facts(number).paid)
            assert feed.facts(number).paid == ((facts.funding_at, -30_000, 1_000),)
            assert feed.facts(number).funding_at == facts.funding_at + 8 * HOUR
            paid = list(at.treasury.paid[number])
            assert [(p.due, p.mark) for p in paid] == [(facts.funding_at, 1_000)]

    run(work)


def test_open_interest_that_nobody_answers_about_is_not_known_after_a_while_and_spot_has_none(tmp_path):
    async def work():
        clock, number = Ahead(), NUMBERS["BINANCE_USDM"]
        async with server(tmp_path, CONFIG, clock=clock) as at:
            async with feeding(at, "BINANCE_USDM", clock) as feed:
                await until(lambda: feed.facts(number).interest == 0)
                at.treasury.interest = None  # each question is an error from here on
                failed = feed._contracts.counts["contract facts unanswered"]
                await until(lambda: feed._contracts.counts["contract facts unanswered"] > failed)
                assert feed.facts(number).interest == 0
                clock.ahead += 200 * SECOND
                assert feed.facts(number).interest == -1
            async with feeding(at, "BINANCE", clock) as feed:
                assert feed.facts(0).interest == -1
                assert feed._contracts._tasks == []

    run(work)


@contracts
def test_funding_is_booked_by_lane_gate_and_risk_service_as_the_venue_took_it(tmp_path, name):
    """A venue that funds, its feed, the risk service, a lane and its gateway: nothing stands in for anything."""

    async def work():
        async with AsyncExitStack() as running:
            at = await running.enter_async_context(server(tmp_path, CONFIG))
            desk = Stack(at, name)
            kind = LaneKind(
                "test",
                lambda n: Lane(
                    n, UNIVERSE, Gate(UNIVERSE, desk.scopes, unlimited(), fx=FX), Ledger(UNIVERSE)
                ),
                lambda data: pytest.fail("none kept"),
            )
            desk.oms._kind = kind
            port, clock = desk.port, desk.clock
            feed = BinanceFeed(
                name, UNIVERSE, simulated("127.0.0.1", port, name), clock, pace=QUICK, contract_paces=(0.1, 0.1)
            )  # fmt: skip
            feeds = FeedService(UNIVERSE, [feed], desk.log.client("feed"), clock)
            limits = Limits.load({"firm": {"interest_share": "50%"}})
            setup = RiskSetup(UNIVERSE, desk.scopes, limits, [[0]], fx=FX)
            risk = RiskService(
                "risk", setup, desk.log.client("risk"), clock, VERIFIER.verify, Replays().first, lambda *_: None
            )  # fmt: skip
            gateway = desk.gateway()
            for service in (desk.oms, gateway, risk, feeds):
                await service.start()
                running.push_async_callback(service.stop)
            await desk.until(lambda: 0 in desk.oms.writers and not gateway.session.holds)
            touch = Mark(
                clock.now(), desk.number, 1_000, 1_001
            )  # the market stands still: no feed tells of it
            desk.user.publish(f"touch.{name}", pack([touch], ts=clock.now()))
            await desk.until(lambda: desk.number in desk.lane.state.marks)
            order = await desk.place(percent=1.0)
            await desk.until(lambda: desk.lane.order(order.cl_ord_id).cum_qty > 0)
            number, held = desk.number, at.exchange.accounts[0].positions[desk.number]
            assert held.lots
            at.treasury.set_funding(at.listings[number], FundingRule(rate="0.0125", every=2.0))
            account = desk.scopes.account_scope(0)
            await desk.until(lambda: number in risk.margin.book.next_funding)
            cell = risk.panel.exposure.cells[account, number]
            await desk.until(lambda: desk.lane.state.funded.get(number, 0) > 0)
            at.treasury._rules.clear()
            last = at.treasury.paid[number][-1].due
            await desk.until(lambda: desk.lane.state.funded[number] == last)
            books = desk.lane.state.ledger.position(0, 0, number)
            assert books.funding == held.funding != 0
            assert books.lots == held.lots
            gate = desk.lane.state.gate.state
            row = gate.cell[account * len(UNIVERSE) + number]
            await desk.until(lambda: cell.cash == int(row[C_CASH]))
            told = [m for e in desk.log.streams["EVT_0"].entries for m in decode(e.data).messages]
            assert [m.due for m in told if type(m) is Funding] == [p.due for p in at.treasury.paid[number]]
            venue, asset = f"{name}", "USDT" if name == "BINANCE_USDM" else "BTC"
            wallet = at.exchange.accounts[0].wallets[at.listings[number].market, asset]

            def stated():
                known = risk.margin.book._known.get((venue, 0))
                return known is not None and known.wallets.get(asset) == wallet

            await desk.until(stated)
            assert money.from_units(wallet, asset) > 0

            def size_told():
                lane = (m for e in desk.log.streams["LANE_0"].entries for m in decode(e.data).messages)
                market = [m for m in lane if type(m) is MarketReference and m.instrument == number]
                return any(m.interest == held.lots for m in market)

            await desk.until(size_told)

    run(work)
