"""What a wallet of any asset is worth in the base currency: at marks, after haircuts, and nothing where there is none.

An asset's rate is the base currency's own, a settlement currency's (`Worth.rate`), or the bid of an instrument by which
it is sold: of several the lowest. A mark that is older than a minute is none. A stablecoin (`[risk.breakers.depeg]
coins`) is worth what its mark says while that is below 1, and never more: when it loses its peg, what is held of it
loses with it at once. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from fractions import Fraction

from tidegate.kernel.gate_state import MICRO
from tidegate.model import money
from tidegate.model.time import MINUTE, SECOND
from tidegate.risk.exposure import Exposure
from tidegate.risk.margin.collateral import Haircuts, HaircutTier, counted
from tidegate.risk.margin.compare import VenueAsset

OLD = MINUTE
GRACE = 10 * SECOND
"""So long a mark that is not there yet is waited for."""


class WalletWorth:
    """Over an exposure's marks. `unpriced` has what could not be valued, by (venue, asset), since when (ns)."""

    def __init__(self, exposure: Exposure, coins: Iterable[str] = ()) -> None:
        self.unpriced: dict[tuple[str, str], int] = {}
        self._exposure, self._coins = exposure, frozenset(coins)
        items = exposure.universe.instruments
        self._priced = {name for item in items for name in (item.settle_currency, item.base)}
        self._sold = [(n, item) for n, item in enumerate(items) if item.cash]

    def rates(self, now: int) -> dict[str, Fraction]:
        """What a whole unit of each asset is worth in the base currency, where that is known."""
        worth, base = self._exposure.worth, self._exposure.base_currency
        found = {base: Fraction(1)}
        for item, c in zip(self._exposure.universe.instruments, worth.currency, strict=True):
            if worth.rate[c]:
                found.setdefault(item.settle_currency, Fraction(worth.rate[c] * worth.units[c] / MICRO))
        settled = set(found)
        sold: dict[str, Fraction] = {}
        for n, item in self._sold:
            fresh = worth.ts[n] and now - worth.ts[n] <= OLD
            if item.base in settled or item.quote not in found or not fresh or worth.bid[n] <= 0:
                continue
            price = worth.bid[n] * Fraction(item.tick) * found[item.quote]
            sold[item.base] = min(price, sold.get(item.base, price))
        found |= sold
        return {name: min(rate, Fraction(1)) if name in self._coins else rate for name, rate in found.items()}

    def stale(self, asset: str, now: int, age: int) -> str:
        """The instrument that should say what an asset is worth and has had no mark for `age` (ns); empty where one has,
        or where no instrument sells it."""
        if asset == self._exposure.base_currency:
            return ""
        sold = [(n, item) for n, item in self._sold if item.base == asset]
        marks = self._exposure.worth.ts
        if not sold or any(marks[n] and now - marks[n] <= age for n, _ in sold):
            return ""
        return sold[0][1].id

    def value(
        self, venue: str, asset: str, units: int, rates: Mapping[str, Fraction], haircuts: Haircuts | None, now: int
    ) -> Fraction | None:  # fmt: skip
        """Minor units of an asset in whole units of the base currency; what is owed counts in full. None while its mark
        is waited for; then it counts for nothing, and is told (`told`)."""
        key = venue, asset
        if not units:
            self.unpriced.pop(key, None)
            return Fraction(0)
        if asset not in rates:
            since = self.unpriced.setdefault(key, now if asset in self._priced else now - GRACE)
            return None if now - since < GRACE else Fraction(0)
        self.unpriced.pop(key, None)
        worth = units * Fraction(money.unit(asset)) * rates[asset]
        if worth <= 0 or haircuts is None or asset == self._exposure.base_currency:
            return worth
        return counted(worth, haircuts.get(asset, ()))

    def missing(self, now: int) -> list[tuple[str, str]]:
        """(venue, asset) of wallets that count for nothing because there is no mark."""
        return sorted(key for key, since in self.unpriced.items() if now - since >= GRACE)


def stated(assets: Mapping[str, VenueAsset]) -> dict[str, tuple[HaircutTier, ...]]:
    """The haircuts that a venue's own statement comes to: what it takes an asset for, over what it is worth."""
    made: dict[str, tuple[HaircutTier, ...]] = {}
    for name, asset in assets.items():
        ratio = (
            min(Decimal(1), max(Decimal(0), asset.counts / asset.worth)) if asset.worth > 0 else Decimal(0)
        )
        made[name] = (HaircutTier(ratio=ratio),)
    return made
