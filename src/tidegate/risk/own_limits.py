"""One scope's limits in the kernels' units, by kind of instrument: worked out once for all scopes with the same tables."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cached_property
from typing import Any

import numpy as np

from tidegate.kernel import gate_state as g
from tidegate.model.instrument import Instrument
from tidegate.risk.controls import CONTROLS
from tidegate.risk.convert import bucket, count, lots, micro, parts, thousandths
from tidegate.risk.limit_frame import Frame
from tidegate.risk.limits import InstrumentLimits, ScopeLimits, bits
from tidegate.risk.scopes import Level
from tidegate.risk.tables import find

NOT_SET = (1 << 63) - 1
"""Above every limit, and every bit set: what is not set neither tightens nor forbids."""

MASKS = ("trade", "sides", "order_types", "time_in_force")
TIGHTEST: dict[str, tuple[str, ...]] = {
    "order_qty": (), "order_value": (), "parent_value": (), "price_collar": ("floor",),
    "dynamic_collar": ("horizon", "floor"), "period_drift": ("window",), "max_age": (), "duplicate_orders": ("window",),
    "order_ratio": ("free",), "volume_ratio": ("free",), "executions": ("window",), "depth_share": (),
    "venue_share": (), "clock_skew": (),
}  # fmt: skip
"""Limits on one order of which the tightest of a chain holds, each with what goes with it."""


def _columns() -> tuple[dict[str, tuple[int, ...]], int]:
    found: dict[str, tuple[int, ...]] = {field: (n,) for n, field in enumerate(MASKS)}
    at = len(MASKS)
    for field, more in TIGHTEST.items():
        found[field] = tuple(range(at, at + 1 + len(more)))
        at += 1 + len(more)
    return found, at


COLUMN, _END = _columns()
CLOSED_FROM, CLOSED_TO, LAST_ENTRY, SELF_MATCH, LONG, SHORT, VOLUME_PPM, INTEREST_PPM = range(_END, _END + 8)
WORDS = _END + 8
RULES, ENDS, SHARES = slice(0, SHORT + 1), slice(LONG, SHORT + 1), slice(VOLUME_PPM, WORDS)
"""What rules follow from (whether `position` is set among it), what position limits do, and shares of the market."""

TOTALS = (
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
)
RATES = (
    ("orders_per_second", "order_burst", (g.P_NEW_GAP, g.P_NEW_BURST)),
    ("cancels_per_second", "cancel_burst", (g.P_CANCEL_GAP, g.P_CANCEL_BURST)),
    ("fills_per_second", "fill_burst", (g.P_FILL_GAP, g.P_FILL_BURST)),
)
SCOPE_COLUMNS = [
    *(column for _, column, _ in TOTALS), g.P_KEEP, *(column for _, _, two in RATES for column in two), g.P_LEG_TIME,
]  # fmt: skip
"""Columns of `scope` that limits fill."""
KEEP, MAX_LEG = SCOPE_COLUMNS.index(g.P_KEEP), SCOPE_COLUMNS.index(g.P_MAX_LEG)


class Own:
    """What the tables of a scope come to. `spread`: over how many lanes the scope lies."""

    def __init__(self, tables: list[ScopeLimits], level: Level, spread: int, frame: Frame) -> None:
        self.tables, self.level = tables, level
        self._wide = {field: self.total(field) for field in ("trade", "venue_share", "clock_skew")}
        self.general = self._rows(self._tables_of("*"), frame.kinds, alone=False)
        """By kind of instrument; of those that no table names."""
        index = frame.universe.index
        names = {name for table in tables for name in table.instruments}.union(self._wide["trade"] or ())
        self.named: dict[int, g.Ints] = {
            index[name]: self._rows(self._tables_of(name), [frame.universe[index[name]]])[0]
            for name in sorted(names & index.keys(), key=index.__getitem__)
        }
        self.totals = self._totals(spread)
        """By `SCOPE_COLUMNS`."""
        self.lacks = frozenset(
            c.number for c in CONTROLS
            if c.required and level in c.levels and c.fields != ("position",)
            and any(self.total(field) is None for field in c.fields)
        )  # fmt: skip
        """Controls that need a limit of the scope's total and have none."""
        legs = self.total("legs") if level is Level.STRATEGY and self.totals[MAX_LEG] < g.UNLIMITED else None
        self.legs = frozenset(index[name] for name in legs or ())

    def total(self, field: str) -> Any:
        """A limit of the scope's total, None where it is not set."""
        return next((v for t in self.tables if (v := getattr(t, field)) is not None), None)

    def _tables_of(self, name: str) -> list[InstrumentLimits]:
        names = (name, "*") if name != "*" else ("*",)
        return [*(t.instruments[n] for n in names for t in self.tables if n in t.instruments), *self.tables]

    def _key(self, columns: slice, *more: object) -> tuple[object, ...]:
        named = tuple((i, row[columns].tobytes()) for i, row in self.named.items())
        return (self.general[:, columns].tobytes(), named, *more)

    @cached_property
    def rule_key(self) -> tuple[object, ...]:
        """Equal where the rules that follow are the same."""
        return self._key(RULES, self.level, self.lacks)

    @cached_property
    def cell_key(self) -> tuple[object, ...]:
        """Equal where limits on positions are the same."""
        return self._key(slice(LONG, WORDS), self.level, int(self.totals[KEEP]) < 0)

    def over(self, frame: Frame, named: Iterable[int]) -> g.Ints:
        """By kind of instrument, then by each of `named`."""
        more = list(named)
        if not more:
            return self.general
        rows = self.general[[*range(len(frame.kinds)), *frame.kind_of[more].tolist()]]
        if self.named:
            for n, i in enumerate(more, len(frame.kinds)):
                if i in self.named:
                    rows[n] = self.named[i]
        return rows

    def _rows(self, tables: list[InstrumentLimits], items: list[Instrument], alone: bool = True) -> g.Ints:
        """One row an instrument, all of which these tables speak for; not `alone`: it stands for its kind, and what is
        said of it by name does not count."""
        row = [NOT_SET] * WORDS
        self._orders(row, tables)
        self._windows(row, tables)
        for field, column in (("volume_share", VOLUME_PPM), ("interest_share", INTEREST_PPM)):
            value, _ = find(tables, field)
            row[column] = g.UNLIMITED if value is None else parts(value)
        rows = np.tile(np.array(row, np.int64), (len(items), 1))
        trade = self._wide["trade"]
        if trade is not None:
            rows[:, COLUMN["trade"][0]] = [
                "*" in trade or f"*.{item.venue}" in trade or (alone and item.id in trade) for item in items
            ]
        both = find(tables, "position")[0]
        for column, value in (
            (COLUMN["order_qty"][0], find(tables, "order_qty")[0]),
            (LONG, both if (end := find(tables, "long")[0]) is None else end),
            (SHORT, both if (end := find(tables, "short")[0]) is None else end),
        ):
            if value is not None:
                sizes = {item.lot: item for item in items}  # most instruments have one of a few
                known = {lot: lots(value, item) for lot, item in sizes.items()}
                rows[:, column] = [known[item.lot] for item in items]
        _, table = find(tables, "price_collar")
        if table is not None:
            floor = table.price_collar_floor
            rows[:, COLUMN["price_collar"][1]] = [
                min(count(floor / item.tick), g.UNLIMITED) for item in items
            ]
        window = find(tables, "expiry_window")[0]
        if window is not None:
            rows[:, LAST_ENTRY] = [item.expiry - window if item.expiry else g.UNLIMITED for item in items]
        return rows

    def _orders(self, row: list[int], tables: list[InstrumentLimits]) -> None:
        """Limits on one order that do not depend on the instrument; what goes with one that is not set is 0."""
        for field in MASKS[1:]:
            value, _ = find(tables, field)
            if value is not None:
                row[COLUMN[field][0]] = bits(field, value)
        for field in TIGHTEST:
            first, *more = COLUMN[field]
            value, table = (self._wide[field], None) if field in self._wide else find(tables, field)
            if value is not None:
                row[first] = UNITS[field](value)
            for column, name in zip(more, _GOES_WITH.get(field, ()), strict=True):
                row[column] = UNITS.get(name, int)(getattr(table, name)) if table is not None else 0

    @staticmethod
    def _windows(row: list[int], tables: list[InstrumentLimits]) -> None:
        begins, ends = find(tables, "restricted_from")[0], find(tables, "restricted_to")[0]
        row[CLOSED_FROM], row[CLOSED_TO], row[LAST_ENTRY] = g.UNLIMITED, -g.UNLIMITED, g.UNLIMITED
        if find(tables, "restricted")[0]:
            row[CLOSED_FROM], row[CLOSED_TO] = -g.UNLIMITED, g.UNLIMITED
        elif begins is not None or ends is not None:
            row[CLOSED_FROM] = -g.UNLIMITED if begins is None else begins
            row[CLOSED_TO] = g.UNLIMITED if ends is None else ends
        row[SELF_MATCH] = {None: 0, True: 1, False: 2}[find(tables, "self_match")[0]]

    def _totals(self, spread: int) -> g.Ints:
        """A scope's totals; what is not set here is not judged here."""
        row = []
        for field, _, convert in TOTALS:
            value = self.total(field)
            row.append(g.UNLIMITED if value is None else convert(value))
        buffer = self.total("margin_buffer")
        row.append(max(0, g.PPM - parts(buffer)) if buffer is not None and buffer.is_finite() else -1)
        for field, burst, _ in RATES:
            rate, table = find(list(self.tables), field)
            # Each lane has its part of a rate: a flow cannot be lent, it is over before a grant would come.
            part = rate / spread if rate is not None else None
            most = getattr(table, burst) if table is not None else 0
            row += bucket(part, max(1, most // spread) if most else 0)  # 0 means a second's worth
        row.append(next((t.leg_time for t in self.tables if t.leg_value is not None), 0))
        return np.array(row, np.int64)


def _band(k: Any) -> int:
    return math.floor(k * 1000) if k < 1000 else g.UNLIMITED


UNITS: dict[str, Any] = {
    "order_qty": lambda value: NOT_SET, "order_value": micro, "parent_value": micro, "price_collar": parts,
    "price_collar_floor": lambda value: 0, "dynamic_collar": _band, "dynamic_floor": parts, "period_drift": parts,
    "max_age": int, "duplicate_orders": count, "order_ratio": thousandths, "volume_ratio": thousandths,
    "executions": count, "depth_share": parts, "venue_share": parts, "clock_skew": int,
}  # fmt: skip
"""From what people write; what needs the instrument is filled in by instrument."""
_GOES_WITH = {
    "price_collar": ("price_collar_floor",), "dynamic_collar": ("dynamic_horizon", "dynamic_floor"),
    "period_drift": ("period_window",), "duplicate_orders": ("duplicate_window",), "order_ratio": ("ratio_free",),
    "volume_ratio": ("ratio_free",), "executions": ("execution_window",),
}  # fmt: skip
