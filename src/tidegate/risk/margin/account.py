"""One account's pools as one: equity and margin in one currency, what a fill would make of them, how old its marks are.

At a venue an account has one pool a settlement currency, and each is judged alone (`MarginAccount` of one pool). Where a
venue counts all of them together (multi-assets mode), or where no venue's wallet is known and the account's capital is
all there is, several pools are summed at `rates`, what is owned after `haircuts`. Amounts are minor units of
`currency`: what is owned is rounded down, what is asked up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction

from tidegate.model import money
from tidegate.model.scale import round_half_even
from tidegate.risk.margin.collateral import Haircuts, counted
from tidegate.risk.margin.pool import NO_EQUITY, Holding, Pool


@dataclass(frozen=True, slots=True)
class MarginAccount:
    """What is judged together. `venue` is empty for an account as a whole."""

    name: str
    venue: str
    currency: str
    pools: tuple[Pool, ...]
    rates: Mapping[str, Fraction] = field(default_factory=dict)
    """Worth of a whole unit of each pool's currency in `currency`; not needed for its own."""
    capital: int = 0
    """What it has beside its pools."""
    haircuts: Haircuts | None = None
    stale: tuple[str, ...] = ()
    """Instruments held or on order whose mark is too old, or missing."""

    def rate(self, currency: str) -> Fraction:
        """Raises `LookupError` for a rate that is missing."""
        if currency == self.currency:
            return Fraction(1)
        if currency not in self.rates:
            raise LookupError(f"no rate from {currency} to {self.currency}")
        return self.rates[currency]

    def _sum(self, amounts: list[tuple[str, int]], owned: bool) -> int:
        own = Fraction(money.unit(self.currency))
        total = Fraction(0)
        for currency, units in amounts:
            worth = units * Fraction(money.unit(currency)) * self.rate(currency) if units else Fraction(0)
            if owned and worth > 0 and self.haircuts is not None and currency != self.currency:
                worth = counted(worth, self.haircuts.get(currency, ()))
            total += worth
        exact = total / own
        return exact.numerator // exact.denominator if owned else -(-exact.numerator // exact.denominator)

    @property
    def alone(self) -> bool:
        """Whether what it holds of one instrument is liquidated at one price of that."""
        return len(self.pools) == 1 and not self.capital

    @property
    def reducible(self) -> bool:
        """Whether closing positions, as steps of a margin call do, brings the ratio down."""
        return True

    @property
    def equity(self) -> int:
        """Capital, wallets and unrealised profit."""
        return self.capital + self._sum([(p.currency, p.figures().equity) for p in self.pools], True)

    @property
    def initial(self) -> int:
        """Initial margin of positions and open orders at their worst, with what orders would lose at once."""
        figures = [(p.currency, p.figures()) for p in self.pools]
        return self._sum([(c, f.initial + f.order_loss) for c, f in figures], False)

    @property
    def maintenance(self) -> int:
        """Maintenance margin of the cross positions."""
        return self._sum([(p.currency, p.figures().maintenance) for p in self.pools], False)

    @property
    def closing(self) -> int:
        """Fees to close everything."""
        return self._sum([(p.currency, p.figures().closing) for p in self.pools], False)

    @property
    def available(self) -> int:
        """Equity less initial margin."""
        return self.equity - self.initial

    @property
    def ratio(self) -> Fraction:
        """Maintenance margin and fees to close over equity, of the whole or of the worst isolated position: at 1 the
        venue liquidates."""
        figures = [(p.currency, p.figures()) for p in self.pools]
        need = self._sum([(c, f.maintenance) for c, f in figures], False)
        need += self._sum([(c, f.closing) for c, f in figures], False)
        equity = self.capital + self._sum([(c, f.equity) for c, f in figures], True)
        if equity > 0:
            ratio = min(NO_EQUITY, Fraction(need, equity))
        else:
            ratio = NO_EQUITY if need or equity < 0 else Fraction(0)
        alone = [
            p.alone(h).ratio for p in self.pools for h in p.holdings if h.isolated is not None and h.lots
        ]
        return max([ratio, *alone])

    @property
    def uncovered(self) -> tuple[str, ...]:
        """Instruments that it is short of, or may be by its orders, without a margin model for that."""
        return tuple(
            h.contract.instrument.id
            for pool in self.pools
            for h in pool.holdings
            if h.lots - h.sells.lots < 0 and not h.contract.model.covers_short
        )

    def find(self, instrument: int) -> tuple[Pool, Holding] | None:
        """The pool and the holding of an instrument."""
        for pool in self.pools:
            found = pool.find(instrument)
            if found is not None:
                return pool, found
        return None

    def with_pool(self, changed: Pool) -> MarginAccount:
        """The same with one pool as it is now."""
        pools = tuple(changed if pool.currency == changed.currency else pool for pool in self.pools)
        return replace(self, pools=pools)


def filled(pool: Pool, holding: Holding, lots: int, price: int) -> Pool:
    """The pool after a fill of so many lots (signed) at `price`, its fee paid: exactly what `risk.position` books.

    `holding` is the pool's, or a new one with no lots. Of an isolated position profit and fee are its own wallet's.
    """
    contract = holding.contract
    cost = contract.terms.cost(lots, price)
    after = holding.lots + lots
    if holding.lots == 0 or (holding.lots > 0) == (lots > 0):
        held, gained = holding.cost + cost, 0
    elif after == 0 or (after > 0) == (holding.lots > 0):
        released = round_half_even(holding.cost * abs(lots), abs(holding.lots))
        held, gained = holding.cost - released, -(cost + released)
    else:
        closing = contract.terms.cost(-holding.lots, price)
        held, gained = cost - closing, -(closing + holding.cost)
    gained -= contract.closing(lots, price)
    changed = replace(holding, lots=after, cost=held)
    if holding.isolated is not None:
        changed = replace(changed, isolated=holding.isolated + gained)
        return pool.with_holding(changed)
    moved = pool.with_holding(changed)
    return replace(moved, wallet=pool.wallet + gained)
