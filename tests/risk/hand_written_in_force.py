"""Limits in force brought about one scope, one instrument and one field at a time (see `hand_written_rules`)."""

from __future__ import annotations

from hand_written_market import work_out, write_plain
from hand_written_rules import write_limits

from tidegate.kernel import gate_state as g
from tidegate.risk.leases.fields import PLACES, Field, limit, row_of, use
from tidegate.risk.leases.lease import held
from tidegate.risk.tables import Tables


def clone(state: g.GateState) -> g.GateState:
    return g.GateState(*(array.copy() for array in state))


def write(state: g.GateState, tables: Tables, factors: dict[int, int], leases: dict) -> g.GateState:
    """All columns that limits fill; gives the state with limits as people set them."""
    write_limits(state, tables)
    human = clone(state)
    for instrument in range(len(tables.universe)):
        tighten(state, human, tables, instrument, factors, leases)
        work_out(state, tables, instrument)
        write_plain(state, instrument)
    for key in leases:
        apply(state, human, key, factors, leases)
    return human


def tighten(state, human, tables, instrument, factors, leases) -> None:
    n, ppm = len(tables.universe), factors.get(instrument, g.PPM)
    rules = state.rules[instrument::n]
    for whole, now in ((g.R_QTY, g.R_QTY_NOW), (g.R_VALUE, g.R_VALUE_NOW)):
        rules[:, now] = [held(int(most), ppm) for most in rules[:, whole]]
    for scope in range(len(tables.scopes)):
        for field in (Field.LONG, Field.SHORT):
            apply(state, human, (scope, field, instrument), factors, leases)


def apply(state, human, key, factors, leases) -> None:
    row, place = row_of(state, *key)
    most = limit(human, *key)
    if Field(key[1]).per_instrument:
        most = held(most, factors.get(key[2], g.PPM))
    row[place.limit] = min(most, leases.get(key, g.UNLIMITED))


def below(state: g.GateState, scopes: int) -> list[tuple[int, ...]]:
    """Additive limits in force that are below their use."""
    found = []
    for scope in range(scopes):
        for field in PLACES:
            for i in range(len(state.inst)) if field.per_instrument else (-1,):
                used, most = use(state, scope, field, i), limit(state, scope, field, i)
                if used > most:
                    found.append((scope, field, i, used, most))
    return found
