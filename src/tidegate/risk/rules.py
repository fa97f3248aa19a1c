"""From what scopes of a chain limit to the rows that the gate's kernels read: many chains at once.

A column that names the scope a limit comes from holds its place in the chain here, counted from 1 at the strategy; 0 is
none, which reads as the firm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from tidegate.kernel import gate_state as g
from tidegate.risk.controls import CONTROLS, Control
from tidegate.risk.own_limits import (
    CLOSED_FROM,
    CLOSED_TO,
    COLUMN,
    LAST_ENTRY,
    LONG,
    NOT_SET,
    SELF_MATCH,
    SHORT,
    WORDS,
    Own,
)

PLACES = 4
"""Of a chain: strategy, account, desk, firm."""
_COLUMNS: dict[str, tuple[tuple[int, ...], int]] = {
    "order_qty": ((g.R_QTY,), g.R_QTY_SCOPE),
    "order_value": ((g.R_VALUE,), g.R_VALUE_SCOPE),
    "parent_value": ((g.R_PARENT,), g.R_PARENT_SCOPE),
    "price_collar": ((g.R_COLLAR, g.R_COLLAR_FLOOR), g.R_COLLAR_SCOPE),
    "dynamic_collar": ((g.R_BAND, g.R_BAND_HORIZON, g.R_BAND_FLOOR), g.R_BAND_SCOPE),
    "period_drift": ((g.R_DRIFT, g.R_DRIFT_WINDOW), g.R_DRIFT_SCOPE),
    "max_age": ((g.R_AGE,), g.R_AGE_SCOPE),
    "duplicate_orders": ((g.R_SAME, g.R_SAME_WINDOW), g.R_SAME_SCOPE),
    "order_ratio": ((g.R_RATIO, g.R_RATIO_FREE), g.R_RATIO_SCOPE),
    "volume_ratio": ((g.R_VOLUME, g.R_VOLUME_FREE), g.R_VOLUME_SCOPE),
    "executions": ((g.R_RUN, g.R_RUN_WINDOW), g.R_RUN_SCOPE),
    "depth_share": ((g.R_DEPTH,), g.R_DEPTH_SCOPE),
    "venue_share": ((g.R_SHARE,), g.R_SHARE_SCOPE),
    "clock_skew": ((g.R_SKEW,), g.R_SKEW_SCOPE),
}
SCOPE_OF = (
    *(scope for _, scope in _COLUMNS.values()), g.R_PERMIT_SCOPE, g.R_MISSING_SCOPE, g.R_MISSING_RISK_SCOPE,
)  # fmt: skip
"""Columns that name a scope."""
_MASKS = {
    "trade": g.R_INSTRUMENT,
    "sides": g.R_SIDES,
    "order_types": g.R_TYPES,
    "time_in_force": g.R_TIFS,
}
_FLAGS = (
    (g.HAS_RATIO, (g.R_RATIO, g.R_VOLUME)), (g.HAS_RUN, (g.R_RUN,)), (g.HAS_SHARE, (g.R_SHARE,)),
    (g.HAS_SKEW, (g.R_SKEW,)),
)  # fmt: skip


def nothing(columns: int) -> g.Ints:
    """What a place in a chain says where there is no scope: nothing."""
    row = np.full(WORDS, NOT_SET, np.int64)
    row[[CLOSED_FROM, CLOSED_TO, LAST_ENTRY, SELF_MATCH]] = g.UNLIMITED, -g.UNLIMITED, g.UNLIMITED, 0
    return np.broadcast_to(row, (columns, WORDS))


def rules_of(own: g.Ints, chains: Sequence[Sequence[Own | None]]) -> g.Ints:
    """Rows of `rules` [chains, columns, RULE_WORDS], without what market and factors make of them; `own` is
    [chains, PLACES, columns, WORDS]."""
    rows = np.zeros((own.shape[0], own.shape[2], g.RULE_WORDS), np.int64)
    for field, column in _MASKS.items():
        mask = np.bitwise_and.reduce(own[..., COLUMN[field][0]], axis=1)
        rows[..., column] = np.where(mask == NOT_SET, 0, mask)
    rows[..., g.R_PERMIT_SCOPE] = 1
    for field, (columns, scope_column) in _COLUMNS.items():
        _tightest(rows, own, COLUMN[field], columns, scope_column)
    for flag, limited in _FLAGS:
        some = (rows[..., limited] < g.UNLIMITED).any(axis=-1)
        rows[..., g.R_FLAGS] |= np.where(some, flag, 0)
    rows[..., g.R_CLOSED_FROM] = own[..., CLOSED_FROM].min(axis=1)
    rows[..., g.R_CLOSED_TO] = own[..., CLOSED_TO].max(axis=1)
    rows[..., g.R_LAST_ENTRY] = own[..., LAST_ENTRY].min(axis=1)
    meet = own[..., SELF_MATCH]
    rows[..., g.R_SELF_MATCH] = ~((meet == 1).any(axis=1) & ~(meet == 2).any(axis=1))
    for control in reversed(CONTROLS):
        if control.required and control.fields:
            lacking = _missing(own, chains, control)
            at = g.R_MISSING_RISK if control.risk_only else g.R_MISSING
            rows[..., at] = np.where(lacking, control.number, rows[..., at])
            rows[..., at + 1] = np.where(lacking, lacking, rows[..., at + 1])
    return rows


def _tightest(
    rows: g.Ints, own: g.Ints, sources: tuple[int, ...], columns: tuple[int, ...], scope_column: int
) -> None:
    """The tightest of the chain's limits; the first scope from the strategy up wins a tie."""
    limits = own[..., sources[0]]
    if (limits == NOT_SET).all():
        rows[..., columns[0]] = g.UNLIMITED
        return
    place = limits.argmin(axis=1)[:, None, :]
    least = np.take_along_axis(limits, place, 1)[:, 0]
    unset = least == NOT_SET
    rows[..., columns[0]] = np.where(unset, g.UNLIMITED, least)
    for source, column in zip(sources[1:], columns[1:], strict=True):
        goes = np.take_along_axis(own[..., source], place, 1)[:, 0]
        rows[..., column] = np.where(unset, 0, goes)
    rows[..., scope_column] = np.where(unset, 0, place[:, 0] + 1)


def _missing(own: g.Ints, chains: Sequence[Sequence[Own | None]], control: Control) -> g.Ints:
    """The place of the scope that lacks a limit of this control, 0 when nothing is missing."""
    found = np.zeros((own.shape[0], own.shape[2]), np.int64)
    if not control.levels:
        for field in control.fields:
            unset = (own[..., COLUMN[field][0]] == NOT_SET).all(axis=1)
            found[unset] = 1
        return found
    for place in reversed(range(PLACES)):
        if control.fields == ("position",):
            level = _each(chains, place, lambda one: one.level in control.levels)
            lacks = (own[:, place][..., [LONG, SHORT]] == NOT_SET).any(axis=-1) & level[:, None]
        else:
            lacks = _each(chains, place, lambda one: control.number in one.lacks)[:, None]
        found = np.where(lacks, place + 1, found)
    return found


def _each(
    chains: Sequence[Sequence[Own | None]], place: int, asked: Callable[[Own], bool]
) -> npt.NDArray[np.bool_]:
    return np.array([(one := chain[place]) is not None and asked(one) for chain in chains], np.bool_)
