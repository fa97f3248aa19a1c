"""A market of agents: a function of its seed, never crossed, nothing made or lost; and our orders among theirs."""

from __future__ import annotations

import itertools
import json
from decimal import Decimal as D

import aiohttp
import pytest
from sim_venue import Client, account, configuration, next_event, run

from tidegate.errors import UserError
from tidegate.marketdata.binance_instruments import BINANCE, Market
from tidegate.model.instrument import Universe
from tidegate.model.money import unit
from tidegate.model.order import OrdStatus, OrdType, SelfTrade, Side, TimeInForce
from tidegate.model.time import MS, SECOND
from tidegate.venue.sim.agent_feed import AgentFeed
from tidegate.venue.sim.agent_market import AgentMarket
from tidegate.venue.sim.agents import AgentsConfig
from tidegate.venue.sim.config import AccountConfig, VenueConfig
from tidegate.venue.sim.exchange import Exchange
from tidegate.venue.sim.hub import Hub
from tidegate.venue.sim.listing import Listings
from tidegate.venue.sim.order import Order
from tidegate.venue.sim.refusal import Refused
from tidegate.venue.sim.server import VenueServer
from tidegate.venue.sim.sockets import Outlets

START = 1_700_000_000 * SECOND
SPOT, USDM = BINANCE[0], BINANCE[2]
UNIVERSE = Universe([SPOT, USDM])
AGENTS = {SPOT.id: AgentsConfig(price="60000", size=2000), USDM.id: AgentsConfig(price="60010")}


class Heard:
    """Everything that happened to orders of ours."""

    def __init__(self):
        self.rows = []

    def on_order(self, order, happened, ts, trade):
        self.rows.append(
            (ts, order.id, happened, order.status, trade and (trade.qty, trade.price, trade.maker))
        )

    def on_money(self, account, listing, ts, traded):
        pass


def world(seed=1, owners=("a", "b")):
    """(exchange, market, what was heard)."""
    listings, heard = Listings(UNIVERSE), Heard()
    wealth = {"BINANCE": {"USDT": "10000000", "BTC": "100"}, "BINANCE_USDM": {"USDT": "10000000"}}
    people = [
        AccountConfig(name=n, api_key=n, api_secret="s", owner=o, balances=wealth)
        for n, o in zip("xy", owners, strict=True)
    ]
    exchange = Exchange(listings, VenueConfig(accounts=people, seed=seed, spot_fee="quote"), heard)
    market = AgentMarket(listings, AGENTS, exchange.executed, seed)
    market.begin(START)
    exchange.stand_on(market)
    return exchange, market, heard


def order(exchange, side, qty, price, who=0, where=1, kind=OrdType.LIMIT, **more):
    made = Order(exchange.accounts[who], exchange.listings[where], side, kind, "LIMIT", qty)
    made.price = price
    for name, value in more.items():
        setattr(made, name, value)
    return made


