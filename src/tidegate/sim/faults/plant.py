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
from tidegate.risk.breakers.settings import BreakerSettings
from tidegate.risk.gate import Gate
from tidegate.risk.leases.lease import lanes_of
from tidegate.risk.ledger import Ledger
from tidegate.risk.limits import Limit, Limits, unlimited
from tidegate.risk.scopes import Account, ScopeTable, StrategyScope
from tidegate.risk.service import RiskSetup

VENUE = "SIM"
ACCOUNTS = ("red", "blue")
DESKS = ("north", "")
"""Each account's desk."""
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
    """`lanes` is 1 or 2; `risks` how many risk services there are, which several lanes need; `pace` how often a
    strategy does something, ms; `drawdown` what a strategy may lose from its best, in lots times ticks."""

    lanes: int = 2
    strategies: int = 3
    pace: int = 4_000
    risks: int = 2
    drawdown: int = 0

    @cached_property
    def universe(self) -> Universe:
        return universe()

    @cached_property
    def scopes(self) -> ScopeTable:
        return ScopeTable(
            [
                Account(name=name, capital=Decimal(10**9), desk=desk)
                for name, desk in zip(ACCOUNTS, DESKS, strict=True)
            ],
            [StrategyScope(name=name, accounts=(ACCOUNTS[account],)) for name, account in self.traders],
            [desk for desk in DESKS if desk],
        )

    @property
    def names(self) -> list[str]:
        """Every scope that may be halted."""
        return [
            "firm", *(f"desk:{desk}" for desk in DESKS if desk), *(f"account:{name}" for name in ACCOUNTS),
            *(f"strategy:{name}" for name, _ in self.traders),
            *(f"instrument:{item.id}" for item in self.universe.instruments), f"venue:{VENUE}",
        ]  # fmt: skip

    @property
    def traders(self) -> Sequence[tuple[str, int]]:
        """Name and account of each strategy."""
        return STRATEGIES[: self.strategies]

    @property
    def watchers(self) -> tuple[str, ...]:
        """The risk services: of two, one acts."""
        return ("risk-a", "risk-b")[: self.risks]

    def lane_of(self, account: int) -> int:
        return account % self.lanes

    @cached_property
    def limits(self) -> Limits:
        limits = unlimited()
        lots = Limit(universe()[0].qty(POSITION))
        accounts = {"*": msgspec.structs.replace(limits.accounts["*"], position=lots)}
        most = Limit(universe()[0].qty(FIRM_POSITION))
        firm = msgspec.structs.replace(limits.firm, open_orders=Limit(FIRM_ORDERS), position=most)
        strategies = dict(limits.strategies)
        if self.drawdown:
            item = self.universe[0]
            most = Limit(item.qty(self.drawdown) * item.price(1))
            strategies["*"] = msgspec.structs.replace(strategies["*"], drawdown=most)
        return msgspec.structs.replace(limits, accounts=accounts, firm=firm, strategies=strategies)

    def risk_setup(self) -> RiskSetup:
        """What a risk service watches. Few orders are enough for a breaker here: there are few."""
        rules = {"rejects": {"of": 20}, "fills": {"least": 15}}
        lanes = [[a for a in range(len(ACCOUNTS)) if self.lane_of(a) == n] for n in range(self.lanes)]
        return RiskSetup(
            self.universe, self.scopes, self.limits, lanes, breakers=BreakerSettings.load(rules), shared=self.shared,
            publish=2.0,
        )  # fmt: skip

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
