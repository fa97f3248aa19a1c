"""An instrument as Binance writes it: prices and quantities to decimal text and back, fees, exec ids."""

from __future__ import annotations

import zlib
from decimal import Decimal

from tidegate.model import money
from tidegate.model.instrument import Instrument, Universe
from tidegate.model.scale import ScaleError, round_half_even

_TRADE_BITS = 44


class Grid:
    """Steps of a grid to decimal text and back, without `Decimal` on the way."""

    __slots__ = ("_decimals", "_numerator", "_unit", "step")

    def __init__(self, step: Decimal) -> None:
        self.step = step
        self._decimals = max(0, -int(step.as_tuple().exponent))
        self._numerator = int(step.scaleb(self._decimals))
        self._unit = 10**self._decimals

    def text(self, steps: int) -> str:
        """`steps` as plain decimal text."""
        units = steps * self._numerator
        if not self._decimals:
            return str(units)
        sign, units = ("-", -units) if units < 0 else ("", units)
        return f"{sign}{units // self._unit}.{units % self._unit:0{self._decimals}d}"

    def steps(self, text: str) -> int:
        """The inverse; raises `ScaleError` for what is not decimal text or not on the grid."""
        whole, _, part = text.partition(".")
        negative = whole.startswith("-")
        digits = whole.removeprefix("-") + part[: self._decimals].ljust(self._decimals, "0")
        if not whole or not digits.isdigit() or not digits.isascii() or part[self._decimals :].strip("0"):
            raise ScaleError(f"{text!r} is not a multiple of {self.step}")
        steps, rest = divmod(int(digits), self._numerator)
        if rest:
            raise ScaleError(f"{text!r} is not a multiple of {self.step}")
        return -steps if negative else steps


class Symbol:
    """One instrument of the run at its venue. `number` is its number in the universe."""

    def __init__(self, number: int, item: Instrument) -> None:
        self.number = number
        self.item = item
        self.name = item.symbol
        self.price = Grid(item.tick)
        self.qty = Grid(item.lot)
        self._settle = item.settle_currency
        self._unit = money.unit(self._settle)
        self._exec = zlib.crc32(item.id.encode()) % (1 << 63 - _TRADE_BITS) << _TRADE_BITS

    def exec_id(self, trade: int) -> int:
        """A trade's id as the platform's: the symbol's hash (19 bits) over the venue's trade id (44 bits). The same in
        every run, unique within an order for sure, which is all that fills are counted by, and nearly surely beyond."""
        return self._exec | (trade & ((1 << _TRADE_BITS) - 1))

    def fee(self, amount: str, asset: str, price: int) -> int | None:
        """A commission in minor units of the settlement currency, positive is paid; one in the base asset of a linear
        instrument is converted at the fill's price (ticks). None where it was paid in a third asset."""
        value = Decimal(amount)
        if not value:
            return 0
        if asset == self._settle:
            pass
        elif asset == self.item.base and not self.item.inverse:
            value *= price * self.item.tick
        else:
            return None
        ratio = value / self._unit
        numerator, denominator = ratio.as_integer_ratio()
        sign = 1 if numerator >= 0 else -1
        return sign * round_half_even(abs(numerator), denominator)


class Symbols:
    """A venue's instruments of the run, by number and by name."""

    def __init__(self, universe: Universe, venue: str) -> None:
        found = [Symbol(n, item) for n, item in enumerate(universe.instruments) if item.venue == venue]
        self.by_number = {symbol.number: symbol for symbol in found}
        self.by_name = {symbol.name: symbol for symbol in found}
