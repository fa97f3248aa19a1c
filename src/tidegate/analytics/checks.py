"""Do the tables agree with one another? Three sums that must be equal however a run was made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tidegate.analytics.equity import Path
from tidegate.analytics.fill_arrays import Fills
from tidegate.analytics.tables import Bools, Floats, Names, RunTables, floats, ints

TOLERANCE = 1e-6
"""Relative: these are floats, summed in different orders."""


@dataclass(frozen=True)
class Check:
    """One equality over the run: how often it held, and the first place where it did not."""

    name: str
    held: int
    of: int
    first_break: str

    @property
    def ok(self) -> bool:
        return self.held == self.of


def checks(
    run: RunTables, names: Names, paths: tuple[Path, ...], fills: Fills, booked: Fills
) -> tuple[Check, ...]:
    """Positions against fills and what moved without a trade (`booked`), fees against fills, orders against fills."""
    return (_positions(names, paths, booked), _fees(names, paths, fills), _orders(run, fills))


def of_path(path: Path, fills: Fills) -> Bools:
    """Which fills belong to a path."""
    who = (fills.strategy == path.strategy) & (fills.account == path.account)
    mine: Bools = who & (fills.instrument == path.instrument)
    return mine


def _close(a: float, b: float, scale: float) -> bool:
    return abs(a - b) <= TOLERANCE * max(abs(a), abs(b), scale)


def _where(path: Path, names: Names) -> str:
    return f"{names.strategies[path.strategy]} in {names.instruments[path.instrument]}"


def _positions(names: Names, paths: tuple[Path, ...], fills: Fills) -> Check:
    held, broken = 0, ""
    for path in paths:
        mine = of_path(path, fills)
        total = float((fills.side[mine] * fills.qty[mine]).sum())
        largest = float(fills.qty[mine].max()) if mine.any() else 0.0
        if _close(total, float(path.position[-1]), largest):
            held += 1
        elif not broken:
            broken = f"{_where(path, names)}: position {path.position[-1]:g}, fills sum to {total:g}"
    return Check("Final position = Σ fills", held, len(paths), broken)


def _fees(names: Names, paths: tuple[Path, ...], fills: Fills) -> Check:
    """Only where fees are settled in the base currency: elsewhere the rate moves between fill and end."""
    held, of, broken = 0, 0, ""
    for path in paths:
        mine = of_path(path, fills)
        if not (fills.rate[mine] == 1.0).all():
            continue
        of += 1
        total = float(fills.fee[mine].sum())
        if _close(total, float(path.fees[-1]), float(np.abs(fills.fee[mine]).sum())):
            held += 1
        elif not broken:
            broken = f"{_where(path, names)}: ledger {path.fees[-1]:g}, fills sum to {total:g}"
    return Check("Fees in the ledger = Σ fees of fills (base currency)", held, of, broken)


def _orders(run: RunTables, fills: Fills) -> Check:
    order_id, filled = ints(run.orders, "cl_ord_id"), floats(run.orders, "cum_qty")
    if not len(order_id):
        return Check("Filled quantity of every order = Σ its fills", 0, 0, "")
    place = np.argsort(order_id)
    found = np.minimum(np.searchsorted(order_id[place], fills.order), len(order_id) - 1)
    row = place[found]
    known = order_id[row] == fills.order
    sums: Floats = np.bincount(row[known], fills.qty[known], minlength=len(order_id)).astype(np.float64)
    good = np.abs(sums - filled) <= TOLERANCE * np.maximum(np.abs(filled), 1e-12)
    strangers = int((~known).sum())
    broken = ""
    if not good.all():
        n = int(np.argmin(good))
        broken = f"order {order_id[n]}: filled {filled[n]:g}, fills sum to {sums[n]:g}"
    elif strangers:
        broken = f"{strangers} fills name an order that is not in the table"
    return Check(
        "Filled quantity of every order = Σ its fills", int(good.sum()), len(good) + strangers, broken
    )
