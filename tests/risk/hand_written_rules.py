"""The limits' rows written one scope and one instrument at a time: what `risk.limit_sheet` must come to, exactly."""

from __future__ import annotations

import math
from typing import Any

from hand_written_market import write_legs, write_margins, write_shares

from tidegate.kernel import gate_state as g
from tidegate.model.instrument import Instrument
from tidegate.risk.controls import CONTROLS, Control
from tidegate.risk.convert import bucket, count, lots, micro, parts, thousandths
from tidegate.risk.limits import InstrumentLimits, bits
from tidegate.risk.tables import Tables, find

UNSET = -1


def order_rules(
    tables: list[InstrumentLimits], wide: tuple[Any, ...], instrument: Instrument
) -> dict[str, tuple[int, ...]]:
    """One scope's limits on an order, in kernel units, with what goes with each. Absent: not set."""
    rules: dict[str, tuple[int, ...]] = {}
    trade, share, skew = wide
    if trade is not None:
        patterns = ("*", f"*.{instrument.venue}", instrument.id)
        rules["trade"] = (int(any(name in patterns for name in trade)),)
    for field in ("sides", "order_types", "time_in_force"):
        value, _ = find(tables, field)
        if value is not None:
            rules[field] = (bits(field, value),)
    value, _ = find(tables, "order_qty")
    if value is not None:
        rules["order_qty"] = (lots(value, instrument),)
    for field in ("order_value", "parent_value"):
        value, _ = find(tables, field)
        if value is not None:
            rules[field] = (micro(value),)
    if share is not None:
        rules["venue_share"] = (parts(share),)
    if skew is not None:
        rules["clock_skew"] = (skew,)
    value, table = find(tables, "price_collar")
    if table is not None:
        rules["price_collar"] = (parts(value), math.floor(table.price_collar_floor / instrument.tick))
    value, table = find(tables, "dynamic_collar")
    if table is not None:
        k = math.floor(value * 1000) if value < 1000 else g.UNLIMITED
        rules["dynamic_collar"] = (k, table.dynamic_horizon, parts(table.dynamic_floor))
    value, table = find(tables, "period_drift")
    if table is not None:
        rules["period_drift"] = (parts(value), table.period_window)
    value, _ = find(tables, "max_age")
    if value is not None:
        rules["max_age"] = (value,)
    value, table = find(tables, "duplicate_orders")
    if table is not None:
        rules["duplicate_orders"] = (count(value), table.duplicate_window)
    for field in ("order_ratio", "volume_ratio"):
        value, table = find(tables, field)
        if table is not None:
            rules[field] = (thousandths(value), table.ratio_free)
    value, table = find(tables, "executions")
    if table is not None:
        rules["executions"] = (count(value), table.execution_window)
    value, _ = find(tables, "depth_share")
    if value is not None:
        rules["depth_share"] = (parts(value),)
    return rules


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
_WIDE = ("trade", "venue_share", "clock_skew")
"""Limits on one order that a scope sets for all its instruments alike."""
_MASKS = {
    "trade": g.R_INSTRUMENT,
    "sides": g.R_SIDES,
    "order_types": g.R_TYPES,
    "time_in_force": g.R_TIFS,
}


def write_rule(row: g.Ints, chain: tuple[int, ...], own: dict[int, dict[str, tuple[int, ...]]]) -> None:
    """The tightest of the chain's limits on one order; the first scope from the strategy up wins a tie."""
    for field, column in _MASKS.items():
        masks = [own[s][field][0] for s in chain if field in own[s]]
        row[column] = masks[0] if masks else 0
        for mask in masks:
            row[column] &= mask
    row[g.R_PERMIT_SCOPE] = chain[0]
    for field, (columns, scope_column) in _COLUMNS.items():
        setters = [s for s in chain if field in own[s]]
        if setters:
            tightest = min(setters, key=lambda s: own[s][field][0])
            row[list(columns)] = own[tightest][field]
            row[scope_column] = tightest
        else:
            row[columns[0]] = g.UNLIMITED
    for flag, limited in (
        (g.HAS_RATIO, (g.R_RATIO, g.R_VOLUME)), (g.HAS_RUN, (g.R_RUN,)), (g.HAS_SHARE, (g.R_SHARE,)),
        (g.HAS_SKEW, (g.R_SKEW,)),
    ):  # fmt: skip
        if any(row[column] < g.UNLIMITED for column in limited):
            row[g.R_FLAGS] |= flag


def write_windows(row: g.Ints, chain: list[list[InstrumentLimits]], instrument: Instrument) -> None:
    """Controls 2 and 12: what any scope of the chain closes is closed; of several windows, their hull."""
    row[g.R_CLOSED_FROM], row[g.R_CLOSED_TO] = g.UNLIMITED, -g.UNLIMITED
    row[g.R_LAST_ENTRY], meet = g.UNLIMITED, []
    for tables in chain:
        begins, ends = find(tables, "restricted_from")[0], find(tables, "restricted_to")[0]
        if find(tables, "restricted")[0]:
            begins, ends = -g.UNLIMITED, g.UNLIMITED
        if begins is not None or ends is not None:
            row[g.R_CLOSED_FROM] = min(row[g.R_CLOSED_FROM], -g.UNLIMITED if begins is None else begins)
            row[g.R_CLOSED_TO] = max(row[g.R_CLOSED_TO], g.UNLIMITED if ends is None else ends)
        window = find(tables, "expiry_window")[0]
        if window is not None and instrument.expiry:
            row[g.R_LAST_ENTRY] = min(row[g.R_LAST_ENTRY], instrument.expiry - window)
        meet.append(find(tables, "self_match")[0])
    row[g.R_SELF_MATCH] = 0 if True in meet and False not in meet else 1


