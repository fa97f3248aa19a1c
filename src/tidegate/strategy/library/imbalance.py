"""Trading on the shape of the book: take when it leans hard, quote when it leans, leave after a while.

**Signal.** One of two:

- `microprice`: the expected move of the mid in ticks, given imbalance and spread of the best quotes, by
  Stoikov's estimator ("The micro-price", Quantitative Finance 18, 2018; see `strategy.microprice`), learned
  from the quotes as they come and solved anew every `fit`.
- `imbalance`: (bid size − ask size)/(sum) over `levels` levels, a level d ticks behind its best weighing
  e^(−decay·d); −1 … 1. Cont, Kukanov & Stoikov, "The price impact of order book events", Journal of Financial
  Econometrics 12 (2014), show why it moves prices; Cartea, Donnelly & Jaimungal (2018) trade on it.

**Trading.** Without a position: at |signal| ≥ `take`, buy (sell) at the touch with an immediate-or-cancel
order; between `quote` and `take`, rest a post-only order at the best bid (ask); below, nothing. With one: keep
it while the signal is for it by `quote`; rest a post-only order to leave at the other side of the touch when the
signal has faded; leave at the market when it is against by `quote`, or after `hold`. A signal that has had its
time is not traded on again until it has been below `quote`. A resting order is always gone before the other
kind is sent.

**Units.** `take` and `quote` are ticks for `microprice` and pure numbers for `imbalance`.

**What it does not handle.** The queue: at a one-tick spread the passive entry fills when the signal has
turned. Spoofed size. The signal's life is milliseconds to a second: with a slower feed or order path than
that, what is taken is gone.

**When it loses.** The expected move is a fraction of a tick to a few ticks. With fees above that (a taker fee
of 0.05 % is 310 ticks of 0.1 at 62,000) every taken trade loses the difference: it is for venues with
rebates, as an input to a maker, or for the study of adverse selection.
"""

from __future__ import annotations

from typing import Any

from tidegate.model.order import Side
from tidegate.model.time import duration
from tidegate.strategy.library.checks import above, at_least, durations, one_of, ordered
from tidegate.strategy.library.quoting import Minimum, QuotePair
from tidegate.strategy.library.target import PositionTarget
from tidegate.strategy.microprice import MicroPrice, book_imbalance
from tidegate.strategy.orders import StrategyOrder
from tidegate.strategy.strategy import Strategy, StrategyParams
from tidegate.strategy.views import Book, Quote

MICROPRICE, IMBALANCE = "microprice", "imbalance"


class ImbalanceParams(StrategyParams, frozen=True):
    """Parameters."""

    market: str
    size: int
    """Lots of a position."""
    signal: str = MICROPRICE
    take: float = 4.0
    """Cross the spread from this signal on."""
    quote: float = 1.0
    """Rest an order from this signal on."""
    hold: str = "3s"
    """Longest time in a position."""
    short: bool = True
    levels: int = 5
    """Of the book, a side, for `imbalance`."""
    decay: float = 0.3
    """Per tick, for `imbalance`."""
    bins: int = 10
    """Imbalance bins of `microprice`."""
    spreads: int = 3
    """Spread states of `microprice`: 1 tick to this many and more."""
    fit: str = "5s"
    """How often `microprice` is solved anew."""
    warmup: str = "20s"
    pause: str = "100ms"
    """Shortest time between two moves of a resting order, and between two takes."""
    move: int = 1

    def __post_init__(self) -> None:
        at_least(1, size=self.size, levels=self.levels, move=self.move, spreads=self.spreads)
        at_least(2, bins=self.bins)
        at_least(0, decay=self.decay)
        above(0, quote=self.quote)
        one_of((MICROPRICE, IMBALANCE), signal=self.signal)
        ordered(quote=self.quote, take=self.take)
        durations(hold=self.hold, fit=self.fit, warmup=self.warmup, pause=self.pause)


