"""How every scope stands: what it uses of its limits, and its state. What `risk.query` answers and people look at."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from tidegate.kernel.gate_state import MICRO
from tidegate.risk.exposure import Cell, Exposure, Total
from tidegate.risk.halt import HaltBoard
from tidegate.risk.limits import Limits
from tidegate.risk.scope_name import Kind, name_of, text_of
from tidegate.risk.tables import Tables

KEPT = "risk.exposure"
"""The key in STATE of the last report."""


class Figure(msgspec.Struct, frozen=True):
    """One amount against its limit. Money in the base currency, orders a count, positions in base units.

    `limit` is None where none is set at this scope, and "unlimited" where people wrote so: then `use` is 0.
    """

    name: str
    value: float
    limit: float | str | None = None
    use: float = 0.0
    """value ÷ limit."""


class Held(msgspec.Struct, frozen=True):
    """A scope's part in one instrument: what it holds, and would at worst, long and short, if its orders filled."""

    instrument: str
    position: float
    longest: float
    shortest: float
    value: float
    """At worst, in the base currency."""
    pnl: float
    use: float = 0.0
    """Of the tighter of its limits on the position."""


class Standing(msgspec.Struct, frozen=True):
    """One scope. `since` (ns), `reason` and `trigger` say how it came to its state."""

    scope: str
    state: str
    pnl: float
    figures: list[Figure]
    held: list[Held] = []
    since: int = 0
    reason: str = ""
    trigger: str = ""


class Report(msgspec.Struct, frozen=True):
    """All scopes at `ts` (ns). `version` is that of the limits in force, `epoch` of the service that says it."""

    ts: int
    currency: str
    version: int
    source: str
    epoch: int
    scopes: list[Standing]
    counters: dict[str, int] = {}


def _of_limit(limit: Decimal | None) -> float | str | None:
    return None if limit is None else float(limit) if limit.is_finite() else "unlimited"


def _figure(name: str, value: float, limit: Decimal | None) -> Figure:
    if limit is None or not limit.is_finite():
        return Figure(name, value, _of_limit(limit))
    use = value / float(limit) if limit else float(value > 0)
    return Figure(name, value, float(limit), max(0.0, use))


MONEY = ("loss", "drawdown", "gross", "net", "open_value")


class Figures:
    """Makes reports of an exposure, a board of halts and limits as people wrote them."""

    def __init__(self, exposure: Exposure, limits: Limits) -> None:
        self.exposure = exposure
        self.names = [name_of(n, exposure.scopes) for n in range(len(exposure.scopes))]
        self.names += [text_of(Kind.VENUE, venue) for venue in exposure.venues]
        self.tables = Tables(exposure.universe, exposure.scopes, limits)

    def set_limits(self, limits: Limits) -> None:
        """Limits have changed."""
        self.tables = Tables(self.exposure.universe, self.exposure.scopes, limits)

    def all(self, board: HaltBoard, held: bool = False) -> list[Standing]:
        """Every scope: the table's, then instruments, then venues."""
        self.exposure.value()
        table = len(self.exposure.scopes)
        found = [self.scope(n, board, held) for n in range(table)]
        found += [self.instrument(i, board) for i in range(len(self.exposure.universe))]
        return found + [self.scope(n, board, held) for n in range(table, len(self.names))]

    def one(self, name: str, board: HaltBoard) -> list[Standing]:
        """A scope, with what it holds; nothing where there is none of that name."""
        self.exposure.value()
        if name in self.names:
            return [self.scope(self.names.index(name), board, held=True)]
        number = self.exposure.universe.index.get(name.partition(":")[2])
        return [] if number is None else [self.instrument(number, board)]

    def scope(self, n: int, board: HaltBoard, held: bool = False) -> Standing:
        """A scope of the table, or a venue."""
        total = self.exposure.totals[n]
        figures = [_figure(name, getattr(total, name) / MICRO, self._limit(n, name)) for name in MONEY]
        figures.append(
            _figure("traded_value", (total.traded + total.open_value) / MICRO, self._limit(n, "traded_value"))
        )
        figures.append(_figure("open_orders", total.orders, self._limit(n, "open_orders")))
        cells = (
            [c for (scope, _), c in self.exposure.cells.items() if scope == n and _busy(c)] if held else []
        )
        return self._standing(self.names[n], total, board, figures, [self._held(c) for c in cells])

    def instrument(self, i: int, board: HaltBoard) -> Standing:
        """An instrument: what the firm has in it."""
        name = text_of(Kind.INSTRUMENT, self.exposure.universe[i].id)
        cell = self.exposure.cells.get((0, i)) or Cell(0, i, Total())
        figures = [Figure("gross", cell.gross / MICRO), Figure("open_value", cell.open_value / MICRO)]
        alone = Total()
        alone.pnl = cell.pnl
        return self._standing(name, alone, board, figures, [self._held(cell)])

    def _limit(self, n: int, field: str) -> Decimal | None:
        if n >= len(self.exposure.scopes):
            return None
        limit: Decimal | None = self.tables.total(n, field)
        return limit

    def _standing(
        self, name: str, total: Total, board: HaltBoard, figures: Sequence[Figure], held: list[Held]
    ) -> Standing:
        status = board.status(name)
        return Standing(
            name, status.state.name, total.pnl / MICRO, list(figures), held, status.since, status.reason,
            status.trigger,
        )  # fmt: skip

    def _held(self, cell: Cell) -> Held:
        item = self.exposure.universe[cell.instrument]
        longest, shortest = cell.lots + cell.buys, cell.lots - cell.sells
        use = 0.0
        if cell.scope < len(self.exposure.scopes):
            tables = self.tables.of(cell.scope, item)
            both = next((t.position for t in tables if t.position is not None), None)
            for field, lots in (("long", longest), ("short", -shortest)):
                own = next((v for t in tables if (v := getattr(t, field)) is not None), both)
                if own is not None and own.is_finite() and lots > 0:
                    use = max(use, float(item.qty(lots)) / float(own) if own else 1.0)
        return Held(
            item.id, float(item.qty(cell.lots)), float(item.qty(longest)), float(item.qty(shortest)),
            cell.gross / MICRO, cell.pnl / MICRO, use,
        )  # fmt: skip


def _busy(cell: Cell) -> bool:
    return bool(cell.lots or cell.buys or cell.sells or cell.cash)
