"""Python strategies over the local side of a replay engine: the same in a backtest, where a recording drives the
engine, and live, where the feed does.

The engine keeps the books, bars and timers and calls the handlers. A runner hands it to strategies as their host,
takes their commands, and delivers order events after the handler that caused them, never inside it. What becomes
of a command is a subclass's affair.
"""

from __future__ import annotations

from collections import deque

from tidegate.kernel import engine as k
from tidegate.kernel.book import (
    B_ASK,
    B_BID,
    B_DEPTH,
    B_LAST_PRICE,
    B_LAST_SIZE,
    B_QUOTED,
    B_TS,
    B_USABLE,
    BOOK_WORDS,
    NO_ASK,
    NO_BID,
)
from tidegate.kernel.replay_engine import Engine
from tidegate.kernel.wake import PythonCall
from tidegate.model.messages import CancelAll, CancelOrder, NewOrder, OrderEvent, ReplaceOrder
from tidegate.strategy.strategy import Strategy
from tidegate.strategy.views import Bar, Book, Quote, Trade

Command = NewOrder | CancelOrder | ReplaceOrder | CancelAll


class Runner:
    """Runs strategies over one engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.strategies: dict[int, Strategy] = {}
        self.queue: deque[OrderEvent] = deque()
        """Order events that are due, oldest first."""
        self._timers: list[str] = []
        self._bars: dict[int, int] = {}
        self.stop_reasons: dict[int, str] = {}
        engine.on_resize(self._view)
        engine.bind_after(PythonCall(self.drain, None))

    def _view(self) -> None:
        state = self.engine.state
        self.scalars = state.s.data
        self.books = state.book.data.cast("B").cast("q")
        self.shown = state.cur.data
        self.positions = state.pos.data.cast("B").cast("q")

    def command(self, message: Command) -> None:
        """A strategy's command: towards the order manager."""
        raise NotImplementedError

    def add(self, strategy: Strategy) -> None:
        """Take a strategy in: give it its host and let the kernel call its timers and bars."""
        self.strategies[strategy.number] = strategy
        strategy.host = EngineHost(self, strategy)
        number = strategy.number
        self.engine.bind(number, k.G_TIMER, PythonCall(self._on_timer, strategy))
        self.engine.bind(number, k.G_BAR, PythonCall(self._on_bar, strategy))
        self.engine.state.strat[number, k.G_ACCOUNT] = strategy.account

    def bind_views(self, strategy: Strategy) -> None:
        """Let the kernel call the handlers of market events, each with its view."""
        markets = [strategy.market_number(n) for n in range(len(self.engine.universe))]
        for column, handler, view in (
            (k.G_QUOTE, strategy.on_quote, Quote(self.shown, markets)),
            (k.G_TRADE, strategy.on_trade, Trade(self.shown, markets)),
            (k.G_BOOK, strategy.on_book, Book(self.shown, markets)),
        ):
            self.engine.bind(strategy.number, column, PythonCall(handler, view))

    def drain(self, _argument: None = None) -> None:
        """Deliver the order events that are due."""
        queue = self.queue
        self.scalars[k.S_QUEUED] = 0
        while queue:
            event = queue.popleft()
            strategy = self.strategies.get(event.strategy)
            if strategy is not None:
                strategy.deliver(event)

    def _on_timer(self, strategy: Strategy) -> None:
        strategy.on_timer(self._timers[self.shown[k.C_TIMER]])

    def _on_bar(self, strategy: Strategy) -> None:
        cur = self.shown
        market = strategy.market_number(cur[7] & 0xFFFFFFFF)
        interval = self._bars[cur[k.C_TIMER]]
        strategy.on_bar(Bar(market, cur[0], interval, cur[2], cur[5], cur[6], cur[3], cur[4]))

    # What hosts ask.

    def touch(self, instrument: int) -> tuple[int, int, int]:
        """See `strategy.host.Host.touch`."""
        base = (2 * instrument + 1) * BOOK_WORDS
        books = self.books
        bid, ask = books[base + B_BID], books[base + B_ASK]
        if bid == NO_BID or ask == NO_ASK or not books[base + B_USABLE]:
            usable = books[base + B_USABLE]
            if usable and not books[base + B_DEPTH] and not books[base + B_QUOTED]:
                bid = ask = books[base + B_LAST_PRICE]  # only trades are known here
            bid = 0 if bid == NO_BID or not usable else bid
            ask = 0 if ask == NO_ASK or not usable else ask
        return bid, ask, books[base + B_TS]

    def add_timer(self, strategy: int, interval: int, first: int, name: str) -> None:
        """See `strategy.host.Host.timer`."""
        self._timers.append(name)
        self.engine.add_timer(first, interval, k.TIMER_STRATEGY, strategy, len(self._timers) - 1)

    def add_bars(self, strategy: int, instrument: int, interval: int, now: int) -> None:
        """See `strategy.host.Host.subscribe_bars`."""
        first = (now // interval + 1) * interval
        self._bars[self.engine.add_bars(strategy, instrument, interval, first)] = interval


class EngineHost:
    """One strategy's host: the port `strategy.host.Host` over the shared runner."""

    def __init__(self, runner: Runner, strategy: Strategy) -> None:
        self.universe = runner.engine.universe
        self._runner = runner
        self._number = strategy.number
        self.touch = runner.touch
        self.command = runner.command

    def now(self) -> int:
        return self._runner.scalars[k.S_NOW]

    def level_qty(self, instrument: int, side: int, price: int) -> int:
        return self._runner.engine.level(instrument, side, price)

    def levels(self, instrument: int, side: int, count: int) -> list[tuple[int, int]]:
        return self._runner.engine.depth(instrument, side, count)

    def last_trade(self, instrument: int) -> tuple[int, int]:
        base = (2 * instrument + 1) * BOOK_WORDS
        books = self._runner.books
        return books[base + B_LAST_PRICE], books[base + B_LAST_SIZE]

    def position(self, instrument: int) -> int:
        return self._runner.positions[self._number * len(self.universe) + instrument]

    def subscribe(self, instrument: int, wake: int) -> None:
        self._runner.engine.subscribe(self._number, instrument, wake)

    def subscribe_bars(self, instrument: int, interval: int) -> None:
        self._runner.add_bars(self._number, instrument, interval, self.now())

    def timer(self, interval: int, first: int, name: str) -> None:
        self._runner.add_timer(self._number, interval, first, name)

    def stop(self, reason: str) -> None:
        self._runner.engine.unsubscribe(self._number)
        self._runner.stop_reasons[self._number] = reason
        self._runner.command(CancelAll(self.now(), account=-1, strategy=self._number))
