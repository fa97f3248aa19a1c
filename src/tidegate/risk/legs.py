"""Control 28: which instruments are a strategy's legs, and what they are worth together when that changes."""

from __future__ import annotations

import math

from tidegate.kernel import gate_state as g
from tidegate.risk.scopes import Level
from tidegate.risk.tables import Tables


def write_legs(state: g.GateState, tables: Tables, scope: int) -> None:
    """Make the instruments that people named the scope's legs. One that becomes a leg counts with its position."""
    n, row = len(tables.universe), state.scope[scope]
    named = tables.total(scope, "legs") if tables.scopes.levels[scope] is Level.STRATEGY else None
    limited = row[g.P_MAX_LEG] < g.UNLIMITED
    for i, instrument in enumerate(tables.universe.instruments):
        cell, leg = state.cell[scope * n + i], int(limited and instrument.id in (named or ()))
        if cell[g.C_LEG] != leg:
            value = math.floor(float(state.real[i, g.X_UNIT]) * int(cell[g.C_POS]) + 0.5) if leg else 0
            row[g.P_LEG_DELTA] += value - cell[g.C_LEG_VALUE]
            cell[g.C_LEG], cell[g.C_LEG_VALUE] = leg, value
    if abs(row[g.P_LEG_DELTA]) <= row[g.P_MAX_LEG]:
        row[g.P_LEG_SINCE] = 0
    elif row[g.P_LEG_SINCE] == 0:
        row[g.P_LEG_SINCE] = max(state.slot[0, g.H_FACT], 1)
