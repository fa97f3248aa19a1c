"""A strategy that raises in a handler, whichever: it is stopped with its reason, nothing of it rests, the others trade on."""

from __future__ import annotations

import pytest
from live.parity_world import live
from live.test_parity import MODEL, market

from tidegate.sim.virtual_time import run
from tidegate.strategy.strategy import Strategy, StrategyParams

MARKET = "BTCUSDT.BINANCE_USDM"
HANDLERS = (
    "on_start", "on_quote", "on_trade", "on_book", "on_bar", "on_timer", "on_order", "on_fill", "on_stop", "save_state",
)  # fmt: skip


class Busy(Strategy):
    """Hears everything, leaves an order resting and takes another, once."""

    def on_start(self):
        self.at = self.market(MARKET)
        self.seen = self.fills = 0
        self.subscribe_quotes(self.at)
        self.subscribe_trades(self.at)
        self.subscribe_book(self.at)
        self.subscribe_bars(self.at, "1s")
        self.every("100ms", "look")

    def on_quote(self, quote):
        self.seen += 1
        if self.seen == 5:
            self.at.buy(10, int(self.at.bid * 0.99))
            self.at.buy(10, int(self.at.ask * 1.001))

    def on_fill(self, fill):
        self.fills += 1

    def save_state(self):
        return {}


@pytest.fixture(scope="module")
def recorded():
    universe, rows, max_delay = market()
    return universe, rows[:12_000], max_delay


@pytest.mark.parametrize("handler", HANDLERS)
def test_an_exception_in_any_handler_stops_the_strategy_alone(recorded, caplog, handler):
    late = handler in ("on_quote", "on_trade", "on_book", "on_timer", "on_bar")

    def broken(self, *args):
        known = getattr(Busy, handler)
        if late and self.seen < 20:  # its orders are out by then
            return known(self, *args)
        raise KeyError(f"a mistake in {handler}")

    bad = type("Broken", (Busy,), {handler: broken})("broken", 0, 0, StrategyParams())
    good = Busy("good", 1, 0, StrategyParams())
    found = run(live(*recorded, [bad, good], MODEL))
    stops = [r for r in caplog.records if r.name == "tidegate.strategy"]
    assert {r.getMessage() for r in stops} == {"strategy broken is stopped"}
    assert f"a mistake in {handler}" in caplog.text
    lane = found._lanes[0]
    if handler != "on_stop":  # then it has ended anyhow, and its orders stay as was wished
        assert [order for order in lane.open_orders() if order.strategy == 0] == []
    assert [order.strategy for order in lane.open_orders() if order.strategy == 1] == [1]
    assert good.fills >= 1
