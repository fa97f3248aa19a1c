"""What a firm holds, owes and has open, in every scope: a pure fold over the order events of all lanes and marks.

Scopes are those of the table (0 the firm, desks, accounts, strategies), then one for each venue. Each has a cell for
every instrument it has touched, and a total. Money is in micro-units of the base currency, cash in the settlement
currency's minor units; both are integers that are computed once, by the gate's own rules, so a scope that one lane
holds alone has the gate's figures to the last unit, and lots, cash, orders and traded value of several lanes add up.
Positions of a scope net within it: the firm's position in an instrument is the sum over its accounts.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from decimal import Decimal
from fractions import Fraction

from tidegate.kernel.gate_state import MAX_MONEY, MAX_TICKS, MICRO
from tidegate.model import money
from tidegate.model.instrument import Universe
from tidegate.model.messages import OrderEvent
from tidegate.model.order import OrdStatus, Side
from tidegate.model.time import DAY
from tidegate.risk.booked import NOT_APPLIED, booked
from tidegate.risk.build import currencies_of
from tidegate.risk.ledger import NOBODY
from tidegate.risk.reasons import Reason
from tidegate.risk.scopes import ScopeTable

_BOUND, _MINOR_BOUND = float(MAX_MONEY), float(2 * MAX_MONEY)
"""Reasons of events that tell of a report which the lane could not use."""
_OF_NOBODY = (NOBODY, Reason.ADOPTED)


class Total:
    """One scope's sums. `traded` is today's; `day_pnl` is what `pnl` was when the day began, `peak` its highest. `gross`,
    `long`, `short` and `open_value` are as of the last `Exposure.value`."""

    __slots__ = ("day_pnl", "gross", "long", "open_value", "orders", "peak", "pnl", "short", "traded")

    def __init__(self) -> None:
        self.orders = self.open_value = self.gross = self.long = self.short = 0
        self.pnl = self.peak = self.day_pnl = self.traded = 0

    @property
    def net(self) -> int:
        """The larger of what the scope would be long or short if all of one side filled."""
        return max(abs(self.long), abs(self.short))

    @property
    def loss(self) -> int:
        """What was lost today; below 0 where something was earned."""
        return self.day_pnl - self.pnl

    @property
    def drawdown(self) -> int:
        """How far the P&L is below its highest."""
        return self.peak - self.pnl


class Cell:
    """One scope's part in one instrument: lots held and open, cash, and what they are worth at the mark."""

    __slots__ = (
        "buys", "cash", "gross", "instrument", "long", "lots", "open_value", "pnl", "scope", "sells", "short", "stale",
        "total",
    )  # fmt: skip

    def __init__(self, scope: int, instrument: int, total: Total) -> None:
        self.scope, self.instrument, self.total = scope, instrument, total
        self.lots = self.buys = self.sells = self.cash = 0
        self.gross = self.long = self.short = self.open_value = self.pnl = 0
        self.stale = False
        """Its notional is to be valued anew."""


class Open:
    """An open order: the cells it is charged to, what is left of it, when it was sent (ns), whether answered, and whether
    it was in doubt before."""

    __slots__ = ("acked", "cells", "doubted", "key", "leaves", "sent", "side")

    def __init__(self, key: tuple[int, int, int], cells: tuple[Cell, ...], side: int, sent: int) -> None:
        self.key, self.cells, self.side, self.sent = key, cells, side, sent
        self.doubted = False
        self.leaves, self.acked = 0, False


def whole(x: float) -> int:
    """The nearest integer, halves up, as the gate rounds."""
    if -_BOUND < x < _BOUND:
        return math.floor(x + 0.5)
    return math.floor(min(max(x, -_BOUND), _BOUND) + 0.5)


