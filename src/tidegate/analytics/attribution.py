"""Where the P&L came from: spread, adverse selection, holding, fees, funding.

For each fill with s = ±1, price p, mid m at the fill, and m_h the mid a horizon h later (the last mid of the
run for a fill within h of its end), in money:

- spread capture: s (m − p) × size; what the fill earned (a maker) or paid (a taker) against mid;
- adverse selection: s (m_h − m) × size; how the mid moved over the next h, against us when negative. For a
  directional taker the same term is its short-term skill;
- holding: trading P&L less both: what positions older than h made as the market moved, and the change in
  value of P&L settled in another currency;
- net = spread + adverse + holding − fees + funding.

The split follows Glosten (1987) and Stoll (1989); trading P&L (realised + unrealised) is the ledger's, so
the parts sum to the ledger's net by construction, and `holding` is the part not observed fill by fill.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tidegate.analytics.costs import slippage_amount
from tidegate.analytics.tables import Bools, Floats, Ints


@dataclass(frozen=True)
class Attribution:
    """One P&L in parts, base currency. The first three are None where a rate or a mid is unknown."""

    spread: float | None
    adverse: float | None
    holding: float | None
    trading: float
    """realised + unrealised."""
    fees: float
    funding: float
    net: float


def spread_capture(side: Ints, price: Floats, mid: Floats, value: Floats, inverse: Bools | bool) -> Floats:
    """s (m − p) × size in the settlement currency, fill by fill."""
    return -slippage_amount(side, price, mid, value, inverse)


def mid_move(
    side: Ints, price: Floats, mid: Floats, future: Floats, value: Floats, inverse: Bools | bool
) -> Floats:
    """s (m_h − m) × size in the settlement currency, fill by fill: two captures' difference."""
    return spread_capture(side, price, future, value, inverse) - spread_capture(
        side, price, mid, value, inverse
    )


def attribute(
    spread: Floats, adverse: Floats, rate: Floats, trading: float, fees: float, funding: float
) -> Attribution:
    """The parts of one P&L; `spread` and `adverse` fill by fill in settlement currency, the rest base."""
    known = not bool(np.isnan(spread).any() or np.isnan(adverse).any() or np.isnan(rate).any())
    net = trading - fees + funding
    if not known:
        return Attribution(None, None, None, trading, fees, funding, net)
    captured, moved = float((spread * rate).sum()), float((adverse * rate).sum())
    return Attribution(captured, moved, trading - captured - moved, trading, fees, funding, net)
