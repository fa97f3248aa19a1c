"""The limits that several lanes use up together, by number, and where each lives in the gate's arrays.

A field is a limit of a scope's total, or of its position in one instrument. What is used of it now adds up over
lanes, so a part of it can be lent to each (escrow leases); `NET_LONG` and `NET_SHORT` are judged apart for that.
"""

from __future__ import annotations

from enum import IntEnum, unique
from typing import NamedTuple

from tidegate.kernel import gate_state as g

NO_INSTRUMENT = -1
"""The instrument of a field that is the whole scope's."""


@unique
class Field(IntEnum):
    """A limit that adds up. Numbers are stable: they are in lanes' logs."""

    ORDERS = 0
    """Open orders, a count (control 16)."""
    OPEN_VALUE = 1
    """Value of open orders (16). Money is in micro-units of the base currency."""
    GROSS = 2
    """Gross notional at worst case (18)."""
    NET_LONG = 3
    """Net notional if all buys filled and no sell (18). Its use is below 0 where the scope is short all the same."""
    NET_SHORT = 4
    """Net notional if all sells filled and no buy, short counted up (18). Its use may be below 0."""
    TRADED = 5
    """Value traded today and value open (25)."""
    LONG = 6
    """Lots of one instrument: position + open buys (17). Its use may be below 0."""
    SHORT = 7
    """Lots of one instrument: open sells − position (17). Its use may be below 0."""

    @property
    def per_instrument(self) -> bool:
        """Whether the limit is one of an instrument (in lots), and not of the scope as a whole."""
        return self >= Field.LONG


class Place(NamedTuple):
    """Columns of `gate_state`'s `cell` (per instrument) or `scope`: the limit; what is used, added and taken off."""

    limit: int
    plus: tuple[int, ...]
    minus: tuple[int, ...] = ()


PLACES: dict[Field, Place] = {
    Field.ORDERS: Place(g.P_MAX_ORDERS, (g.P_ORDERS,)),
    Field.OPEN_VALUE: Place(g.P_MAX_OPEN, (g.P_OPEN,)),
    Field.GROSS: Place(g.P_MAX_GROSS, (g.P_GROSS,)),
    Field.NET_LONG: Place(g.P_MAX_NET_LONG, (g.P_LONG,)),
    Field.NET_SHORT: Place(g.P_MAX_NET_SHORT, (), (g.P_SHORT,)),
    Field.TRADED: Place(g.P_MAX_TRADED, (g.P_TRADED, g.P_OPEN)),
    Field.LONG: Place(g.C_MAX_LONG, (g.C_POS, g.C_BUYS)),
    Field.SHORT: Place(g.C_MAX_SHORT, (g.C_SELLS,), (g.C_POS,)),
}


def row_of(
    state: g.GateState, scope: int, field: int, instrument: int = NO_INSTRUMENT
) -> tuple[g.Ints, Place]:
    """The row that holds the field and its columns there; raises `ValueError` for what does not exist."""
    if not 0 <= scope < len(state.scope):
        raise ValueError(f"scope {scope} of {len(state.scope)}")
    try:
        known = Field(field)
    except ValueError:
        raise ValueError(f"field {field} is none of {', '.join(f'{f.name} {f:d}' for f in Field)}") from None
    if not known.per_instrument:
        if instrument != NO_INSTRUMENT:
            raise ValueError(f"field {known.name} is the scope's own and has no instrument, got {instrument}")
        return state.scope[scope], PLACES[known]
    if not 0 <= instrument < len(state.inst):
        raise ValueError(f"field {known.name}: instrument {instrument} of {len(state.inst)}")
    return state.cell[scope * len(state.inst) + instrument], PLACES[known]


def use(state: g.GateState, scope: int, field: int, instrument: int = NO_INSTRUMENT) -> int:
    """What is used of the field now, as the gate compares it with the limit."""
    row, place = row_of(state, scope, field, instrument)
    return sum(int(row[c]) for c in place.plus) - sum(int(row[c]) for c in place.minus)


def uses(state: g.GateState, scope: int, field: int) -> g.Ints:
    """What is used of a field that is one of an instrument, by instrument."""
    row_of(state, scope, field, 0)
    n, place = len(state.inst), PLACES[Field(field)]
    cells = state.cell[scope * n : (scope + 1) * n]
    found: g.Ints = cells[:, place.plus].sum(axis=1) - cells[:, place.minus].sum(axis=1)
    return found


def limit(state: g.GateState, scope: int, field: int, instrument: int = NO_INSTRUMENT) -> int:
    """The limit in force, `gate_state.UNLIMITED` for none."""
    row, place = row_of(state, scope, field, instrument)
    return int(row[place.limit])
