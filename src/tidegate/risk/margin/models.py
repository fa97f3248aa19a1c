"""Which margin model an instrument has, by its kind; and what is done where it has none.

Contracts with tiers (perpetuals and futures, linear and inverse) ask by their tiers; assets are paid in full and ask
for nothing more. **Options have no model yet.** One that is held long is paid for. One that is sold can lose a multiple
of its premium, so no figure taken from the premium is safe: an order that would leave an option short is refused, and a
short option that is there all the same (a position found at the venue) counts with its whole notional, the strike and
what it would cost to buy back.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Protocol

from tidegate.model.instrument import Instrument, InstrumentKind
from tidegate.model.margin_tiers import ceil

if TYPE_CHECKING:
    from tidegate.risk.margin.pool import Holding

NOT_COVERED = "NOT_COVERED"


class MarginModel(Protocol):
    """Margin of one instrument's position and open orders, in minor units of its settlement currency. A later model (of
    options, say) is one of these, entered into `MODELS`."""

    covers_short: bool
    """Whether a position below 0 may be opened under this model."""

    def initial(self, holding: Holding) -> int:
        """Initial margin at the worst case of the open orders."""

    def maintenance(self, holding: Holding) -> int:
        """Maintenance margin of the position."""

    def worst_maintenance(self, holding: Holding) -> int:
        """The same once the open orders have filled at their worst."""


class Tiered:
    """Contracts: by the tiers of their value."""

    covers_short = True

    def initial(self, holding: Holding) -> int:
        """See `MarginModel`."""
        return holding.contract.table.initial(holding.worst_value, holding.contract.leverage)

    def maintenance(self, holding: Holding) -> int:
        """See `MarginModel`."""
        return holding.contract.table.maintenance(holding.value)

    def worst_maintenance(self, holding: Holding) -> int:
        """See `MarginModel`."""
        return holding.contract.table.maintenance(holding.worst_value)


class Paid:
    """Assets: they are paid for when they are bought, and can be sold only once they are held."""

    covers_short = False

    def initial(self, holding: Holding) -> int:
        """What the open buys will cost, and the whole value of what is short."""
        return holding.buys.value + self.maintenance(holding)

    def maintenance(self, holding: Holding) -> int:
        """The whole value of what is short."""
        return holding.value if holding.lots < 0 else 0

    def worst_maintenance(self, holding: Holding) -> int:
        """See `MarginModel`."""
        return holding.sells.value + self.maintenance(holding) if holding.sells.lots > holding.lots else 0


class WholeRisk:
    """Options, until they have a model: what is bought is paid, what is short counts with its whole notional."""

    covers_short = False

    def initial(self, holding: Holding) -> int:
        """See `MarginModel`."""
        return holding.buys.value + self.worst_maintenance(holding)

    def maintenance(self, holding: Holding) -> int:
        """See `MarginModel`."""
        return _notional(holding, max(0, -holding.lots))

    def worst_maintenance(self, holding: Holding) -> int:
        """See `MarginModel`."""
        return _notional(holding, max(0, holding.sells.lots - holding.lots))


def _notional(holding: Holding, lots: int) -> int:
    item = holding.contract.instrument
    strike = ceil(abs(Fraction(item.strike) / Fraction(item.tick)))
    return holding.contract.value(lots, strike + abs(holding.touch.ask))


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
