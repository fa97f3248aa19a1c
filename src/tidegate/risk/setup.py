"""What follows for the risk service from the configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from tidegate.model.instrument import Universe
from tidegate.risk.breakers.settings import BreakerSettings
from tidegate.risk.dynamic import DynamicSettings
from tidegate.risk.limits import Limits
from tidegate.risk.margin.collateral import Haircuts
from tidegate.risk.margin.watch import MarginSettings
from tidegate.risk.scopes import ScopeTable


@dataclass(frozen=True)
class RiskSetup:
    """`lanes` has each lane's accounts, `shared` the scopes over several lanes with
    theirs; `limits` are the file's, whole."""

    universe: Universe
    scopes: ScopeTable
    limits: Limits
    lanes: Sequence[Sequence[int]]
    base_currency: str = "USDT"
    fx: Mapping[str, str | Decimal] = field(default_factory=dict)
    breakers: BreakerSettings = field(default_factory=BreakerSettings)
    shared: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    dynamic: DynamicSettings = field(default_factory=DynamicSettings)
    margin: MarginSettings = field(default_factory=MarginSettings)
    collateral: Mapping[str, Haircuts] = field(default_factory=dict)
    publish: float = 1.0
    """Seconds between two reports; the fold is kept every tenth of them."""
