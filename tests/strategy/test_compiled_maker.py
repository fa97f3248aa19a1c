"""The compiled maker against the same rule written in Python, over the same engine, order by order."""

from decimal import Decimal

import msgspec
import numpy as np
import pytest

from tidegate.kernel.replay_engine import VenueModel
from tidegate.model.event import Flag, Kind, empty
from tidegate.model.instrument import Instrument, InstrumentKind, Universe
from tidegate.model.time import MS, SECOND
from tidegate.risk.limits import Limit, unlimited
from tidegate.risk.scopes import ScopeTable
from tidegate.sim.backtest import Backtest, Setup
from tidegate.sim.stream import Source
from tidegate.strategy.library import compiled_maker
from tidegate.strategy.library.compiled_maker import CompiledMaker, CompiledMakerParams
from tidegate.strategy.strategy import Strategy

ASSET = Instrument(
    symbol="ASSET", venue="SIM", kind=InstrumentKind.PERPETUAL, base="ASSET", quote="USDT", tick=Decimal("0.1"),
    lot=Decimal(1), maker_fee=Decimal("-0.00005"), taker_fee=Decimal("0.0007"), initial_margin=Decimal("0.01"),
)  # fmt: skip
START = 1_700_000_000 * SECOND


class PlainMaker(Strategy):
    """The rule of `compiled_maker`, in Python."""

    Params = CompiledMakerParams

    def on_start(self) -> None:
        self.m = self.market(self.params.market)
        self.live = [None, None]
        if self.params.interval:
            self.every(self.params.interval)
        else:
            self.subscribe_quotes(self.m)
            self.subscribe_trades(self.m)
            self.subscribe_book(self.m)

    def on_quote(self, quote) -> None:
        self.step()

    def on_trade(self, trade) -> None:
        self.step()

    def on_book(self, book) -> None:
        self.step()

    def on_timer(self, name) -> None:
        self.step()

    def step(self) -> None:
        p, m = self.params, self.m
        if not m.has_touch:
            return
        targets = min(m.bid - p.offset, m.ask - 1), max(m.ask + p.offset, m.bid + 1)
        for at, (price, sign, send) in enumerate(zip(targets, (1, -1), (m.buy, m.sell), strict=True)):
            order = self.live[at]
            if order is not None and order.open:
                if order.price != price:
                    self.cancel(order)
            elif sign * m.position < p.max_position:
                self.live[at] = send(p.size, price, post_only=True)


def events(n=6000, seed=2):
    """Depth and trades a millisecond apart around a middle that steps now and then."""
    rng = np.random.default_rng(seed)
    step = np.where(rng.random(n) < 0.02, rng.integers(0, 2, n) * 2 - 1, 0)
    mid = 500_000 + np.cumsum(step)
    trade, side = rng.random(n) < 0.25, rng.integers(1, 3, n)
    level, size = rng.integers(1, 8, n), rng.integers(1, 30, n)
    rows = empty(n)
    rows["ts_event"] = START + MS * np.arange(n)
    rows["ts_recv"] = rows["ts_event"] + MS
    sign = np.where(side == 1, 1, -1)
    rows["price"] = np.where(trade, mid + sign, mid - sign * level)
    rows["size"] = np.where(~trade & (rng.random(n) < 0.1), 0, size)
    rows["side"], rows["kind"] = side, np.where(trade, Kind.TRADE, Kind.DELTA)
    rows["flags"] = Flag.LAST
    # Before a book is known, a touch for Python is the last trade: begin with a level on each side.
    rows["kind"][:2], rows["side"][:2], rows["price"][:2] = Kind.DELTA, (1, 2), (mid[0] - 1, mid[0] + 1)
    rows["size"][:2] = 20
    return rows


