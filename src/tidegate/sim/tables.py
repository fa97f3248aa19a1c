"""From a run's rows to the tables of its report: units become decimal, money becomes the base currency's.

This is analytics, so floats: the exact figures are the ledger's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tidegate.analytics.tables import RunTables, make
from tidegate.execution.ids import origin_of
from tidegate.kernel.book import NO_ASK, NO_BID
from tidegate.model.instrument import Instrument, Universe
from tidegate.model.money import unit
from tidegate.model.order import OrdType
from tidegate.risk.ledger import NOBODY
from tidegate.risk.reasons import Reason
from tidegate.risk.scopes import ScopeTable
from tidegate.sim.recorder import FillRow, FundingRows, OrderRow, Recorder

NO_STRATEGY = "(no strategy)"
"""Whose positions are that people adopted for nobody."""
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_GRID = 2000
"""Points of the equity curves at most."""


@dataclass(frozen=True)
class Naming:
    """Names of the run's numbers, and how its currencies convert: instrument whose middle is the rate, or a rate."""

    universe: Universe
    scopes: ScopeTable
    base_currency: str
    rates: dict[str, int | float]

    def strategy(self, number: int) -> str:
        return self.scopes.strategies[number].name if number != NOBODY else NO_STRATEGY

    def account(self, number: int) -> str:
        return self.scopes.accounts[number].name


class Marks:
    """The sampled touches of a run, by instrument."""

    def __init__(self, recorder: Recorder, universe: Universe) -> None:
        rows = np.concatenate(recorder.marks) if recorder.marks else np.empty((0, 4), np.int64)
        self.rows = rows
        self.universe = universe
        self._by: dict[int, tuple[Ints, Floats]] = {}
        for number in range(len(universe)):
            mine = rows[(rows[:, 1] == number) & (rows[:, 2] != 0) & (rows[:, 3] != 0)]
            self._by[number] = (mine[:, 0].copy(), (mine[:, 2] + mine[:, 3]) / 2)

    def mid(self, number: int, at: Ints) -> Floats:
        """The middle in ticks at each time: the last sample before, the first one for times before it."""
        times, mids = self._by[number]
        if len(times) == 0:
            return np.full(len(at), np.nan)
        place = np.clip(np.searchsorted(times, at, side="right") - 1, 0, None)
        return mids[place]

    @property
    def span(self) -> tuple[int, int]:
        """Times of the first and the last sample; (0, 0) without any."""
        return (int(self.rows[0, 0]), int(self.rows[-1, 0])) if len(self.rows) else (0, 0)


def _factor(item: Instrument) -> float:
    """Value in whole settlement units of one lot at one tick (linear) or per 1/tick (inverse)."""
    numerator, denominator = item.value_ratio
    return numerator / denominator * float(unit(item.settle_currency))


def rate(naming: Naming, marks: Marks, currency: str, at: Ints) -> Floats:
    """Base currency per unit of `currency` at each time."""
    if currency == naming.base_currency:
        return np.ones(len(at))
    how = naming.rates.get(currency)
    if how is None:
        return np.full(len(at), np.nan)
    if isinstance(how, float):
        return np.full(len(at), how)
    return marks.mid(how, at) * float(naming.universe[how].tick)


def fills_table(recorder: Recorder, naming: Naming) -> Any:
    """The `fills` table."""
    rows = recorder.fills
    asked = recorder.orders
    return make("fills", _columns(rows, lambda row: _fill(row, asked[row.event.cl_ord_id], naming), _FILL))


_FILL = (
    "ts", "ts_venue", "strategy", "account", "instrument", "cl_ord_id", "exec_id", "side", "price", "qty", "value",
    "fee", "currency", "liquidity", "mid", "arrival_mid",
)  # fmt: skip


def _fill(row: FillRow, order: OrderRow, naming: Naming) -> tuple[Any, ...]:
    event, command = row.event, order.command
    item = naming.universe[event.instrument]
    tick = float(item.tick)
    value = _factor(item) * event.last_qty
    value = value / event.last_px if item.inverse else value * event.last_px
    there = row.bid not in (NO_BID, 0) and row.ask not in (NO_ASK, 0)
    return (
        event.ts, row.ts_venue, naming.strategy(event.strategy), naming.account(event.account), item.id,
        event.cl_ord_id, event.exec_id, command.side.sign, event.last_px * tick, event.last_qty * float(item.lot),
        abs(value), event.fee * float(unit(item.settle_currency)), item.settle_currency,
        "maker" if event.maker else "taker", (row.bid + row.ask) / 2 * tick if there else np.nan,
        _arrival(command.ref_bid, command.ref_ask, tick),
    )  # fmt: skip