def missing(tables: Tables, chain: tuple[int, ...], instrument: Instrument, control: Control,
            own: dict[int, dict[str, tuple[int, ...]]]) -> int:  # fmt: skip
    """The scope that lacks a limit of this control, UNSET when nothing is missing."""
    if not control.required:
        return UNSET
    if not control.levels:
        lacking = [field for field in control.fields if not any(field in own[s] for s in chain)]
        return chain[0] if lacking else UNSET
    for s in chain:
        if tables.scopes.levels[s] not in control.levels:
            continue
        if control.fields == ("position",):
            if None in position(tables.of(s, instrument), instrument):
                return s
        elif any(tables.total(s, field) is None for field in control.fields):
            return s
    return UNSET


def position(tables: list[InstrumentLimits], instrument: Instrument) -> tuple[int | None, int | None]:
    """(longest, shortest) position in lots; None where it is not set."""
    both, _ = find(tables, "position")
    ends = (find(tables, "long")[0], find(tables, "short")[0])
    return tuple(  # type: ignore[return-value]
        None if (value := both if end is None else end) is None else lots(value, instrument) for end in ends
    )


def write_scope(row: g.Ints, tables: Tables, scope: int) -> None:
    """A scope's totals; what is not set here is not judged here."""
    for field, column, convert in (
        ("open_orders", g.P_MAX_ORDERS, count),
        ("open_value", g.P_MAX_OPEN, micro),
        ("gross", g.P_MAX_GROSS, micro),
        ("net", g.P_MAX_NET_LONG, micro),
        ("net", g.P_MAX_NET_SHORT, micro),
        ("loss", g.P_MAX_LOSS, micro),
        ("drawdown", g.P_MAX_DRAWDOWN, micro),
        ("traded_value", g.P_MAX_TRADED, micro),
        ("slippage_score", g.P_MAX_SLIPPAGE, thousandths),
        ("reject_share", g.P_MAX_REJECTS, parts),
        ("leg_value", g.P_MAX_LEG, micro),
    ):
        value = tables.total(scope, field)
        row[column] = g.UNLIMITED if value is None else convert(value)
    buffer = tables.total(scope, "margin_buffer")
    row[g.P_KEEP] = max(0, g.PPM - parts(buffer)) if buffer is not None and buffer.is_finite() else -1
    for field, burst, columns in (
        ("orders_per_second", "order_burst", (g.P_NEW_GAP, g.P_NEW_BURST)),
        ("cancels_per_second", "cancel_burst", (g.P_CANCEL_GAP, g.P_CANCEL_BURST)),
        ("fills_per_second", "fill_burst", (g.P_FILL_GAP, g.P_FILL_BURST)),
    ):
        rate, table = find(list(tables.general[scope]), field)
        # Each lane has its part of a rate: a flow cannot be lent, it is over before a grant would come.
        spread = tables.scopes.spread.get(scope, 1)
        part = rate / spread if rate is not None else None
        most = getattr(table, burst) if table is not None else 0
        row[list(columns)] = bucket(part, max(1, most // spread) if most else 0)
    time = next((t.leg_time for t in tables.general[scope] if t.leg_value is not None), 0)
    row[g.P_LEG_TIME] = time


def write_limits(state: g.GateState, tables: Tables) -> None:
    """Every limit of a document into the rows that the kernels read: rules, totals, positions."""
    universe, scopes = tables.universe, tables.scopes
    n = len(universe)
    wide = [tuple(tables.total(s, field) for field in _WIDE) for s in range(len(scopes))]
    own = [[order_rules(tables.of(s, item), wide[s], item) for item in universe.instruments]
           for s in range(len(scopes))]  # fmt: skip
    for s in range(len(scopes)):
        write_scope(state.scope[s], tables, s)
        for i, instrument in enumerate(universe.instruments):
            ends = position(tables.of(s, instrument), instrument)
            state.cell[s * n + i, [g.C_MAX_LONG, g.C_MAX_SHORT]] = [
                g.UNLIMITED if e is None else e for e in ends
            ]
            write_shares(state.cell[s * n + i], tables.of(s, instrument))
        write_legs(state, tables, s)
    write_margins(state, tables)
    state.rules[:] = 0
    for links in state.chain:
        if links[g.CH_RULES] < 0:
            continue
        chain = tuple(int(s) for s in links[g.CH_STRATEGY : g.CH_FIRM + 1] if s >= 0)
        for i, instrument in enumerate(universe.instruments):
            row, here = state.rules[links[g.CH_RULES] + i], {s: own[s][i] for s in chain}
            write_rule(row, chain, here)
            write_windows(row, [tables.of(s, instrument) for s in chain], instrument)
            for control in reversed(CONTROLS):
                lacking = missing(tables, chain, instrument, control, here)
                if lacking != UNSET:
                    at = g.R_MISSING_RISK if control.risk_only else g.R_MISSING
                    row[[at, at + 1]] = control.number, lacking
