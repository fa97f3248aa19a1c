"""Contracts with tiers, and pools of them, for tests of margin."""

from __future__ import annotations

from decimal import Decimal as D
from fractions import Fraction

from tidegate.model import money
from tidegate.model.instrument import Instrument, InstrumentKind
from tidegate.model.margin_tiers import Tier
from tidegate.risk.margin.pool import Contract, Holding, Pool, Touch, resting


def tiers(*rows: tuple[str | int, ...]) -> tuple[Tier, ...]:
    """(cap, leverage, maintenance) each; cap 0 for no end."""
    made, floor = [], D(0)
    for cap, leverage, maintenance in rows:
        cap = D(cap)
        made.append(Tier(floor=floor, cap=cap, leverage=D(leverage), maintenance=D(maintenance)))
        floor = cap
    return tuple(made)


BTC_2021 = tiers(
    (50_000, 125, "0.004"), (250_000, 100, "0.005"), (1_000_000, 50, "0.01"), (10_000_000, 20, "0.025"),
    (20_000_000, 10, "0.05"), (50_000_000, 5, "0.1"), (100_000_000, 4, "0.125"), (200_000_000, 3, "0.15"),
    (300_000_000, 2, "0.25"), (500_000_000, 1, "0.5"),
)  # fmt: skip
"""BTCUSDT as of 2021-03-18: https://www.binance.com/en/support/announcement/86cf9aa472574b8cb2e05bb751c2a9a6."""
ETH_2021 = tiers(
    (10_000, 100, "0.005"), (100_000, 75, "0.0065"), (500_000, 50, "0.01"), (1_000_000, 25, "0.02"),
    (2_000_000, 10, "0.05"), (5_000_000, 5, "0.1"), (10_000_000, 4, "0.125"), (20_000_000, 3, "0.15"), (0, 2, "0.25"),
)  # fmt: skip
"""ETHUSDT of the same time: its maintenance amount from 2 to 5 million is the 135,365 of Binance's example."""
BTCUSD = tiers(
    (5, 125, "0.004"), (10, 100, "0.005"), (20, 50, "0.01"), (50, 20, "0.025"), (100, 10, "0.05"), (200, 5, "0.1"),
    (400, 4, "0.125"), (1000, 3, "0.15"), (0, 1, "0.5"),
)  # fmt: skip
"""BTCUSD COIN-M in BTC: https://www.binance.com/en/support/faq/be2c7d9d95b04a7e8044ed02dd7dfe5c."""


def linear(
    symbol: str = "BTCUSDT", table: tuple[Tier, ...] = BTC_2021, number: int = 0, **more: object
) -> Contract:
    """A linear perpetual: tick 0.01, lot 0.001."""
    fields = {
        "symbol": symbol, "venue": "X", "kind": InstrumentKind.PERPETUAL, "base": symbol[:3], "quote": "USDT",
        "tick": D("0.01"), "lot": D("0.001"), "taker_fee": D("0.0005"), "tiers": table,
    }  # fmt: skip
    return Contract(number, Instrument(**(fields | more)))


def inverse(table: tuple[Tier, ...] = BTCUSD, number: int = 0, **more: object) -> Contract:
    """An inverse perpetual of 100 USD a contract, tick 0.1."""
    fields = {
        "symbol": "BTCUSD_PERP", "venue": "X", "kind": InstrumentKind.INVERSE_PERPETUAL, "base": "BTC",
        "quote": "USD", "tick": D("0.1"), "lot": D(1), "multiplier": D(100), "taker_fee": D("0.0005"), "tiers": table,
    }  # fmt: skip
    return Contract(number, Instrument(**(fields | more)))


def hold(
    contract: Contract,
    qty: str,
    entry: str = "1",
    mark: str = "1",
    ask: str = "",
    orders: tuple = (),
    **more: object,
) -> Holding:
    """A position of `qty` (signed) got at `entry`; orders are (signed quantity, price)."""
    item = contract.instrument
    touch = Touch(item.ticks(mark), item.ticks(ask or mark))
    lots = item.lots(qty)
    cost = contract.terms.cost(lots, item.ticks(entry)) if lots else 0
    given = [(item.lots(q), item.ticks(p) if p else 0) for q, p in orders]
    return Holding(contract, touch, lots, cost, *resting(contract, touch, given), **more)


def units(amount: str, currency: str = "USDT") -> int:
    """Minor units."""
    return money.to_units(amount, currency)


def pool(wallet: str, *holdings: Holding, currency: str = "USDT", **more: object) -> Pool:
    """A pool with so much in its wallet."""
    return Pool(currency, units(wallet, currency), holdings, **more)


def by_slices(contract: Contract, value: Fraction) -> Fraction:
    """Maintenance margin the long way: each slice of the value at its own tier's rate."""
    unit = Fraction(money.unit(contract.instrument.settle_currency))
    total = Fraction(0)
    for n, tier in enumerate(contract.table.tiers):
        floor, cap = Fraction(tier.floor) / unit, Fraction(tier.cap) / unit
        top = value if n == len(contract.table) - 1 else min(value, cap)
        total += max(Fraction(0), top - floor) * Fraction(tier.maintenance)
    return total