def run(kind, limits=None, delay=5 * MS, beside=(), **params):
    kinds = [kind, *beside]
    setup = Setup(
        universe=Universe([ASSET]),
        sources=[Source([events()], max_delay=MS)],
        venues={"SIM": VenueModel(entry_latency=(delay,), response_latency=(delay,))},
        scopes=ScopeTable.simple(len(kinds), "10000000"),
        limits=limits or unlimited(),
        strategies=[
            each(f"maker{n}", n, 0, CompiledMakerParams(market=ASSET.id, **params))
            for n, each in enumerate(kinds)
        ],
        sample=SECOND,
    )
    test = Backtest(setup)
    result = test.run()
    if result.error is not None:
        raise result.error
    return test, result


def rows(table, *columns):
    return list(zip(*(table.column(name).to_pylist() for name in columns), strict=True))


@pytest.mark.parametrize(
    "params",
    [
        {"interval": "10ms"},
        {},
        {"size": 7, "max_position": 20, "offset": 0},
        {"offset": -1, "max_position": 5},
        {"offset": 2, "interval": "3ms"},
    ],
)
def test_orders_and_fills_are_those_of_the_rule_in_plain_python(params):
    columns = ("ts_submit", "ts_done", "side", "price", "qty", "cum_qty", "status", "reason")
    _, compiled = run(CompiledMaker, **params)
    _, plain = run(PlainMaker, **params)
    fills = ("ts", "side", "price", "qty", "fee")
    assert rows(compiled.tables.fills, *fills) == rows(plain.tables.fills, *fills)
    ended = [r for r in rows(compiled.tables.orders, *columns) if r[1]]
    assert ended == [r for r in rows(plain.tables.orders, *columns) if r[1]]
    assert len(ended) > 50
    assert len(compiled.tables.fills) > 5


def test_beside_python_strategies_it_touches_no_orders_but_its_own():
    # Lanes number their orders apart: a row taken over by an order of the same number is not ours.
    alone = run(CompiledMaker, interval="10ms")[1].tables.fills
    shared = run(CompiledMaker, beside=[PlainMaker] * 2, interval="10ms")[1].tables.fills
    columns = ("ts", "side", "price", "qty")
    for n in range(3):
        mine = [row[1:] for row in rows(shared, "strategy", *columns) if row[0].endswith(str(n))]
        assert mine == rows(alone, *columns)


def test_the_position_stops_at_its_limit():
    test, result = run(CompiledMaker, size=1, max_position=2)
    positions = np.cumsum([side * qty for side, qty in rows(result.tables.fills, "side", "qty")])
    assert np.abs(positions).max() == 2
    assert test.engine.state.pos[0, 0] == positions[-1]


def test_a_denied_side_rests_before_it_tries_again():
    wide = unlimited()
    firm = msgspec.structs.replace(wide.firm, orders_per_second=Limit(1), order_burst=1)
    limits = msgspec.structs.replace(wide, firm=firm)
    _, often = run(CompiledMaker, limits, backoff="1ms")
    _, seldom = run(CompiledMaker, limits, backoff="2s")
    assert len(often.tables.denials) > 1000
    assert 1 <= len(seldom.tables.denials) <= 8


def test_handles_of_the_largest_sequences_are_kept_exactly():
    memory = np.zeros(8)
    for sequence, slot in ((1, 0), (2**40 - 1, 2**20 - 1), (2**33 + 1, 12345)):
        handle = (sequence << compiled_maker.SLOT_BITS) | slot
        memory[0], memory[1] = handle >> compiled_maker.SLOT_BITS, handle & compiled_maker.SLOT_MASK
        assert (int(memory[0]) << compiled_maker.SLOT_BITS) | int(memory[1]) == handle
    assert int(float(handle)) != handle  # in one float64 it would not be


def test_parameters_are_checked_by_name():
    with pytest.raises(ValueError, match="size is 0"):
        CompiledMakerParams(market="x", size=0)
    with pytest.raises(ValueError, match="interval"):
        CompiledMakerParams(market="x", interval="often")
