"""What a run leaves behind: six tables and a summary, the input of every figure in the report.

Times are ns since the epoch (int64). Quantities are in base units or contracts, prices in quote units; money
is in the settlement currency in `fills` and in the run's base currency in `equity`. Labels (strategy,
account, instrument, status …) are dictionary-encoded text.

The summary's keys, all optional: `run_id`, `state_hash`, `config`, `version`, `base_currency`; `start`, `end`
(ns); `events`, `wall_s`, `events_per_s`; `data` (instrument → `{"rows": {kind: count}, "start", "end"}`);
`capital` (account → base currency); `rates` (currency → base currency per unit, for fees and costs settled
elsewhere; the base is 1); `inverse` (ids of the inverse contracts); `counters` (name → count, or instrument →
name → count); `error` (why the run ended early).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_TEXT = pa.dictionary(pa.int32(), pa.string())
_WHO = [("strategy", _TEXT), ("account", _TEXT), ("instrument", _TEXT)]


def _schema(*columns: tuple[str, Any]) -> Any:
    return pa.schema([pa.field(name, kind) for name, kind in columns])


def _floats(*names: str) -> list[tuple[str, Any]]:
    return [(name, pa.float64()) for name in names]


SCHEMAS: dict[str, Any] = {
    "fills": _schema(
        ("ts", pa.int64()), ("ts_venue", pa.int64()), *_WHO,
        ("cl_ord_id", pa.int64()), ("exec_id", pa.int64()), ("side", pa.int8()),
        *_floats("price", "qty", "value", "fee"),
        ("currency", _TEXT), ("liquidity", _TEXT), *_floats("mid", "arrival_mid"),
    ),
    "orders": _schema(
        ("cl_ord_id", pa.int64()), ("ts_submit", pa.int64()), ("ts_ack", pa.int64()), ("ts_done", pa.int64()),
        *_WHO, ("side", pa.int8()), ("ord_type", _TEXT), ("tif", _TEXT),
        *_floats("price", "qty", "cum_qty", "avg_px"),
        ("status", _TEXT), ("reason", _TEXT), *_floats("arrival_mid", "queue_ahead"),
    ),
    "denials": _schema(
        ("ts", pa.int64()), *_WHO, ("reason", _TEXT), ("control", pa.int64()), ("scope", _TEXT),
        *_floats("limit", "value"),
    ),
    "equity": _schema(
        ("ts", pa.int64()), *_WHO,
        *_floats("position", "mark", "exposure", "realised", "unrealised", "fees", "funding"),
    ),
    "touch": _schema(("ts", pa.int64()), ("instrument", _TEXT), *_floats("bid", "ask")),
    "latency": _schema(("name", _TEXT), ("ns", pa.int64())),
}  # fmt: skip
"""Every table's declared columns. Sides are +1 for a buy and −1 for a sell; fees paid are positive."""


def make(name: str, columns: Mapping[str, Any] | None = None) -> Any:
    """The table `name` from arrays or lists by column; without columns, the empty table.

    Raises `ValueError` naming a column that is missing or cannot be read as its declared type.
    """
    schema = SCHEMAS[name]
    if columns is None:
        return schema.empty_table()
    return conform(name, pa.table(dict(columns)))


def conform(name: str, table: Any) -> Any:
    """`table` with the declared columns first, each of its declared type; further columns are kept.

    Raises `ValueError` naming a column that is missing or cannot be read as its declared type.
    """
    declared = SCHEMAS[name]
    missing = [column for column in declared.names if column not in table.column_names]
    if missing:
        raise ValueError(f"table {name}: missing column{'s'[: len(missing) > 1]} {', '.join(missing)}")
    arrays, fields = [], []
    for column in declared:
        try:
            arrays.append(_as(table.column(column.name), column.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
            found = table.schema.field(column.name).type
            raise ValueError(
                f"table {name}: column {column.name} is {found}, expected {column.type}: {error}"
            ) from None
        fields.append(column)
    for extra in table.schema:
        if extra.name not in declared.names:
            arrays.append(table.column(extra.name))
            fields.append(extra)
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _as(column: Any, kind: Any) -> Any:
    if column.type == kind:
        return column
    if kind == _TEXT:
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        return column.cast(pa.string()).dictionary_encode()
    return column.cast(kind)


@dataclass(frozen=True)
class RunTables:
    """The tables of one run. Construction checks every schema and raises `ValueError` on a misfit."""

    fills: Any = None
    orders: Any = None
    denials: Any = None
    equity: Any = None
    touch: Any = None
    latency: Any = None
    summary: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in SCHEMAS:
            table = getattr(self, name)
            object.__setattr__(self, name, make(name) if table is None else conform(name, table))


@dataclass(frozen=True)
class Names:
    """The labels of a run in order of first appearance; codes below are positions in these."""

    strategies: tuple[str, ...]
    accounts: tuple[str, ...]
    instruments: tuple[str, ...]


def names(run: RunTables) -> Names:
    """Every strategy, account and instrument that any table of the run mentions."""
    tables = (run.equity, run.orders, run.fills, run.denials)
    return Names(
        _labels([t.column("strategy") for t in tables]),
        _labels([t.column("account") for t in tables]),
        _labels([t.column("instrument") for t in (run.touch, *tables)]),
    )


def _labels(columns: Sequence[Any]) -> tuple[str, ...]:
    seen: dict[str, None] = {}
    for column in columns:
        for value in column.unique().to_pylist():
            seen.setdefault(value or "")
    return tuple(seen)


def codes(table: Any, column: str, labels: Sequence[str]) -> Ints:
    """The column as positions in `labels`; null counts as ''. A label not listed raises `KeyError`."""
    place = {label: n for n, label in enumerate(labels)}
    merged = table.column(column).unify_dictionaries().combine_chunks()
    chunks = merged.chunks if isinstance(merged, pa.ChunkedArray) else [merged]
    parts = []
    for chunk in chunks:
        own = np.array([place[value or ""] for value in chunk.dictionary.to_pylist()], np.int64)
        indices = chunk.indices
        if indices.null_count:
            own = np.append(own, place[""])
            indices = indices.fill_null(len(own) - 1)
        parts.append(own[indices.to_numpy(zero_copy_only=False)] if len(own) else np.zeros(0, np.int64))
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def text(table: Any, column: str) -> tuple[Ints, tuple[str, ...]]:
    """A label column as codes and the labels they index, in order of first appearance."""
    labels = _labels([table.column(column)])
    return codes(table, column, labels), labels


def floats(table: Any, column: str) -> Floats:
    """A numeric column as float64; nulls become NaN."""
    return np.asarray(table.column(column).to_numpy(), np.float64)


def ints(table: Any, column: str) -> Ints:
    """An integer column as int64; nulls become 0."""
    return np.asarray(table.column(column).fill_null(0).to_numpy(), np.int64)
