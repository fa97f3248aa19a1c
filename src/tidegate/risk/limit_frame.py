"""What limits are set for, which does not change while a firm runs: kinds of instruments, and chains of scopes."""

from __future__ import annotations

import numpy as np

from tidegate.kernel.gate_state import Ints
from tidegate.model.instrument import Instrument, Universe
from tidegate.risk.margin.models import model_of
from tidegate.risk.scopes import Level, ScopeTable


def covered(item: Instrument) -> bool:
    """Whether an account that must keep margin may be short of it (`risk.margin.models`)."""
    return model_of(item).covers_short or item.cash


class Frame:
    """Instruments that limits can tell apart only by name are of one *kind*: alike in lot, tick, venue and expiry."""

    def __init__(self, universe: Universe, scopes: ScopeTable) -> None:
        self.universe, self.scopes = universe, scopes
        kinds: dict[tuple[object, ...], int] = {}
        self.kinds: list[Instrument] = []
        """One instrument of each kind."""
        self.kind_of: Ints = np.zeros(len(universe), np.int64)
        for i, item in enumerate(universe.instruments):
            key = (item.lot, item.tick, item.venue, item.expiry, covered(item))
            if key not in kinds:
                kinds[key] = len(kinds)
                self.kinds.append(item)
            self.kind_of[i] = kinds[key]
        self.uncovered = np.array([not covered(item) for item in self.kinds])
        numbers = {account.name: n for n, account in enumerate(scopes.accounts)}
        pairs = sorted({(numbers[name], t) for t, s in enumerate(scopes.strategies) for name in s.accounts})
        found = [scopes.chain(account, strategy) for account, strategy in pairs]
        self.chains: Ints = np.array(
            [[c.strategy, c.account, c.desk, c.firm] for c in found], np.int64
        ).reshape(-1, 4)
        """By permitted (account, strategy), in the order of `rules`: strategy, account, desk (−1: none), firm."""
        self.desk_of = [
            scopes.number(Level.DESK, account.desk) if account.desk else -1 for account in scopes.accounts
        ]