class Worth:
    """What lots of each instrument are worth in the base currency, at marks and rates as they are now."""

    def __init__(self, universe: Universe, base: str, fx: Mapping[str, str | Decimal]) -> None:
        n = len(universe)
        self.factor = [float(Fraction(*item.value_ratio)) for item in universe.instruments]
        self.inverse = [item.inverse for item in universe.instruments]
        self.negative = [item.negative_prices for item in universe.instruments]
        self.tick = [float(item.tick) for item in universe.instruments]
        names = currencies_of(universe, base, fx)
        self.currency = [names.index(item.settle_currency) for item in universe.instruments]
        self.units = [float(10 ** money.decimals(name)) for name in names]
        self.rate = [0.0] * len(names)
        """Base micro-units of one minor unit; 0 while unknown."""
        self.gives: dict[int, tuple[int, int]] = {}
        """By instrument whose middle is a rate: that currency, and the one it is quoted in."""
        self.bid, self.ask, self.ts = [0] * n, [0] * n, [0] * n
        self.unit = [0.0] * n
        """Base micro-units of one lot at the dearer side of the mark."""
        for c, name in enumerate(names):
            rate: str | Decimal | None = Decimal(1) if name == base else fx.get(name)
            if isinstance(rate, str) and rate in universe.index:
                number = universe.number(rate)
                self.gives[number] = c, names.index(universe[number].quote)
            elif rate is not None:
                self.rate[c] = float(Decimal(rate)) * MICRO / self.units[c]

    def settle(self, i: int, price: int, lots: int) -> int:
        """Signed value in the settlement currency's minor units."""
        if self.inverse[i]:
            value = self.factor[i] * lots / price if price else 0.0
        else:
            value = self.factor[i] * price * lots
        return math.floor(min(max(value, -_MINOR_BOUND), _MINOR_BOUND) + 0.5)

    def value(self, i: int, price: int, lots: int) -> int:
        """Absolute value in micro-units of the base currency."""
        rate = self.rate[self.currency[i]]
        if self.inverse[i]:
            return whole(abs(self.factor[i] * lots / price) * rate) if price else 0
        return whole(abs(self.factor[i] * price * lots) * rate)

    def cash(self, i: int, price: int, signed: int, fee: int) -> int:
        """What a fill brings in, in the settlement currency's minor units."""
        value = self.settle(i, price, signed)
        return (value if self.inverse[i] else -value) - fee

    def pnl(self, i: int, cash: int, lots: int) -> int:
        """Cash and position at the mark, longs at the bid and shorts at the ask."""
        worth = self.settle(i, self.bid[i] if lots > 0 else self.ask[i], lots)
        return whole((cash + (-worth if self.inverse[i] else worth)) * self.rate[self.currency[i]])

    def usable(self, i: int, bid: int, ask: int) -> bool:
        """Whether a touch can value anything: not crossed, both sides there, in range."""
        if bid > ask or abs(bid) > MAX_TICKS or abs(ask) > MAX_TICKS:
            return False
        return self.negative[i] or (bid > 0 and ask > 0)

    def set_mark(self, i: int, bid: int, ask: int, ts: int) -> list[int]:
        """The mark of an instrument; which instruments are worth something else now."""
        changed = []
        given = self.gives.get(i)
        if given is not None:
            c, quote = given
            mid = 0.5 * (bid + ask)
            self.rate[c] = mid * self.tick[i] * self.rate[quote] * self.units[quote] / self.units[c]
            changed = [j for j, at in enumerate(self.currency) if at == c and self.ts[j] and j != i]
        self.bid[i], self.ask[i], self.ts[i] = bid, ask, max(ts, 1)
        changed.append(i)
        for j in changed:
            self._set_unit(j)
        return changed

    def _set_unit(self, i: int) -> None:
        rate, bid, ask = self.rate[self.currency[i]], abs(self.bid[i]), abs(self.ask[i])
        if self.inverse[i]:
            low = min(bid, ask)
            self.unit[i] = self.factor[i] / low * rate if low else 0.0
        else:
            self.unit[i] = self.factor[i] * max(bid, ask) * rate


