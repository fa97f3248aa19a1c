"""What of a gateway's orders a scope covers."""

from __future__ import annotations

from typing import NamedTuple

from tidegate.errors import UserError
from tidegate.model.instrument import Universe
from tidegate.risk.scope_name import Kind, parse
from tidegate.risk.scopes import ScopeTable


class Target(NamedTuple):
    """Orders of one strategy, of one instrument, or all of the account (both −1)."""

    strategy: int = -1
    instrument: int = -1

    def covers(self, strategy: int, instrument: int) -> bool:
        """Whether an order is one of them. Of an order whose strategy is not known (−1) every strategy's target says yes:
        what nobody can put a name to is cancelled rather than left."""
        return (self.strategy < 0 or strategy in (-1, self.strategy)) and self.instrument in (-1, instrument)

    @property
    def whole(self) -> bool:
        """All of the account's orders at this venue."""
        return self == WHOLE

    def __str__(self) -> str:
        if self.whole:
            return "all"
        return f"strategy {self.strategy}" if self.strategy >= 0 else f"instrument {self.instrument}"


WHOLE = Target()


class Place(NamedTuple):
    """Where a gateway stands: a venue, an account by number, the run's scopes and instruments."""

    venue: str
    account: int
    scopes: ScopeTable
    universe: Universe

    @property
    def account_name(self) -> str:
        """The account's name."""
        return self.scopes.accounts[self.account].name

    def known(self, scope: str) -> bool:
        """Whether the run has a scope of this name."""
        try:
            parse(scope, self.scopes, self.universe)
        except UserError:
            return False
        return True

    def target(self, scope: str) -> Target | None:
        """What of this gateway's orders is under the scope; None for nothing. Raises `UserError` where there is no such
        scope."""
        ref = parse(scope, self.scopes, self.universe)
        account = self.scopes.accounts[self.account]
        if ref.kind is Kind.STRATEGY:
            number = next(n for n, s in enumerate(self.scopes.strategies) if s.name == ref.name)
            return (
                Target(strategy=number) if account.name in self.scopes.strategies[number].accounts else None
            )
        if ref.kind is Kind.INSTRUMENT:
            return Target(instrument=ref.number) if self.universe[ref.number].venue == self.venue else None
        ours = {Kind.FIRM: "", Kind.DESK: account.desk, Kind.ACCOUNT: account.name, Kind.VENUE: self.venue}
        return WHOLE if ours[ref.kind] == ref.name else None
