"""Margin of contracts: what a venue asks for positions and open orders, and what an account has against it.

Exact, in minor units of the settlement currency; prices in ticks, quantities in lots. What is asked is rounded up,
what is owned as the ledger rounds it (`risk.position`). Nothing here knows the time: whoever calls says how old a
mark may be. `docs/margin.md` has the formulas in words.

A *pool* is what one account has at one venue in one settlement currency. Cross positions share its wallet; an
isolated one has a wallet of its own, and nothing else of the account stands behind it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import NamedTuple

from tidegate.model.instrument import Instrument
from tidegate.model.margin_tiers import TierTable, ceil
from tidegate.risk.margin.models import MarginModel, model_of
from tidegate.risk.position import Terms

NO_EQUITY = Fraction(10**9)
"""The ratio of an account that must keep margin and has nothing left."""


class Contract:
    """An instrument as margin sees it. `fee` is what closing costs, a fraction of the value."""

    __slots__ = (
        "fee", "instrument", "leverage", "lot_value", "model", "negative", "number", "sense", "table", "terms",
    )  # fmt: skip

    def __init__(self, number: int, instrument: Instrument, leverage: int = 0) -> None:
        self.number, self.instrument = number, instrument
        self.terms = Terms(instrument)
        self.table: TierTable = instrument.margin_table
        self.model: MarginModel = model_of(instrument)
        self.leverage = leverage or instrument.leverage
        self.fee = max(Fraction(0), Fraction(instrument.taker_fee))
        self.negative = instrument.negative_prices
        self.sense = -1 if instrument.inverse else 1
        """Whether a long earns when its value, in the settlement currency, rises."""
        self.lot_value = Fraction(self.terms.numerator, self.terms.denominator)
        """Value of a lot at one tick; of an inverse contract, times the price instead of by it."""

    def value(self, lots: int, price: int) -> int:
        """What so many lots (either sign) are worth, never below 0."""
        return abs(self.terms.cost(lots, price)) if lots and price else 0

    def closing(self, lots: int, price: int) -> int:
        """The fee to close so many lots."""
        return ceil(self.value(lots, price) * self.fee)


class Touch(NamedTuple):
    """Where a contract is valued: longs at the bid, shorts at the ask, margin at the dearer of the two. A venue's own
    figures have its one mark as both."""

    bid: int
    ask: int


class Resting(NamedTuple):
    """Open orders of one side: what they come to if all of them fill at their worst."""

    lots: int = 0
    value: int = 0
    """At the worse of limit and mark."""
    loss: int = 0
    """What they are under water the moment they fill."""


NOTHING = Resting()


@dataclass(frozen=True, slots=True)
class Holding:
    """One contract of a pool: the position (signed lots, signed cost as in `risk.position`), its orders, its mark."""

    contract: Contract
    touch: Touch
    lots: int = 0
    cost: int = 0
    buys: Resting = NOTHING
    sells: Resting = NOTHING
    isolated: int | None = None
    """The wallet of an isolated position; None where it is cross."""

    @property
    def mark(self) -> int:
        """The price at which the position could be closed now."""
        return self.touch.bid if self.lots > 0 else self.touch.ask

    @property
    def dear(self) -> int:
        """The side of the touch at which a lot is worth more."""
        bid, ask = self.touch
        if self.contract.sense < 0:
            return min(bid, ask)
        return bid if abs(bid) > abs(ask) else ask

    @property
    def value(self) -> int:
        """The position's value, for margin."""
        return self.contract.value(self.lots, self.dear)

    @property
    def unrealised(self) -> int:
        """Profit if it were closed at its mark, before fees."""
        if not self.lots:
            return 0
        return self.contract.terms.cost(self.lots, self.mark) - self.cost

    @property
    def worst_value(self) -> int:
        """The largest value that position and open orders can come to, whichever side fills."""
        value = self.value if self.lots >= 0 else -self.value
        return max(abs(value + self.buys.value), abs(value - self.sells.value))

    @property
    def position_initial(self) -> int:
        """Initial margin of the position alone."""
        return self.contract.model.initial(_bare(self))

    @property
    def initial(self) -> int:
        """Initial margin of position and open orders at their worst."""
        return self.contract.model.initial(self)

    @property
    def maintenance(self) -> int:
        """Maintenance margin of the position, as the venue asks it."""
        return self.contract.model.maintenance(self)

    @property
    def worst_maintenance(self) -> int:
        """Maintenance margin if the open orders filled at their worst."""
        return self.contract.model.worst_maintenance(self)

    @property
    def order_loss(self) -> int:
        """What the worse side of the open orders would lose at once."""
        return max(self.buys.loss, self.sells.loss)

    @property
    def closing(self) -> int:
        """The fee to close the position."""
        return self.contract.closing(self.lots, self.mark)


