"""What is simulated: two instruments, two accounts, their lanes, limits and strategies."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property

import msgspec

from tidegate.execution.core import Lane
from tidegate.execution.lane_log import LaneKind
from tidegate.execution.state import Settings
from tidegate.model.instrument import Instrument, InstrumentKind, Universe
from tidegate.model.time import SECOND
from tidegate.risk.gate import Gate
from tidegate.risk.leases import lanes_of
from tidegate.risk.ledger import Ledger
from tidegate.risk.limits import Limit, Limits, unlimited
from tidegate.risk.scopes import Account, ScopeTable, StrategyScope

VENUE = "SIM"
ACCOUNTS = ("red", "blue")
PRICES = (20_000, 5_000)
"""Where the instruments' touch begins, ticks."""
POSITION = 60
"""Lots an account may hold of an instrument, long or short."""
FIRM_POSITION, FIRM_ORDERS = 80, 14
"""The same of both accounts together, which may lie on two lanes; and open orders of all."""
STRATEGIES = (("quoter", 0), ("taker", 1), ("mixer", 0))
"""Name and account of each; the lane is the account's, as far as there are lanes."""


def universe() -> Universe:
    """A perpetual and a pair of assets. One tick of one lot is a whole number of minor units: nothing is rounded."""
    perpetual = Instrument(
        symbol="PERP", venue=VENUE, kind=InstrumentKind.PERPETUAL, base="C", quote="USDT", tick=Decimal("0.01"),
        lot=Decimal("0.001"),
    )  # fmt: skip
    spot = Instrument(
        symbol="SPOT", venue=VENUE, kind=InstrumentKind.SPOT, base="D", quote="USDT", tick=Decimal("0.01"),
        lot=Decimal("0.001"),
    )  # fmt: skip
    return Universe([perpetual, spot])


@dataclass(frozen=True)
class Plant:
    """`lanes` is 1 or 2; `pace` how often a strategy does something, ms."""

    lanes: int = 2
    strategies: int = 3
    pace: int = 4_000

    @cached_property
    def universe(self) -> Universe:
        return universe()

    @cached_property
    def scopes(self) -> ScopeTable:
        return ScopeTable(
            [Account(name=name, capital=Decimal(10**9)) for name in ACCOUNTS],
            [StrategyScope(name=name, accounts=(ACCOUNTS[account],)) for name, account in self.traders],
        )

    @property
    def traders(self) -> Sequence[tuple[str, int]]:
        """Name and account of each strategy."""
        return STRATEGIES[: self.strategies]

    @property
    def lenders(self) -> tuple[str, ...]:
        """The processes that lend limits, where lanes share any."""
        return ("risk-a", "risk-b") if self.lanes > 1 else ()

    def lane_of(self, account: int) -> int:
        return account % self.lanes

    @cached_property
    def limits(self) -> Limits:
        limits = unlimited()
        lots = Limit(universe()[0].qty(POSITION))
        accounts = {"*": msgspec.structs.replace(limits.accounts["*"], position=lots)}
        most = Limit(universe()[0].qty(FIRM_POSITION))
        firm = msgspec.structs.replace(limits.firm, open_orders=Limit(FIRM_ORDERS), position=most)
        return msgspec.structs.replace(limits, accounts=accounts, firm=firm)

    @cached_property
    def shared(self) -> dict[int, tuple[int, ...]]:
        """The scopes over several lanes."""
        return lanes_of(self.scopes, self.lane_of)

    def gate(self) -> Gate:
        """A fresh gate."""
        return Gate(self.universe, self.scopes, self.limits, open_orders=64)

    @cached_property
    def kind(self) -> LaneKind:
        settings = Settings(ack_timeout=SECOND, history=512)

        def make(number: int) -> Lane:
            return Lane(number, self.universe, self.gate(), Ledger(self.universe), settings, self.shared)

        def restore(data: bytes) -> Lane:
            return Lane.restore(data, self.universe, self.gate(), Ledger(self.universe), self.shared)

        return LaneKind(hashlib.sha256(b"plant").hexdigest()[:32], make, restore)
