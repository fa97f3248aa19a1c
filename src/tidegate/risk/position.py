"""One position at average cost, in integers: what it holds, what that cost, what it has earned.

`cost` is cash paid for what is held, in the settlement currency's minor units, signed: a linear long has paid its
value, a linear short has received it; an inverse contract books the reverse, for its worth in the settlement
currency falls as the price rises. Worth is then signed the same way, and profit is worth − cost for every kind.

Each fill's cost is rounded once, half to even. Closing part of a position releases its share of the cost,
rounded; the remainder stays, so at flat the whole cost has been released and not a unit is lost. A fill through
zero closes at its own price, and what is left of its cost opens the other side.
"""

from __future__ import annotations

from collections import deque
from fractions import Fraction

from tidegate.model import money
from tidegate.model.instrument import Instrument, InstrumentKind
from tidegate.model.scale import round_half_even

HISTORY = 64
"""Fills of a position that a bust or correction can still take out of their place."""


class Terms:
    """What a lot is worth: the instrument's value factor as two integers, and which cash a trade moves."""

    __slots__ = (
        "base", "base_denominator", "base_numerator", "denominator", "exchanges", "instrument", "inverse",
        "numerator", "pays", "settle",
    )  # fmt: skip

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.numerator, self.denominator = instrument.value_ratio
        self.inverse = instrument.inverse
        self.settle = instrument.settle_currency
        self.exchanges = instrument.cash
        """Spot, FX, pools: the base asset itself changes hands."""
        self.pays = self.exchanges or instrument.kind is InstrumentKind.OPTION
        """The price is paid when it trades: assets and options' premiums. Contracts pay profit and loss."""
        self.base = instrument.base
        steps = Fraction(instrument.lot) * Fraction(instrument.multiplier) / Fraction(money.unit(self.base))
        self.base_numerator, self.base_denominator = steps.numerator, steps.denominator

    def cost(self, signed_lots: int, price: int) -> int:
        """Signed cost of a fill, or worth of a position at a mark: minor units of the settlement currency."""
        if self.inverse:
            return -round_half_even(signed_lots * self.numerator, price * self.denominator)
        if self.denominator == 1:
            return signed_lots * price * self.numerator
        return round_half_even(signed_lots * price * self.numerator, self.denominator)

    def base_units(self, lots: int) -> int:
        """A holding in minor units of the base currency; rounded as a whole, so that changes add up."""
        return round_half_even(lots * self.base_numerator, self.base_denominator)


Entry = tuple[int, int, int, int, int, int]
"""One fill (signed lots, price, fee) and the position before it (lots, cost, realised)."""


class Position:
    """Lots, cost and profit of one (account, strategy, instrument); all money in settlement minor units.

    `realised` is before fees and funding; `fees` is what was paid in the settlement currency (fees in other
    currencies are in the balances alone); `funding` is what was received.
    """

    __slots__ = ("cost", "fees", "funding", "history", "lots", "realised", "terms")

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.lots = self.cost = self.realised = self.fees = self.funding = 0
        self.history: deque[Entry] = deque(maxlen=HISTORY)

    def apply(self, signed_lots: int, price: int, fee: int) -> int:
        """Book a fill; its cost. `realised` moves when it closes anything."""
        lots, held = self.lots, self.cost
        self.history.append((signed_lots, price, fee, lots, held, self.realised))
        cost = self.terms.cost(signed_lots, price)
        self._fold(lots, held, signed_lots, price, cost)
        return cost

    def _fold(self, lots: int, held: int, signed_lots: int, price: int, cost: int) -> None:
        after = lots + signed_lots
        self.lots = after
        if lots == 0 or (lots > 0) == (signed_lots > 0):
            self.cost = held + cost
        elif after == 0 or (after > 0) == (lots > 0):
            released = round_half_even(held * abs(signed_lots), abs(lots))
            self.cost = held - released
            self.realised -= cost + released
        else:
            closing = self.terms.cost(-lots, price)
            self.cost = cost - closing
            self.realised -= closing + held

    def replace(self, signed_lots: int, price: int, fee: int, new: tuple[int, int, int] | None) -> bool:
        """Take the last such fill out of its place, or put `new` there; False when it is too long ago."""
        history = self.history
        for back in range(len(history) - 1, -1, -1):
            if history[back][:3] == (signed_lots, price, fee):
                break
        else:
            return False
        later = [entry[:3] for entry in list(history)[back + 1 :]]
        _, _, _, lots, cost, realised = history[back]
        while len(history) > back:
            history.pop()
        self.lots, self.cost, self.realised = lots, cost, realised
        for fill in ([new] if new is not None else []) + later:
            self.apply(*fill)
        return True

    def unrealised(self, mark: int) -> int:
        """Profit of what is held if it were worth its value at `mark` (ticks)."""
        return self.terms.cost(self.lots, mark) - self.cost

    @property
    def average_price(self) -> float:
        """Average price in ticks of what is held, for people; 0.0 when flat."""
        if not self.lots or not self.cost:
            return 0.0
        terms = self.terms
        if terms.inverse:
            return -self.lots * terms.numerator / (self.cost * terms.denominator)
        return self.cost * terms.denominator / (self.lots * terms.numerator)
