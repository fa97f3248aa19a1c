"""A run in figures: every number of the report, the terminal's summary and `--json`, computed once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tidegate.analytics.attribution import Attribution, attribute, mid_move, spread_capture
from tidegate.analytics.checks import Check, checks, of_path
from tidegate.analytics.costs import CostRow, cost_row
from tidegate.analytics.drawdown import Drawdown, drawdown
from tidegate.analytics.equity import Curves, Path, curves, paths
from tidegate.analytics.fill_arrays import Fills, read_fills
from tidegate.analytics.latency import LatencyRow, latency_row
from tidegate.analytics.markouts import Markout, Mids, markout_curve, mids
from tidegate.analytics.moves import with_moves
from tidegate.analytics.order_summary import DenialRow, OrderSummary, denial_rows, summarise_orders
from tidegate.analytics.performance import Sharpe, choose_step, returns, sharpe, sortino
from tidegate.analytics.round_trips import TripStats, closings, trip_stats
from tidegate.analytics.tables import Bools, Floats, Ints, Names, RunTables, codes, floats, ints, names, text
from tidegate.model.time import SECOND

REALISED_HORIZON = 5 * SECOND
"""The horizon of the realised spread."""
ADVERSE_HORIZON = 10 * SECOND
"""The horizon that divides adverse selection from holding."""
TOTAL = "Total"


@dataclass(frozen=True)
class StrategyRow:
    """One strategy, or all. Amounts in base currency."""

    name: str
    net: float
    realised: float
    unrealised: float
    fees: float
    funding: float
    drawdown: Drawdown | None
    sharpe: Sharpe | None
    sortino: float | None
    turnover: float | None
    """Σ value of the fills; None where a rate is unknown."""
    fills: int
    maker_share: float | None
    """Of the fills' number."""
    peak_gross: float
    mean_gross: float
    """Over the samples."""
    trips: TripStats


@dataclass(frozen=True)
class PositionRow:
    """One (strategy, account, instrument) at the end of the run, base currency but for the position."""

    strategy: str
    account: str
    instrument: str
    position: float
    exposure: float
    realised: float
    unrealised: float
    fees: float
    funding: float
    net: float
    fills: int


@dataclass(frozen=True)
class CostGroup:
    """Costs and markouts of one strategy's makers or takers."""

    strategy: str
    liquidity: str
    costs: CostRow
    markouts: tuple[Markout, ...]


@dataclass(frozen=True)
class RunSummary:
    """Everything the report prints. `names` fixes the order of strategies and instruments."""

    names: Names
    base: str
    start: int
    end: int
    capital: float | None
    step: int
    """ns between the returns that the ratios are measured on."""
    total: StrategyRow
    strategies: tuple[StrategyRow, ...]
    positions: tuple[PositionRow, ...]
    attribution: tuple[tuple[str, Attribution], ...]
    cost_groups: tuple[CostGroup, ...]
    costs_by_strategy: tuple[tuple[str, CostRow], ...]
    costs_by_instrument: tuple[tuple[str, CostRow], ...]
    costs: CostRow
    orders: OrderSummary
    denials: tuple[DenialRow, ...]
    latency: tuple[LatencyRow, ...]
    unrated: tuple[str, ...]
    """Settlement currencies without a rate to the base: their amounts are left blank, never guessed."""
    checks: tuple[Check, ...]
    touch_spacing: int
    """ns between touches: shorter markout horizons are not resolved."""


@dataclass(frozen=True)
class RunData:
    """The arrays behind the figures, for pictures."""

    paths: tuple[Path, ...]
    curves: Curves
    fills: Fills
    touches: Mids
    latency: tuple[tuple[str, Ints], ...]


