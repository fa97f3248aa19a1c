"""Control 28: which instruments are a strategy's legs, and what they are worth together when that changes."""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np

from tidegate.kernel import gate_state as g


def write_legs(state: g.GateState, scope: int, legs: Collection[int]) -> None:
    """Make these instruments the scope's legs. One that becomes a leg counts with its position."""
    n, row = len(state.inst), state.scope[scope]
    cells = state.cell[scope * n : (scope + 1) * n]
    wanted = np.zeros(n, np.int64)
    wanted[list(legs)] = 1
    for i in np.flatnonzero(cells[:, g.C_LEG] != wanted).tolist():
        cell, leg = cells[i], int(wanted[i])
        value = math.floor(float(state.real[i, g.X_UNIT]) * int(cell[g.C_POS]) + 0.5) if leg else 0
        row[g.P_LEG_DELTA] += value - cell[g.C_LEG_VALUE]
        cell[g.C_LEG], cell[g.C_LEG_VALUE] = leg, value


def write_since(state: g.GateState) -> None:
    """Legs, or what they may be worth, have changed: since when each scope's are out of balance."""
    out = np.abs(state.scope[:, g.P_LEG_DELTA]) > state.scope[:, g.P_MAX_LEG]
    since = state.scope[:, g.P_LEG_SINCE]
    since[~out] = 0
    since[out & (since == 0)] = max(int(state.slot[0, g.H_FACT]), 1)
