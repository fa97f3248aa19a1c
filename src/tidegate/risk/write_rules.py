"""Rules of a sheet into the rows that the kernels read, and only those that become others.

Chains whose rules were alike and are alike again change alike: what changes is found at one of them.
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


class Market(NamedTuple):
    """By instrument: the factor that holds it down, parts per million, and the market's figures (`market_shares`)."""

    factors: g.Ints
    known: g.Ints


def write_rules(state: g.GateState, sheet: Sheet, before: Sheet | None, market: Market, every: bool) -> None:
    """Bring `rules` and `plain` from one sheet to the next. `before` None: whatever they hold; `every`: what is not the
    sheet's has changed too."""
    classes = sheet.classes
    changes: dict[int, list[g.Ints]] = {}
    for was, now, chains in _together(sheet, before):
        if before is None or every or before.classes.keys[was] != classes.keys[now]:
            changes.setdefault(now, []).append(chains)
    for now, rows in sheet.rules(list(changes)):
        block = rows[sheet.column_of]
        block[:, g.R_QTY_NOW] = held_all(block[:, g.R_QTY], market.factors)
        block[:, g.R_VALUE_NOW] = held_all(block[:, g.R_VALUE], market.factors)
        block[:, g.R_DEPTH_BUY] = share(block[:, g.R_DEPTH], market.known[:, 3])
        block[:, g.R_DEPTH_SELL] = share(block[:, g.R_DEPTH], market.known[:, 2])
        for chains in changes[now]:
            _write(state, sheet, block, chains, before is None, every)


def _together(sheet: Sheet, before: Sheet | None) -> Iterator[tuple[int, int, g.Ints]]:
    """Chains that were of one class and are of one: both, and which they are."""
    now = sheet.classes.of
    was = before.classes.of if before is not None else np.zeros_like(now)
    pairs, member = np.unique(was * (len(now) + 1) + now, return_inverse=True)
    order = np.argsort(member, kind="stable")
    for pair, chains in zip(
        pairs.tolist(), np.split(order, np.flatnonzero(np.diff(member[order])) + 1), strict=False
    ):
        yield pair // (len(now) + 1), pair % (len(now) + 1), chains


def _write(state: g.GateState, sheet: Sheet, block: g.Ints, chains: g.Ints, whole: bool, every: bool) -> None:
    n, paths = len(state.inst), sheet.frame.chains
    scopes = np.concatenate([np.zeros((len(paths), 1), np.int64), np.maximum(paths, 0)], axis=1)
    first = int(chains[0])
    ours = block.copy()
    ours[:, SCOPE_OF] = scopes[first][block[:, SCOPE_OF]]
    here = slice(first * n, (first + 1) * n)
    if whole:
        rows, columns = np.arange(n), np.arange(g.RULE_WORDS)
    else:
        differs = ours != state.rules[here]
        rows, columns = np.flatnonzero(differs.any(axis=1)), np.flatnonzero(differs.any(axis=0))
    if len(rows):
        for p in chains.tolist():
            _copy(state.rules[p * n : (p + 1) * n], block, rows, columns, scopes[p])
    if whole or every:
        rows, columns = np.arange(n), np.arange(g.RULE_WORDS)
    if not len(rows):
        return
    here_plain = state.plain[here][rows]
    made, rules, inst = here_plain.copy(), ours[rows], state.inst[rows]
    if whole or np.isin(columns, plain.SIZES_FROM).any():
        plain.write_sizes(rules, made, inst)
    if whole or np.isin(columns, plain.FORMS_FROM).any():
        plain.write_forms(rules, made, state.real[rows, g.X_MARGIN])
    if whole or np.isin(columns, plain.REST_FROM).any():
        plain.write_rest(rules, made, inst)
    columns = np.arange(g.PL_OWN) if whole else np.flatnonzero((made != here_plain).any(axis=0))
    for p in chains.tolist() if len(columns) else ():
        part = state.plain[p * n : (p + 1) * n]
        for column in columns.tolist():
            part[rows, column] = made[:, column]


def _copy(to: g.Ints, block: g.Ints, rows: g.Ints, columns: g.Ints, scopes: g.Ints) -> None:
    """These rows and columns, with a chain's own scopes for their places."""
    everywhere = len(rows) == len(to)
    if everywhere and len(columns) > g.RULE_WORDS // 2:
        to[:] = block
        to[:, SCOPE_OF] = scopes[block[:, SCOPE_OF]]
        return
    for column in columns.tolist():
        values = block[:, column] if everywhere else block[rows, column]
        if column in SCOPE_OF:
            values = scopes[values]
        if everywhere:
            to[:, column] = values
        else:
            to[rows, column] = values