def summarise(run: RunTables) -> tuple[RunSummary, RunData]:
    """All figures of a run, and the arrays they were computed from."""
    labels = names(run)
    positions = paths(run.equity, labels)
    lines = curves(positions, len(labels.strategies))
    fills = read_fills(run, labels)
    touches = _touches(run, labels)
    start, end = _window(run, lines, fills)
    sampling = int(np.median(np.diff(lines.ts))) if len(lines.ts) > 1 else SECOND
    step = choose_step(start, end, sampling)
    window = (start, end, step)
    future = touches.after(fills.instrument, fills.ts_venue, REALISED_HORIZON)
    inputs = fills.costs(future)
    booked, traded = with_moves(run, labels, fills)
    trips = _trips(booked, traded, len(labels.accounts), len(labels.instruments))
    groups = _latency_groups(run)
    summary = RunSummary(
        names=labels,
        base=str(run.summary.get("base_currency") or ""),
        start=start,
        end=end,
        capital=_capital(run),
        step=step,
        total=_strategy_row(TOTAL, None, lines, positions, fills, trips, window),
        strategies=tuple(
            _strategy_row(name, code, lines, positions, fills, trips, window)
            for code, name in enumerate(labels.strategies)
        ),
        positions=tuple(_position_row(path, labels, fills) for path in positions),
        attribution=_attributions(labels, positions, fills, touches),
        cost_groups=_cost_groups(labels, fills, touches, future),
        costs_by_strategy=tuple(
            (name, cost_row(inputs.take(fills.strategy == code)))
            for code, name in enumerate(labels.strategies)
            if (fills.strategy == code).any()
        ),
        costs_by_instrument=tuple(
            (name, cost_row(inputs.take(fills.instrument == code)))
            for code, name in enumerate(labels.instruments)
            if (fills.instrument == code).any()
        ),
        costs=cost_row(inputs),
        orders=summarise_orders(run, labels, fills),
        denials=denial_rows(run.denials, labels),
        latency=tuple(row for name, ns in groups if (row := latency_row(name, ns)) is not None),
        unrated=_unrated(run, fills),
        checks=checks(run, labels, tuple(positions), fills, booked),
        touch_spacing=touches.spacing(),
    )
    return summary, RunData(tuple(positions), lines, fills, touches, groups)


def _touches(run: RunTables, labels: Names) -> Mids:
    touch = run.touch
    return mids(
        codes(touch, "instrument", labels.instruments),
        ints(touch, "ts"),
        floats(touch, "bid"),
        floats(touch, "ask"),
        len(labels.instruments),
    )


def _window(run: RunTables, lines: Curves, fills: Fills) -> tuple[int, int]:
    """The run's start and end as it says, else as its samples and fills show."""
    seen = np.concatenate((lines.ts, fills.ts, ints(run.touch, "ts")))
    first, last = (int(seen.min()), int(seen.max())) if len(seen) else (0, 0)
    start, end = run.summary.get("start"), run.summary.get("end")
    return (first if start is None else int(start)), (last if end is None else int(end))


def _capital(run: RunTables) -> float | None:
    amounts = run.summary.get("capital") or {}
    return float(sum(amounts.values())) if amounts else None


def _unrated(run: RunTables, fills: Fills) -> tuple[str, ...]:
    _, currencies = text(run.fills, "currency")
    known = {run.summary.get("base_currency", ""), *(run.summary.get("rates") or {})}
    return tuple(currency for currency in currencies if currency not in known)


def _latency_groups(run: RunTables) -> tuple[tuple[str, Ints], ...]:
    own, labels = text(run.latency, "name")
    ns = ints(run.latency, "ns")
    return tuple((label, ns[own == code]) for code, label in enumerate(labels))


@dataclass(frozen=True)
class _Trips:
    strategy: Ints
    pnl: Floats
    holding: Floats
    weight: Floats


