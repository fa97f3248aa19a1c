"""A plan that brings an account's margin ratio down: what to close, how much at a time, and in which order.

Hedged legs go together: what an account holds of one underlying is one group, and all of a group is cut by the same
part, so that a hedge is never taken away from what it hedges. Of several groups the one whose margin is highest for
its value goes first, for closing it frees most for what it costs. Each cut is at the mark at which it could be made
now, with its fee; no step closes more than a part of a position, and none crosses zero.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

from tidegate.risk.margin.account import MarginAccount, filled
from tidegate.risk.margin.pool import Contract, Holding, Pool

PARTS = 20
"""A group is cut by twentieths."""


class Cut(NamedTuple):
    """One order of a step: signed lots against the position, reduce-only."""

    instrument: int
    lots: int


class Plan(NamedTuple):
    """The next step. `cancel`: instruments whose open orders could make the account larger; they go first."""

    cuts: tuple[Cut, ...]
    cancel: tuple[int, ...]
    ratio: Fraction
    """As it is."""
    after: Fraction
    """As it would be after this step, at these marks."""
    enough: bool
    """Whether this step is the last that is needed."""


def plan(account: MarginAccount, target: Fraction, most: Fraction = Fraction(1, 4)) -> Plan:
    """The step that brings the ratio to `target` or, of each position, closes at most the part `most` of it."""
    cancel = tuple(h.contract.number for p in account.pools for h in p.holdings if h.worst_value > h.value)
    whole: dict[int, int] = {}
    trial = account
    for group in _ranked(account):
        if trial.ratio <= target:
            break
        parts = next((k for k in range(1, PARTS + 1) if _cut(trial, group, k).ratio <= target), PARTS)
        for holding in group:
            whole[holding.contract.number] = _lots(holding, Fraction(parts, PARTS))
        trial = _cut(trial, group, parts)
    cuts, after = [], account
    for _, holding in _held(account):
        lots = whole.get(holding.contract.number, 0)
        if lots:
            lots = _bounded(holding, lots, most)
            cuts.append(Cut(holding.contract.number, lots))
            after = _filled(after, holding.contract, lots)
    enough = all(whole[cut.instrument] == cut.lots for cut in cuts)
    return Plan(tuple(cuts), cancel, account.ratio, after.ratio, enough)


def _held(account: MarginAccount) -> Iterator[tuple[Pool, Holding]]:
    for pool in account.pools:
        for holding in pool.holdings:
            if holding.lots:
                yield pool, holding


def _ranked(account: MarginAccount) -> list[list[Holding]]:
    """Groups by underlying, the dearest in margin for its value first."""
    groups: dict[str, list[Holding]] = {}
    weights: dict[str, list[Fraction]] = {}
    for pool, holding in _held(account):
        name = holding.contract.instrument.base
        groups.setdefault(name, []).append(holding)
        rate = account.rate(pool.currency)
        sums = weights.setdefault(name, [Fraction(0), Fraction(0)])
        sums[0] += holding.maintenance * rate
        sums[1] += holding.value * rate
    dear = {name: m / v if v else Fraction(0) for name, (m, v) in weights.items()}
    return [groups[name] for name in sorted(groups, key=lambda name: (-dear[name], name))]


def _lots(holding: Holding, part: Fraction) -> int:
    """Signed lots that close a part of a position, rounded up."""
    lots = min(abs(holding.lots), math.ceil(abs(holding.lots) * part))
    return -lots if holding.lots > 0 else lots


def _bounded(holding: Holding, lots: int, most: Fraction) -> int:
    """The same, no more than one order may have and at least what one must have."""
    item = holding.contract.instrument
    least = math.ceil(Fraction(item.min_qty) / Fraction(item.lot))
    largest = math.floor(Fraction(item.max_qty) / Fraction(item.lot)) if item.max_qty else abs(lots)
    size = min(abs(lots), max(1, math.ceil(abs(holding.lots) * most)))
    size = min(max(size, least), largest, abs(holding.lots))
    return size if lots > 0 else -size


def _cut(account: MarginAccount, group: list[Holding], parts: int) -> MarginAccount:
    for holding in group:
        account = _filled(account, holding.contract, _lots(holding, Fraction(parts, PARTS)))
    return account


def _filled(account: MarginAccount, contract: Contract, lots: int) -> MarginAccount:
    found = account.find(contract.number)
    assert found is not None
    pool, holding = found
    return account.with_pool(filled(pool, holding, lots, holding.mark))
