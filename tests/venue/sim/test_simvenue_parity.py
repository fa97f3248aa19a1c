"""An order placed on the capture fills as it does in a backtest without latency: one kernel, one set of rules."""

from __future__ import annotations

import random

import pytest
from sim_venue import capture

from tidegate.kernel.replay_engine import VenueModel
from tidegate.model.order import OrdType, Side, TimeInForce
from tidegate.model.time import MS
from tidegate.risk.limits import unlimited
from tidegate.risk.scopes import ScopeTable
from tidegate.sim.backtest import Backtest, Setup
from tidegate.sim.stream import Source
from tidegate.strategy.strategy import Strategy, StrategyParams
from tidegate.venue.sim.capture_market import CaptureMarket, Records
from tidegate.venue.sim.config import AccountConfig, VenueConfig
from tidegate.venue.sim.exchange import Exchange
from tidegate.venue.sim.listing import Listings
from tidegate.venue.sim.order import Order
from tidegate.venue.sim.refusal import Refused
from tidegate.venue.sim.timeline import Timeline

STEP = 250 * MS + 1
"""Not whole ms, as the exchange's stamps are: at one instant timers come before what is received."""
SHIFT = 86_400_000 * MS + 12_345
"""How far the server's time lies from the capture's: not a whole number of anything."""


def plan(seed, first, steps):
    """What to do at each step: (time, instrument, act, side, type, quantity, ticks from the touch, order acted on)."""
    rng = random.Random(seed)
    made = []
    for n in range(steps):
        instrument = rng.randrange(3)
        made.append(
            (
                first + n * STEP,
                instrument,
                rng.choices(("new", "cancel", "replace"), (6, 2, 2))[0],
                rng.choice((Side.BUY, Side.SELL)),
                rng.choices(("limit", "market", "ioc", "post"), (6, 1, 2, 3))[0],
                rng.randrange(2, 40) * (100 if instrument == 0 else 1),  # above the least notional
                rng.randrange(-3, 4),
                rng.randrange(1 << 16),
            )
        )
    return made


class Acts(Strategy):
    """Carries out a plan on a timer: in a backtest its host, here the same calls as the server's test makes."""

    script = ()
    market_names = ()

    class Params(StrategyParams):
        pass

    def on_start(self):
        self.todo = list(reversed(type(self).script))
        self.every(STEP, "act")
        self.made = []

    def on_timer(self, name):
        if not self.todo or self.now < self.todo[-1][0]:
            return
        ts, i, act, side, kind, qty, away, which = self.todo.pop()
        assert ts == self.now
        market = self.market(self.market_names[i])
        mine = [o for o in self.made if o.open and o.market is market]
        if act == "new" or not mine:
            self.made.append(self._new(market, side, kind, qty, away))
        elif act == "cancel":
            self.cancel(mine[which % len(mine)])
        else:
            order = mine[which % len(mine)]
            self.replace(order, qty, self._price(market, order.side, away))

    def _price(self, market, side, away):
        bid, ask, _ = self.host.touch(market.number)
        return (bid if side is Side.BUY else ask) + away

    def _new(self, market, side, kind, qty, away):
        if kind == "market":
            return market.submit(side, qty, ord_type=OrdType.MARKET)
        price = self._price(market, side, away)
        tif = TimeInForce.IOC if kind == "ioc" else TimeInForce.GTC
        return market.submit(side, qty, price, tif=tif, post_only=kind == "post")


def in_a_backtest(model, script):
    """(time, order number, quantity, price, maker) of every fill."""
    held = capture()
    rows = held.rows.copy()
    # No latency at all: everybody sees a record when the exchange does.
    rows = rows[rows[:, 0].argsort(kind="stable")]
    rows[:, 1] = rows[:, 0]
    Acts.script, Acts.market_names = script, tuple(item.id for item in held.universe.instruments)
    strategy = Acts("acts", 0, 0, Acts.Params())
    made = Setup(
        universe=held.universe, sources=[Source([rows], None)], strategies=[strategy], limits=unlimited(),
        venues={item.venue: model for item in held.universe.instruments}, scopes=ScopeTable.simple(1),
        rates={"BTC": "60000", "USD": "1"},
    )  # fmt: skip
    result = Backtest(made).run()
    assert result.error is None, result.error
    numbers = {order.cl_ord_id: n for n, order in enumerate(strategy.made)}
    return [
        (f.ts_venue, numbers[f.event.cl_ord_id], f.event.last_qty, f.event.last_px, f.event.maker, f.event.fee)
        for f in result.recorder.fills
    ], [order.status for order in strategy.made]  # fmt: skip