def _trips(fills: Fills, traded: Bools, accounts: int, instruments: int) -> _Trips:
    """Closing fills of every position, in base currency; those without a rate are left out. Where not `traded` a
    position moved by itself: it can be closed, and closes nothing."""
    key = (fills.strategy * accounts + fills.account) * instruments + fills.instrument
    parts: list[tuple[Ints, Floats, Floats, Floats]] = []
    for value in np.unique(key):
        mine = np.flatnonzero(key == value)
        if np.isnan(fills.rate[mine]).any():
            continue
        closed = closings(
            fills.ts[mine], fills.side[mine], fills.price[mine], fills.qty[mine],
            fills.value[mine], fills.fee[mine], bool(fills.inverse[mine[0]]),
        )  # fmt: skip
        at_fill = mine[closed.fill]
        rate = fills.rate[at_fill]
        weight = closed.qty / fills.qty[at_fill] * fills.value[at_fill] * rate
        real = traded[at_fill]
        columns = (fills.strategy[at_fill], closed.pnl * rate, closed.holding_ns, weight)
        parts.append((columns[0][real], columns[1][real], columns[2][real], columns[3][real]))
    if not parts:
        return _Trips(np.zeros(0, np.int64), np.zeros(0), np.zeros(0), np.zeros(0))
    return _Trips(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _strategy_row(
    name: str,
    code: int | None,
    lines: Curves,
    positions: list[Path],
    fills: Fills,
    trips: _Trips,
    window: tuple[int, int, int],
) -> StrategyRow:
    def pick(rows: Floats) -> Floats:
        picked: Floats = rows.sum(axis=0) if code is None else rows[code]
        return picked

    mine = [path for path in positions if code is None or path.strategy == code]
    pnl, gross = pick(lines.pnl), pick(lines.gross)
    own = np.ones(len(fills), np.bool_) if code is None else fills.strategy == code
    closed = np.ones(len(trips.pnl), np.bool_) if code is None else trips.strategy == code
    changes = returns(lines.ts, pnl, *window)
    turnover = float((fills.value[own] * fills.rate[own]).sum())
    count = int(own.sum())
    return StrategyRow(
        name=name,
        net=float(sum(path.pnl[-1] for path in mine)),
        realised=float(sum(path.realised[-1] for path in mine)),
        unrealised=float(sum(path.unrealised[-1] for path in mine)),
        fees=float(sum(path.fees[-1] for path in mine)),
        funding=float(sum(path.funding[-1] for path in mine)),
        drawdown=drawdown(lines.ts, pnl),
        sharpe=sharpe(changes, window[2]),
        sortino=sortino(changes, window[2]),
        turnover=None if np.isnan(turnover) else turnover,
        fills=count,
        maker_share=float(fills.maker[own].mean()) if count else None,
        peak_gross=float(gross.max()) if len(gross) else 0.0,
        mean_gross=float(gross.mean()) if len(gross) else 0.0,
        trips=trip_stats(trips.pnl[closed], trips.holding[closed], trips.weight[closed]),
    )


def _position_row(path: Path, labels: Names, fills: Fills) -> PositionRow:
    mine = of_path(path, fills)
    return PositionRow(
        strategy=labels.strategies[path.strategy],
        account=labels.accounts[path.account],
        instrument=labels.instruments[path.instrument],
        position=float(path.position[-1]),
        exposure=float(path.exposure[-1]),
        realised=float(path.realised[-1]),
        unrealised=float(path.unrealised[-1]),
        fees=float(path.fees[-1]),
        funding=float(path.funding[-1]),
        net=float(path.pnl[-1]),
        fills=int(mine.sum()),
    )


def _attributions(
    labels: Names, positions: list[Path], fills: Fills, touches: Mids
) -> tuple[tuple[str, Attribution], ...]:
    """P&L in parts, by strategy and in total (last)."""
    future = touches.after(fills.instrument, fills.ts_venue, ADVERSE_HORIZON)
    future = np.where(np.isnan(future), touches.last(fills.instrument), future)
    spread = spread_capture(fills.side, fills.price, fills.mid, fills.value, fills.inverse)
    moved = mid_move(fills.side, fills.price, fills.mid, future, fills.value, fills.inverse)
    out = []
    for code in (*range(len(labels.strategies)), None):
        which = np.ones(len(fills), np.bool_) if code is None else fills.strategy == code
        mine = [path for path in positions if code is None or path.strategy == code]
        trading = float(sum(path.realised[-1] + path.unrealised[-1] for path in mine))
        fees, funding = (float(sum(getattr(p, name)[-1] for p in mine)) for name in ("fees", "funding"))
        name = TOTAL if code is None else labels.strategies[code]
        parts = attribute(spread[which], moved[which], fills.rate[which], trading, fees, funding)
        out.append((name, parts))
    return tuple(out)


def _cost_groups(labels: Names, fills: Fills, touches: Mids, future: Floats) -> tuple[CostGroup, ...]:
    inputs = fills.costs(future)
    rated = not np.isnan(fills.rate).any()
    weight = fills.value * fills.rate if rated else fills.value
    out = []
    for code, name in enumerate(labels.strategies):
        for liquidity, which in (("maker", fills.maker), ("taker", ~fills.maker)):
            mine = np.flatnonzero((fills.strategy == code) & which)
            if not len(mine):
                continue
            curve = markout_curve(
                touches, fills.instrument[mine], fills.ts_venue[mine], fills.side[mine],
                fills.price[mine], fills.mid[mine], weight[mine],
            )  # fmt: skip
            out.append(CostGroup(name, liquidity, cost_row(inputs.take(mine)), curve))
    return tuple(out)
