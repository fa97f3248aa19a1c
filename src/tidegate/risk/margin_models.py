"""Which margin model an instrument has, by its kind; and what is done where it has none.

Contracts with tiers (perpetuals and futures, linear and inverse) are `risk.margin`; assets that are paid in full ask
for nothing more. **Options have no model yet.** One that is held long is paid for. One that is sold can lose a
multiple of its premium, so no figure taken from the premium is safe: an order that would leave an option short is
refused, and a short option that is there all the same (a position found at the venue) counts with its whole notional:
a put its strike, which is all it can cost; a call the larger of strike and underlying.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Protocol

from tidegate.model.instrument import Instrument, InstrumentKind, Right
from tidegate.model.margin_tiers import ceil
from tidegate.risk.margin import Contract, Holding
from tidegate.risk.position import Terms

NOT_COVERED = "NOT_COVERED"


class MarginModel(Protocol):
    """Margin of one instrument's position and open orders, in minor units of its settlement currency."""

    covers_short: bool
    """Whether a position below 0 may be opened under this model."""

    def initial(self, holding: Holding, underlying: int = 0) -> int:
        """Initial margin at the worst case of the open orders. `underlying` is its price in the option's ticks."""

    def maintenance(self, holding: Holding, underlying: int = 0) -> int:
        """Maintenance margin of the position."""


class Tiered:
    """Contracts: by the tiers of their value."""

    covers_short = True

    def initial(self, holding: Holding, underlying: int = 0) -> int:
        """See `MarginModel`."""
        return holding.initial

    def maintenance(self, holding: Holding, underlying: int = 0) -> int:
        """See `MarginModel`."""
        return holding.maintenance


class Paid:
    """Assets: they are paid for when they are bought, and can be sold only once they are held."""

    covers_short = False

    def initial(self, holding: Holding, underlying: int = 0) -> int:
        """What the open buys will cost, and the whole value of what is short."""
        return holding.buys.value + (holding.value if holding.lots < 0 else 0)

    def maintenance(self, holding: Holding, underlying: int = 0) -> int:
        """The whole value of what is short."""
        return holding.value if holding.lots < 0 else 0


class WholeRisk:
    """Options, until they have a model: what is bought is paid, what is short counts with its whole notional."""

    covers_short = False

    def initial(self, holding: Holding, underlying: int = 0) -> int:
        """See `MarginModel`."""
        short = max(0, holding.sells.lots - holding.lots)
        return holding.buys.value + _at_risk(holding.contract, short, underlying)

    def maintenance(self, holding: Holding, underlying: int = 0) -> int:
        """See `MarginModel`."""
        return _at_risk(holding.contract, max(0, -holding.lots), underlying)


def _at_risk(contract: Contract, lots: int, underlying: int) -> int:
    item = contract.instrument
    strike = ceil(abs(_strike(item)))
    price = strike if item.right is Right.PUT else max(strike, abs(underlying))
    return Terms(item).cost(lots, price) if lots else 0


def _strike(item: Instrument) -> Fraction:
    return Fraction(item.strike) / Fraction(item.tick)


_TIERED, _PAID, _WHOLE = Tiered(), Paid(), WholeRisk()
MODELS: dict[InstrumentKind, MarginModel] = {
    InstrumentKind.PERPETUAL: _TIERED,
    InstrumentKind.INVERSE_PERPETUAL: _TIERED,
    InstrumentKind.FUTURE: _TIERED,
    InstrumentKind.INVERSE_FUTURE: _TIERED,
    InstrumentKind.SPOT: _PAID,
    InstrumentKind.FX: _PAID,
    InstrumentKind.POOL: _PAID,
    InstrumentKind.OPTION: _WHOLE,
}


def model_of(item: Instrument) -> MarginModel:
    """The model of an instrument."""
    return MODELS[item.kind]


def tiered(item: Instrument) -> bool:
    """Whether it is a contract with margin by tiers."""
    return MODELS[item.kind] is _TIERED