class Imbalance(Strategy):
    """See the module."""

    Params = ImbalanceParams
    params: ImbalanceParams
    _restored: dict[str, Any] | None = None

    def on_start(self) -> None:
        p = self.params
        self.m = self.market(p.market)
        self.micro = MicroPrice(p.bins, p.spreads)
        self.quotes = QuotePair(self, self.m, p.move, duration(p.pause))
        self.quotes.recover()
        self.taker = PositionTarget(self, self.m, pause=duration(p.pause))
        self.signal = 0.0
        self.since = self.now
        """When the position was opened."""
        self._minimum = Minimum(self.m.instrument)
        self._holding = self._held() != 0
        self._spent = 0  # the direction whose signal has had its time
        self._hold = duration(p.hold)
        self._warm_at = self.now + duration(p.warmup)
        if self._restored is not None:
            self.micro.restore(self._restored["micro"])
            self.since = self._restored["since"]
        if p.signal == MICROPRICE:
            self.subscribe_quotes(self.m)
            self.every(p.fit, "fit")
        else:
            self.subscribe_book(self.m)
        self.every("100ms", "work")

    # The signal.

    def on_quote(self, quote: Quote) -> None:
        if not self.m.has_touch:
            self.micro.restart()
            self.quotes.pull()
            return
        bid, bid_qty, ask, ask_qty = quote.bid, quote.bid_qty, quote.ask, quote.ask_qty
        self.micro.add(bid, bid_qty, ask, ask_qty)
        self.signal = self.micro.adjustment(bid, bid_qty, ask, ask_qty)
        self.work()

    def on_book(self, book: Book) -> None:
        if not self.m.has_touch:
            self.quotes.pull()
            return
        p = self.params
        bids, asks = self.m.levels(Side.BUY, p.levels), self.m.levels(Side.SELL, p.levels)
        self.signal = book_imbalance(bids, asks, p.decay)
        self.work()

    def on_timer(self, name: str) -> None:
        if name == "fit":
            self.micro.fit()
        self.work()

    # The work.

    def on_order(self, order: StrategyOrder) -> None:
        if self.taker.on_order(order) or self.quotes.on_order(order):
            self.work()

    def work(self) -> None:
        """One pass: open a position where the signal says so, or see to the one that is held."""
        held = self._held()
        if held and not self._holding:
            self.since = self.now
        self._holding = held != 0
        if not self.m.has_touch:
            self.quotes.pull()
        elif self.taker.order is None:
            if held:
                self._hold_on(held)
            elif self.now >= self._warm_at:
                self._look()

    def _look(self) -> None:
        p, m, signal = self.params, self.m, self.signal
        if self._spent * signal < p.quote:
            self._spent = 0
        if self._spent or (signal < 0 and not p.short):
            self.quotes.pull()
        elif abs(signal) >= p.take:
            if self._no_quotes():
                buy = signal > 0
                self.taker.attempt(p.size if buy else -p.size, m.ask if buy else m.bid)
        elif abs(signal) >= p.quote:
            buy = signal > 0
            rest = m.position
            self.quotes.aim(m.bid, p.size - rest if buy else 0, m.ask, 0 if buy else p.size + rest)
        else:
            self.quotes.pull()

    def _held(self) -> int:
        """The position, lots; 0 for a rest too small to be closed."""
        lots = self.m.position
        return lots if abs(lots) >= self._minimum.at(self.m.bid) else 0

    def _hold_on(self, lots: int) -> None:
        p, m = self.params, self.m
        side = 1 if lots > 0 else -1
        late = self.now - self.since > self._hold
        if late or side * self.signal <= -p.quote:
            self._spent = side if late else 0
            if self._no_quotes():
                self.taker.aim(0)
        elif side * self.signal >= p.quote:
            self.quotes.pull()
        else:
            self.quotes.aim(m.bid, max(-lots, 0), m.ask, max(lots, 0))

    def _no_quotes(self) -> bool:
        """Take the resting orders away; whether none is left."""
        self.quotes.pull()
        return self.quotes.bid.order is None and self.quotes.ask.order is None

    def on_stop(self) -> None:
        self.cancel_all()

    def save_state(self) -> dict[str, Any]:
        return {"micro": self.micro.state(), "since": self.since}

    def load_state(self, state: dict[str, Any]) -> None:
        self._restored = state
