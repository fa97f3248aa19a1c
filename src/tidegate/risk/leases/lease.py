"""Escrow leases: which limits are lent to lanes, and what one lane holds of one.

A limit over several lanes is never checked by asking around. The allocator lends each lane a part, and the lane spends
it alone. Allocator and lane exchange totals that only grow (granted, returned), so a message that is lost, doubled,
late or out of order can do no harm: the highest total counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

import msgspec
import numpy as np

from tidegate.kernel.gate_state import PPM, UNLIMITED, Ints
from tidegate.risk.leases.fields import NO_INSTRUMENT
from tidegate.risk.scopes import ScopeTable


class Key(NamedTuple):
    """One limit: of a scope (its number), one field (`lease_fields.Field`), of an instrument or −1."""

    scope: int
    field: int
    instrument: int = NO_INSTRUMENT


class Lease(msgspec.Struct, array_like=True, gc=False):
    """What a lane was granted of a limit, and what it gave back, in all."""

    granted: int = 0
    returned: int = 0

    @property
    def amount(self) -> int:
        """What the lane may use."""
        return self.granted - self.returned

    def grant(self, total: int) -> None:
        """The allocator's word: `total` in all. An older word changes nothing."""
        self.granted = max(self.granted, total)

    def give_back(self, amount: int, used: int) -> int:
        """Give back up to `amount` of what is not used; how much that was."""
        given = max(0, min(amount, self.amount - max(0, used)))
        self.returned += given
        return given


class _Limited(Protocol):
    """A gate, as far as its limits go."""

    def finite_limits(self, scope: int, /) -> Iterable[tuple[int, int, int]]: ...


def held(limit: int, ppm: int) -> int:
    """`ppm` parts per million of a limit, rounded down; no limit stays none."""
    return limit if limit >= UNLIMITED else limit * ppm // PPM


def held_all(limits: Ints, ppm: Ints | int) -> Ints:
    """`held` of each, at one factor or at one each."""
    parts = limits // PPM * ppm + limits % PPM * ppm // PPM
    found: Ints = np.where(limits >= UNLIMITED, limits, parts)
    return found


def lanes_of(scopes: ScopeTable, lane_of: Callable[[int], int]) -> dict[int, tuple[int, ...]]:
    """The scopes that lie over more than one lane, each with its lanes; `lane_of` says which lane an account is on."""
    numbers = {account.name: n for n, account in enumerate(scopes.accounts)}
    members: dict[int, Iterable[int]] = {0: range(len(scopes.accounts))}
    for d, desk in enumerate(scopes.desks):
        members[1 + d] = [n for n, account in enumerate(scopes.accounts) if account.desk == desk]
    for s, strategy in enumerate(scopes.strategies):
        members[scopes.strategy_scope(s)] = [numbers[name] for name in strategy.accounts]
    lanes = {scope: tuple(sorted({lane_of(a) for a in accounts})) for scope, accounts in members.items()}
    return {scope: over for scope, over in lanes.items() if len(over) > 1}


def leased(gate: _Limited, over: Iterable[int]) -> dict[Key, int]:
    """The limits that are lent, with what people set: every finite one that adds up, of the scopes in `over`."""
    return {
        Key(scope, field, instrument): limit
        for scope in sorted(over)
        for field, instrument, limit in gate.finite_limits(scope)
    }
