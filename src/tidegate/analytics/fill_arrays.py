"""A run's fills as arrays under common codes, with the currency rate and contract form of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tidegate.analytics.costs import CostInputs, looks_inverse
from tidegate.analytics.tables import Bools, Floats, Ints, Names, RunTables, codes, floats, ints, text


@dataclass(frozen=True)
class Fills:
    """Fills in order of local receipt. Codes are positions in the run's `Names`."""

    ts: Ints
    ts_venue: Ints
    strategy: Ints
    account: Ints
    instrument: Ints
    order: Ints
    side: Ints
    price: Floats
    qty: Floats
    value: Floats
    fee: Floats
    mid: Floats
    arrival: Floats
    maker: Bools
    rate: Floats
    """Base currency per unit of the settlement currency; NaN where the run does not say."""
    inverse: Bools

    def __len__(self) -> int:
        return len(self.ts)

    def costs(self, future: Floats) -> CostInputs:
        """The arrays that transaction costs are measured on."""
        return CostInputs(
            self.side,
            self.price,
            self.value,
            self.fee,
            self.mid,
            self.arrival,
            future,
            self.rate,
            self.inverse,
        )


def read_fills(run: RunTables, names: Names) -> Fills:
    """The run's fills, sorted by time."""
    table = run.fills
    ts = ints(table, "ts")
    order = np.argsort(ts, kind="stable")
    instrument = codes(table, "instrument", names.instruments)[order]
    price, qty, value = (floats(table, name)[order] for name in ("price", "qty", "value"))
    return Fills(
        ts=ts[order],
        ts_venue=ints(table, "ts_venue")[order],
        strategy=codes(table, "strategy", names.strategies)[order],
        account=codes(table, "account", names.accounts)[order],
        instrument=instrument,
        order=ints(table, "cl_ord_id")[order],
        side=ints(table, "side")[order],
        price=price,
        qty=qty,
        value=value,
        fee=floats(table, "fee")[order],
        mid=floats(table, "mid")[order],
        arrival=floats(table, "arrival_mid")[order],
        maker=_is(table, "liquidity", "maker")[order],
        rate=_rates(run)[order],
        inverse=_inverse(run.summary.get("inverse"), names, instrument, price, qty, value),
    )


def _is(table: Any, column: str, label: str) -> Bools:
    own, labels = text(table, column)
    return own == labels.index(label) if label in labels else np.zeros(len(own), np.bool_)


def _rates(run: RunTables) -> Floats:
    own, currencies = text(run.fills, "currency")
    known = dict(run.summary.get("rates") or {})
    known.setdefault(run.summary.get("base_currency", ""), 1.0)
    rates = np.array([float(known.get(currency, np.nan)) for currency in currencies], np.float64)
    return rates[own] if len(rates) else np.zeros(0)


def _inverse(
    declared: Any, names: Names, instrument: Ints, price: Floats, qty: Floats, value: Floats
) -> Bools:
    """Which fills are of inverse contracts: as the summary declares, else as their values show."""
    answer = np.zeros(len(names.instruments), np.bool_)
    for number, name in enumerate(names.instruments):
        if declared is not None:
            answer[number] = name in declared
        else:
            mine = instrument == number
            answer[number] = looks_inverse(price[mine], qty[mine], value[mine])
    return answer[instrument] if len(answer) else np.zeros(len(instrument), np.bool_)
