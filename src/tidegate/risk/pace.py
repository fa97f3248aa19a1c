"""How fast a strategy may write, as its limits in force say it: for those who look before the gate does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tidegate.risk.gate import Gate
    from tidegate.risk.limits import ScopeLimits


ENTRIES_AT_ONCE = 50
"""Entries of the log that a strategy may write at once, its commands in them: `strategy.budget` keeps to it, and
`ops.connection_watch` holds it to it."""


class Pace(NamedTuple):
    """Messages a second, and how many may come at once; infinite where there is no limit."""

    orders: float
    order_burst: float
    cancels: float
    cancel_burst: float

    @property
    def total(self) -> float:
        """Of both kinds, a second."""
        return self.orders + self.cancels

    @property
    def burst(self) -> float:
        """Of both kinds, at once."""
        return self.order_burst + self.cancel_burst


def pace_of(gate: Gate, strategy: int) -> Pace:
    """The throttles (control 13) of a strategy's own scope; nothing at all for a strategy that the gate does not know."""
    from tidegate.kernel import gate_state as g  # compiled code, which not everybody who knows the word needs

    if not 0 <= strategy < len(gate.scopes.strategies):
        return Pace(0.0, 0.0, 0.0, 0.0)
    row = gate.state.scope[gate.scopes.strategy_scope(strategy)]
    return Pace(
        *_rate(int(row[g.P_NEW_GAP]), int(row[g.P_NEW_BURST])),
        *_rate(int(row[g.P_CANCEL_GAP]), int(row[g.P_CANCEL_BURST])),
    )


def pace_in(tables: Sequence[ScopeLimits]) -> Pace:
    """The same of a scope's tables of limits, most specific first (`risk.tables`), where no gate is at hand."""
    return Pace(
        *_said(tables, "orders_per_second", "order_burst"),
        *_said(tables, "cancels_per_second", "cancel_burst"),
    )


def _said(tables: Sequence[ScopeLimits], field: str, burst: str) -> tuple[float, float]:
    for table in tables:
        if (rate := getattr(table, field)) is not None:
            most = getattr(table, burst) or (max(1, int(rate)) if rate.is_finite() else float("inf"))
            return float(rate), float(most)
    return 0.0, 0.0  # no limit set: the gate refuses all


def _rate(gap: int, burst: int) -> tuple[float, float]:
    """A bucket's (ns a message, ns it may run ahead) as (messages a second, messages at once): `convert.bucket`."""
    if gap == 0:
        return (float("inf"), float("inf")) if burst > 0 else (0.0, 0.0)
    return 1e9 / gap, burst / gap + 1