def trade_along(exchange, market, seconds, step):
    """Quotes of ours beside the agents', moved every second, and a taking order now and then."""
    placed = []
    for second in range(1, seconds):
        for part in range(SECOND // step):
            exchange.advance(START + second * SECOND + part * step)
        now = START + second * SECOND + 999 * MS
        exchange.advance(now)
        bid, ask = market.touch(1)
        for old in placed:
            if old.open:
                exchange.cancel(old, now)
        placed = [order(exchange, Side.BUY, 20, bid + 1), order(exchange, Side.SELL, 20, ask - 1, who=1)]
        if second % 5 == 0:
            placed.append(order(exchange, Side.BUY, 30, 0, who=1, kind=OrdType.MARKET, tif=TimeInForce.IOC))
        for made in placed:
            exchange.place(made, now)


def test_the_same_seed_makes_the_same_market_however_time_is_cut():
    def fingerprint(seed, step):
        exchange, market, heard = world(seed)
        trade_along(exchange, market, 20, step)
        return [venue.book.state_hash() for venue in market.venues], heard.rows

    first = fingerprint(1, 10 * MS)
    assert any(row[2] == "TRADE" and row[4][2] for row in first[1])
    assert fingerprint(1, 10 * MS) == first
    assert fingerprint(1, 200 * MS) == first
    assert fingerprint(2, 10 * MS) != first


def test_the_book_is_never_crossed_and_nothing_is_made_or_lost():
    exchange, market, _ = world()
    for second in range(1, 30):
        trade_along(exchange, market, 1, SECOND)
        now = START + second * SECOND
        exchange.advance(now)
        for where, qty in ((0, 500), (1, 25)):
            bid, ask = market.touch(where)
            assert 0 < bid < ask
            side = Side.BUY if second % 2 else Side.SELL
            exchange.place(
                order(exchange, side, qty, ask if side is Side.BUY else bid, where=where, who=second % 2), now
            )
    for venue in market.venues:
        number, item = venue.listing.number, venue.listing.instrument
        agents_lots = sum(trader.lots for trader in venue.traders)
        agents_cash = sum(trader.cash for trader in venue.traders)
        mine = [
            t
            for person in exchange.accounts
            for t in person.trades.values()
            if t.order.listing.number == number
        ]
        assert len(mine) > 5
        assert agents_lots + sum(t.order.side.sign * t.qty for t in mine) == 0
        assert agents_cash - sum(t.order.side.sign * t.qty * t.price for t in mine) == 0
        assert (
            sum(len(trader.open) for trader in venue.traders)
            + sum(o.listing.number == number for o in exchange.live.values())
            == venue.book.live
        )
        if number == 1:  # the accounts' wallets and positions say the same
            lots = sum(person.positions[1].lots for person in exchange.accounts)
            wallets = sum(
                person.wallets[Market.USDM, "USDT"] - D(10_000_000) / unit("USDT")
                for person in exchange.accounts
            )
            cost = sum(person.positions[1].cost for person in exchange.accounts)
            fees = sum(t.fee for t in mine)
            value = item.value_ratio[0] // item.value_ratio[1]
            assert lots == -agents_lots
            assert wallets + fees - cost == -agents_cash * value
        else:
            base = sum(person.spot["BTC"].free + person.spot["BTC"].locked for person in exchange.accounts)
            assert base == 200 / unit("BTC") - agents_lots * int(item.lot / unit("BTC"))


@pytest.mark.parametrize(
    ("mode", "newer", "older"),
    [
        (SelfTrade.CANCEL_NEWEST, "EXPIRED_IN_MATCH", OrdStatus.NEW),
        (SelfTrade.CANCEL_OLDEST, "", OrdStatus.EXPIRED),
        (SelfTrade.CANCEL_BOTH, "EXPIRED_IN_MATCH", OrdStatus.EXPIRED),
        (SelfTrade.DECREMENT, "", OrdStatus.EXPIRED),
        (SelfTrade.ALLOW, "", OrdStatus.FILLED),
    ],
)
def test_own_orders_meet_and_self_trades_are_prevented(mode, newer, older):
    exchange, market, _ = world(owners=("firm", "firm"))
    now = START + 5 * SECOND
    exchange.advance(now)
    bid, ask = market.touch(1)
    assert ask - bid > 1
    resting = order(exchange, Side.BUY, 20, bid + 1)
    exchange.place(resting, now)
    taker = order(exchange, Side.SELL, 20, bid + 1, who=1, self_trade=mode)
    exchange.place(taker, now)
    assert resting.status is older
    assert taker.ending == newer if newer else taker.cum + taker.leaves <= 20
    traded = sum(t.qty for t in exchange.accounts[0].trades.values())
    assert traded == (20 if mode is SelfTrade.ALLOW else 0)
    assert not any(exchange.accounts[0].order_margin.values()) or resting.open


def test_replaces_posts_and_icebergs_keep_their_rules():
    exchange, market, heard = world()
    now = START + 5 * SECOND
    exchange.advance(now)
    bid, ask = market.touch(1)
    post = order(exchange, Side.BUY, 20, ask, post_only=True)
    with pytest.raises(Refused, match="-5022"):
        exchange.place(post, now)
    resting = order(exchange, Side.BUY, 20, bid - 5)
    exchange.place(resting, now)
    exchange.replace(resting, 30, bid - 4, now)
    assert (resting.qty, resting.price, resting.leaves) == (30, bid - 4, 30)
    big = order(exchange, Side.SELL, 90, bid + 1, who=1, kind=OrdType.ICEBERG, display=10)
    exchange.place(big, now)
    assert big.open
    take = order(exchange, Side.BUY, 25, bid + 1)
    exchange.place(take, now)
    assert (take.status, big.cum) == (OrdStatus.FILLED, 25)
    exchange.replace(big, 20, bid + 1, now)  # less than has filled: what is left is canceled
    assert big.status is OrdStatus.CANCELED
    assert [row[2] for row in heard.rows if row[1] == big.id][-1] == "CANCELED"
    halted = exchange.listings[1]
    exchange.halt(halted, True, now)
    before = market.venues[1].book.state_hash()
    exchange.advance(now + 500 * MS)
    assert market.venues[1].scene.now > now
    assert {row[1] for row in market.venues[1].book.orders().tolist()} <= {resting.id} | set(
        market.venues[1].owner
    )
    exchange.halt(halted, False, now + 500 * MS)
    exchange.advance(now + 2 * SECOND)
    assert market.venues[1].book.state_hash() != before


def test_the_public_frames_of_agents_make_the_book_they_trade_in():
    exchange, market, _ = world()
    outlets = Outlets()
    feed = AgentFeed(market, exchange.listings, Hub(outlets))
    sent = []
    feed._hub.publish = lambda channel, data: sent.append(json.loads(data))
    for n in range(1, 2000):
        exchange.advance(START + n * 10 * MS)
        feed.emit(START + n * 10 * MS)
        feed.fold()
    for view, venue in zip(feed.views, market.venues, strict=True):
        for side, shown in ((Side.BUY, view.bids), (Side.SELL, view.asks)):
            levels = venue.book.depth(side, 10_000)[:, :2].tolist()
            listing = venue.listing
            assert {listing.price.text(p): listing.qty.text(q) for p, q in levels} == shown
    diffs = [frame for frame in sent if frame.get("e") == "depthUpdate" and "pu" in frame]
    assert all(b["pu"] == a["u"] and b["U"] == a["u"] + 1 for a, b in itertools.pairwise(diffs))
    trades = [frame["t"] for frame in sent if frame.get("e") == "trade" and "X" in frame]
    assert trades == list(range(1, len(trades) + 1))
    assert len(trades) > 20


def test_agents_must_be_told_for_every_instrument_and_on_its_grid():
    listings = Listings(UNIVERSE)
    for wrong, says in (
        ({SPOT.id: AGENTS[SPOT.id]}, f"no agents are configured for {USDM.id}"),
        (AGENTS | {"X.Y": AGENTS[SPOT.id]}, "X.Y, which is not listed"),
        (AGENTS | {SPOT.id: AgentsConfig(price="0.001")}, "not a multiple"),
    ):
        with pytest.raises(UserError, match=says):
            AgentMarket(listings, wrong, print, 1)


def test_a_client_trades_with_agents_over_the_wire():
    async def scenario():
        server = VenueServer.of_agents(
            UNIVERSE, AGENTS, configuration(accounts=[account(balances={"BINANCE_USDM": {"USDT": "100000"}})])
        )
        await server.start()
        try:
            async with aiohttp.ClientSession() as session:
                client = Client(session, server)
                url = f"{server.url}/usdm/stream?streams=btcusdt@depth@0ms/btcusdt@trade/btcusdt@bookTicker"
                public = await session.ws_connect(url)
                stream = await client.user()
                while json.loads((await public.receive(5)).data)["data"]["e"] != "bookTicker":
                    pass
                book = await client.good("GET", "depth", signed=False, symbol="BTCUSDT")
                ask = book["asks"][0]
                taken = await client.place(
                    price=ask[0], quantity=ask[1], timeInForce="IOC", newOrderRespType="RESULT"
                )
                assert D(taken["executedQty"]) > 0 or taken["status"] == "EXPIRED"
                if D(taken["executedQty"]):
                    event = await next_event(stream, "ACCOUNT_UPDATE")
                    assert D(event["a"]["P"][0]["pa"]) > 0
                await client.place(price="50000.0", newClientOrderId="tg1")
                await client.good("DELETE", "order", symbol="BTCUSDT", origClientOrderId="tg1")
        finally:
            await server.stop()

    run(scenario)