def resting(contract: Contract, touch: Touch, orders: Iterable[tuple[int, int]]) -> tuple[Resting, Resting]:
    """Open orders as (signed lots, limit; 0 without one), as their buys and sells.

    Each is worth the more of its limit and of the touch's dearer side: a sell priced far below the market is worth
    what the market is. What a buy pays above the bid, or a sell gets below the ask, it has lost when it fills.
    """
    sides = [[0, 0, 0], [0, 0, 0]]
    for lots, limit in orders:
        side = sides[0 if lots > 0 else 1]
        away = touch.bid if lots > 0 else touch.ask
        price = limit or (touch.ask if lots > 0 else touch.bid)
        values = [contract.value(lots, p) for p in (price, touch.bid, touch.ask)]
        side[0] += abs(lots)
        side[1] += max(values)
        side[2] += max(0, contract.terms.cost(lots, price) - contract.terms.cost(lots, away))
    return Resting(*sides[0]), Resting(*sides[1])


class Figures(NamedTuple):
    """A pool's margin, in minor units of its currency; isolated positions are apart, in `Pool.alone`."""

    wallet: int
    unrealised: int
    equity: int
    """Wallet, collateral in other currencies, unrealised profit; less what the next funding would take."""
    position_initial: int
    initial: int
    order_loss: int
    maintenance: int
    worst_maintenance: int
    closing: int
    """Fees to close everything."""

    @property
    def available(self) -> int:
        """What new orders may use; below 0: too little."""
        return self.equity - self.initial - self.order_loss

    @property
    def ratio(self) -> Fraction:
        """Maintenance margin and fees to close, over equity: at 1 the venue liquidates."""
        need = self.maintenance + self.closing
        if self.equity <= 0:
            return NO_EQUITY if need or self.equity < 0 else Fraction(0)
        return min(NO_EQUITY, Fraction(need, self.equity))


@dataclass(frozen=True, slots=True)
class Pool:
    """An account's contracts at one venue that settle in one currency, and the wallet behind those that are cross."""

    currency: str
    wallet: int = 0
    holdings: tuple[Holding, ...] = ()
    credit: int = 0
    """Worth, after haircuts, of collateral in other currencies (`risk.margin.collateral`)."""
    funding: int = 0
    """What the next funding would take from the cross positions, 0 or more."""

    @property
    def cross(self) -> tuple[Holding, ...]:
        """The holdings that share the wallet."""
        return tuple(h for h in self.holdings if h.isolated is None)

    def figures(self) -> Figures:
        """What is asked of the wallet, and what there is. An isolated position asks it only for its open orders."""
        cross = self.cross
        apart = sum(
            h.initial - h.position_initial + h.order_loss for h in self.holdings if h.isolated is not None
        )
        unrealised = sum(h.unrealised for h in cross)
        return Figures(
            wallet=self.wallet,
            unrealised=unrealised,
            equity=self.wallet + self.credit + unrealised - self.funding,
            position_initial=sum(h.position_initial for h in cross),
            initial=sum(h.initial for h in cross) + apart,
            order_loss=sum(h.order_loss for h in cross),
            maintenance=sum(h.maintenance for h in cross),
            worst_maintenance=sum(h.worst_maintenance for h in cross),
            closing=sum(h.closing for h in cross),
        )

    def alone(self, holding: Holding) -> Figures:
        """The figures of an isolated position against its own wallet."""
        own = holding.isolated or 0
        return Pool(self.currency, own, (_bare(holding),)).figures()

    def worst(self) -> Figures:
        """The figures of the wallet or of the isolated position that is nearest to its end."""
        apart = [self.alone(h) for h in self.holdings if h.isolated is not None and h.lots]
        return max([self.figures(), *apart], key=lambda f: f.ratio)

    def with_holding(self, changed: Holding) -> Pool:
        """The same with one contract as it is now."""
        others = tuple(h for h in self.holdings if h.contract.number != changed.contract.number)
        return replace(self, holdings=(*others, changed))

    def find(self, instrument: int) -> Holding | None:
        """What it has of an instrument."""
        return next((h for h in self.holdings if h.contract.number == instrument), None)


def _bare(holding: Holding) -> Holding:
    return Holding(holding.contract, holding.touch, holding.lots, holding.cost)


def funding(holding: Holding, rate: int, price: int) -> int:
    """What a funding of `rate` × 1e-8 at `price` (ticks) takes from a position, rounded up; below 0 it brings."""
    paid = Fraction(holding.contract.value(holding.lots, price) * rate, 10**8)
    return ceil(paid if holding.lots > 0 else -paid)


def funding_due(holdings: Sequence[Holding], rates: dict[int, tuple[int, int]]) -> int:
    """What the next funding would take in all, at (rate, price) by instrument; what it would bring does not count."""
    return sum(
        max(0, funding(h, *rates[h.contract.number]))
        for h in holdings
        if h.contract.number in rates and h.lots
    )