def _arrival(bid: int, ask: int, tick: float) -> float:
    return (bid + ask) / 2 * tick if bid and ask else float("nan")


_ORDER = (
    "cl_ord_id", "ts_submit", "ts_ack", "ts_done", "strategy", "account", "instrument", "side", "ord_type", "tif",
    "price", "qty", "cum_qty", "avg_px", "status", "reason", "arrival_mid", "queue_ahead",
    "origin",
)  # fmt: skip


def orders_table(recorder: Recorder, naming: Naming) -> Any:
    """The `orders` table."""

    def row(order: OrderRow) -> tuple[Any, ...]:
        command = order.command
        item = naming.universe[command.instrument]
        tick, lot = float(item.tick), float(item.lot)
        market = command.ord_type in (OrdType.MARKET, OrdType.STOP, OrdType.TRAILING_STOP)
        return (
            order.cl_ord_id, command.ts, order.ts_ack, order.ts_done, naming.strategy(command.strategy),
            naming.account(command.account), item.id, command.side.sign, command.ord_type.name,
            command.time_in_force.name, np.nan if market else command.price * tick, command.qty * lot,
            order.cum_qty * lot, order.cum_value / order.cum_qty * tick if order.cum_qty else np.nan,
            order.status.name, reason_name(order.reason),
            _arrival(command.ref_bid, command.ref_ask, tick),
            order.queue_ahead * lot if order.queue_ahead >= 0 and not market else np.nan,
            origin_of(command.cmd_id),
        )  # fmt: skip

    return make("orders", _columns(list(recorder.orders.values()), row, _ORDER))


_REASONS = {int(reason): reason for reason in Reason}


def reason_name(code: int) -> str:
    """A reason's name; empty for none, the number for one this version does not know."""
    if code == 0:
        return ""
    return _REASONS[code].name if code in _REASONS else str(code)


def reason_control(code: int) -> int:
    """The control behind a reason; 0 for none."""
    return _REASONS[code].control if code in _REASONS else 0


def denials_table(recorder: Recorder, naming: Naming) -> Any:
    """The `denials` table."""
    names = ("ts", "strategy", "account", "instrument", "reason", "control", "scope", "limit", "value")
    return make(
        "denials",
        _columns(
            recorder.denials,
            lambda e: (
                e.ts, naming.strategy(e.strategy), naming.account(e.account), naming.universe[e.instrument].id,
                reason_name(e.reason), reason_control(e.reason), naming.scopes.label(e.scope), float(e.limit),
                float(e.value),
            ),
            names,
        ),
    )  # fmt: skip


def _columns(rows: list[Any], row: Any, names: tuple[str, ...]) -> dict[str, list[Any]]:
    built = [row(item) for item in rows]
    return {name: [r[n] for r in built] for n, name in enumerate(names)}


def touch_table(marks: Marks) -> Any:
    """The `touch` table: every sampled touch."""
    rows = marks.rows
    ids = np.array([item.id for item in marks.universe.instruments], dtype=object)
    ticks = np.array([float(item.tick) for item in marks.universe.instruments])
    whole = rows[(rows[:, 2] != 0) & (rows[:, 3] != 0)]
    return make(
        "touch",
        {
            "ts": whole[:, 0],
            "instrument": ids[whole[:, 1]] if len(whole) else [],
            "bid": whole[:, 2] * ticks[whole[:, 1]],
            "ask": whole[:, 3] * ticks[whole[:, 1]],
        },
    )