class Fills:
    """A listener that writes fills down."""

    def __init__(self):
        self.rows = []

    def on_order(self, order, happened, ts, trade):
        if trade is not None:
            self.rows.append((ts - SHIFT, order, trade))

    def on_money(self, account, listing, ts, traded):
        pass


def on_the_server(model, script):
    """The same of the server's core, driven at the same times."""
    held = capture()
    heard = Fills()
    wealth = {"BINANCE": {"USDT": "1000000000", "BTC": "1000000"}, "BINANCE_USDM": {"USDT": "1000000000"}}
    rich = AccountConfig(
        name="a", api_key="k", api_secret="s", balances=wealth | {"BINANCE_COINM": {"BTC": "1000000"}}
    )
    config = VenueConfig(accounts=[rich], spot_fee="quote", max_open_orders=10_000)
    exchange = Exchange(Listings(held.universe), config, heard)
    first = int(held.rows[:, 0].min())
    line = Timeline(first)
    line.start(first + SHIFT)
    records = Records(held.records, held.max_delay, False)
    exchange.stand_on(CaptureMarket(held.universe, model, records, line, exchange.executed))
    account, made = exchange.accounts[0], []
    for ts, i, act, side, kind, qty, away, which in script:
        now, listing = ts + SHIFT, exchange.listings[i]
        exchange.advance(now)
        bid, ask = exchange.background.touch(i)
        mine = [o for o in made if o.open and o.listing is listing]
        if act == "new" or not mine:
            market = kind == "market"
            order = Order(account, listing, side, OrdType.MARKET if market else OrdType.LIMIT, kind, qty)
            if not market:
                order.price = (bid if side is Side.BUY else ask) + away
            order.tif = TimeInForce.IOC if kind == "ioc" else TimeInForce.GTC
            order.post_only = kind == "post"
            made.append(order)
        order = mine[which % len(mine)] if act != "new" and mine else made[-1]
        try:
            if order is made[-1] and not order.id:
                exchange.place(order, now)
            elif act == "cancel":
                exchange.cancel(order, now)
            else:
                exchange.replace(order, qty, (bid if order.side is Side.BUY else ask) + away, now)
        except Refused:
            pass
    exchange.advance(int(held.rows[:, 0].max()) + SHIFT)
    numbers = {id(order): n for n, order in enumerate(made)}
    return [(ts, numbers[id(order)], t.qty, t.price, t.maker, t.fee) for ts, order, t in heard.rows], [
        order.status for order in made
    ]


@pytest.mark.parametrize(
    ("model", "seed"),
    [
        (VenueModel(), 1),
        (VenueModel(fill="partial", queue="risk_averse"), 2),
        (VenueModel(fill="partial", queue="log"), 3),
    ],
)
def test_orders_fill_on_the_server_as_in_a_backtest(model, seed):
    first = (int(capture().rows[:, 0].min()) // STEP + 21) * STEP
    script = plan(seed, first, 500)
    (fills, states), (other_fills, other_states) = in_a_backtest(model, script), on_the_server(model, script)
    assert len(fills) > 100
    assert any(row[4] for row in fills)
    assert not all(row[4] for row in fills)
    assert other_fills == fills
    assert other_states == states


def test_the_same_whenever_the_clock_is_looked_at():
    """`advance` in many small steps or in few large ones: the same executions."""

    def executions(step):
        held = capture()
        heard = Fills()
        rich = AccountConfig(
            name="a", api_key="k", api_secret="s", balances={"BINANCE_USDM": {"USDT": "1000000"}}
        )
        exchange = Exchange(Listings(held.universe), VenueConfig(accounts=[rich]), heard)
        line = Timeline(int(held.rows[0, 1]))
        line.start(int(held.rows[0, 1]) + SHIFT)
        records = Records(held.records, held.max_delay, False)
        exchange.stand_on(CaptureMarket(held.universe, VenueModel(), records, line, exchange.executed))
        now = int(held.rows[0, 1]) + SHIFT + 20_000 * MS
        exchange.advance(now)
        bid, ask = exchange.background.touch(1)
        for away in range(1, 20):
            for side, price in ((Side.BUY, bid - away), (Side.SELL, ask + away)):
                order = Order(exchange.accounts[0], exchange.listings[1], side, OrdType.LIMIT, "LIMIT", 5)
                order.price = price
                exchange.place(order, now)
        while now < int(held.rows[-1, 1]) + SHIFT:
            now += step
            exchange.advance(now)
        return [(ts, order.id, trade.qty, trade.price) for ts, order, trade in heard.rows]

    often = executions(7 * MS)
    assert len(often) > 10
    assert often == executions(5000 * MS)
