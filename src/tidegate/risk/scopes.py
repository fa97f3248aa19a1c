"""The table of scopes: firm > desk > account > strategy, numbered 0 (the firm), desks, accounts, strategies.

Orders name their account and strategy by number; the chain of scopes that judge an order runs from its strategy
over its account and that account's desk to the firm. A strategy may use several accounts; its own scope sums
over them.
"""

from __future__ import annotations

from decimal import Decimal
from enum import IntEnum
from typing import NamedTuple

import msgspec

from tidegate.errors import UserError, nearest

NEXT = ".next"
"""The slot for a new version of strategy `NAME` is called `NAME.next`."""


class Level(IntEnum):
    """Where in the tree a scope stands."""

    FIRM = 0
    DESK = 1
    ACCOUNT = 2
    STRATEGY = 3


class State(IntEnum):
    """A scope's state, the strictest last. A RECOVERING scope trades on a quarter of its limits, for a time."""

    ACTIVE = 0
    WARN = 1
    RECOVERING = 2
    REDUCE_ONLY = 3
    CANCEL_ONLY = 4
    KILLED = 5


class Account(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One account: its desk ("" for none), its self-match group ("" for its own) and what was put into it.

    `capital` is in the firm's base currency: equity is capital plus profit and loss.
    """

    name: str
    desk: str = ""
    group: str = ""
    capital: Decimal = Decimal(0)


class StrategyScope(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One strategy and the accounts it may trade on.

    `slot_of` names the strategy whose candidate's slot this is (`risk.slots`); where no table of limits names the slot,
    it has `part` of what that strategy has in all.
    """

    name: str
    accounts: tuple[str, ...]
    slot_of: str = ""
    part: Decimal = Decimal(1)


class Slots(NamedTuple):
    """A strategy's live slot and its candidate's: their strategy numbers and scopes. `part`: the most of the limits that
    the candidate may have, in parts per million."""

    name: str
    live: int
    candidate: int
    live_scope: int
    next_scope: int
    account: int
    lane: int
    part: int


class Chain(msgspec.Struct, frozen=True):
    """The scopes of one (account, strategy), and the scope of the first account of its self-match group."""

    strategy: int
    account: int
    desk: int
    firm: int
    group: int
    permitted: bool

    @property
    def scopes(self) -> tuple[int, ...]:
        """From the strategy up to the firm, without a desk where there is none."""
        return tuple(s for s in (self.strategy, self.account, self.desk, self.firm) if s >= 0)


class ScopeTable:
    """All scopes of a run and how they hang together. Names are unique within their level."""

    def __init__(
        self,
        accounts: list[Account],
        strategies: list[StrategyScope],
        desks: list[str] | None = None,
        firm: str = "firm",
    ) -> None:
        self.firm = firm
        self.desks = list(desks or [])
        self.accounts = list(accounts)
        self.strategies = list(strategies)
        if not self.accounts or not self.strategies:
            raise UserError("scopes: at least one account and one strategy are needed")
        self.spread: dict[int, int] = {}
        """Over how many lanes a scope lies, where it is more than one: each lane has its part of the scope's rates."""
        self._account_base = 1 + len(self.desks)
        self._strategy_base = self._account_base + len(self.accounts)
        self.names = [firm, *self.desks, *(a.name for a in accounts), *(s.name for s in strategies)]
        self.levels = [Level.FIRM] + [Level.DESK] * len(self.desks)
        self.levels += [Level.ACCOUNT] * len(accounts) + [Level.STRATEGY] * len(strategies)
        self._number: dict[tuple[Level, str], int] = {}
        for number, (level, name) in enumerate(zip(self.levels, self.names, strict=True)):
            if self._number.setdefault((level, name), number) != number:
                raise UserError(f"scopes: {level.name.lower()} {name!r} is defined twice")
        for account in accounts:
            if account.desk:
                self.number(Level.DESK, account.desk)
        for strategy in strategies:
            for name in strategy.accounts:
                self.number(Level.ACCOUNT, name)

    def __len__(self) -> int:
        return len(self.names)

    def number(self, level: Level, name: str) -> int:
        """The number of a scope; raises `UserError` naming the nearest known name of that level."""
        try:
            return self._number[level, name]
        except KeyError:
            known = [n for (at, n) in self._number if at is level]
            raise UserError(f"scopes: unknown {level.name.lower()} {name!r}{nearest(name, known)}") from None

    def label(self, scope: int) -> str:
        """`account main`, for messages."""
        return f"{self.levels[scope].name.lower()} {self.names[scope]}"

    def account_scope(self, account: int) -> int:
        """The scope of account number `account`."""
        return self._account_base + account

    def strategy_scope(self, strategy: int) -> int:
        """The scope of strategy number `strategy`."""
        return self._strategy_base + strategy

    def chain(self, account: int, strategy: int) -> Chain:
        """The scopes that judge an order of this strategy on this account."""
        here = self.accounts[account]
        group = account
        if here.group:
            group = next(n for n, other in enumerate(self.accounts) if other.group == here.group)
        return Chain(
            strategy=self.strategy_scope(strategy),
            account=self.account_scope(account),
            desk=self.number(Level.DESK, here.desk) if here.desk else -1,
            firm=0,
            group=self.account_scope(group),
            permitted=here.name in self.strategies[strategy].accounts,
        )

    @classmethod
    def simple(cls, strategies: int = 1, capital: str | Decimal = "1000000") -> ScopeTable:
        """One account that `strategies` strategies share: for tests, benchmarks and first steps."""
        return cls(
            [Account(name="main", capital=Decimal(capital))],
            [StrategyScope(name=f"strategy{n}", accounts=("main",)) for n in range(strategies)],
        )
