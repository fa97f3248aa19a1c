"""Transaction costs of fills: slippage, effective and realised spread, price impact, fees.

With s = +1 for a buy and −1 for a sell, p the fill price, m the mid at the fill, a the mid when the order was
decided, m_h the mid a horizon h after the fill, everything is signed so that **positive is a cost to us**:

- slippage against mid: s (p − m)/m; a maker at the touch shows minus half the spread.
- slippage against arrival: s (p − a)/a, the filled part of Perold's (1988) implementation shortfall.
- effective spread: 2 s (p − m)/m; realised spread: 2 s (p − m_h)/m; price impact: 2 s (m_h − m)/m, their
  difference. Huang & Stoll (1996), Journal of Financial Economics 41; from the taker's side, so a maker's
  are negative where it earned the spread.

Means over fills are weighted by value. In currency a linear contract's cost is s (p − ref) × quantity ×
multiplier; an inverse one's is s (1/ref − 1/p) × quantity × multiplier, in the coin it settles in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tidegate.analytics.tables import Bools, Floats, Ints


def slippage_bps(side: Ints, price: Floats, reference: Floats) -> Floats:
    """s (p − ref)/ref in basis points; NaN where the reference is unknown or 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        bps: Floats = 1e4 * side * (price - reference) / np.abs(reference)
    bps[~np.isfinite(bps)] = np.nan
    return bps


def slippage_amount(
    side: Ints, price: Floats, reference: Floats, value: Floats, inverse: Bools | bool
) -> Floats:
    """The same cost in the fill's settlement currency; NaN where the reference is unknown or 0.

    `value` is the fill's: |price| × quantity × multiplier, or quantity × multiplier / price for an inverse
    contract, from which the quantity × multiplier is recovered.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        linear = side * (price - reference) * value / np.abs(price)
        inverted = side * (price - reference) / reference * value
        amount: Floats = np.where(inverse, inverted, linear)
    amount[~np.isfinite(amount)] = np.nan
    return amount


def weighted_mean(values: Floats, weights: Floats) -> float | None:
    """Σ w x / Σ w over the values that are not NaN; None without weight."""
    known = ~np.isnan(values)
    total = float(weights[known].sum())
    return float((values[known] * weights[known]).sum()) / total if total > 0 else None


def looks_inverse(price: Floats, qty: Floats, value: Floats) -> bool:
    """Whether value falls as price rises, for tables that do not say which contracts are inverse.

    The slope of log(value/quantity) on log(price) is +1 for a linear and −1 for an inverse contract. Without
    a change of price both readings give the same P&L (none), and linear is answered.
    """
    good = (price > 0) & (qty > 0) & (value > 0)
    if good.sum() < 2:
        return False
    x, y = np.log(price[good]), np.log(value[good] / qty[good])
    return bool(((x - x.mean()) * (y - y.mean())).sum() < 0)


@dataclass(frozen=True)
class CostRow:
    """Costs of one group of fills. Amounts in base currency, None where a rate is unknown."""

    fills: int
    value: float | None
    fees: float | None
    fee_bps: float | None
    mid_bps: float | None
    mid_cost: float | None
    arrival_bps: float | None
    arrival_cost: float | None
    effective_bps: float | None
    realised_bps: float | None
    impact_bps: float | None
    no_mid: int
    no_arrival: int
    """Fills without the reference: left out of that mean."""


@dataclass(frozen=True)
class CostInputs:
    """Fills as arrays; `rate` is base currency per settlement unit, `future` the mid a horizon later."""

    side: Ints
    price: Floats
    value: Floats
    fee: Floats
    mid: Floats
    arrival: Floats
    future: Floats
    rate: Floats
    inverse: Bools

    def take(self, which: Ints | Bools) -> CostInputs:
        """The fills of a mask or an index."""
        return CostInputs(*(getattr(self, name)[which] for name in self.__dataclass_fields__))


def cost_row(fills: CostInputs) -> CostRow:
    """Costs of these fills. Without a rate amounts are None and means weigh by settlement value."""
    complete = bool(len(fills.rate)) and not bool(np.isnan(fills.rate).any())
    weight = fills.value * fills.rate if complete else fills.value
    mid = slippage_bps(fills.side, fills.price, fills.mid)
    arrival = slippage_bps(fills.side, fills.price, fills.arrival)
    both = np.where(np.isnan(fills.future), np.nan, mid)
    with np.errstate(divide="ignore", invalid="ignore"):
        realised = 2e4 * fills.side * (fills.price - fills.future) / np.abs(fills.mid)
    effective = weighted_mean(2 * both, weight)
    kept = weighted_mean(realised, weight)

    def amount(values: Floats) -> float | None:
        return float(np.nansum(values * fills.rate)) if complete else None

    def cost(reference: Floats) -> float | None:
        return amount(slippage_amount(fills.side, fills.price, reference, fills.value, fills.inverse))

    return CostRow(
        fills=len(fills.side),
        value=amount(fills.value),
        fees=amount(fills.fee),
        fee_bps=weighted_mean(1e4 * fills.fee / fills.value, weight) if (fills.value > 0).all() else None,
        mid_bps=weighted_mean(mid, weight),
        mid_cost=cost(fills.mid),
        arrival_bps=weighted_mean(arrival, weight),
        arrival_cost=cost(fills.arrival),
        effective_bps=effective,
        realised_bps=kept,
        impact_bps=effective - kept if effective is not None and kept is not None else None,
        no_mid=int(np.isnan(mid).sum()),
        no_arrival=int(np.isnan(arrival).sum()),
    )