class Exposure:
    """See the module. `counts` has what could not be folded, by name; `now` is the latest time told, ns."""

    def __init__(
        self,
        universe: Universe,
        scopes: ScopeTable,
        *,
        base_currency: str = "USDT",
        fx: Mapping[str, str | Decimal] | None = None,
        day_start: int = 0,
    ) -> None:
        self.universe, self.scopes, self.base_currency = universe, scopes, base_currency
        self.venues = list(dict.fromkeys(item.venue for item in universe.instruments))
        self.worth = Worth(universe, base_currency, fx or {})
        self.totals = [Total() for _ in range(len(scopes) + len(self.venues))]
        self.cells: dict[tuple[int, int], Cell] = {}
        """By (scope, instrument), once touched."""
        self.positions: dict[tuple[int, int, int], list[int]] = {}
        """[lots, cash] by (account, strategy, instrument), once traded."""
        self.open: dict[int, Open] = {}
        """By ClOrdID."""
        self.counts: Counter[str] = Counter()
        self.now = 0
        self._day_start, self.next_day = day_start, 0
        self._stale: list[Cell] = []
        self._of: list[list[Cell]] = [[] for _ in range(len(universe))]
        self._chains: dict[tuple[int, int, int], tuple[Cell, ...]] = {}

    def venue_scope(self, instrument: int) -> int:
        """The scope of the instrument's venue: they follow the table's."""
        return len(self.scopes) + self.venues.index(self.universe[instrument].venue)

    def cell(self, scope: int, instrument: int) -> Cell:
        """A scope's part in an instrument."""
        found = self.cells.get((scope, instrument))
        if found is None:
            found = self.cells[scope, instrument] = Cell(scope, instrument, self.totals[scope])
            self._of[instrument].append(found)
        return found

    def chain(self, account: int, strategy: int, instrument: int) -> tuple[Cell, ...]:
        """The cells of an order, from its strategy's up to the firm's, and its venue's."""
        key = account, strategy, instrument
        found = self._chains.get(key)
        if found is None:
            above = self.scopes.chain(account, max(strategy, 0)).scopes
            own = above if strategy != NOBODY else above[1:]
            scopes = (*own, self.venue_scope(instrument))
            found = self._chains[key] = tuple(self.cell(s, instrument) for s in scopes)
        return found

    # Folding.

    def apply(self, e: OrderEvent, told: int = 0) -> Open | None:
        """One order event; the order as it was before, where it was open. A fill of no order is a hand-over, a position
        that goes from one version of a strategy to another, or one that people adopted. `told` is when the lane told of
        it, ns: a new order has been sent since then, and not since its command was written."""
        moved = booked(e)
        if e.reason in NOT_APPLIED or not (e.cl_ord_id or moved):
            return None
        if not (
            0 <= e.account < len(self.scopes.accounts)
            and (0 <= e.strategy < len(self.scopes.strategies) or (e.strategy, e.reason) == _OF_NOBODY)
            and 0 <= e.instrument < len(self._of)
        ):
            self.counts["unknown_numbers"] += 1
            return None
        self.tick(e.ts)
        before = self.open.get(e.cl_ord_id)
        if moved:
            self._fill(e, moved)
        if not e.cl_ord_id:
            return None
        over = e.status >= OrdStatus.FILLED or e.status == OrdStatus.CREATED
        left = 0 if over else e.leaves_qty
        if before is None:
            if not over:
                sent = max(e.ts, told)
                order = self.add(e.cl_ord_id, (e.account, e.strategy, e.instrument), e.side, sent, left)
                order.acked = e.status != OrdStatus.PENDING_NEW
            return None
        if over:
            self._charge(before, 0, -1)
            del self.open[e.cl_ord_id]
        elif left != before.leaves:
            self._charge(before, left, 0)
        return before

    def add(self, number: int, key: tuple[int, int, int], side: int, sent: int, leaves: int) -> Open:
        """An order is open from here on; `key` is (account, strategy, instrument)."""
        order = self.open[number] = Open(key, self.chain(*key), side, sent)
        self._charge(order, leaves, 1)
        return order

    def _charge(self, order: Open, left: int, orders: int) -> None:
        change = left - order.leaves
        order.leaves = left
        for cell in order.cells:
            if order.side == Side.BUY:
                cell.buys += change
            else:
                cell.sells += change
            cell.total.orders += orders
            if not cell.stale:
                cell.stale = True
                self._stale.append(cell)

    def _fill(self, e: OrderEvent, sign: int) -> None:
        i, qty = e.instrument, sign * e.last_qty
        signed = qty if e.side == Side.BUY else -qty
        cash = self.worth.cash(i, e.last_px, signed, sign * e.fee)
        adopted = e.reason == Reason.ADOPTED
        traded = 0 if adopted else sign * self.worth.value(i, e.last_px, qty)
        key = e.account, e.strategy, i
        held = self.positions.setdefault(key, [0, 0])
        held[0] += signed
        held[1] += cash
        for cell in self.chain(*key):
            cell.lots += signed
            cell.cash += cash
            cell.total.traded = max(0, cell.total.traded + traded)
            if not cell.stale:
                cell.stale = True
                self._stale.append(cell)
            before = cell.total.pnl
            self._revalue_pnl(cell)
            if adopted:  # what it has won or lost before is neither today's loss nor drawdown
                cell.total.day_pnl += cell.total.pnl - before
                cell.total.peak += cell.total.pnl - before
            elif cell.total.pnl > cell.total.peak:
                cell.total.peak = cell.total.pnl

    def funding(self, instrument: int, rate: int, price: int, ts: int, accounts: Collection[int]) -> None:
        """A funding payment on every position of these accounts, which are a lane's: rate × 1e-8 of its value at `price`
        (ticks), each scope's own, as the gate of that lane books it."""
        self.tick(ts)
        lots: dict[Cell, int] = {}
        for (account, strategy, i), held in self.positions.items():
            if i == instrument and account in accounts and held[0]:
                held[1] -= whole(float(self.worth.settle(i, price, held[0])) * rate * 1e-8)
                for cell in self.chain(account, strategy, i):
                    lots[cell] = lots.get(cell, 0) + held[0]
        for cell, sum_of in lots.items():
            cell.cash -= whole(float(self.worth.settle(instrument, price, sum_of)) * rate * 1e-8)
            self._revalue_pnl(cell)

    def mark(self, instrument: int, bid: int, ask: int, ts: int) -> bool:
        """A touch that values from now on; False where it cannot (crossed, one-sided): it is counted."""
        self.tick(ts)
        if not self.worth.usable(instrument, bid, ask):
            self.counts["bad_marks"] += 1
            return False
        for i in self.worth.set_mark(instrument, bid, ask, ts):
            for cell in self._of[i]:
                if not cell.stale:
                    cell.stale = True
                    self._stale.append(cell)
                self._revalue_pnl(cell)
        for total in self.totals:  # only now: between two cells a sum is neither the old nor the new one
            if total.pnl > total.peak:
                total.peak = total.pnl
        return True

    def tick(self, ts: int) -> None:
        """Time goes on: a new day begins for losses and traded value."""
        if ts > self.now:
            self.now = ts
        if ts < self.next_day:
            return
        self.next_day = (ts - self._day_start) // DAY * DAY + DAY + self._day_start
        for total in self.totals:
            total.traded, total.day_pnl = 0, total.pnl

    def forgive(self, scope: int) -> None:
        """People re-armed the scope: its drawdown is counted from here. The day's loss is not forgiven."""
        self.totals[scope].peak = self.totals[scope].pnl

    def value(self) -> None:
        """Bring gross, net and open value of all totals to what is open and marked now: they are needed by people, not
        by every event, so this is for who reads them to call."""
        for cell in self._stale:
            cell.stale = False
            self._revalue_open(cell)
        self._stale.clear()

    def _revalue_open(self, cell: Cell) -> None:
        unit, total = self.worth.unit[cell.instrument], cell.total
        long, short = cell.lots + cell.buys, cell.lots - cell.sells
        gross = whole(unit * max(abs(long), abs(short)))
        total.gross += gross - cell.gross
        cell.gross = gross
        value = whole(unit * long)
        total.long += value - cell.long
        cell.long = value
        value = whole(unit * short)
        total.short += value - cell.short
        cell.short = value
        value = whole(unit * (cell.buys + cell.sells))
        total.open_value += value - cell.open_value
        cell.open_value = value

    def _revalue_pnl(self, cell: Cell) -> None:
        pnl = self.worth.pnl(cell.instrument, cell.cash, cell.lots)
        cell.total.pnl += pnl - cell.pnl
        cell.pnl = pnl

    def revalue(self) -> None:
        """Everything anew at the marks and rates as they are: what is worth something was loaded."""
        for i in range(len(self._of)):
            if self.worth.ts[i]:
                self.worth._set_unit(i)
        for cell in self.cells.values():
            self._revalue_open(cell)
            self._revalue_pnl(cell)
        self.value()

    def of_instrument(self, instrument: int) -> Iterator[Cell]:
        """The cells of an instrument, of every scope that has touched it."""
        yield from self._of[instrument]
