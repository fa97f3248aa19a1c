"""Scopes that people flatten, as a lane knows them: of what is under them only the house's own orders are let pass.

A strategy's orders there are refused even where they would reduce: one that quotes its way out again and again would
leave what closes the position no room.
"""

from __future__ import annotations

from tidegate.execution.ids import HOUSE_IDS
from tidegate.execution.state import LaneOrder, State
from tidegate.model.messages import ScopeState

Key = tuple[int, int]
"""(scope, instrument), one of them −1."""


def note(s: State, key: Key, m: ScopeState, again: bool) -> None:
    """What a state says of it. The same word, told `again`, ends nothing."""
    if m.flatten:
        s.flattened.setdefault(key, m.ts)
    elif not again:
        s.flattened.pop(key, None)


def since(s: State, account: int, strategy: int, instrument: int) -> int | None:
    """Since when (ns) people have flattened what is there; None where nobody does."""
    found = [
        ts for (scope, number), ts in s.flattened.items()
        if (number == instrument if number >= 0 else s.gate.covers(scope, account, strategy))
    ]  # fmt: skip
    return min(found, default=None)


def keeps(s: State, order: LaneOrder) -> bool:
    """Whether a strategy's order, or its change, is held back by that."""
    if not s.flattened or order.cmd_id >= HOUSE_IDS:
        return False
    return since(s, order.account, order.strategy, order.instrument) is not None
