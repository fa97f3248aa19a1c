"""Rules of a sheet into the rows that the kernels read, and only those that become others.

Chains whose rules were alike and are alike again change alike: what changes is found once for all of them, by column of
their sheets, before any of the gate's rows is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tidegate.kernel import gate_state as g
from tidegate.risk import plain
from tidegate.risk.leases.lease import held_all
from tidegate.risk.limit_sheet import Sheet
from tidegate.risk.market_shares import share
from tidegate.risk.rules import SCOPE_OF

_AT_ONCE = 64


class Market(NamedTuple):
    """By instrument: the factor that holds it down, parts per million, and the market's figures (`market_shares`)."""

    factors: g.Ints
    known: g.Ints


class _Change(NamedTuple):
    """Chains that change alike: what they become, by a number that instruments have; which instruments and columns."""

    chains: list[int]
    template: g.Ints
    member: g.Ints
    rows: g.Ints
    columns: list[int]


def write_rules(state: g.GateState, sheet: Sheet, before: Sheet | None, market: Market, every: bool) -> None:
    """Bring `rules` and `plain` from one sheet to the next. `before` None: whatever they hold; `every`: what is not the
    sheet's has changed too."""
    n = len(state.inst)
    old_columns = before.column_of if before is not None else np.zeros(n, np.int64)
    both, member = np.unique(old_columns * (sheet.columns + 1) + sheet.column_of, return_inverse=True)
    olds, news = both // (sheet.columns + 1), both % (sheet.columns + 1)
    pairs = [
        (was, now, chains) for was, now, chains in _together(sheet, before)
        if before is None or every or before.classes.keys[was] != sheet.classes.keys[now]
    ]  # fmt: skip
    places = np.concatenate(
        [np.zeros((len(sheet.frame.chains), 1), np.int64), np.maximum(sheet.frame.chains, 0)], axis=1
    )
    for first in range(0, len(pairs), _AT_ONCE):
        some = pairs[first : first + _AT_ONCE]
        made = dict(sheet.rules(list(dict.fromkeys(now for _, now, _ in some))))
        was_made = dict(before.rules(list(dict.fromkeys(was for was, _, _ in some)))) if before else {}
        for was, now, chains in some:
            template = made[now][news]
            if before is None:
                rows, columns = np.arange(n), list(range(g.RULE_WORDS))
            else:
                differs = was_made[was][olds] != template
                columns = np.flatnonzero(differs.any(axis=0)).tolist()
                rows = np.arange(n) if every else np.flatnonzero(differs.any(axis=1)[member])
            _write(
                state,
                _Change(chains, template, member, rows, columns),
                places,
                market,
                every or before is None,
            )


def _together(sheet: Sheet, before: Sheet | None) -> Iterator[tuple[int, int, list[int]]]:
    """Chains that were of one class and are of one: both, and which they are."""
    now = sheet.classes.of.tolist()
    was = before.classes.of.tolist() if before is not None else [0] * len(now)
    found: dict[tuple[int, int], list[int]] = {}
    for p, pair in enumerate(zip(was, now, strict=True)):
        found.setdefault(pair, []).append(p)
    for (one, other), chains in found.items():
        yield one, other, chains


def _write(state: g.GateState, change: _Change, places: g.Ints, market: Market, every: bool) -> None:
    n = len(state.inst)
    if not len(change.rows):
        return
    rows = slice(None) if len(change.rows) == n else change.rows
    at = change.member[rows]
    values = {column: change.template[at, column] for column in change.columns}
    values |= _derived(change, at, rows, market, every)
    for p in change.chains:
        here = state.rules[p * n : (p + 1) * n]
        for column, made in values.items():
            here[rows, column] = places[p][made] if column in SCOPE_OF else made
    first = slice(change.chains[0] * n, (change.chains[0] + 1) * n)
    rules, inst = state.rules[first][rows], state.inst[rows]
    bounds = state.plain[first][rows].copy()
    was = bounds.copy()
    if every or not values.keys().isdisjoint(plain.SIZES_FROM):
        plain.write_sizes(rules, bounds, inst)
    if every or not values.keys().isdisjoint(plain.FORMS_FROM):
        plain.write_forms(rules, bounds, state.real[:n][rows, g.X_MARGIN])
    if every or not values.keys().isdisjoint(plain.REST_FROM):
        plain.write_rest(rules, bounds, inst)
    # Where chains have been alike, their bounds have; of a gate that was loaded none are known.
    columns = range(g.PL_OWN) if every else np.flatnonzero((bounds != was).any(axis=0)).tolist()
    for p in change.chains:
        for column in columns:
            state.plain[p * n : (p + 1) * n][rows, column] = bounds[:, column]


def _derived(
    change: _Change, at: g.Ints, rows: slice | g.Ints, market: Market, every: bool
) -> dict[int, g.Ints]:
    """What factors and market make of these columns."""
    found: dict[int, g.Ints] = {}
    for human, now in ((g.R_QTY, g.R_QTY_NOW), (g.R_VALUE, g.R_VALUE_NOW)):
        if every or human in change.columns:
            found[now] = held_all(change.template[at, human], market.factors[rows])
    if every or g.R_DEPTH in change.columns:
        for depth, figure in ((g.R_DEPTH_BUY, 3), (g.R_DEPTH_SELL, 2)):
            found[depth] = share(change.template[at, g.R_DEPTH], market.known[rows, figure])
    return found
