"""A listed instrument as the dialect writes it: symbol, decimal texts of prices, quantities and money."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from tidegate.marketdata.binance_instruments import Market, market_of
from tidegate.model import money
from tidegate.model.instrument import Instrument, Universe
from tidegate.model.scale import plain
from tidegate.risk.position import Terms

SHOWN_ON_SPOT = 8
_SCALE = 10**24


class Grid:
    """Whole steps of a decimal, to text and back, without a float."""

    __slots__ = ("_factor", "_places", "_scale", "_shown", "_unit")

    def __init__(self, step: Decimal, shown: int = 0) -> None:
        _, digits, exponent = step.normalize().as_tuple()
        places = max(-int(exponent), 0)
        self._unit = int("".join(map(str, digits))) * 10 ** max(int(exponent), 0)
        self._places, self._shown = places, max(shown, places)
        self._factor = self._unit * 10 ** (self._shown - places)
        self._scale = 10**self._shown

    def text(self, steps: int) -> str:
        """`steps` as decimal text with a fixed number of places."""
        value = steps * self._factor
        if not self._shown:
            return str(value)
        whole, part = divmod(abs(value), self._scale)
        return f"{'-' if value < 0 else ''}{whole}.{part:0{self._shown}d}"

    def steps(self, text: str) -> tuple[int, bool]:
        """(whole steps at or below, whether there was nothing left over). Raises `ValueError` for no number."""
        try:
            scaled = Decimal(text).scaleb(self._places)
            whole = int(scaled)
        except (InvalidOperation, OverflowError, TypeError) as error:
            raise ValueError(f"{text!r} is not a number") from error
        steps, rest = divmod(whole, self._unit)
        return steps, whole == scaled and rest == 0


class Purse:
    """Amounts of one asset: its minor units to text and back."""

    def __init__(self) -> None:
        self._grids: dict[str, Grid] = {}

    def text(self, asset: str, units: int) -> str:
        """Minor units of `asset` as decimal text."""
        grid = self._grids.get(asset)
        if grid is None:
            grid = self._grids[asset] = Grid(money.unit(asset), SHOWN_ON_SPOT)
        return grid.text(units)


PURSE = Purse()


class Listing:
    """One instrument of the exchange, with what is worked out once."""

    def __init__(self, number: int, instrument: Instrument) -> None:
        self.number = number
        self.instrument = instrument
        self.symbol = instrument.symbol
        self.market = market_of(instrument)
        self.futures = self.market is not Market.SPOT
        shown = 0 if self.futures else SHOWN_ON_SPOT
        self.price = Grid(instrument.tick, shown)
        self.qty = Grid(instrument.lot, shown)
        self.terms = Terms(instrument)
        self.settle = instrument.settle_currency
        self.pair = self.symbol.partition("_")[0]
        self.lower = self.symbol.lower()
        self.min_lots = max(1, instrument.lots(instrument.min_qty) if instrument.min_qty else 1)
        self.max_lots = instrument.lots(instrument.max_qty) if instrument.max_qty else 1 << 40
        self.min_notional = instrument.min_notional
        notional = money.to_units(instrument.min_notional, instrument.quote) if not instrument.inverse else 0
        self.min_value = notional
        self.maker_fee = instrument.maker_fee.as_integer_ratio()
        self.taker_fee = instrument.taker_fee.as_integer_ratio()
        self.precision = max(0, -int(instrument.tick.normalize().as_tuple().exponent))
        self.qty_precision = max(0, -int(instrument.lot.normalize().as_tuple().exponent))

    def value(self, lots: int, ticks: int) -> int:
        """What `lots` at `ticks` are worth, minor units of the settlement currency, never below 0."""
        return abs(self.terms.cost(lots, ticks))

    def weight(self, lots: int, ticks: int) -> int:
        """What a fill adds to the sum its order's average price comes from: price × quantity, or of an inverse
        contract quantity ÷ price, scaled."""
        return lots * _SCALE // ticks if self.terms.inverse else lots * ticks

    def average(self, weights: int, lots: int) -> str:
        """Average price of `lots` whose fills' weights add up to `weights`."""
        if not lots or not weights:
            return self.price.text(0)
        mean = Decimal(lots * _SCALE) / weights if self.terms.inverse else Decimal(weights) / lots
        return plain((mean * self.instrument.tick).quantize(Decimal(1).scaleb(-SHOWN_ON_SPOT)))


class Listings:
    """All instruments, found as requests name them."""

    def __init__(self, universe: Universe) -> None:
        self.universe = universe
        self.all = [Listing(number, item) for number, item in enumerate(universe.instruments)]
        self._found = {(item.market, item.symbol): item for item in self.all}

    def __getitem__(self, number: int) -> Listing:
        return self.all[number]

    def find(self, market: Market, symbol: str) -> Listing | None:
        """The instrument of this symbol on this market."""
        return self._found.get((market, symbol))

    def of(self, market: Market) -> list[Listing]:
        """Every instrument of a market."""
        return [item for item in self.all if item.market is market]

    def assets(self, market: Market) -> list[str]:
        """What is held on a market: both assets on spot, settlement currencies of futures; sorted."""
        listed = self.of(market)
        if market is Market.SPOT:
            return sorted({a for item in listed for a in (item.instrument.base, item.instrument.quote)})
        return sorted({item.settle for item in listed})
