"""What people and services tell the gate beside orders and marks: acknowledgements, equity at venues, time, a gap."""

from __future__ import annotations

from tidegate.kernel import gate_state as g
from tidegate.model.order import Side

_RUNS = {Side.BUY: [g.C_RUN_BUYS, g.C_RUN_BUYS_TS], Side.SELL: [g.C_RUN_SELLS, g.C_RUN_SELLS_TS]}


def acknowledge(state: g.GateState, strategy: int, instrument: int, side: int) -> None:
    """Control 15: a person has seen a strategy's executions; `side` 0 is both. Raises `ValueError`."""
    strategies, n = len(state.ring), len(state.inst)
    if not 0 <= strategy < strategies:
        raise ValueError(f"strategy {strategy} of {strategies}")
    if not 0 <= instrument < n:
        raise ValueError(f"instrument {instrument} of {n}")
    row = state.cell[(len(state.scope) - strategies + strategy) * n + instrument]
    for one in Side if side == 0 else (Side(side),):
        row[_RUNS[one]] = 0


def set_equity(state: g.GateState, venue: int, equity: int) -> None:
    """Control 26: the equity at a venue, micro-units of the base currency, after haircuts. Raises `ValueError`.

    No share is known before every venue has been told of, and of a run's only venue there is none to compare. A debt
    counts as nothing.
    """
    venues = state.inst[:, g.I_VENUE]
    if not 0 <= venue <= int(venues.max()):
        raise ValueError(f"venue {venue} of {int(venues.max()) + 1}")
    if abs(equity) > g.MAX_MONEY:
        raise ValueError(f"equity {equity} is beyond {g.MAX_MONEY} micro-units")
    state.inst[venues == venue, g.I_EQUITY] = max(0, equity)
    _, firsts = [*zip(*{int(v): i for i, v in reversed([*enumerate(venues)])}.items(), strict=True)]
    each = [int(state.inst[i, g.I_EQUITY]) for i in firsts]
    if len(each) < 2 or min(each) < 0:
        return
    total = sum(each)
    for row in state.inst:
        row[g.I_SHARE] = int(row[g.I_EQUITY]) * g.PPM // total if total else 0


def tick(state: g.GateState, ts: int) -> None:
    """Control 29: time, ticked into the lane."""
    state.slot[0, g.H_TICK] = max(int(state.slot[0, g.H_TICK]), ts)


def clock_limit(state: g.GateState) -> int:
    """Control 29: the tightest limit on an order's time, ns; 0 where there is none."""
    limits = state.rules[state.rules[:, g.R_FLAGS] & g.HAS_SKEW != 0, g.R_SKEW]
    return int(limits.min()) if len(limits) else 0


def set_gap(state: g.GateState, gap: bool) -> None:
    """Control 29: something of the risk log is missing, so nothing passes but cancels; or it is whole again."""
    state.slot[0, g.H_GAP] = int(gap)
