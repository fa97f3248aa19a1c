"""What a strategy does, in figures, interval by interval: a fold over its order events and the touch.

The same fold measures a backtest and a live run, so the two can be compared. Money is in the base currency, as floats:
these are figures to judge by, no books.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import msgspec

from tidegate.model.instrument import Universe
from tidegate.model.messages import OrderEvent
from tidegate.model.money import unit
from tidegate.model.order import ExecType, OrdStatus
from tidegate.risk.booked import booked

_ASKED = (OrdStatus.PENDING_NEW, OrdStatus.DENIED)
_CHANGING = (OrdStatus.PENDING_CANCEL, OrdStatus.PENDING_REPLACE)
_TRADE, _CANCEL_REJECTED, _REJECTED = ExecType.TRADE, ExecType.CANCEL_REJECTED, ExecType.REJECTED


class Figures(msgspec.Struct, array_like=True, gc=False):
    """One interval. `ts` is its end, ns. Values are at the middle of the touch, in the base currency."""

    ts: int
    orders: int = 0
    """New orders, those refused among them."""
    changes: int = 0
    """Cancels and replaces asked for."""
    ordered: float = 0.0
    """Value of the new orders."""
    filled: float = 0.0
    """Value of the fills."""
    fills: int = 0
    paid: float = 0.0
    """What fills cost against the middle of their moment; below 0 where they were better."""
    pnl: float = 0.0
    """Profit, fees included, made in the interval: realised or not."""
    inventory: float = 0.0
    """The largest gross value of positions in it."""


class Measure:
    """Folds one strategy. `interval` in ns; intervals begin at whole multiples of it.

    `rates` gives each settlement currency's worth in the base currency: a number, or the instrument whose middle it is.
    `positions` are lots held at the beginning: profit is counted from the first touch seen.
    """

    def __init__(
        self,
        universe: Universe,
        strategy: int,
        interval: int,
        base_currency: str,
        rates: Mapping[str, str | Decimal],
        positions: Mapping[int, int] | None = None,
    ) -> None:
        self.interval = interval
        self.now = Figures(0)
        """The interval that runs."""
        self.positions = dict(positions or {})
        self._universe, self._strategy = universe, strategy
        self._base, self._rates = base_currency, rates
        self._mid: dict[int, float] = {}
        self._cash: dict[int, float] = {}
        """Paid and received in each instrument's settlement currency; missing until its first touch is seen."""
        self._factor = []
        for item in universe.instruments:
            numerator, denominator = item.value_ratio
            self._factor.append(numerator / denominator * float(unit(item.settle_currency)))
        self._equity = 0.0

    # Folding. Each gives the intervals that have ended by then.

    def mark(self, ts: int, instrument: int, bid: int, ask: int) -> list[Figures]:
        """The touch of an instrument, ticks."""
        ended = self.pass_time(ts)
        if bid and ask:
            self._mid[instrument] = (bid + ask) / 2
            lots = self.positions.get(instrument, 0)
            if lots and instrument not in self._cash:
                self._cash[instrument] = -self._worth(instrument, lots, self._mid[instrument])
            self._value()
        return ended

    def event(self, event: OrderEvent) -> list[Figures]:
        """An order event; those of other strategies are passed over."""
        if event.strategy != self._strategy:
            return []
        ended = self.pass_time(event.ts)
        kind, instrument = event.exec_type, event.instrument
        if sign := booked(event):
            self._fill(event, sign)
        elif kind is _CANCEL_REJECTED or (kind is None and event.status in _CHANGING):
            self.now.changes += 1
        elif event.status in _ASKED and (kind is None or kind is _REJECTED) and not event.cum_qty:
            self.now.orders += 1
            lots = event.leaves_qty
            self.now.ordered += abs(self._base_value(instrument, lots, self._mid.get(instrument, 0.0)))
        return ended

    def pass_time(self, ts: int) -> list[Figures]:
        """Time has come to `ts`. What comes late belongs to the interval that runs."""
        if not self.now.ts:
            self.now.ts = (ts // self.interval + 1) * self.interval
        ended = []
        while ts >= self.now.ts:
            ended.append(self.now)
            self.now = Figures(self.now.ts + self.interval, inventory=self._gross())
        return ended

    def _fill(self, event: OrderEvent, sign: int) -> None:
        instrument, price = event.instrument, float(event.last_px)
        signed = sign * event.side.sign * event.last_qty
        if instrument not in self._cash:
            held = self.positions.get(instrument, 0)
            self._cash[instrument] = -self._worth(instrument, held, self._mid.get(instrument, price))
        self._mid.setdefault(instrument, price)
        self.positions[instrument] = self.positions.get(instrument, 0) + signed
        fee = sign * event.fee * float(unit(self._universe[instrument].settle_currency))
        self._cash[instrument] -= self._worth(instrument, signed, price) + fee
        if event.cl_ord_id and event.exec_type is _TRADE:  # else a position was handed over, or a fill mended
            self.now.fills += 1
            self.now.filled += abs(self._base_value(instrument, signed, price))
            at_mid = self._base_value(instrument, signed, self._mid[instrument])
            self.now.paid += self._base_value(instrument, signed, price) - at_mid
        self._value()

    # Worth.

    def _worth(self, instrument: int, lots: int, price: float) -> float:
        """Signed worth of lots at a price, in whole units of the settlement currency."""
        if not price or not lots:
            return 0.0
        value = lots * self._factor[instrument]
        return -value / price if self._universe[instrument].inverse else value * price

    def _base_value(self, instrument: int, lots: int, price: float) -> float:
        return self._worth(instrument, lots, price) * self._rate(self._universe[instrument].settle_currency)

    def _rate(self, currency: str) -> float:
        if currency == self._base:
            return 1.0
        how = self._rates.get(currency)
        if isinstance(how, str):
            number = self._universe.index.get(how)
            if number is None:
                return float(how)
            return self._mid.get(number, 0.0) * float(self._universe[number].tick)
        return float(how) if how is not None else 0.0

    def _gross(self) -> float:
        return sum(
            abs(self._base_value(n, lots, self._mid.get(n, 0.0))) for n, lots in self.positions.items()
        )

    def _value(self) -> None:
        equity = 0.0
        for instrument, cash in self._cash.items():
            settle = self._universe[instrument].settle_currency
            held = self._worth(instrument, self.positions.get(instrument, 0), self._mid[instrument])
            equity += (cash + held) * self._rate(settle)
        self.now.pnl += equity - self._equity
        self._equity = equity
        self.now.inventory = max(self.now.inventory, self._gross())