def equity_table(recorder: Recorder, naming: Naming, marks: Marks, step: int, funding: FundingRows) -> Any:
    """The `equity` table: every strategy's position and P&L by instrument on a regular grid and at the end."""
    start, end = marks.span
    end = max([end, *(row.event.ts for row in recorder.booked[-1:])])
    step = max(step, (end - start) // _GRID, 1)
    grid = np.append(np.arange(start, end, step, dtype=np.int64), end)
    by_key: dict[tuple[int, int, int], list[FillRow]] = {}
    for row in recorder.booked:
        e = row.event
        by_key.setdefault((e.strategy, e.account, e.instrument), []).append(row)
    for number, scope in enumerate(naming.scopes.strategies):
        if not any(key[0] == number for key in by_key):
            account = next(n for n, a in enumerate(naming.scopes.accounts) if a.name in scope.accounts)
            by_key[(number, account, 0)] = []
    parts: dict[str, list[Any]] = {name: [] for name in _EQUITY}
    for key, rows in sorted(by_key.items()):
        _curve(parts, key, rows, grid, naming, marks, funding)
    return make("equity", {name: np.concatenate(values) for name, values in parts.items()})


_EQUITY = (
    "ts", "strategy", "account", "instrument", "position", "mark", "exposure", "realised", "unrealised", "fees",
    "funding",
)  # fmt: skip


def _curve(
    parts: dict[str, list[Any]], key: tuple[int, int, int], rows: list[FillRow], grid: Ints, naming: Naming,
    marks: Marks, funding: FundingRows,
) -> None:  # fmt: skip
    strategy, account, number = key
    item = naming.universe[number]
    factor, minor = _factor(item), float(unit(item.settle_currency))
    times = np.array([r.event.ts for r in rows], np.int64)
    lots = np.array([r.lots for r in rows], np.float64)
    prices = np.array([r.event.last_px for r in rows], np.float64)
    fees = np.cumsum(np.array([r.fee for r in rows], np.float64) * minor)
    cash = np.cumsum(factor * lots / prices if item.inverse else -factor * lots * prices)
    realised = _realised(lots, prices, factor, item.inverse)
    at = np.searchsorted(times, grid, side="right")

    def sampled(values: Floats) -> Floats:
        return np.concatenate([[0.0], values])[at]

    mids = marks.mid(number, grid)
    position = sampled(np.cumsum(lots))
    worth = -factor * position / mids if item.inverse else factor * position * mids
    to_base = rate(naming, marks, item.settle_currency, grid)
    total = np.where(position == 0, sampled(cash), sampled(cash) + worth)
    done = sampled(realised)
    paid = funding.get(key, [])
    paid_at = np.searchsorted(np.array([t for t, _ in paid], np.int64), grid, side="right")
    received = np.concatenate([[0.0], np.cumsum([amount * minor for _, amount in paid])])[paid_at]
    count = len(grid)
    names = (naming.strategy(strategy), naming.account(account), item.id)
    values = (
        grid, *(np.full(count, name, object) for name in names), position * float(item.lot),
        np.nan_to_num(mids * float(item.tick)), np.where(position == 0, 0.0, abs(worth) * np.sign(position) * to_base),
        done * to_base, (total - done) * to_base, sampled(fees) * to_base, received * to_base,
    )  # fmt: skip
    for name, column in zip(_EQUITY, values, strict=True):
        parts[name].append(column)


def _realised(lots: Floats, prices: Floats, factor: float, inverse: bool) -> Floats:
    """Cumulative realised P&L after each fill, by average cost, in whole settlement units."""
    out = np.zeros(len(lots))
    position = cost = total = 0.0
    for n in range(len(lots)):
        lot, price = lots[n], prices[n]
        worth = -factor * lot / price if inverse else factor * lot * price
        if position * lot >= 0:
            position += lot
            cost += worth
        else:
            closing = min(abs(lot), abs(position))
            share = closing / abs(position)
            total += worth * (closing / abs(lot)) * -1 - cost * share
            cost -= cost * share
            position += lot
            if abs(lot) > closing:
                cost = worth * ((abs(lot) - closing) / abs(lot))
        out[n] = total
    return out


def _move(row: FillRow, naming: Naming) -> dict[str, Any]:
    """A position that moved without a trade, as the summary has it (`analytics.moves`)."""
    event, item = row.event, naming.universe[row.event.instrument]
    value = _factor(item) * event.last_qty
    value = value / event.last_px if item.inverse else value * event.last_px
    return {
        "ts": event.ts,
        "what": "adopted" if event.reason == Reason.ADOPTED else "handed over",
        "strategy": naming.strategy(event.strategy),
        "account": naming.account(event.account),
        "instrument": item.id,
        "side": 1 if row.lots > 0 else -1,
        "price": event.last_px * float(item.tick),
        "qty": event.last_qty * float(item.lot),
        "value": abs(value),
        "currency": item.settle_currency,
    }


def run_tables(
    recorder: Recorder, naming: Naming, step: int, latency: dict[str, Ints], summary: dict[str, Any],
    funding: FundingRows,
) -> RunTables:  # fmt: skip
    """All tables of a run."""
    marks = Marks(recorder, naming.universe)
    end = np.array([marks.span[1]])
    currencies = {item.settle_currency for item in naming.universe.instruments}
    rates = {c: float(rate(naming, marks, c, end)[0]) for c in sorted(currencies)}
    names = [name for name, samples in latency.items() for _ in range(len(samples))]
    return RunTables(
        fills=fills_table(recorder, naming),
        orders=orders_table(recorder, naming),
        denials=denials_table(recorder, naming),
        equity=equity_table(recorder, naming, marks, step, funding),
        touch=touch_table(marks),
        latency=make(
            "latency", {"name": names, "ns": np.concatenate([np.empty(0, np.int64), *latency.values()])}
        ),
        summary=summary
        | {"rates": {c: r for c, r in rates.items() if np.isfinite(r)}}
        | ({"moves": [_move(row, naming) for row in recorder.moves]} if recorder.moves else {}),
    )
