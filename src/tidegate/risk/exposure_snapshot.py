"""An exposure as bytes, so that what folds it again need not begin at the first order event."""

from __future__ import annotations

import msgspec

from tidegate.risk.exposure import Exposure


class Saved(msgspec.Struct, array_like=True, frozen=True):
    """All that events and marks have changed. `shape` is of what it was made: another one cannot take it over."""

    shape: tuple[list[str], list[str], str]
    now: int
    next_day: int
    cells: list[tuple[int, int, int, int]]
    """(scope, instrument, lots, cash)."""
    totals: list[tuple[int, int, int]]
    """(traded, day's first P&L, highest P&L) by scope."""
    positions: list[tuple[int, int, int, int, int]]
    """(account, strategy, instrument, lots, cash)."""
    open: list[tuple[int, int, int, int, int, int, int, bool]]
    """(ClOrdID, account, strategy, instrument, side, leaves, sent, answered)."""
    marks: list[tuple[int, int, int]]
    rates: list[float]


def _shape(exposure: Exposure) -> tuple[list[str], list[str], str]:
    names = [exposure.scopes.label(n) for n in range(len(exposure.scopes))]
    return names, [item.id for item in exposure.universe.instruments], exposure.base_currency


def save(exposure: Exposure) -> bytes:
    """The state, as `load` takes it."""
    worth = exposure.worth
    return msgspec.msgpack.encode(
        Saved(
            _shape(exposure), exposure.now, exposure.next_day,
            [(c.scope, c.instrument, c.lots, c.cash) for c in exposure.cells.values()],
            [(t.traded, t.day_pnl, t.peak) for t in exposure.totals],
            [(*key, lots, cash) for key, (lots, cash) in exposure.positions.items()],
            [(n, *o.key, o.side, o.leaves, o.sent, o.acked) for n, o in exposure.open.items()],
            list(zip(worth.bid, worth.ask, worth.ts, strict=True)), list(worth.rate),
        )
    )  # fmt: skip


def load(exposure: Exposure, data: bytes) -> bool:
    """Put the state into a fresh exposure; False where it is of other scopes or instruments, or unreadable: then
    nothing has changed."""
    try:
        saved = msgspec.msgpack.decode(data, type=Saved)
    except ValueError:
        return False
    names, instruments, base = _shape(exposure)
    if (list(saved.shape[0]), list(saved.shape[1]), saved.shape[2]) != (names, instruments, base):
        return False
    worth = exposure.worth
    exposure.now, exposure.next_day = saved.now, saved.next_day
    for i, (bid, ask, ts) in enumerate(saved.marks):
        worth.bid[i], worth.ask[i], worth.ts[i] = bid, ask, ts
    worth.rate[:] = saved.rates
    for scope, instrument, lots, cash in saved.cells:
        cell = exposure.cell(scope, instrument)
        cell.lots, cell.cash = lots, cash
    for account, strategy, instrument, lots, cash in saved.positions:
        exposure.positions[account, strategy, instrument] = [lots, cash]
    for number, account, strategy, instrument, side, leaves, sent, acked in saved.open:
        exposure.add(number, (account, strategy, instrument), side, sent, leaves).acked = acked
    exposure.revalue()
    for total, (traded, day_pnl, peak) in zip(exposure.totals, saved.totals, strict=True):
        total.traded, total.day_pnl, total.peak = traded, day_pnl, peak
    return True
